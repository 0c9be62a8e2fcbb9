"""Point groups: group laws, exact replication, and a network that keeps the symmetry."""

import math

import pytest
import torch
from torch import nn

from protein.backbone.network import ROTATIONS, TRANSLATIONS, BackboneNetwork
from protein.backbone.point_groups import PointGroup
from protein.backbone.symmetry import (
    SymmetricNetwork,
    assembly_numbering,
    symmetrise,
    to_contact,
)
from sciddiff.errors import InputError
from sciddiff.manifolds.so3 import angle, exp_map
from sciddiff.state import Batch, Layout

ORDERS = {
    "C1": 1,
    "C2": 2,
    "C3": 3,
    "C7": 7,
    "D2": 4,
    "D3": 6,
    "D7": 14,
    "T": 12,
    "O": 24,
    "I": 60,
}
# Elements by the order of their axis (half turns, third turns, ...), from the character tables.
AXES = {
    "T": {1: 1, 2: 3, 3: 8},
    "O": {1: 1, 2: 9, 3: 8, 4: 6},
    "I": {1: 1, 2: 15, 3: 20, 5: 24},
    "D3": {1: 1, 2: 3, 3: 2},
    "C7": {1: 1, 7: 6},
}


def _unit(b=2, n=11, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randn(b, n, 3, generator=generator, dtype=torch.float64)
    positions = positions + torch.tensor([1.5, 0.3, 0.7], dtype=torch.float64)
    rotations = exp_map(2.0 * torch.randn(b, n, 3, generator=generator, dtype=torch.float64))
    return positions.to(dtype), rotations.to(dtype)


@pytest.mark.parametrize("name", ORDERS)
def test_group_laws(name):
    group = PointGroup.parse(name)
    g = group.rotations
    identity = torch.eye(3, dtype=torch.float64)
    assert g.dtype == torch.float64
    assert len(group) == ORDERS[name]
    assert torch.equal(g[0], identity)
    assert (g @ g.mT - identity).abs().max() < 1e-15 * 4
    assert (torch.linalg.det(g) - 1).abs().max() < 1e-15 * 4
    apart = (g[:, None] - g[None]).abs().amax((-1, -2)) + torch.eye(len(g))
    assert apart.min() > 0.1, "elements are distinct"
    products = (g[:, None] @ g[None]).flatten(0, 1)
    nearest = (products[:, None] - g[None]).abs().amax((-1, -2)).amin(1)
    assert nearest.max() < 4e-15, "closed under multiplication"
    inverses = (g.mT[:, None] - g[None]).abs().amax((-1, -2)).amin(1)
    assert inverses.max() < 4e-15


@pytest.mark.parametrize("name", AXES)
def test_elements_turn_about_the_axes_of_their_group(name):
    turns = angle(PointGroup.parse(name).rotations)
    found: dict[int, int] = {}
    for turn in turns.tolist():
        # The least k for which k turns by this angle are the identity.
        order = next(k for k in range(1, 8) if abs(torch.sin(torch.tensor(k * turn / 2))) < 1e-6)
        found[order] = found.get(order, 0) + 1
    assert found == AXES[name]


@pytest.mark.parametrize("text", ["c3", " C3 ", "C03"])
def test_names_are_forgiving(text):
    assert PointGroup.parse(text).name == "C3"


@pytest.mark.parametrize(
    "text", ["", "X3", "C", "C0", "D1", "3", "C-2", "T2", "C3v", "Ih", "C2.5"]
)
def test_other_names_are_refused_in_one_line(text):
    with pytest.raises(InputError, match="not a point group; use C2") as caught:
        PointGroup.parse(text)
    assert "\n" not in str(caught.value)


def test_more_copies_than_chain_identifiers_are_refused():
    assert len(set(assembly_numbering(PointGroup.parse("C62")))) == 62
    for text in ("C63", "D32", "C9999"):
        with pytest.raises(InputError, match="too many copies"):
            PointGroup.parse(text)


@pytest.mark.parametrize("name", ["C3", "D2", "T", "I"])
def test_replicas_are_images_of_the_unit_and_the_group_permutes_them(name):
    group = PointGroup.parse(name)
    positions, rotations = _unit()
    n = positions.shape[1]
    x, r = group.replicate(positions, rotations)
    for k, g in enumerate(group.rotations):
        rows = slice(k * n, (k + 1) * n)
        assert (x[:, rows] - positions @ g.T).abs().max() < 1e-14
        assert (r[:, rows] - g @ rotations).abs().max() < 1e-14
    assert torch.equal(x[:, :n], positions)
    # Turning the assembly by an element puts every copy on another.
    g = group.rotations[-1]
    turned = (x @ g.T)[0]
    assert (
        torch.cdist(turned, x[0], compute_mode="donot_use_mm_for_euclid_dist").amin(1).max()
        < 1e-13
    )


def test_symmetrise_keeps_symmetric_states_and_mends_others():
    group = PointGroup.parse("D3")
    whole = group.replicate(*_unit())
    again = symmetrise(*whole, group)
    assert torch.equal(again[0], whole[0])
    assert torch.equal(again[1], whole[1])
    generator = torch.Generator().manual_seed(1)
    noisy = whole[0] + 0.1 * torch.randn(whole[0].shape, generator=generator, dtype=torch.float64)
    mended, _ = symmetrise(noisy, whole[1], group)
    n = noisy.shape[1] // 6
    assert torch.equal(mended[:, :n], noisy[:, :n])
    assert torch.equal(mended, group.replicate(mended[:, :n], whole[1][:, :n])[0])


def test_symmetrise_takes_any_order_of_chains():
    group = PointGroup.parse("C3")
    x, r = group.replicate(*_unit())
    copies = torch.arange(3).repeat_interleave(11)
    order = torch.cat([torch.arange(11, 22), torch.arange(22, 33), torch.arange(11)])
    mixed = symmetrise(x[:, order], r[:, order], group, copies[order])
    assert torch.equal(mixed[0], x[:, order])
    assert torch.equal(mixed[1], r[:, order])
    with pytest.raises(InputError, match="3 equal copies"):
        symmetrise(x[:, :32], r[:, :32], group)
    with pytest.raises(InputError, match="equal copies"):
        symmetrise(x, r, group, torch.zeros(33, dtype=torch.int64))


@pytest.mark.parametrize("name", ["C1", "C3", "D3", "O"])
def test_centring_takes_away_only_what_the_group_leaves_free(name):
    group = PointGroup.parse(name)
    positions, rotations = _unit()
    mask = torch.ones(positions.shape[:2], dtype=torch.bool)
    mask[1, 6:] = False
    centred = group.centre(positions, mask)
    moved = centred - positions
    assert (moved - moved[:, :1]).abs().max() < 1e-14, "rigid"
    x, _ = group.replicate(centred, rotations)
    seen = mask.repeat(1, len(group))
    for b in range(2):
        assert x[b][seen[b]].mean(0).abs().max() < 1e-14
    if name == "C3":
        assert moved[..., :2].abs().max() < 1e-14
    if name in ("D3", "O"):
        assert moved.abs().max() < 1e-14


def _network(local=False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = BackboneNetwork(node=32, pair=16, blocks=3, heads=4, local=local)
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.1 * noise
    return net.eval()


def _batch(positions, rotations, fixed=None, mask=None, **cond):
    layout = Layout(positions.shape[0], mask=mask, fixed=fixed)
    x = {TRANSLATIONS: positions, ROTATIONS: rotations}
    return x, Batch(x, cond, {TRANSLATIONS: layout, ROTATIONS: layout}, positions.shape[0])


class _Spy(nn.Module):
    """Passes calls on and remembers them."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x_t, t, batch):
        self.x, self.batch = x_t, batch
        self.out = self.net(x_t, t, batch)
        return self.out


@pytest.mark.parametrize("name", ["C3", "D2", "T"])
def test_predictions_of_symmetric_states_are_symmetric(name):
    group, spy = PointGroup.parse(name), _Spy(_network())
    positions, rotations = _unit(dtype=torch.float32)
    n, t = positions.shape[1], torch.tensor([0.2, 0.7])
    x, batch = _batch(positions, rotations)
    out = SymmetricNetwork(spy, group)(x, t, batch)
    assert out[TRANSLATIONS].shape == (2, n, 3)
    assert (out[TRANSLATIONS] - positions).abs().max() > 0.05, "the network does something"
    whole = group.replicate(out[TRANSLATIONS], out[ROTATIONS])
    assert (spy.out[TRANSLATIONS] - whole[0]).abs().max() < 1e-4
    assert (spy.out[ROTATIONS] - whole[1]).abs().max() < 1e-4
    # Every copy is a chain of its own with the unit's numbers.
    assert torch.equal(spy.batch.cond["residue_index"][0], torch.arange(n).repeat(len(group)))
    chains = torch.arange(len(group)).repeat_interleave(n)
    assert torch.equal(spy.batch.cond["chain_index"][0], chains)


def test_the_unit_feels_its_copies():
    positions, rotations = _unit(dtype=torch.float32)
    x, batch = _batch(positions, rotations)
    net, t = _network(), torch.tensor([0.2, 0.7])
    trimer = SymmetricNetwork(net, PointGroup.parse("C3"))(x, t, batch)
    alone = SymmetricNetwork(net, PointGroup.parse("C1"))(x, t, batch)
    monomer = net(x, t, batch)
    assert torch.allclose(alone[TRANSLATIONS], monomer[TRANSLATIONS], atol=1e-5)
    assert (trimer[TRANSLATIONS] - monomer[TRANSLATIONS]).abs().max() > 1e-3


def test_conditions_follow_the_copies():
    positions, rotations = _unit(dtype=torch.float32)
    fixed, mask = torch.zeros(2, 11, dtype=torch.bool), torch.ones(2, 11, dtype=torch.bool)
    fixed[:, :3], mask[1, 8:] = True, False
    chain = torch.tensor([0] * 6 + [1] * 5).expand(2, 11)
    seen = {TRANSLATIONS: positions + 0.1, ROTATIONS: rotations}
    x, batch = _batch(positions, rotations, fixed, mask, chain_index=chain, self_condition=seen)
    group, spy = PointGroup.parse("C2"), _Spy(_network())
    out = SymmetricNetwork(spy, group)(x, torch.tensor([0.1, 0.2]), batch)
    layout = spy.batch.layouts[TRANSLATIONS]
    assert torch.equal(layout.fixed, fixed.repeat(1, 2))
    assert torch.equal(layout.mask, mask.repeat(1, 2))
    assert spy.batch.cond["chain_index"].unique().tolist() == [0, 1, 2, 3]
    images = group.replicate(seen[TRANSLATIONS], rotations)
    assert torch.equal(spy.batch.cond["self_condition"][TRANSLATIONS], images[0])
    assert torch.equal(out[TRANSLATIONS][:, :3], positions[:, :3])


def test_large_assemblies_show_the_nearest_copies_only():
    group, spy = PointGroup.parse("I"), _Spy(_network())
    positions, rotations = _unit(dtype=torch.float32)
    positions = positions + 3.0
    x, batch = _batch(positions, rotations)
    SymmetricNetwork(spy, group, residues=66)(x, torch.tensor([0.3, 0.4]), batch)
    shown = spy.x[TRANSLATIONS].view(2, 6, 11, 3)
    assert torch.equal(shown[:, 0], positions)
    whole = group.replicate(positions, rotations)[0].view(2, 60, 11, 3).mean(2)
    for b in range(2):
        apart = (whole[b] - positions[b].mean(0)).norm(dim=-1).sort().values
        got = (shown[b].mean(1) - positions[b].mean(0)).norm(dim=-1)
        assert torch.allclose(got, apart[:6], atol=1e-5)


@pytest.mark.parametrize(("name", "nearest"), [
    ("C2", 2.0),
    ("C6", 1.0),
    ("D2", math.sqrt(8 / 3)),  # a tetrahedron
    ("D3", math.sqrt(2.0)),  # an octahedron
    ("T", 1.0514622),  # an icosahedron
    ("O", 0.7442064),  # a snub cube
    ("I", 0.4638),  # a snub dodecahedron
])  # fmt: skip
def test_the_roomiest_direction_makes_the_best_known_orbit(name, nearest):
    group = PointGroup.parse(name)
    direction = group.roomiest
    assert float(direction.norm()) == pytest.approx(1.0)
    apart = (group.rotations[1:] @ direction - direction).norm(dim=-1).min()
    assert nearest * 0.98 < float(apart) < nearest * 1.0001


@pytest.mark.parametrize("name", ["C2", "C3", "C7", "D2", "D3", "T", "O", "I"])
def test_copies_touch_and_do_not_overlap(name):
    group = PointGroup.parse(name)
    generator = torch.Generator().manual_seed(1)
    # Balls of 30 points about as dense as CA atoms, one of them with its copies inside each other,
    # one far from the axes.
    ball = torch.randn(2, 30, 3, generator=generator) * 0.7
    ball = ball + torch.tensor([[[0.3, 0.1, 0.2]], [[9.0, 2.0, 3.0]]])
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 25:] = False
    ball[1, 25:] = 0.0
    moved = ball + to_contact(group, ball, mask)[:, None]
    for row, real in enumerate((30, 25)):
        unit = moved[row, :real]
        images = torch.einsum("gij,nj->gni", group.rotations[1:].float(), unit)
        nearest = float(torch.cdist(unit.double(), images.double().flatten(0, 1)).min())
        assert nearest == pytest.approx(0.42, abs=1e-3), "the nearest CA atoms are 4.2 Å apart"


@pytest.mark.parametrize("name", ["C3", "D2"])
def test_a_unit_and_its_frames_are_turned_together(name):
    group = PointGroup.parse(name)
    generator = torch.Generator().manual_seed(1)
    unit = 0.7 * torch.randn(1, 30, 3, generator=generator) + torch.tensor([2.0, 0.1, 0.2])
    frames = exp_map(2.0 * torch.randn(1, 30, 3, generator=generator))
    x, batch = _batch(unit, frames, None, torch.ones(1, 30, dtype=torch.bool))
    out = SymmetricNetwork(_Given(), group, contact=True)(x, torch.zeros(1), batch)
    seen = torch.matmul(unit[:, None] - unit[:, :, None], frames)
    moved = out[TRANSLATIONS]
    still = torch.matmul(moved[:, None] - moved[:, :, None], out[ROTATIONS])
    assert torch.allclose(seen, still, atol=1e-4), "every frame sees the others as before"
    assert float((out[ROTATIONS] - frames).abs().max()) > 1e-3, "the unit is turned"


def test_a_unit_in_contact_or_with_a_motif_stays():
    group = PointGroup.parse("C2")
    pair = torch.tensor([[[0.25, 0.0, 0.0], [0.6, 0.0, 0.0]]])  # 5 Å from its copy
    frames = torch.eye(3).expand(1, 2, 3, 3)
    x, batch = _batch(pair, frames, None, torch.ones(1, 2, dtype=torch.bool))
    assert not to_contact(group, pair).any()
    network = SymmetricNetwork(_Given(), group, contact=True)
    fixed = torch.tensor([[True, False]])
    x, batch = _batch(0.5 * pair, frames, fixed, torch.ones(1, 2, dtype=torch.bool))
    assert torch.equal(network(x, torch.zeros(1), batch)[TRANSLATIONS], 0.5 * pair)


class _Given(nn.Module):
    """Answers with the state it is given."""

    def forward(self, x_t, t, batch):
        return dict(x_t)

"""Binders: placed at the hotspots, in contact, without overlap; the target comes out as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from protein.backbone.contact import outermost_contact
from protein.backbone.domain import backbone_path
from protein.backbone.generate import GenerateSettings, generate
from protein.backbone.metrics.interface import hotspots_met, interface_figures
from protein.backbone.modes.binders import BinderNetwork, Binders
from protein.backbone.network import ROTATIONS, TRANSLATIONS, BackboneNetwork
from protein.backbone.polish import PolishSettings
from protein.structures.chain import Backbone
from protein.structures.torsions import backbone_from_torsions
from protein.structures.write import write_pdb
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two helices side by side, chains A and B, far from the origin."""
    torsions = np.tile(np.radians([-62.0, -43.0, 180.0]), (30, 1))
    helix = backbone_from_torsions(torsions) + np.array([50.0, 20.0, 10.0])
    path = tmp_path_factory.mktemp("target") / "target.pdb"
    chains = [
        Backbone(helix.astype(np.float32), "L" * 30, "A"),
        Backbone((helix + [0, 10, 0]).astype(np.float32), "K" * 30, "B", np.arange(101, 131)),
    ]
    write_pdb(path, chains)
    return path


def binders(target: Path, **options) -> Binders:
    """Three binders of 30 to 36 residues at the outer side of chain A."""
    given = {
        "hotspots": "A12,A15,A16",
        "crop": 12.0,
        "lengths": (30, 36),
        "fold": "none",
        "seed": 3,
        "n": 3,
        **options,
    }
    return Binders(target, **given)


def test_outermost_contact_is_the_largest_root() -> None:
    a = torch.tensor([[[0.0, 0.0, 0.0], [-3.0, 0.3, 0.0], [5.0, 9.0, 0.0]]])
    b = torch.tensor([[[1.0, 0.0, 0.0]]])
    # The second pair touches at -3 + s = sqrt(0.42^2 - 0.3^2); the third passes by for ever.
    expected = 3.0 + np.sqrt(0.42**2 - 0.3**2)
    assert float(outermost_contact(a, b, 0.42)) == pytest.approx(expected, abs=1e-6)
    real = torch.tensor([[True, False, True]])
    assert float(outermost_contact(a, b, 0.42, real)) == pytest.approx(0.42, abs=1e-6)
    assert float(outermost_contact(a, b, 0.42, torch.tensor([[False, False, True]]))) == 0.0


def test_the_network_sees_the_crop_held_in_place(target: Path) -> None:
    mode = binders(target)
    (item,) = mode.templates(range(3))
    batch, layout = item.batch, item.batch.layouts[TRANSLATIONS]
    assert layout.fixed is not None and layout.mask is not None
    seen = layout.fixed.sum(1).tolist()
    assert len(set(seen)) == 1 and 10 < seen[0] < 60
    for row, index in enumerate(batch.cond["index"].tolist()):
        length = int(layout.mask[row].sum()) - seen[0]
        assert length == mode.sizes(index)[0] and mode.sizes(index)[1] == length + seen[0]
        chain = batch.cond["chain_index"][row]
        assert chain[:length].eq(0).all() and set(chain[length : length + seen[0]].tolist()) == {
            1,
            2,
        }
        number = batch.cond["residue_index"][row, : length + seen[0]]
        assert number.unique().numel() == len(number)


def test_noise_starts_outside_at_the_hotspots(target: Path) -> None:
    mode = binders(target)
    (item,) = mode.templates(range(3))
    assert item.offset is not None
    # Chain B lies at +y of chain A, so that the hotspots' outside is at -y.
    other = binders(target, hotspots="B112,B115,B116")
    (mirrored,) = other.templates(range(3))
    assert mirrored.offset is not None
    assert item.offset[0, 1] < -0.5 < 0.5 < mirrored.offset[0, 1]


class _Answer(nn.Module):
    """A network that answers the same binder, wherever it is told to be."""

    def __init__(self, place: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.place = nn.Parameter(torch.zeros(1)), place

    def forward(self, x_t, t, batch):
        moved = torch.where(batch.layouts[TRANSLATIONS].fixed[..., None], x_t[TRANSLATIONS],
                            x_t[TRANSLATIONS] + self.place)  # fmt: skip
        return {TRANSLATIONS: moved, ROTATIONS: x_t[ROTATIONS]}


@pytest.mark.parametrize("away", [-2.0, 0.0, 0.3, 3.0, 9.0])
@pytest.mark.parametrize("beside", [0.0, 2.5])
def test_a_binder_is_moved_as_a_whole_until_it_touches(away: float, beside: float) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(40, 3, generator=generator) * 0.8 - torch.tensor([0.0, 0.0, 1.2])
    outward = torch.tensor([0.0, 0.0, 1.0])
    binder = torch.randn(1, 20, 3, generator=generator) * 0.6
    seen = target[:15].expand(1, -1, -1)
    x = {TRANSLATIONS: torch.cat([binder, seen], 1), ROTATIONS: torch.eye(3).expand(1, 35, 3, 3)}
    fixed = torch.arange(35)[None] >= 20
    layout = Layout(1, mask=torch.ones(1, 35, dtype=torch.bool), fixed=fixed)
    batch = Batch(x, {}, {TRANSLATIONS: layout, ROTATIONS: layout}, 1)
    network = BinderNetwork(
        _Answer(torch.tensor([beside, 0.0, away])), target, outward, torch.arange(3)
    )
    out = network(x, torch.zeros(1), batch)[TRANSLATIONS]
    assert torch.equal(out[:, 20:], seen)
    shape = torch.cdist(out[0, :20].double(), out[0, :20].double())
    assert torch.allclose(shape, torch.cdist(binder[0].double(), binder[0].double()), atol=1e-5)
    nearest = float(torch.cdist(out[0, :20].double(), target.double()).min())
    assert 0.36 < nearest < 0.6501
    assert float(out[0, :20, :2].mean(0).norm()) < 0.6


def test_a_binder_comes_out_beside_the_whole_target(target: Path) -> None:
    from protein.structures.read import read_structure

    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = Denoiser(
            BackboneNetwork(node=16, pair=8, blocks=1, heads=2), backbone_path()
        ).eval()
    mode = binders(target)
    settings = GenerateSettings(steps=3, polish=PolishSettings(steps=3))
    given = read_structure(target).chains
    for item in mode.templates(range(3)):
        made = generate(
            mode.denoiser(base), item.batch, settings, item.numbering, None, item.offset
        )
        for design in made:
            whole = mode.finish(design)
            assert [c.chain_id for c in whole.chains] == ["C", "A", "B"]
            assert len(whole.chains[0]) == mode.sizes(design.index)[0]
            for one, other in zip(whole.chains[1:], given, strict=True):
                assert np.array_equal(one.coords, other.coords) and one.labels == other.labels
            assert whole.fixed.tolist() == [False] * len(whole.chains[0]) + [True] * 60
    assert mode.facts(0) == {"binder": "C", "hotspots": "A12 A15 A16"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hotspots": "A99"}, ["A99", "1-30"]),
        ({"hotspots": "10-20"}, ["name residues alone"]),
        ({"hotspots": "C5"}, ["chain 'C'", "A, B"]),
        ({"hotspots": "A12,A12"}, ["twice"]),
        ({"hotspots": "A,B"}, ["all around it"]),
        ({"crop": 1.0}, ["at least 4 Å"]),
    ],
)
def test_hotspots_that_cannot_be(target: Path, options, words) -> None:
    with pytest.raises(InputError) as caught:
        binders(target, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_interface_figures_of_known_bodies() -> None:
    helix = backbone_from_torsions(np.tile(np.radians([-62.0, -43.0, 180.0]), (30, 1)))
    apart = interface_figures([helix, helix + [0, 60, 0]])
    assert apart == {"interface_contacts": 0.0, "chain_clashes": 0, "buried_area": 0.0}
    packed = interface_figures([helix, helix + [0, 9, 0]])
    assert packed["interface_contacts"] > 0 and packed["buried_area"] > 100.0
    inside = interface_figures([helix, helix + [0, 1, 0]])
    assert inside["chain_clashes"] >= 30
    ca = helix[:, 1]
    gap = np.linalg.norm(ca[:, None] - (ca + [0, 9, 0])[None], axis=-1)
    assert packed["interface_contacts"] == pytest.approx((gap < 8.0).sum() / 30)
    sides = interface_figures([helix, helix + [0, 9, 0], helix + [0, 9, 50]], [0, 1, 1])
    assert sides["interface_contacts"] == pytest.approx((gap < 8.0).sum() / 30)
    assert hotspots_met(helix, helix + [0, 9, 0], range(30)) < 1.0
    assert hotspots_met(helix, helix, range(30)) == 1.0


def test_buried_area_of_two_spheres_is_that_of_their_caps() -> None:
    from protein.backbone.metrics.interface import _exposed

    radii = np.array([3.0, 3.0])
    far = _exposed(np.array([[0, 0, 0], [9.0, 0, 0]]), radii)
    np.testing.assert_allclose(far, 4 * np.pi * 9.0)
    near = _exposed(np.array([[0, 0, 0], [3.0, 0, 0]]), radii)
    cap = 2 * np.pi * 3.0 * 1.5  # of height 1.5 Å
    np.testing.assert_allclose(near, 4 * np.pi * 9.0 - cap, rtol=0.03)

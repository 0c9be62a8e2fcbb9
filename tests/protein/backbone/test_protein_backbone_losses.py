"""Geometry losses: zero on the data, blind to rigid motions, not to handedness or broken bonds."""

import math

import pytest
import torch

from protein.backbone.favoured import distance_to_favoured
from protein.backbone.losses import geometry_losses
from protein.backbone.metrics.geometry import atom_overlaps
from protein.structures import geometry_constants as geo
from protein.structures.frames import backbone_from_frames, frames_from_backbone
from sciddiff.manifolds.so3 import exp_map

NAMES = ("neighbours", "junctions", "distances")
MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
# What is left of each smoothed absolute value at zero error.
FLOOR = {"neighbours": 1.1e-3, "junctions": 0.031, "distances": 1e-6}


def _helix(n=30, rise=0.15, radius=0.23):
    """Frames on an ideal right-handed helix, nm."""
    turn = math.radians(100.0)
    k = torch.arange(n, dtype=torch.float32)
    zero = torch.zeros_like(k)
    x = torch.stack([radius * (k * turn).cos(), radius * (k * turn).sin(), k * rise], -1)
    spin = exp_map(torch.stack([zero, zero, k * turn], -1))
    tilt = exp_map(torch.tensor([0.4, -0.7, 0.2]))
    return {"translations": x[None], "rotations": (spin @ tilt)[None]}


def _mirror(x):
    return {
        "translations": x["translations"] @ MIRROR,
        "rotations": MIRROR @ x["rotations"] @ MIRROR,
    }


def _losses(predicted, target, t=0.9, mask=None, index=None):
    b, n = target["translations"].shape[:2]
    mask = torch.ones(b, n, dtype=torch.bool) if mask is None else mask
    index = torch.arange(n).expand(b, n) if index is None else index
    return geometry_losses(predicted, target, torch.full((b,), t), mask, index)


def _perturbed(x, size=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = x["translations"].shape
    turn = exp_map(size * torch.randn(shape, generator=generator))
    shift = size * torch.randn(shape, generator=generator)
    return {"translations": x["translations"] + shift, "rotations": x["rotations"] @ turn}


def test_zero_on_the_data_and_growing_with_the_error():
    x = _helix()
    own = _losses(x, x)
    small, large = (_losses(_perturbed(x, size), x) for size in (0.01, 0.1))
    for name in NAMES:
        assert 0 <= own[name].item() <= FLOOR[name]
        assert own[name].item() < small[name].item() < large[name].item()


def test_rigid_motions_of_either_side_change_nothing():
    x, y = _perturbed(_helix()), _helix()
    turn, shift = exp_map(torch.tensor([0.3, -1.9, 0.8])), torch.tensor([1.0, -2.0, 0.5])
    moved = {
        "translations": x["translations"] @ turn.T + shift,
        "rotations": turn @ x["rotations"],
    }
    before, after = _losses(x, y), _losses(moved, y)
    for name in NAMES:
        assert after[name].item() == pytest.approx(before[name].item(), rel=1e-4)


def test_a_mirror_image_is_an_error_though_its_distances_are_right():
    x = _helix()
    losses = _losses(_mirror(x), x)
    assert losses["neighbours"].item() > 0.02
    assert losses["junctions"].item() > 1.0
    assert losses["distances"].item() <= FLOOR["distances"]


def test_a_broken_bond_is_an_error_of_the_junctions():
    x = _helix()
    broken = []
    for gap in (0.02, 0.1, 0.3):
        y = {name: leaf.clone() for name, leaf in x.items()}
        y["translations"][:, 15:, 2] += gap
        broken.append(_losses(y, x)["junctions"].item())
    assert FLOOR["junctions"] < broken[0] < broken[1] < broken[2]


def test_residues_that_are_not_bonded_have_no_junction():
    x = _helix()
    y = {name: leaf.clone() for name, leaf in x.items()}
    y["translations"][:, 15:, 2] += 0.3
    index = torch.arange(30) + 100 * (torch.arange(30) >= 15)
    assert _losses(y, x, index=index[None])["junctions"].item() <= FLOOR["junctions"]


def test_off_at_early_times():
    x = _helix()
    losses = _losses(_perturbed(x), x, t=0.2)
    assert all(losses[name].item() == 0 for name in NAMES)


def test_padding_does_not_count():
    x, y = _perturbed(_helix()), _helix()
    mask = (torch.arange(30) < 20)[None]
    cut = [{name: leaf[:, :20] for name, leaf in s.items()} for s in (x, y)]
    padded, alone = _losses(x, y, mask=mask), _losses(*cut)
    for name in NAMES:
        assert padded[name].item() == pytest.approx(alone[name].item(), rel=1e-4)


def test_gradients_are_finite_at_the_data_and_for_coinciding_residues():
    x = _helix()
    for predicted in (x, {**x, "translations": torch.zeros(1, 30, 3)}):
        leaves = {name: leaf.clone().requires_grad_() for name, leaf in predicted.items()}
        sum(value.sum() for value in _losses(leaves, x).values()).backward()
        assert all(torch.isfinite(leaf.grad).all() for leaf in leaves.values())


def _two_strands(apart):
    """Two straight chains of ten residues side by side, nm."""
    x = 0.35 * torch.arange(10.0)
    rows = [torch.stack([x, torch.full_like(x, y), torch.zeros_like(x)], -1) for y in (0, apart)]
    eye = torch.eye(3).expand(1, 20, 3, 3)
    return {"translations": torch.cat(rows)[None], "rotations": eye}


def test_atoms_that_overlap_are_an_error_that_grows_as_they_come_closer():
    index = (torch.arange(20) + 190 * (torch.arange(20) >= 10))[None]
    target = _two_strands(1.2)
    values = [
        _losses(_two_strands(apart), target, index=index)["contacts"].item()
        for apart in (1.2, 0.55, 0.4, 0.3, 0.2)
    ]
    assert values[0] == values[1] == 0.0
    assert 0.0 < values[2] < values[3] < values[4]
    # The count of the metrics agrees about where overlaps begin.
    for apart, value in zip((1.2, 0.55, 0.3), (values[0], values[1], values[3]), strict=True):
        placed = _two_strands(apart)
        bonded = index.diff(append=index[:, -1:]) == 1
        atoms = backbone_from_frames(
            placed["rotations"], 10.0 * placed["translations"], bonded=bonded
        )
        between = atom_overlaps(atoms[0].double().numpy()) - 2 * atom_overlaps(
            atoms[0, :10].double().numpy()
        )
        assert (between > 0) == (value > 0)


def test_overlaps_between_chains_count_though_their_residue_numbers_agree():
    """Residue numbers jump from chain to chain, so no residue is taken for a neighbour."""
    target, close = _two_strands(1.2), _two_strands(0.3)
    apart = (torch.arange(20) + 190 * (torch.arange(20) >= 10))[None]
    alone = {name: leaf[:, :10] for name, leaf in close.items()}
    one = _losses(alone, {name: leaf[:, :10] for name, leaf in target.items()})
    assert one["contacts"].item() == 0.0
    assert _losses(close, target, index=apart)["contacts"].item() > 0.1


def test_torsions_outside_the_favoured_region_are_an_error_a_helix_is_none():
    phi, psi = math.radians(-63.0), math.radians(-43.0)
    values = []
    for turn in (0.0, 40.0, 80.0, 120.0):
        angles = torch.full((12, 2), 0.0)
        angles[:, 0], angles[:, 1] = phi + math.radians(turn), psi
        x = _chain_of(angles)
        values.append(_losses(x, x)["torsions"].item())
    assert values[0] == 0.0
    assert values[0] < values[1] < values[2] and values[3] > values[1]
    # Sixty of the last eighty degrees lie outside: about a radian.
    assert 0.5 < values[2] < 1.4


def test_the_distance_to_the_favoured_region_is_periodic_and_pulls_towards_it():
    generator = torch.Generator().manual_seed(0)
    phi, psi = (2.0 * torch.rand(2, 400, generator=generator) - 1.0) * math.pi
    phi.requires_grad_()
    psi.requires_grad_()
    away = distance_to_favoured(phi, psi)
    around = distance_to_favoured(phi + 2.0 * math.pi, psi - 2.0 * math.pi)
    assert torch.allclose(away, around, atol=1e-4)
    far = away.detach() > 0.35
    assert 0.2 < far.float().mean() < 0.7
    of_phi, of_psi = torch.autograd.grad(away.sum(), (phi, psi))
    step = 0.05
    nearer = distance_to_favoured(phi - step * of_phi, psi - step * of_psi)
    assert (nearer < away)[far].float().mean() > 0.95


def _chain_of(angles):
    """Frames of a chain with these (phi, psi) and flat peptides, nm, built atom by atom."""
    sites = list(torch.tensor([geo.LOCAL_N, geo.LOCAL_CA, geo.LOCAL_C], dtype=torch.float64))
    for k in range(len(angles) - 1):
        psi, phi = float(angles[k, 1]), float(angles[k + 1, 0])
        for length, angle, torsion in (
            (geo.C_N, geo.CA_C_N, psi),
            (geo.N_CA, geo.C_N_CA, math.pi),
            (geo.CA_C, geo.N_CA_C, phi),
        ):
            sites.append(_next_site(sites[-3:], length, angle, torsion))
    atoms = torch.stack(sites).view(-1, 3, 3).float()
    rotations, ca = frames_from_backbone(atoms)
    return {"translations": 0.1 * ca[None], "rotations": rotations[None]}


def _next_site(before, length, angle, torsion):
    a, b, c = before
    along = torch.nn.functional.normalize(c - b, dim=0)
    across = torch.nn.functional.normalize(torch.linalg.cross(b - a, along), dim=0)
    up = torch.linalg.cross(across, along)
    return c + length * (
        -math.cos(angle) * along
        + math.sin(angle) * (math.cos(torsion) * up + math.sin(torsion) * across)
    )


def test_the_junction_error_is_in_units_of_a_fiftieth_of_a_nanometre():
    """Moving one residue of two by 0.2 Å is one unit for each of the two's atoms."""
    x = {name: leaf[:, :2] for name, leaf in _helix().items()}
    y = {name: leaf.clone() for name, leaf in x.items()}
    y["translations"][:, 1, 2] += 0.02
    assert len((geo.LOCAL_N, geo.LOCAL_CA, geo.LOCAL_C)) == 3
    assert _losses(y, x)["junctions"].item() == pytest.approx(1.0, rel=1e-3)

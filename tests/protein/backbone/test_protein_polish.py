"""Junction relaxation: bonds become good, nothing else is touched."""

import math

import pytest
import torch

from protein.backbone.polish import PolishSettings, polish
from protein.backbone.polish_rotations import to_components, to_rows, turned
from protein.structures import geometry_constants as ideal
from protein.structures.frames import backbone_from_frames, frames_from_backbone
from protein.structures.torsions import backbone_torsions
from sciddiff.manifolds import SO3
from sciddiff.manifolds.so3 import exp_map


def _helix(length: int) -> torch.Tensor:
    """An ideal right-handed helix as CA trace and frames, built by repeating one rigid motion."""
    turn = exp_map(torch.tensor([0.0, 0.0, math.radians(100.0)], dtype=torch.float64))
    start = torch.tensor(
        [[1.55, -0.35, -0.85], [2.30, 0.0, 0.0], [1.65, 1.05, 0.85]], dtype=torch.float64
    )
    atoms, rise = [], torch.tensor([0.0, 0.0, 1.5], dtype=torch.float64)
    for i in range(length):
        power = torch.linalg.matrix_power(turn, i)
        atoms.append(start @ power.T + i * rise)
    return torch.stack(atoms).float()


def _noisy(batch: int, length: int, noise: float) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    rotations, ca = frames_from_backbone(_helix(length)[None].expand(batch, -1, -1, -1))
    ca = ca + noise * torch.randn(ca.shape, generator=generator)
    rotations = rotations @ exp_map(noise * torch.randn(ca.shape, generator=generator))
    mask = torch.ones(batch, length, dtype=torch.bool)
    bonded = mask.clone()
    bonded[:, -1] = False
    return ca, rotations, mask, bonded


def _bond_deviation(ca: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    atoms = backbone_from_frames(rotations, ca)
    return ((atoms[:, 1:, 0] - atoms[:, :-1, 2]).norm(dim=-1) - ideal.C_N).abs()


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_every_peptide_bond_ends_within_two_sigma(noise: float) -> None:
    ca, rotations, mask, bonded = _noisy(3, 40, noise)
    assert _bond_deviation(ca, rotations).max() > 4 * ideal.C_N_SD
    new_ca, new_rotations = polish(ca, rotations, mask, bonded)
    assert _bond_deviation(new_ca, new_rotations).max() < 2 * ideal.C_N_SD
    assert (new_ca - ca).norm(dim=-1).mean() < 0.3 + 2 * noise, "the fold itself must stay"
    eye = torch.eye(3).expand_as(new_rotations)
    assert torch.allclose(new_rotations.transpose(-1, -2) @ new_rotations, eye, atol=1e-5)


def test_bond_angles_come_to_rest_after_hydrogen_bonds_have_closed() -> None:
    from protein.backbone.metrics.measure import measure

    ca, rotations, mask, bonded = _noisy(3, 40, 0.2)
    new_ca, new_rotations = polish(ca, rotations, mask, bonded)
    atoms = backbone_from_frames(new_rotations, new_ca, bonded=bonded).numpy()
    worst = [measure("x", one, None).row["max_angle_z"] for one in atoms]
    assert max(worst) < 1.0, "the first stage alone leaves angles at 2 to 8 standard deviations"


def test_fixed_residues_do_not_move() -> None:
    ca, rotations, mask, bonded = _noisy(1, 30, 0.2)
    fixed = torch.zeros_like(mask)
    fixed[:, 10:15] = True
    new_ca, new_rotations = polish(ca, rotations, mask, bonded, fixed)
    assert torch.equal(new_ca[fixed], ca[fixed])
    assert torch.allclose(new_rotations[fixed], rotations[fixed], atol=1e-6)
    assert not torch.equal(new_ca[~fixed], ca[~fixed])


def test_a_sample_does_not_depend_on_its_batch_or_padding() -> None:
    ca, rotations, mask, bonded = _noisy(2, 30, 0.2)
    padded_mask = torch.nn.functional.pad(mask, (0, 7))
    padded_ca = torch.nn.functional.pad(ca, (0, 0, 0, 7))
    padded_rotations = torch.cat([rotations, torch.eye(3).expand(2, 7, 3, 3)], 1)
    together, _ = polish(
        padded_ca, padded_rotations, padded_mask, torch.nn.functional.pad(bonded, (0, 7))
    )
    alone, _ = polish(ca[1:], rotations[1:], mask[1:], bonded[1:])
    assert torch.allclose(together[1:, :30], alone, atol=1e-3)


def test_it_commutes_with_rigid_motions() -> None:
    ca, rotations, mask, bonded = (
        x.double() if x.is_floating_point() else x for x in _noisy(1, 20, 0.2)
    )
    turn = exp_map(torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64))
    shift = torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64)
    settings = PolishSettings(steps=10)
    there, frames = polish(ca, rotations, mask, bonded, settings=settings)
    moved, moved_frames = polish(
        ca @ turn.T + shift, turn @ rotations, mask, bonded, settings=settings
    )
    assert torch.allclose(moved, there @ turn.T + shift, atol=1e-7)
    assert torch.allclose(moved_frames, turn @ frames, atol=1e-7)


def test_overlapping_chains_are_pushed_apart() -> None:
    ca, rotations, mask, bonded = _noisy(1, 12, 0.0)
    both = torch.cat([ca, ca + torch.tensor([2.5, 0.0, 0.0])], 1)
    frames = torch.cat([rotations, rotations], 1)
    mask2 = torch.cat([mask, mask], 1)
    bonded2 = torch.cat([bonded, bonded], 1)
    new, _ = polish(both, frames, mask2, bonded2)
    before = torch.cdist(both[0, :12], both[0, 12:]).min()
    after = torch.cdist(new[0, :12], new[0, 12:]).min()
    assert before < 2.6 < 3.4 < after


def test_torsions_stay_while_bonds_and_overlaps_are_mended() -> None:
    """Two chains that touch are pushed apart without bending residues out of shape."""
    ca, rotations, mask, bonded = _noisy(1, 24, 0.0)
    ca, rotations = polish(ca, rotations, mask, bonded)  # every junction is a good one now
    both = torch.cat([ca, ca + torch.tensor([7.0, 0.0, 0.0])], 1)
    both = both + 0.03 * torch.randn(both.shape, generator=torch.Generator().manual_seed(1))
    frames = torch.cat([rotations, rotations], 1)
    two = torch.cat([mask, mask], 1), torch.cat([bonded, bonded], 1)
    before = backbone_torsions(backbone_from_frames(frames, both, bonded=two[1]), two[1])
    moved = {}
    for weight in (0.0, 15.0, 150.0):
        settings = PolishSettings(torsion=weight)
        new, new_frames = polish(both, frames, *two, settings=settings)
        atoms = backbone_from_frames(new_frames, new, bonded=two[1])
        change = backbone_torsions(atoms, two[1])[..., :2] - before[..., :2]
        change = torch.remainder(change + math.pi, 2.0 * math.pi) - math.pi
        moved[weight] = float(change[change.isfinite()].square().mean().sqrt())
    assert moved[15.0] < 0.7 * moved[0.0]
    assert moved[150.0] < 0.9 * moved[15.0]


def test_zero_steps_change_nothing() -> None:
    ca, rotations, mask, bonded = _noisy(1, 10, 0.2)
    new, frames = polish(ca, rotations, mask, bonded, settings=PolishSettings(steps=0))
    assert new is ca and frames is rotations


def test_a_torn_chain_is_relaxed_until_it_closes() -> None:
    ca, rotations, mask, bonded = _noisy(2, 40, 0.05)
    ca[1, 20:] += torch.tensor([4.0, 1.5, 3.0])  # the second backbone is torn at residue 20
    once = polish(ca, rotations, mask, bonded, settings=PolishSettings(steps=20, rounds=1))
    torn = _bond_deviation(*once).amax(1)
    assert torn[0] < 4 * ideal.C_N_SD < torn[1], "one round is too little here"
    again = polish(ca, rotations, mask, bonded, settings=PolishSettings(steps=20, rounds=6))
    assert _bond_deviation(*again).max() < 4 * ideal.C_N_SD
    assert torch.equal(again[0][0], once[0][0]), "a closed backbone is not touched again"
    alone = polish(
        ca[1:], rotations[1:], mask[1:], bonded[1:], settings=PolishSettings(steps=20, rounds=6)
    )
    assert torch.allclose(alone[0][0], again[0][1], atol=1e-6)


def test_frames_turn_as_on_the_rotation_group() -> None:
    generator = torch.Generator().manual_seed(0)
    x = SO3().uniform(torch.empty(2, 30, 3, 3, dtype=torch.float64), generator)
    v = torch.randn(2, 30, 3, generator=generator, dtype=torch.float64)
    v *= torch.logspace(-20.0, 0.5, 30, dtype=torch.float64)[:, None]
    v[0, 0] = 0.0
    moved = to_rows(turned(to_components(x.numpy(), 2), to_components(v.numpy(), 1)), x.shape)
    assert torch.allclose(torch.from_numpy(moved), SO3().exp(x, v), rtol=0.0, atol=1e-14)

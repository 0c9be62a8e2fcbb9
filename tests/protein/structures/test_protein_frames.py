"""Residue frames: exact inverses, equivariance, handedness, the plane of the peptide."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protein.structures import geometry_constants as geo
from protein.structures.frames import (
    backbone_from_frames,
    beta_carbons,
    frames_from_backbone,
    oxygen_positions,
)
from protein.structures.torsions import backbone_from_torsions, bond_angle, dihedral


def _rotations(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(*shape, 3, 3, generator=generator, dtype=torch.float64))
    return q * torch.linalg.det(q)[..., None, None]


def _frames(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed + 1)
    trans = 5.0 * torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    return _rotations(*shape, seed=seed), trans


def test_frames_to_atoms_to_frames_is_exact() -> None:
    rotations, trans = _frames(4, 30)
    again, ca = frames_from_backbone(backbone_from_frames(rotations, trans))
    torch.testing.assert_close(again, rotations, rtol=0, atol=1e-12)
    torch.testing.assert_close(ca, trans, rtol=0, atol=0)


def test_frame_axes_follow_algorithm_21(chain) -> None:
    coords = torch.from_numpy(chain.coords.astype(np.float64))
    rotations, ca = frames_from_backbone(coords)
    identity = torch.eye(3, dtype=torch.float64).expand(len(chain), 3, 3)
    torch.testing.assert_close(rotations.mT @ rotations, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones_like(ca[:, 0]))
    local_c = torch.einsum("lji,lj->li", rotations, coords[:, 2] - ca)
    local_n = torch.einsum("lji,lj->li", rotations, coords[:, 0] - ca)
    assert local_c[:, 1:].abs().max() < 1e-12 and (local_c[:, 0] > 1.4).all()
    assert local_n[:, 2].abs().max() < 1e-12 and (local_n[:, 1] > 1.0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_rigid_motion_carries_through(seed: int, length: int) -> None:
    rotations, trans = _frames(length, seed=seed)
    turn, shift = _rotations(seed=seed + 5), torch.tensor([3.0, -8.0, 1.0], dtype=torch.float64)
    atoms = backbone_from_frames(rotations, trans)
    moved = backbone_from_frames(turn @ rotations, trans @ turn.T + shift)
    torch.testing.assert_close(moved, atoms @ turn.T + shift, rtol=0, atol=1e-9)
    moved_frames, _ = frames_from_backbone(moved)
    torch.testing.assert_close(moved_frames, turn @ rotations, rtol=0, atol=1e-9)


def test_bond_geometry_is_ideal() -> None:
    n, ca, c, o = backbone_from_frames(*_frames(3, 11)).unbind(-2)
    for a, b, length in ((n, ca, geo.N_CA), (ca, c, geo.CA_C), (c, o, geo.C_O)):
        torch.testing.assert_close((a - b).norm(dim=-1), torch.full_like(a[..., 0], length))
    torch.testing.assert_close(bond_angle(n, ca, c), torch.full_like(n[..., 0], geo.N_CA_C))
    torch.testing.assert_close(bond_angle(ca, c, o), torch.full_like(n[..., 0], geo.CA_C_O))


def test_oxygen_lies_in_the_peptide_plane_opposite_to_the_next_nitrogen() -> None:
    atoms = backbone_from_frames(*_frames(11))
    psi = dihedral(atoms[:-1, 0], atoms[:-1, 1], atoms[:-1, 2], atoms[1:, 0])
    oxygen = dihedral(*atoms[:-1].unbind(-2))
    torch.testing.assert_close((oxygen - psi).cos(), -torch.ones_like(psi))
    flat = (atoms[:-1, 3] - atoms[:-1, 2]) * torch.linalg.cross(
        atoms[:-1, 1] - atoms[:-1, 2], atoms[1:, 0] - atoms[:-1, 2]
    )
    assert flat.sum(-1).abs().max() < 1e-9


def test_psi_argument_and_last_residue_rule() -> None:
    rotations, trans = _frames(9)
    psi = torch.linspace(-3.0, 3.0, 9, dtype=torch.float64)
    given_psi = backbone_from_frames(rotations, trans, psi=psi)
    torch.testing.assert_close(
        (dihedral(*given_psi.unbind(-2)) - psi).cos(), -torch.ones_like(psi)
    )
    free = dihedral(*backbone_from_frames(rotations, trans).unbind(-2))
    torch.testing.assert_close(free[-1], free[-2])
    alone = dihedral(*backbone_from_frames(rotations[:1], trans[:1]).unbind(-2))
    assert alone.item() == pytest.approx(geo.DEFAULT_PSI + math.pi)


def test_bonded_separates_chains_and_padding() -> None:
    rotations, trans = _frames(10)
    bonded = torch.ones(10, dtype=torch.bool)
    bonded[[5, 9]] = False
    whole = backbone_from_frames(rotations, trans, bonded=bonded)
    parts = [backbone_from_frames(rotations[s], trans[s]) for s in (slice(0, 6), slice(6, 10))]
    torch.testing.assert_close(whole, torch.cat(parts))


def test_mirror_image_has_other_frames(chain) -> None:
    coords = torch.from_numpy(chain.coords.astype(np.float64))
    mirror = torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    rotations, ca = frames_from_backbone(coords * mirror)
    assert (torch.linalg.det(rotations) > 0).all()
    rebuilt = backbone_from_frames(rotations, ca)
    assert dihedral(*rebuilt.unbind(-2)).isfinite().all()
    # CB stands on the L side of both, so it does not mirror.
    assert (beta_carbons(coords * mirror) - beta_carbons(coords) * mirror).norm(dim=-1).min() > 1


def test_beta_carbon_is_l() -> None:
    coords = torch.from_numpy(backbone_from_torsions(np.full((5, 3), np.nan)))
    cb = beta_carbons(coords)
    n, ca, c = coords[:, 0], coords[:, 1], coords[:, 2]
    assert (cb - ca).norm(dim=-1).sub(geo.CA_CB).abs().max() < 0.03
    # In L amino acids N, C and CB go round CA in this sense (the CORN rule).
    triple = ((n - ca) * torch.linalg.cross(c - ca, cb - ca)).sum(-1)
    assert (triple > 0).all()


def test_gradients_are_finite_for_degenerate_atoms() -> None:
    coords = torch.zeros(5, 4, 3, requires_grad=True)
    rotations, ca = frames_from_backbone(coords)
    backbone_from_frames(rotations, ca).sum().backward()
    assert coords.grad is not None and coords.grad.isfinite().all()


def test_natives_survive_the_round_trip(natives) -> None:
    errors, oxygen = [], []
    for i in range(0, 400, 8):
        coords = torch.from_numpy(natives[i]).double()
        rotations, ca = frames_from_backbone(coords)
        rebuilt = backbone_from_frames(rotations, ca)
        errors.append((rebuilt - coords)[:, :3].norm(dim=-1).mean())
        oxygen.append((oxygen_positions(coords) - coords[:, 3]).norm(dim=-1).mean())
    assert torch.stack(errors).mean() < 0.04
    assert torch.stack(oxygen).mean() < 0.1

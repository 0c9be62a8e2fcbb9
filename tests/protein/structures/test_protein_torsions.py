"""Torsions: sign, ideal helix, inverse of the builder, natives' handedness."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protein.structures.torsions import (
    backbone_from_torsions,
    backbone_torsions,
    bond_angle,
    dihedral,
)


def test_dihedral_is_positive_clockwise() -> None:
    a, b, c = torch.eye(3).double()[1], torch.zeros(3).double(), torch.eye(3).double()[0]
    for degrees in (-179.0, -90.0, -1.0, 0.0, 1.0, 90.0, 179.0):
        angle = np.radians(degrees)
        d = c + torch.tensor([0.0, np.cos(angle), np.sin(angle)])
        assert np.isclose(dihedral(a, b, c, d).item(), angle, atol=1e-12)


def test_agrees_with_biopython(chain) -> None:
    from Bio.PDB.vectors import Vector, calc_dihedral

    torsions = backbone_torsions(chain.coords)
    for i in range(len(chain) - 1):
        n, ca, c, _ = (Vector(x) for x in chain.coords[i].astype(float))
        psi = calc_dihedral(n, ca, c, Vector(chain.coords[i + 1, 0].astype(float)))
        assert np.isclose(torsions[i, 1], psi, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40))
def test_builder_and_measure_are_inverse(seed: int, length: int) -> None:
    wanted = np.random.default_rng(seed).uniform(-np.pi, np.pi, (length, 3))
    found = backbone_torsions(backbone_from_torsions(wanted))
    gap = np.abs((found - wanted + np.pi) % (2 * np.pi) - np.pi)
    assert np.isnan(gap).sum() == 3 and np.nanmax(gap) < 1e-9


def test_ideal_helix_rises_and_turns_right() -> None:
    coords = backbone_from_torsions(np.full((19, 3), np.nan))
    rise = np.linalg.norm(coords[18, 1] - coords[0, 1]) / 18
    assert 1.4 < rise < 1.6
    ca = torch.from_numpy(coords[:, 1])
    virtual = dihedral(ca[:-3], ca[1:-2], ca[2:-1], ca[3:])
    assert (virtual > 0.8).all() and (virtual < 1.0).all()


def test_breaks_and_ends_are_undefined(chain) -> None:
    bonded = np.ones(20, dtype=bool)
    bonded[7] = False
    torsions = backbone_torsions(chain.coords, bonded)
    undefined = {(0, 0), (19, 1), (19, 2), (8, 0), (7, 1), (7, 2)}
    assert set(zip(*np.nonzero(np.isnan(torsions)), strict=True)) == undefined


def test_batches_and_kinds_agree(chain) -> None:
    single = backbone_torsions(chain.coords)
    batch = backbone_torsions(torch.from_numpy(np.stack([chain.coords] * 2)))
    np.testing.assert_allclose(batch[1].numpy(), single, atol=1e-6)
    assert isinstance(single, np.ndarray) and single.dtype == np.float32


def test_bond_angle_near_its_ends() -> None:
    a, b = torch.tensor([1.0, 0.0, 0.0]).double(), torch.zeros(3).double()
    for angle in (1e-7, 1e-3, 2.0, np.pi - 1e-7):
        c = torch.tensor([np.cos(angle), np.sin(angle), 0.0])
        assert np.isclose(bond_angle(a, b, c).item(), angle, rtol=1e-9)


def test_natives_are_right_handed(natives) -> None:
    torsions = np.concatenate([backbone_torsions(natives[i])[1:-1] for i in range(60)])
    assert 0.90 < (torsions[:, 0] < 0).mean() < 0.97
    assert (np.abs(torsions[:, 2]) > 2.5).mean() > 0.99

"""Torsions to atoms and back, by laws and by structures of the Protein Data Bank."""

import math

import numpy as np
import pytest
import torch

from protein.sequence.alphabet import LETTERS
from protein.sidechains.geometry import build, tables, torsions
from protein.sidechains.internal import SYMMETRIC, placements, side_atoms
from protein.structures.torsions import backbone_from_torsions, bond_angle
from sciddiff.manifolds.torus import wrap

CHI_COUNT = dict(zip(LETTERS, map(int, "01232022423223411122"), strict=True))
HEAVY = dict(
    zip(LETTERS, [5, 6, 8, 9, 11, 4, 10, 8, 9, 8, 8, 8, 7, 9, 11, 6, 7, 7, 14, 12], strict=True)
)


def drawn(length=400, seed=0):
    rng = np.random.default_rng(seed)
    backbone = torch.from_numpy(backbone_from_torsions(rng.uniform(-3.0, 3.0, (length, 3))))
    tokens = torch.arange(length) % len(LETTERS)
    chi = torch.from_numpy(rng.uniform(-math.pi, math.pi, (length, 4)))
    return backbone, tokens, torch.where(tables().chi[tokens], chi, torch.zeros_like(chi))


def test_numbers_of_atoms_and_torsions_are_those_of_the_amino_acids():
    present, chi = tables().present.sum(-1), tables().chi.sum(-1)
    assert {a: int(present[k]) for k, a in enumerate(LETTERS)} == HEAVY
    assert {a: int(chi[k]) for k, a in enumerate(LETTERS)} == CHI_COUNT


def test_torsions_of_built_atoms_are_those_that_built_them():
    backbone, tokens, chi = drawn()
    atoms = torch.cat([backbone, build(backbone, tokens, chi)], dim=1)
    assert float(wrap(torsions(atoms, tokens) - chi).abs().max()) < 1e-12


def test_building_again_from_the_torsions_gives_the_same_atoms():
    backbone, tokens, chi = drawn(seed=1)
    side = build(backbone, tokens, chi)
    again = build(backbone, tokens, torsions(torch.cat([backbone, side], dim=1), tokens))
    assert float((again - side).abs().max()) < 1e-12


def test_bonds_and_angles_are_those_of_the_table():
    backbone, tokens, chi = drawn()
    atoms = torch.cat([backbone, build(backbone, tokens, chi)], dim=1)
    for token, letter in enumerate(LETTERS):
        place = {n: k for k, n in enumerate(("N", "CA", "C", "O", *side_atoms()[letter]))}
        for row in placements()[letter]:
            b, c = (atoms[tokens == token, place[name]] for name in row.before[1:])
            end = atoms[tokens == token, place[row.atom]]
            assert torch.allclose((end - c).norm(dim=-1), torch.tensor(row.length).double())
            angle = torch.tensor(math.radians(row.angle)).double()
            # Where a bond hangs on CB, whose place the backbone gives, the angle is still exact.
            assert torch.allclose(bond_angle(b, c, end), angle.expand(len(end))), (letter, row)


def test_half_a_turn_of_a_symmetric_end_exchanges_its_atoms_exactly():
    backbone, tokens, chi = drawn()
    turned = chi + math.pi * (tables().periods[tokens] == 2.0).double()
    one = torch.cat([backbone, build(backbone, tokens, chi)], dim=1)
    two = torch.cat([backbone, build(backbone, tokens, turned)], dim=1)
    swapped = two.gather(1, tables().swaps[tokens][..., None].expand(-1, -1, 3))
    assert float((swapped - one).abs().max()) < 1e-12
    moved = (two - one).abs().amax((1, 2)) > 0.1
    assert moved.tolist() == [LETTERS[k] in SYMMETRIC for k in tokens]


def test_side_chains_are_left_handed_as_those_of_proteins():
    backbone, tokens, chi = drawn()
    beta = build(backbone, tokens, chi)[:, 0] - backbone[:, 1]
    n, c = backbone[:, 0] - backbone[:, 1], backbone[:, 2] - backbone[:, 1]
    volume = (torch.linalg.cross(n, c) * beta).sum(-1)
    assert bool((volume[tokens != LETTERS.index("G")] > 1.0).all())


def test_atoms_follow_a_rigid_motion():
    backbone, tokens, chi = drawn(60)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.manual_seed(0)).double())[0]
    turn = turn * torch.linalg.det(turn).sign()
    moved = build(backbone @ turn.T + 5.0, tokens, chi)
    assert torch.allclose(moved, build(backbone, tokens, chi) @ turn.T + 5.0, atol=1e-10)


@pytest.mark.parametrize(
    ("letter", "chiral"), [("I", "CG1 CG2"), ("T", "OG1 CG2"), ("V", "CG1 CG2")]
)
def test_second_carbons_have_the_hand_of_the_amino_acid(letter, chiral):
    # Looking from CB to CA: isoleucine and threonine have the first atom before the second by a
    # negative turn, valine by a positive one (IUPAC 1970).
    backbone, _, chi = drawn(5)
    tokens = torch.full((5,), LETTERS.index(letter))
    side = build(backbone, tokens, chi)
    first, second = (side_atoms()[letter].index(name) for name in chiral.split())
    axis = side[:, 0] - backbone[:, 1]
    volume = (
        torch.linalg.cross(side[:, first] - side[:, 0], side[:, second] - side[:, 0]) * axis
    ).sum(-1)
    assert bool(((volume < 0) if letter in "IT" else (volume > 0)).all())

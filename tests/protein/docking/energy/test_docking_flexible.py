"""Flexible side chains: their geometry, their energy, and the compiled loops that know of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("Bio")

from protein.docking.energy import compiled
from protein.docking.energy.side_chains import SideField
from protein.docking.energy.terms import TYPE_PAIRS, VINA, pair_terms
from protein.docking.energy.vina import SearchSpace, VinaEnergy
from protein.docking.molecules.atom_types import covalent_bonds
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.pose import (
    LigandBatch,
    Pose,
    coordinates,
    retract,
)
from protein.docking.poses.tangent import tangent_gradient
from protein.docking.receptors.box import Box
from protein.docking.receptors.side_chains import residues_near, side_chains
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.monte_carlo import SearchSettings, random_poses, search
from protein.sidechains.geometry import build, torsions
from protein.structures.torsions import dihedral
from sciddiff.errors import InputError
from sciddiff.streams import Streams

CHOSEN = ("A:3", "A:6", "A:9")


@pytest.fixture(scope="module")
def ligands():
    return [ligand_from_smiles("OCc1ccccc1", "one"), ligand_from_smiles("CCN", "two")]


@pytest.fixture(scope="module")
def box(peptide):
    x, y, z = peptide.coords.mean(axis=0).tolist()
    return Box((x, y, z + 6.0), (16.0, 16.0, 16.0))


@pytest.fixture(scope="module")
def sides(peptide):
    return side_chains(peptide, CHOSEN)


@pytest.fixture(scope="module")
def packed(peptide, sides, ligands, box):
    """Batch, energy and 12 poses of both ligands."""
    shapes = [fresh_conformers(ligand, 1, seed=2)[0] for ligand in ligands]
    energy = SearchSpace(peptide, box, sides=SideField.make(peptide, sides)).energy(ligands)
    batch = LigandBatch.pack([x.tree for x in ligands], shapes, sides=sides)
    return batch, energy, random_poses(batch, [box] * 2, 12, Streams(1, torch.tensor([3, 4])))


def _doubled(batch, pose):
    wide = replace(batch, **{k: getattr(batch, k).double() for k in ("reference", "moved")})
    return wide, Pose(*(x.double() for x in pose))


def test_torsions_of_zero_are_the_crystal_and_others_are_those_of_ideal_geometry(
    peptide, sides, ligands
):
    batch, pose = _doubled(*_single(sides, ligands[0]))
    n, first = len(ligands[0]), len(ligands[0].tree)
    x = coordinates(batch, pose)[0, 0, n:].numpy()
    assert np.abs(x - peptide.coords[sides.rows]).max() < 1e-4
    # Torsions by which each chi is another one: the atoms are then those of ideal geometry, of
    # which the peptide is made, and the torsions read from them are the ones asked for.
    quads = torch.from_numpy(sides.coords[sides.tree.quads])
    wanted = torch.linspace(-2.5, 2.9, len(sides.tree), dtype=torch.float64)
    pose.torsions[0, 0, first:] = wanted - dihedral(*quads.unbind(1))
    moved = coordinates(batch, pose)[0, 0, n : n + sides.moving].numpy()
    placed = sides.placed(peptide, moved)
    begin = 0
    for label in CHOSEN:
        mine = [k for k, name in enumerate(placed.residues) if name == label]
        atoms = torch.from_numpy(placed.coords[mine])
        token = torch.tensor("ACDEFGHIKLMNPQRSTVWY".index(_letter(placed.resnames[mine[0]])))
        full = torch.zeros(14, 3, dtype=torch.float64)
        full[: len(atoms)] = atoms
        chi = torsions(full, token)
        count = int((chi != 0).sum())
        assert torch.allclose(chi[:count], wanted[begin : begin + count], atol=1e-4)
        ideal = build(full[:3], token, chi)[: len(atoms) - 4]
        assert (ideal - atoms[4:]).abs().max() < 2e-3
        begin += count
    assert begin == len(sides.tree)


def _single(sides, ligand):
    batch = LigandBatch.pack([ligand.tree], [fresh_conformers(ligand, 1)[0]], sides=sides)
    return batch, batch.identity(1)


def _letter(resname):
    return {"LYS": "K", "LEU": "L", "PHE": "F"}[resname]


def test_gradient_is_that_of_finite_differences(packed):
    batch, energy, pose = packed
    batch, pose = _doubled(batch, Pose(*(x[:, :6] for x in pose)))
    exact = replace(energy, grids=None)
    for field in (exact, energy):

        def value(at, field=field):
            return field.evaluate(coordinates(batch, at), 5.0)[0]

        x = coordinates(batch, pose)
        slope = tangent_gradient(batch, pose, x, field.evaluate(x, 5.0)[1])
        step = 1e-5 * torch.eye(batch.dofs, dtype=torch.float64)
        for k in range(batch.dofs):
            ahead, behind = (value(retract(pose, s * step[k])) for s in (1.0, -1.0))
            error = (slope[..., k] - (ahead - behind) / 2e-5).abs() / (1 + slope[..., k].abs())
            real = torch.ones(2, dtype=torch.bool)
            if k >= 6:
                real = batch.torsion_mask[:, k - 6]
            # An interpolated table has a kink at each of its points, where a pose may lie.
            assert error[real].flatten().quantile(0.8) < 2e-3, k


def test_a_translation_moves_no_side_chain_and_a_side_chain_no_ligand(packed, ligands):
    batch, _, pose = packed
    x, n = coordinates(batch, pose), len(ligands[0])
    step = torch.zeros(2, 12, batch.dofs)
    step[..., :6] = 0.3
    y = coordinates(batch, retract(pose, step))
    assert torch.equal(x[0, :, n:], y[0, :, n:]) and not torch.equal(x[0, :, :n], y[0, :, :n])
    step = 0.3 * torch.cat([torch.zeros(2, 6), batch.swings.float()], dim=-1)[:, None]
    y = coordinates(batch, retract(pose, step))
    assert torch.equal(x[0, :, :n], y[0, :, :n]) and not torch.equal(x[0, :, n:], y[0, :, n:])


def test_scores_are_those_of_a_rigid_receptor_with_the_side_chains_moved(
    packed, peptide, sides, ligands, box
):
    batch, energy, pose = packed
    x = coordinates(batch, pose)
    score, searched = energy.score(x), replace(energy, grids=None).evaluate(x)[0]
    for i, ligand in enumerate(ligands):
        n = len(ligand)
        for k in range(4):
            moved = sides.placed(peptide, x[i, k, n : n + sides.moving].numpy())
            rigid = VinaEnergy.build([ligand], [moved.near(box)])
            own = x[i : i + 1, k : k + 1, :n].contiguous()
            alone = rigid.score(own)
            for name in ("interaction", "affinity", "terms"):
                found, there = getattr(score, name)[i, k], getattr(alone, name)[0, 0]
                assert torch.allclose(found, there, rtol=1e-4, atol=2e-3), name
            # Tables hold the pairs; the rest is exact.
            whole = rigid.evaluate(own)[0][0, 0] + energy.sides.energy(x)[i, k]
            assert torch.allclose(searched[i, k], whole, rtol=2e-3, atol=2e-2)


def test_side_chains_have_the_energy_of_every_pair_beyond_three_bonds(
    packed, peptide, sides, ligands
):
    batch, energy, pose = packed
    x = coordinates(batch, pose)
    n = len(ligands[0])
    bonds = covalent_bonds(list(peptide.elements), peptide.coords)
    linked = np.eye(len(peptide), dtype=int)
    linked[bonds[:, 0], bonds[:, 1]] = linked[bonds[:, 1], bonds[:, 0]] = 1
    far = np.linalg.matrix_power(linked, 3) == 0
    moving = set(sides.rows[: sides.moving].tolist())
    home = np.linalg.norm(peptide.coords[:, None] - peptide.coords, axis=-1)
    for k in range(2):
        moved = sides.placed(peptide, x[0, k, n : n + sides.moving].numpy())
        gaps = np.linalg.norm(moved.coords[:, None] - moved.coords, axis=-1)
        # Distances that no torsion changes are those of all poses; tell them by several.
        other = sides.placed(peptide, x[0, k + 2, n : n + sides.moving].numpy())
        third = np.linalg.norm(other.coords[:, None] - other.coords, axis=-1)
        varies = (np.abs(gaps - home) > 1e-4) | (np.abs(third - home) > 1e-4)
        total = 0.0
        for i in moving:
            for j in range(len(peptide)):
                if not far[i, j] or (j in moving and j < i) or not varies[i, j]:
                    continue
                a, b = peptide.types[i], peptide.types[j]
                radius, greasy, polar = (t[a, b] for t in TYPE_PAIRS)
                terms = pair_terms(torch.tensor(gaps[i, j]), radius, greasy, polar)
                total += float(terms @ VINA.pair().double())
        found = float(energy.sides.energy(x)[0, k])
        assert found == pytest.approx(total, rel=1e-3, abs=0.02)


def test_compiled_loops_do_what_tensors_do(packed, monkeypatch):
    pytest.importorskip("numba")
    batch, energy, pose = packed
    x = coordinates(batch, pose)
    real = (batch.atom_mask | batch.anchored)[:, None, :, None]

    def everything():
        settings = MinimizeSettings(4, 5.0)
        return energy.evaluate(x, 5.0), minimize(batch, energy, pose, settings)

    (value, slope), found = everything()
    monkeypatch.setenv(compiled.SWITCH, "0")
    (reference, gradient), expected = everything()
    torch.testing.assert_close(value, reference, rtol=2e-5, atol=2e-3)
    assert ((slope - gradient).abs() * real / (1 + gradient.abs())).max() < 2e-3
    close = ((found.coords - expected.coords).abs() * real).amax((-1, -2)) < 1e-2
    assert close.double().mean() > 0.8


def test_a_search_does_not_feel_its_batch(packed, peptide, sides, ligands, box):
    batch, energy, _ = packed
    quick = SearchSettings(chains=8, rounds=4, archive=4, final=20)
    both = search(batch, energy, [box] * 2, Streams(5, torch.tensor([3, 4])), quick)
    space = SearchSpace(peptide, box, sides=SideField.make(peptide, sides))
    shape = batch.reference[1, : len(ligands[1])].numpy()
    one = LigandBatch.pack([ligands[1].tree], [shape], sides=sides)
    alone = search(one, space.energy(ligands[1:]), [box], Streams(5, torch.tensor([4])), quick)
    assert np.allclose(both.energy[1], alone.energy[0], atol=1e-4)
    total = both.score.interaction + both.score.intramolecular + both.score.side_chains
    found = torch.isfinite(both.energy)
    assert torch.equal(both.energy[found], total[found])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("A:1",), "no torsion that turns"),
        (("A:2",), "no torsion that turns"),
        (("A:12",), "none of the twenty"),
        (("A:13",), "lacks CG"),
        (("A:14",), "bonded to B:1"),
        (tuple(f"A:{k}" for k in range(11)), "above 10"),
    ],
)
def test_what_cannot_turn_is_refused_by_name(odd_peptide, labels, words):
    with pytest.raises(InputError, match=words):
        side_chains(odd_peptide, labels)


def test_residues_near_a_ligand_are_those_that_can_turn(odd_peptide):
    place = odd_peptide.coords.mean(axis=0, keepdims=True)
    labels, note = residues_near(odd_peptide, place, 40.0)
    assert labels == ("A:3", "A:6", "A:9", "A:11") and note == ""
    with pytest.raises(InputError, match="larger distance"):
        residues_near(odd_peptide, place + 80.0, 3.0)


def test_a_side_chain_out_of_reach_is_refused(sides, box):
    with pytest.raises(InputError, match="A:3, A:6, A:9 cannot touch"):
        sides.check([Box((200.0, 0.0, 0.0), box.size)])

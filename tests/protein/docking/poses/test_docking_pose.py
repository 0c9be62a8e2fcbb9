"""Poses: the map, its gradient and its inverse are exact, for one ligand and in batches."""

import numpy as np
import pytest
import torch

from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.pose import (
    LigandBatch,
    Pose,
    coordinates,
    dihedrals,
    recover,
    retract,
)
from protein.docking.poses.tangent import tangent_gradient
from sciddiff.manifolds import so3

SMILES = ("CCCCC(=O)Nc1ccc(OCC(N)C)cc1", "c1ccccc1", "OCCOCCOCCOCC", "CC(C)Cc1ccc(C(C)C(O)=O)cc1")


@pytest.fixture(scope="module")
def batch():
    ligands = [ligand_from_smiles(s) for s in SMILES]
    conformers = [fresh_conformers(m, 1, seed=2)[0] for m in ligands]
    return LigandBatch.pack([m.tree for m in ligands], conformers, torch.float64)


def random_pose(batch, poses=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    size, turns = batch.torsion_mask.shape

    def draw(*shape):
        return torch.randn(size, poses, *shape, generator=g, dtype=torch.float64)

    torsions = 2 * draw(turns) * batch.torsion_mask[:, None]
    return Pose(5 * draw(3), so3.exp_map(2 * draw(3)), torsions)


def test_identity_is_the_reference(batch):
    x = coordinates(batch, batch.identity(2))
    assert torch.allclose(x, batch.reference[:, None].expand_as(x), atol=1e-12)


def test_translation_is_the_centre(batch):
    pose = random_pose(batch)
    weight = batch.atom_mask[:, None, :, None].double()
    centre = (coordinates(batch, pose) * weight).sum(-2) / weight.sum(-2)
    assert torch.allclose(centre, pose.translation, atol=1e-12)


def test_a_torsion_adds_to_its_dihedral_and_to_no_other(batch):
    before = dihedrals(batch, batch.reference[:, None])
    for t in range(batch.torsion_mask.shape[1]):
        pose = batch.identity(1)
        pose.torsions[:, :, t] = 0.7
        change = dihedrals(batch, coordinates(batch, pose)) - before
        change = torch.remainder(change + torch.pi, 2 * torch.pi) - torch.pi
        expected = torch.zeros_like(change)
        expected[:, :, t] = 0.7
        error = (change - expected).abs() * batch.torsion_mask[:, None]
        assert error.max() < 1e-9


def test_rigid_pairs_keep_their_distance_and_others_do_not():
    for smiles in SMILES:
        ligand = ligand_from_smiles(smiles)
        conformer = fresh_conformers(ligand, 1, seed=2)[0]
        one = LigandBatch.pack([ligand.tree], [conformer], torch.float64)
        x = coordinates(one, random_pose(one, 8))[0]
        change = (torch.cdist(x, x) - torch.cdist(one.reference, one.reference)).abs().amax(0)
        rigid = torch.from_numpy(ligand.tree.rigid_pairs())
        assert change[rigid].max() < 1e-6
        assert not (~rigid).any() or change[~rigid].min() > 1e-3


def test_the_pose_is_recovered_from_coordinates(batch):
    pose = random_pose(batch)
    x = coordinates(batch, pose)
    found = recover(batch, x)
    assert torch.allclose(coordinates(batch, found), x, atol=1e-9)
    assert torch.allclose(found.rotation, pose.rotation, atol=1e-9)
    turns = torch.remainder(found.torsions - pose.torsions + torch.pi, 2 * torch.pi) - torch.pi
    assert (turns.abs() * batch.torsion_mask[:, None]).max() < 1e-9


def test_closed_gradient_equals_autograd(batch):
    pose = random_pose(batch)
    x = coordinates(batch, pose)
    g = torch.Generator().manual_seed(1)
    weights = torch.randn(x.shape, generator=g, dtype=torch.float64)
    weights = weights * batch.atom_mask[:, None, :, None]
    step = torch.zeros(*x.shape[:2], batch.dofs, dtype=torch.float64, requires_grad=True)
    (coordinates(batch, retract(pose, step)) * weights).sum().backward()
    closed = tangent_gradient(batch, pose, x, weights)
    real = torch.nn.functional.pad(batch.torsion_mask, (6, 0), value=True)[:, None]
    assert ((closed - step.grad) * real).abs().max() < 1e-10
    assert (closed * ~real).abs().max() == 0


def test_coordinates_are_differentiable_in_every_part(batch):
    pose = random_pose(batch, 1)
    parts = [part.clone().requires_grad_() for part in pose]
    coordinates(batch, Pose(*parts)).square().sum().backward()
    assert all(torch.isfinite(part.grad).all() and part.grad.abs().sum() > 0 for part in parts)


def test_a_ligand_does_not_feel_its_batch(batch):
    pose = random_pose(batch)
    together = coordinates(batch, pose)
    for i, smiles in enumerate(SMILES):
        ligand = ligand_from_smiles(smiles)
        conformer = fresh_conformers(ligand, 1, seed=2)[0]
        one = LigandBatch.pack([ligand.tree], [conformer], torch.float64)
        turns = len(ligand.tree)
        own = Pose(pose[0][i : i + 1], pose[1][i : i + 1], pose[2][i : i + 1, :, :turns])
        alone = coordinates(one, own)[0]
        assert torch.allclose(together[i, :, : len(ligand)], alone, atol=1e-10)


def test_relabelled_atoms_give_the_same_poses(drug, conformer):
    from rdkit import Chem

    from protein.docking.molecules.ligand import ligand_from_mol

    order = np.random.default_rng(0).permutation(len(drug))
    shuffled = Chem.RenumberAtoms(drug.with_coords(conformer), order.tolist())
    other = ligand_from_mol(shuffled)
    a = LigandBatch.pack([drug.tree], [conformer], torch.float64)
    b = LigandBatch.pack([other.tree], [conformer[order]], torch.float64)
    x = coordinates(a, random_pose(a))
    y = coordinates(b, recover(b, x[:, :, order]))
    assert torch.allclose(y, x[:, :, order], atol=1e-9)


def test_a_mirrored_target_is_out_of_reach(drug, conformer):
    one = LigandBatch.pack([drug.tree], [conformer], torch.float64)
    mirrored = one.reference[:, None] * torch.tensor([1.0, 1.0, -1.0])
    rebuilt = coordinates(one, recover(one, mirrored))
    assert (rebuilt - mirrored).square().sum(-1).mean().sqrt() > 0.1

"""Minimisation and search: laws on simple fields, and a ligand put back into its mould."""

import numpy as np
import pytest
import torch

from protein.docking.energy.grid import make_grid
from protein.docking.energy.vina import VinaEnergy
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.poses.pose import LigandBatch, coordinates, retract
from protein.docking.receptors.box import box_around
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.monte_carlo import SearchSettings, finish, mutate, random_poses, search
from sciddiff.streams import Streams


class Attraction:
    """Half the summed squared distance to a target."""

    def __init__(self, target):
        self.target = target

    def evaluate(self, coords, cap=float("inf")):
        delta = coords - self.target
        return 0.5 * delta.square().sum((-1, -2)), delta


@pytest.fixture(scope="module")
def batch(drug, conformer):
    return LigandBatch.pack([drug.tree], [conformer], torch.float64)


def displaced(batch, poses, sigma, seed=0):
    g = torch.Generator().manual_seed(seed)
    step = sigma * torch.randn(1, poses, batch.dofs, generator=g, dtype=torch.float64)
    return retract(batch.identity(poses), step)


def test_a_target_is_reached_to_rounding(batch):
    target = coordinates(batch, displaced(batch, 1, 1.0, seed=9))
    start = displaced(batch, 32, 0.4)
    start = start._replace(translation=start.translation + target.mean(-2))
    found = minimize(batch, Attraction(target), start, MinimizeSettings(200))
    rmsd = (found.coords - target).square().sum(-1).mean(-1).sqrt()
    # A squared distance has several minima on the torus; from near enough most poses find it.
    assert (rmsd < 1e-4).double().mean() > 0.3
    assert torch.allclose(found.coords, coordinates(batch, found.pose), atol=1e-9)


def test_energy_never_rises_and_effort_helps(batch, drug, conformer, imprint):
    energy = VinaEnergy.build(
        [drug], [imprint], grids=[make_grid(imprint, box_around(conformer), drug.types)]
    )
    start = displaced(batch, 16, 0.3)
    centre = torch.as_tensor(conformer.mean(axis=0))
    start = start._replace(translation=start.translation + centre)
    means = []
    for n in (1, 10, 40, 160):
        found = minimize(batch, energy, start, MinimizeSettings(n, cap=10.0))
        means.append(found.energy)
        turns = found.pose.rotation
        eye = torch.eye(3, dtype=turns.dtype)
        assert (turns @ turns.transpose(-1, -2) - eye).abs().max() < 1e-6
    for before, after in zip(means, means[1:], strict=False):
        assert (after <= before + 1e-6).all()
    assert means[2].mean() < means[0].mean() - 2.0


def test_a_pose_does_not_feel_its_neighbours(batch):
    target = coordinates(batch, displaced(batch, 1, 1.0, seed=9))
    start = displaced(batch, 8, 0.5)
    together = minimize(batch, Attraction(target), start, MinimizeSettings(30))
    alone = minimize(
        batch, Attraction(target), type(start)(*(x[:, 3:4] for x in start)), MinimizeSettings(30)
    )
    assert torch.allclose(together.coords[:, 3:4], alone.coords, atol=1e-6)


def test_random_poses_fill_the_box_and_follow_the_stream(batch, conformer):
    box = box_around(conformer, 4.0)
    pose = random_poses(batch, [box], 4000, Streams.first(3, 1))
    centre = pose.translation[0].numpy()
    assert (box.distance(centre) == 0).all()
    spread = centre.std(axis=0) / np.asarray(box.size)
    assert np.allclose(spread, 12**-0.5, atol=0.02)
    assert torch.allclose(pose.rotation.mean((0, 1)), torch.zeros(3, 3).double(), atol=0.05)
    again = random_poses(batch, [box], 4000, Streams.first(3, 1))
    assert torch.equal(pose.translation, again.translation)


def test_a_mutation_changes_one_thing(batch):
    before = displaced(batch, 600, 1.0)
    after = mutate(batch, before, Streams.first(0, 1))
    moved = (after.translation - before.translation).norm(dim=-1) > 1e-9
    turned = (after.rotation - before.rotation).norm(dim=(-1, -2)) > 1e-9
    twisted = (after.torsions - before.torsions).abs() > 1e-9
    changes = moved.int() + turned.int() + twisted.sum(-1)
    assert (changes == 1).all()
    share = torch.stack([moved.double().mean(), turned.double().mean()])
    assert torch.allclose(share, torch.full((2,), 1 / (batch.dofs - 4)).double(), atol=0.06)
    assert (after.translation - before.translation).norm(dim=-1).max() <= 2.0


QUICK = SearchSettings(chains=64, rounds=15, archive=12, final=60)


def test_a_ligand_is_put_back_into_its_mould(drug, conformer, imprint):
    box = box_around(conformer, 3.0)
    settings = DockSettings(conformers=2, seed=1, effort=QUICK)
    docked = Docker(imprint, box, settings).dock([drug], [0])[0].docked
    assert docked is not None
    assert (np.diff(docked.energy) >= 0).all() and len(docked.coords) > 3
    assert symmetric_rmsd(docked.coords, conformer, drug.symmetries)[0] < 1.5
    # Nothing better was missed: the search ends at least as low as the true pose, minimised.
    energy = VinaEnergy.build([drug], [imprint], grids=[make_grid(imprint, box, drug.types)])
    true = LigandBatch.pack([drug.tree], [conformer])
    start = true.identity(1)._replace(translation=torch.tensor(conformer.mean(0))[None, None])
    start = start._replace(translation=start.translation.float())
    assert docked.energy[0] < finish(true, energy, start).energy.item() + 0.3
    apart = symmetric_rmsd(docked.coords[1:], docked.coords[0], drug.symmetries)
    assert apart.min() >= QUICK.distinct


def test_a_search_does_not_depend_on_its_batch(drug, conformer, imprint):
    from protein.docking.molecules.conformers import fresh_conformers
    from protein.docking.molecules.ligand import ligand_from_smiles

    small = ligand_from_smiles("OC(=O)Cc1ccccc1")
    box = box_around(conformer, 2.0)
    ligands = [small, drug]
    shapes = [fresh_conformers(m, 1, seed=0)[0] for m in ligands]
    grid = make_grid(imprint, box, np.concatenate([x.types for x in ligands]), 0.5)
    quick = SearchSettings(chains=8, rounds=2, archive=4, final=20)

    def run(chosen):
        batch = LigandBatch.pack([ligands[i].tree for i in chosen], [shapes[i] for i in chosen])
        energy = VinaEnergy.build([ligands[i] for i in chosen], [imprint], grids=[grid])
        return search(batch, energy, [box] * len(chosen), Streams(5, torch.tensor(chosen)), quick)

    together, alone = run([0, 1]), run([0])
    # Sums over padding round differently, and a search amplifies the last bit: energies agree.
    assert torch.allclose(together.energy[0, 0], alone.energy[0, 0], atol=0.5)
    assert torch.equal(run([0]).coords, alone.coords)

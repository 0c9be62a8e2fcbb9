"""Compiled loops against the tensors they replace."""

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from protein.docking.energy import compiled
from protein.docking.energy.grid import make_grid
from protein.docking.energy.vina import VinaEnergy
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.poses.pose import LigandBatch, coordinates
from protein.docking.receptors.box import box_around
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.monte_carlo import SearchSettings, random_poses, search
from sciddiff.streams import Streams


@pytest.fixture(scope="module")
def ligands(drug):
    return [drug, ligand_from_smiles("OC(=O)Cc1ccccc1", "small"),
            ligand_from_smiles("c1ccccc1", "rigid")]  # fmt: skip


@pytest.fixture(scope="module")
def shapes(ligands):
    return [fresh_conformers(ligand, 1, seed=4)[0] for ligand in ligands]


@pytest.fixture(scope="module")
def box(conformer):
    return box_around(conformer, 3.0)


@pytest.fixture(scope="module")
def packed(ligands, shapes, imprint, box):
    """Maker of batch, energy and 24 poses of some of the ligands."""
    grid = make_grid(imprint, box, np.concatenate([x.types for x in ligands]), 0.5)

    def pack(chosen):
        batch = LigandBatch.pack([ligands[i].tree for i in chosen], [shapes[i] for i in chosen])
        energy = VinaEnergy.build([ligands[i] for i in chosen], [imprint], grids=[grid])
        streams = Streams(2, torch.tensor(chosen))
        return batch, energy, random_poses(batch, [box] * len(chosen), 24, streams)

    return pack


@pytest.fixture
def tensors(monkeypatch):
    """Run a function with compiled loops turned off."""

    def run(function, *args):
        with monkeypatch.context() as patch:
            patch.setenv(compiled.SWITCH, "0")
            return function(*args)

    return run


def test_energy_and_gradient_are_those_of_tensors(packed, tensors):
    batch, energy, pose = packed([0, 1, 2])
    coords = coordinates(batch, pose)
    for cap in (2.0, 1000.0, float("inf")):
        value, slope = energy.evaluate(coords, cap)
        reference, gradient = tensors(energy.evaluate, coords, cap)
        torch.testing.assert_close(value, reference, rtol=2e-5, atol=2e-3)
        error = (slope - gradient).abs() / (1 + gradient.abs())
        assert error.max() < 2e-3


def test_scores_are_those_of_tensors(packed, tensors):
    batch, energy, pose = packed([0, 1, 2])
    coords = coordinates(batch, pose)
    score, reference = energy.score(coords), tensors(energy.score, coords)
    for name in ("affinity", "interaction", "intramolecular", "terms"):
        torch.testing.assert_close(
            getattr(score, name), getattr(reference, name), rtol=2e-4, atol=2e-3
        )


def test_first_steps_are_those_of_tensors(packed, tensors):
    batch, energy, pose = packed([0, 1, 2])
    for evaluations in (1, 2, 4):
        settings = MinimizeSettings(evaluations, 5.0)
        found = minimize(batch, energy, pose, settings)
        reference = tensors(minimize, batch, energy, pose, settings)
        real = batch.atom_mask[:, None].expand(found.coords.shape[:3])
        close = (found.coords - reference.coords).abs()[real] < 1e-2
        assert close.double().mean() > 0.98
        torch.testing.assert_close(
            found.energy.median(), reference.energy.median(), rtol=1e-2, atol=1e-2
        )
    # Later a last bit decides at a kink of the grid; the depths reached are alike.
    settings = MinimizeSettings(60, 5.0)
    found = minimize(batch, energy, pose, settings).energy.median(dim=1).values
    reference = tensors(minimize, batch, energy, pose, settings).energy.median(dim=1).values
    assert (found - reference).abs().max() < 1.5


def test_what_is_told_of_a_minimum_belongs_together(packed):
    batch, energy, pose = packed([0, 1, 2])
    start, _ = energy.evaluate(coordinates(batch, pose), 5.0)
    found = minimize(batch, energy, pose, MinimizeSettings(200, 5.0))
    torch.testing.assert_close(found.coords, coordinates(batch, found.pose), rtol=0, atol=1e-4)
    value, _ = energy.evaluate(found.coords, 5.0)
    torch.testing.assert_close(value, found.energy, rtol=1e-4, atol=1e-3)
    assert (found.energy <= start + 1e-4).all()


def test_padding_and_threads_change_no_bit(packed):
    settings = MinimizeSettings(30, 5.0)
    batch, energy, pose = packed([0, 1, 2])
    together = minimize(batch, energy, pose, settings)
    for i in range(3):
        one, its_energy, its_pose = packed([i])
        alone = minimize(one, its_energy, its_pose, settings)
        n = one.reference.shape[1]
        assert torch.equal(together.energy[i], alone.energy[0])
        assert torch.equal(together.coords[i, :, :n], alone.coords[0])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        threaded = minimize(batch, energy, pose, settings)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(threaded.energy, together.energy)


def test_a_search_does_not_feel_its_batch_at_all(packed, box):
    quick = SearchSettings(chains=8, rounds=4, archive=4, final=20)

    def run(chosen):
        batch, energy, _ = packed(chosen)
        return search(batch, energy, [box] * len(chosen), Streams(5, torch.tensor(chosen)), quick)

    together, alone = run([0, 1, 2]), run([1])
    n = alone.coords.shape[2]
    assert torch.allclose(together.energy[1], alone.energy[0], atol=1e-5)
    assert torch.equal(together.coords[1, :, :n], alone.coords[0])


def test_the_switch(monkeypatch):
    assert compiled.ready(torch.zeros(1))
    assert not compiled.ready(torch.zeros(1, dtype=torch.float64))
    monkeypatch.setenv(compiled.SWITCH, "0")
    assert not compiled.ready(torch.zeros(1))

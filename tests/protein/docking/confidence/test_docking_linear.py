"""The linear score: it finds the law that orders poses, and the contacts of right ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit")

from protein.docking.confidence.linear import LinearScore, fit_linear
from protein.docking.confidence.pose_set import COLUMNS, PoseSet, pack, pose_set
from protein.docking.search.ranking import Docked


@pytest.fixture
def some(drug, imprint, conformer) -> PoseSet:
    """Twelve poses about the one that fits, with energies of their own."""
    rng = np.random.default_rng(0)
    coords = conformer + rng.normal(size=(12, 1, 3))
    energy, strain = rng.normal(size=(2, 12))
    return pose_set(drug, imprint, Docked(coords, energy, energy, strain, np.zeros((12, 5))))


def test_untrained_it_is_the_energy(some):
    above = LinearScore().above(pack([some]))
    assert torch.allclose(above, some.energy - some.energy.min(), atol=1e-5)


def test_it_finds_the_column_that_orders_poses(some):
    rng = np.random.default_rng(1)
    sets, far = [], []
    for _ in range(60):
        terms = torch.from_numpy(rng.normal(size=some.terms.shape)).float()
        own = torch.from_numpy(rng.normal(size=some.own.shape)).float()
        own[:, 4] = 0.5  # torsions
        sets.append(replace(some, terms=terms, own=own))
        far.append(3.0 - terms[:, 7] + 0.1 * torch.from_numpy(rng.normal(size=12)).float())
    right = [r - r.min() + 0.5 for r in far]
    score = fit_linear(sets[:40], right[:40], [])
    found = []
    for poses, rmsd in zip(sets[40:], right[40:], strict=True):
        above = score.above(pack([poses]))
        assert float(above.min()) == 0.0
        found.append(float(rmsd[above.argmin()]) < 1.0)
    assert np.mean(found) > 0.8
    place = 1 + len(COLUMNS) - some.terms.shape[1] + 7
    assert int(score.weight.abs().argmax()) == place


def test_the_potential_likes_the_contacts_that_it_was_shown(some, drug, mould, conformer):
    natives = []
    for seed in range(8):
        receptor = mould(conformer, seed=seed)
        docked = Docked(conformer[None], *np.zeros((3, 1)), np.zeros((1, 5)))
        natives.append(pose_set(drug, receptor, docked))
    score = fit_linear([], [], natives)
    assert float(score.potential.abs().max()) > 0.3
    # A mould has no atom within 3.6 Å of the ligand: nearer contacts were never seen.
    batch = pack(natives[:1])
    energy = score._columns(batch)[:, 0]
    near = batch._replace(contact_shape=batch.contact_shape * torch.tensor([0.6, 1.0, 1.0]))
    assert float(score._columns(near)[0, 0]) != pytest.approx(float(energy))
    # A ligand counts once, however many poses of it there are.
    again = fit_linear([], [], [natives[0].taken(torch.zeros(5, dtype=torch.int64)), *natives[1:]])
    assert torch.allclose(again.potential, score.potential, atol=1e-6)


def test_the_best_is_sought_among_the_poses_of_its_own_ligand(some):
    few = some.taken(torch.tensor([3, 5, 9]))
    score = LinearScore()
    score.weight[1:] = torch.randn(len(COLUMNS), generator=torch.Generator().manual_seed(0))
    together = score.above(pack([some, few]))
    apart = torch.cat([score.above(pack([s])) for s in (some, few)])
    assert torch.allclose(together, apart, atol=1e-4)

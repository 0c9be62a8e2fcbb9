"""Agreement with AutoDock Vina 1.2: `score_only` on fifty poses."""

import importlib.util

import numpy as np
import pytest
import torch

from protein.docking.energy.vina import VinaEnergy
from protein.docking.molecules.files import read_ligands
from protein.docking.poses.pose import LigandBatch, coordinates, retract
from protein.docking.receptors.box import box_around
from protein.docking.receptors.receptor import read_receptor

pytest.importorskip("vina")
pytest.importorskip("meeko")
POSES = 5


@pytest.fixture(scope="module")
def reference(repository):
    path = repository / "benchmarks" / "vina_reference.py"
    spec = importlib.util.spec_from_file_location("vina_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_scores_agree_within_a_tenth_on_fifty_poses(complexes, reference):
    """The crystal pose and four disturbed ones, clashes included, of ten complexes."""
    differences, counted = [], 0
    for folder in complexes[::2]:
        row = next(read_ligands(folder / "ligand.sdf"))
        if row.ligand is None or len(row.ligand) > 27 or counted == 10:
            continue
        counted += 1
        ligand = row.ligand
        receptor = read_receptor(folder / "protein.pdb").pocket(ligand.coords, 12.0)
        vina = reference.VinaReference(receptor, box_around(ligand.coords, 6.0), spacing=1.0)
        batch = LigandBatch.pack([ligand.tree], [ligand.coords], torch.float64)
        g = torch.Generator().manual_seed(counted)
        step = 0.12 * torch.randn(1, POSES, batch.dofs, generator=g, dtype=torch.float64)
        step[:, 0] = 0.0
        pose = batch.identity(POSES)
        centre = torch.as_tensor(ligand.coords.mean(axis=0))
        pose = pose._replace(translation=pose.translation + centre)
        coords = coordinates(batch, retract(pose, step))
        ours = VinaEnergy.build([ligand], [receptor]).score(coords)
        theirs = np.stack([vina.score(ligand, x) for x in coords[0].numpy()])
        differences += (ours.affinity[0].numpy() - theirs[:, 0]).tolist()
        assert np.abs(ours.interaction[0].numpy() - theirs[:, 1]).max() < 0.1
    assert len(differences) == 50
    assert np.abs(differences).max() < 0.1
    assert np.abs(differences).mean() < 0.02

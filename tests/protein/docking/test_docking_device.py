"""Docking on a device, shown on a logical CUDA device where there is no real one."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("e3nn")
pytest.importorskip("torch_geometric")

from protein.docking.receptors.box import box_around

ROOT = Path(__file__).resolve().parents[3]
DEVICES = ROOT / "tests" / "devices"

SCRIPT = """
import json, os, pickle, sys
from logical_device import logical_cuda  # before torch
import numpy as np, torch
from protein.docking.confidence.ranker import find_ranker
from protein.docking.diffusion.propose import find_proposer
from protein.docking.diffusion.settings import ProposeSettings
from protein.docking.energy.vina import VinaEnergy
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.settings import DockSettings
from protein.docking.search.monte_carlo import SearchSettings

torch.set_num_threads(1)
ligand, receptor, box = pickle.load(open(sys.argv[1], "rb"))
draws = ProposeSettings(samples=4, steps=int(sys.argv[3]), guidance=1.0)
small = SearchSettings(chains=8, rounds=2, evaluations=4, archive=4, final=6)
effort = {"search": small, "network": "none"}[sys.argv[2]]
settings = DockSettings(poses=3, conformers=2, effort=effort, propose=draws)

def dock(device):
    net = find_proposer("dock_lite" if effort == "none" else None, device)
    docker = Docker(receptor, box, settings, net, find_ranker(None, device), device)
    # Not `dock`, which would make a fault a failed row.
    return docker.dock_together([ligand], [0])[0].docked

with logical_cuda() as log:
    there = dock(torch.device("cuda", 0))
# What was computed there is what the processor says of the same poses.
energy = VinaEnergy.build([ligand], [receptor.near(box)])
score = energy.score(torch.as_tensor(there.coords, dtype=torch.float32).unsqueeze(0))
total = (score.interaction + score.intramolecular)[0].numpy()
np.testing.assert_allclose(there.energy, total, rtol=1e-3, atol=1e-2)
assert (np.diff(there.confidence) <= 0).all() and 0.0 < there.confidence.min()
places = {}
for (kind, _, place), number in log.events.items():
    key = kind + " " + place.split("docking/")[-1].split(":")[0]
    places[key] = places.get(key, 0) + number
print(json.dumps({"ops": sum(log.ops.values()), "places": places}))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, drug, conformer, imprint):
    """Docks on the logical device; what was launched there, and where something was copied."""
    if shutil.which("g++") is None:
        pytest.skip("the logical device needs g++")
    file = tmp_path_factory.mktemp("device") / "system.pickle"
    file.write_bytes(pickle.dumps((drug, imprint, box_around(conformer))))

    def run(what, steps=2):
        path = os.pathsep.join([str(ROOT), str(DEVICES), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(file), what, str(steps)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.slow
def test_the_search_and_the_ranker_run_on_the_device(run):
    told = run("search")
    assert told["ops"] > 3000
    # Nothing waits for the device, or is sent there, round by round.
    busy = {key: n for key, n in told["places"].items() if "search/mini" in key or "pose" in key}
    # Every tensor of the ligands' records goes there once.
    assert busy.pop("h2d poses/pose.py", 0) < 30, told["places"]
    assert sum(busy.values()) < 20, told["places"]


@pytest.mark.slow
def test_the_network_reads_its_complexes_once(run):
    """Steps of the sampler copy nothing to the device: its complexes are there already."""
    two, four = run("network", 2), run("network", 4)
    for places in (two["places"], four["places"]):
        assert places.get("h2d diffusion/systems.py", 0) < 15, places
    sent = [
        sum(n for key, n in told["places"].items() if key.startswith("h2d"))
        for told in (two, four)
    ]
    assert sent[1] <= sent[0] + 2

"""Forecasts and analyses on a device, shown on a logical CUDA device where none is real."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEVICES = ROOT / "tests" / "devices"

SCRIPT = """
import json, os, sys
from logical_device import logical_cuda  # before torch
import numpy as np, torch
from weather.assimilation.analysis import AssimilationSettings, analyses
from weather.assimilation.observations import Observations
from weather.forecast.forecaster import Forecaster
from weather.forecast.solving import SamplingSettings
from weather.forecast.initial import read_initial

torch.set_num_threads(1)
kind, crps, diffusion, store = sys.argv[1:]

def rollout(device, leads):
    forecaster = Forecaster(crps, device)
    (initial,) = read_initial(store, forecaster.spec)
    steps = forecaster.rollout(initial.frames, initial.time, leads, range(2), seed=1)
    return [state.cpu() for state in steps]

def analysis(device, steps):
    forecaster = Forecaster(diffusion, device, sampling=SamplingSettings(steps=steps))
    (initial,) = read_initial(store, forecaster.spec)
    seen = Observations(np.array([0, 1]), np.array([10.0, -40.0]), np.array([5.0, 200.0]),
                        np.array([5510.0, 3.0]), np.array([5.0, 1.0]), (None, None))
    # Conjugate gradients take forward derivatives, which the logical device cannot see through.
    settings = AssimilationSettings(iterations=0, seed=1, batch=2)
    made = analyses(forecaster, initial.frames, initial.time, range(2), seen, settings)
    return [state.detach().cpu() for state in made]

run = {"rollout": rollout, "analysis": analysis}[kind]
counts = {}
for size in (3, 6):
    wanted = run("cpu", size)
    with logical_cuda() as log:
        found = run("cuda", size)
    for one, other in zip(found, wanted, strict=True):
        scale = other.std(dim=(-1, -2), keepdim=True) + 1e-6
        assert float(((one - other) / scale).abs().max()) < 1e-3
    counts[size] = {}
    for (what, _, place), number in log.events.items():
        key = what + " " + place
        counts[size][key] = counts[size].get(key, 0) + number
print(json.dumps(counts), flush=True)
os._exit(0)  # threads of the logical device have been seen to abort while the interpreter ends
"""


@pytest.fixture(scope="module")
def run(small_models, small_store):
    """Runs on the logical device; events by place at two sizes."""
    if shutil.which("g++") is None:
        pytest.skip("the logical device needs g++")

    def run(kind):
        path = os.pathsep.join([str(ROOT), str(DEVICES), os.environ.get("PYTHONPATH", "")])
        words = [kind, small_models["crps"], small_models["diffusion"], str(small_store)]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *words], env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        few, many = json.loads(done.stdout.splitlines()[-1]).values()
        keys = set(few) | set(many)
        return {key: (many.get(key, 0) - few.get(key, 0)) / 3 for key in keys}

    return run


def test_a_roll_out_sends_little_to_the_device(run):
    """A lead sends the day and the members' random numbers; constants are there already."""
    more = {place: count for place, count in run("rollout").items() if count}
    sent = {place: n for place, n in more.items() if place.startswith("h2d") and n > 0}
    assert sum(sent.values()) <= 4, sent
    assert not any("spec.py" in place or "area_means" in place for place in sent), sent


def test_an_analysis_runs_on_the_device(run):
    more = run("analysis")
    sent = {p: n for p, n in more.items() if n > 0 and p.startswith("h2d")}
    assert not any("operator.py" in place for place in sent), sent

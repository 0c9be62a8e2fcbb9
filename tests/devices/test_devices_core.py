"""The core on a device: right values, no waiting in a step, few launches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROTATION_LAUNCHES = 120  # of one step of one leaf of rotations


@pytest.fixture(scope="module")
def cases(on_device):
    return on_device("core_on_device.py")


@pytest.mark.slow
def test_a_device_gives_what_the_processor_gives(cases):
    assert len(cases) > 100
    wrong = {name: case for name, case in cases.items() if not case["difference"] < 1e-3}
    assert not wrong


@pytest.mark.slow
def test_no_step_waits_for_the_device(cases):
    waiting = {name: case for name, case in cases.items() if case["syncs"] > 0.0}
    assert not waiting


@pytest.mark.slow
def test_no_step_sends_constants_to_the_device(cases):
    sending = {
        name: case for name, case in cases.items()
        if case["copies"] > 0.0 and "posterior" not in name
    }  # fmt: skip
    assert not sending
    observed = [case["copies"] for name, case in cases.items() if "posterior" in name]
    assert max(observed) <= 1.0  # the level of noise that the observations are weighed against


@pytest.mark.slow
def test_a_step_is_few_launches(cases):
    assert cases["flat | ddim | plain"]["launches"] <= 20
    for name in ("turns | ddim", "rotations | ddim", "rotations | ancestral"):
        assert cases[f"{name} | plain"]["launches"] <= ROTATION_LAUNCHES


def measured_on(device, *more):
    places = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--device", device, "--quick", *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_benchmark_of_a_device_runs_without_one():
    *rows, weather = measured_on("cpu")
    assert len(rows) == 3 and all(row["difference"] == 0.0 for row in rows)
    assert weather["case"] == "planet_crps, 2 members, float32" and weather["aim"] == 1000.0
    speed = weather["days per second"]
    assert speed > 0.0
    assert weather["seconds a year and member"] == pytest.approx(365.0 / speed, rel=0.02)


def test_the_weather_alone_is_one_command():
    (row,) = measured_on("cpu", "--only", "weather")
    assert row["case"].startswith("planet_crps") and row["aim"] == 1000.0


@pytest.mark.gpu
def test_a_real_device_gives_what_the_processor_gives():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert all(row["difference"] < 1e-3 for row in measured_on("cuda:0") if "difference" in row)

"""Scripts that run on a logical CUDA device, in a process of their own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def on_device():
    """Runs a script of this folder and returns the JSON object of its last line."""
    if shutil.which("g++") is None:
        pytest.skip("the logical device needs g++")

    def run(script, *words):
        places = [ROOT, HERE, ROOT / "benchmarks", os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, str(HERE / script), *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run

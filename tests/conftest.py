"""One thread per process, no display, hypothesis without deadlines; real data where they are.

Tests that want real data look where ``SCIDDIFF_DATA`` says; where it says nothing, in
``shared/data`` beside the checkout.
"""

import os
import subprocess
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
import torch

torch.set_num_threads(1)
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]
if (beside := ROOT.parent / "shared" / "data").is_dir():
    os.environ.setdefault("SCIDDIFF_DATA", str(beside))


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return ROOT


@pytest.fixture(autouse=True)
def global_generators_unused():
    """No test may leave the global generators of torch and numpy elsewhere than it found them.

    Library code draws from streams it is given; initial weights are drawn inside a fork.
    Modules built by a test itself do draw from torch's, so only numpy's is compared.
    """
    import numpy as np

    before = np.random.get_state()[1].tobytes()
    yield
    assert np.random.get_state()[1].tobytes() == before, "numpy's global generator was used"


@pytest.fixture(autouse=True)
def no_process_left_behind(monkeypatch):
    """A program that a test started ends with it, however the test ends.

    Killing comes with its children: a launcher's processes would go on without it.
    """
    started = []
    start = subprocess.Popen.__init__

    def noted(self, *args, **kwargs):
        start(self, *args, **kwargs)
        started.append(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    yield
    left = [process for process in started if process.poll() is None]
    for process in left:
        for pid in _children(process.pid):
            os.kill(pid, 9)
        process.kill()
        process.wait()
    assert not left, f"still running at the end of the test: {[p.args for p in left]}"


def _children(pid: int) -> list[int]:
    """Processes below another, where the kernel tells (Linux)."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            found += [*_children(child), child]
    return found

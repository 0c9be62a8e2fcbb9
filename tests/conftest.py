"""One thread per process, no display, hypothesis without deadlines; real data where they are."""

import os
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

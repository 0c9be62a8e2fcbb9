"""Small artificial data sets, and the real ones where they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from weather.data.channels import parse_channel
from weather.data.store import Store
from weather.data.times import find_step
from weather.data.writer import Plan, StoreWriter
from weather.sphere.grids import Grid

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def weather_files() -> Path:
    """Folder of the real data sets."""
    folder = Path(os.environ.get("SCIDDIFF_DATA", ROOT.parent / "shared" / "data")) / "weather"
    if not folder.is_dir():
        pytest.skip("weather files absent: set SCIDDIFF_DATA to a folder with weather/")
    return folder


@pytest.fixture(scope="session")
def fields() -> np.ndarray:
    """Smooth in time, `[50, 3, 8, 16]`."""
    rng = np.random.default_rng(7)
    walk = rng.normal(size=(50, 3, 8, 16)).cumsum(0)
    scale = np.asarray([10.0, 1.0, 2.0])[:, None, None]
    offset = np.asarray([5500.0, 280.0, 0.0])[:, None, None]
    return (walk * scale + offset).astype(np.float32)


@pytest.fixture(scope="session")
def plan() -> Plan:
    """Fifty days but one, with a gap after the thirtieth."""
    days = np.delete(np.datetime64("2001-02-01T00", "s") + 86400 * np.arange(51), 30)
    channels = tuple(parse_channel(name) for name in ("z500", "tas", "u10"))
    return Plan(channels, Grid("gaussian", 8, 16), days, find_step(days), ("a.nc",))


@pytest.fixture(scope="session")
def store(plan: Plan, fields: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A complete store of them."""
    writer = StoreWriter(tmp_path_factory.mktemp("store") / "data.zarr", plan)
    while not writer.finished:
        start, stop = writer.next_block()
        writer.write(fields[start:stop])
    return writer.finish()

"""Small artificial data sets, and the real ones where they are."""

import os
from pathlib import Path

import numpy as np
import pytest

from weather.data.channels import parse_channel
from weather.data.plausible import standard_height
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


def dataset(days: int = 20, start: str = "2001-01-01", levels: tuple[int, ...] = (500, 850)):
    """A plausible atmosphere on a grid with poles, names and units as in ERA5."""
    import xarray as xr

    rng = np.random.default_rng(days)
    lat, lon = np.linspace(-90, 90, 13), np.arange(24) * 15.0
    time = np.datetime64(start, "ns") + np.arange(days) * np.timedelta64(1, "D")
    wave = np.cos(np.radians(lat))[:, None] * np.sin(2 * np.radians(lon))[None, :]
    shape = (days, len(levels), 13, 24)
    height = np.asarray([standard_height(p) for p in levels])[:, None, None]
    z = 9.80665 * (height + 60 * wave + rng.normal(size=shape).cumsum(0))
    t = 270.0 + 15 * wave + rng.normal(size=shape)
    msl = 101300 + 500 * wave + 10 * rng.normal(size=(days, 13, 24))
    tp = np.abs(rng.normal(size=(days, 13, 24))) * 1e-3
    upper, flat = ("time", "level", "latitude", "longitude"), ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "z": (upper, z.astype("f4"), {"units": "m**2 s**-2", "long_name": "Geopotential"}),
            "t": (upper, t.astype("f4"), {"units": "K"}),
            "msl": (flat, msl.astype("f4"), {"units": "Pa"}),
            "tp": (flat, tp.astype("f4"), {"units": "m"}),
        },
        {
            "time": time,
            "level": ("level", np.asarray(levels), {"units": "hPa"}),
            "latitude": ("latitude", lat, {"units": "degrees_north"}),
            "longitude": ("longitude", lon, {"units": "degrees_east"}),
        },
    )


@pytest.fixture(scope="session")
def make_dataset():
    """The function above: fixtures are what test modules share."""
    return dataset

"""A small world for tests: a prepared store of smooth moving fields, and untrained models."""

import dataclasses
from pathlib import Path

import cftime
import numpy as np
import pytest
import torch

from sciddiff import checkpoint, config
from weather.data.channels import parse_channel
from weather.data.times import day_of_year, find_step
from weather.data.writer import Plan, StoreWriter
from weather.nets.unet import SphericalUNet
from weather.sphere.grids import Grid

CHANNELS = ("z500", "u850", "v850", "q700", "tas")
GRID = "gaussian-16x32"
SCALES = {"z500": (5500.0, 100.0), "q700": (5e-3, 1e-3), "tas": (280.0, 10.0)}
NET = {"channels": 5, "vectors": [1, 2], "widths": [8, 16], "blocks": [1, 1], "embedding": 16}


def small_fields(times: int, seed: int = 0) -> np.ndarray:
    """Waves that travel east, `[times, C, 16, 32]`."""
    rng = np.random.default_rng(seed)
    lat, lon = np.radians(Grid.parse(GRID).lat)[:, None], np.radians(np.arange(32) * 11.25)
    fields = np.zeros((times, len(CHANNELS), 16, 32), dtype=np.float32)
    for c, name in enumerate(CHANNELS):
        mean, scale = SCALES.get(name, (0.0, 10.0))
        for m in range(1, 5):
            speed, phase = rng.uniform(0.1, 0.6), rng.uniform(0, 6)
            for t in range(times):
                fields[t, c] += np.cos(lat) ** 2 * np.cos(m * lon - speed * t * m + phase)
        fields[:, c] = mean + scale * 0.5 * fields[:, c]
    return fields


def noleap_days(times: int, year: int = 3, month: int = 3, day: int = 1) -> np.ndarray:
    """Daily times of a 365-day calendar."""
    first = cftime.datetime(year, month, day, calendar="noleap")
    units = f"days since {first.strftime('%Y-%m-%d')}"
    return np.asarray(cftime.num2date(np.arange(times), units, calendar="noleap"))


def write_store(path: Path, fields: np.ndarray) -> Path:
    """A prepared store of daily fields `[times, C, 16, 32]`."""
    times = noleap_days(len(fields))
    channels = tuple(parse_channel(name) for name in CHANNELS)
    writer = StoreWriter(path, Plan(channels, Grid.parse(GRID), times, find_step(times)))
    while not writer.finished:
        writer.write(fields[slice(*writer.next_block())])
    writer.finish()
    return path


@pytest.fixture(scope="session")
def small_store(tmp_path_factory) -> Path:
    """A prepared store of 120 days."""
    return write_store(tmp_path_factory.mktemp("world") / "small.zarr", small_fields(120))


@pytest.fixture(scope="session")
def seasonal_store(tmp_path_factory) -> Path:
    """A prepared store of 420 days that are warmer around the turn of the year, by 3 units."""
    fields, days = small_fields(420), day_of_year(noleap_days(420))
    warmer = 3.0 * np.cos(2 * np.pi * days / 365)[:, None, None, None].astype(np.float32)
    return write_store(tmp_path_factory.mktemp("world") / "seasonal.zarr", fields + warmer)


def small_plain(store: Path | str, head: str) -> dict:
    """The experiment of a small model."""
    data = {"store": str(store), "val_days": 20, "batch": 4}
    domain = {"class_path": "weather.forecast.domain.ForecastDomain"}
    return config.read(
        {
            "domain": {**domain, "init_args": {"data": data, "head": head}},
            "net": {"class_path": "weather.nets.unet.SphericalUNet", "init_args": NET},
        }
    )


def small_net(seed: int = 0) -> SphericalUNet:
    """A network with random weights that neither explode nor vanish."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SphericalUNet(**NET)
        torch.nn.init.normal_(net.leave.weight, std=0.05)
        for name, weight in net.named_parameters():
            if "film" in name:
                torch.nn.init.normal_(weight, std=0.05)
    return net


@pytest.fixture(scope="session")
def small_models(tmp_path_factory, small_store) -> dict[str, str]:
    """Directories of two models, by head; they do not need the store."""
    from weather.forecast.domain import ForecastDomain
    from weather.forecast.training import ForecastDataSettings

    settings = ForecastDataSettings(store=str(small_store), val_days=20)
    found = {}
    for head in ("crps", "diffusion"):
        data = ForecastDomain(settings, head=head).provenance()
        plain = small_plain("absent.zarr", head)
        folder = tmp_path_factory.mktemp("models") / head
        checkpoint.save(folder, small_net().state_dict(), plain, data=data)
        found[head] = str(folder)
    return found


@pytest.fixture(scope="session")
def small_spec(small_models):
    """The spec of the small models."""
    from weather.forecast.spec import ForecastSpec

    return dataclasses.replace(ForecastSpec.from_meta(checkpoint.describe(small_models["crps"])))

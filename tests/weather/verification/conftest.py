"""A small planet: a seasonal cycle with red noise on a coarse Gaussian grid."""

import os
from pathlib import Path
from types import SimpleNamespace

import cftime
import numpy as np
import pytest

from weather.sphere.grids import Grid


class States:
    """Fields along time, held in memory."""

    def __init__(self, fields, times, grid, channels):
        self.fields, self.times, self.grid = fields, times, grid
        self.channels = [SimpleNamespace(name=name) for name in channels]
        self.step_hours = 24.0

    def read(self, start, stop):
        return self.fields[start:stop]

    def part(self, start, stop):
        names = [channel.name for channel in self.channels]
        return States(self.fields[start:stop], self.times[start:stop], self.grid, names)


def dates(count, first=(1, 1, 1)):
    """Days of a 365-day calendar."""
    origin = cftime.DatetimeNoLeap(*first)
    numbers = cftime.date2num(origin, "days since 0001-01-01", calendar="noleap")
    return cftime.num2date(
        np.arange(count) + numbers, "days since 0001-01-01", calendar="noleap"
    )


def planet(days, memory=0.8, seed=0, grid="gaussian-8x16"):
    """Two channels: anomalies with a known memory over a known seasonal cycle."""
    grid = Grid.parse(grid)
    generator = np.random.default_rng(seed)
    shape = (2, *grid.shape)
    noise = generator.standard_normal((days, *shape))
    fields = np.empty_like(noise)
    fields[0] = noise[0]
    for day in range(1, days):
        fields[day] = memory * fields[day - 1] + np.sqrt(1 - memory**2) * noise[day]
    season = np.cos(2 * np.pi * (np.arange(days) % 365) / 365)[:, None, None]
    fields[:, 0] = 5500 + 30 * season * np.sin(np.radians(grid.lat))[:, None] + 20 * fields[:, 0]
    fields[:, 1] = 280 + 5 * season + 2 * fields[:, 1]
    return States(fields.astype(np.float32), dates(days), grid, ("z500", "t850"))


@pytest.fixture(scope="session")
def make_states():
    """Makes daily states of fields `[T, C, H, W]`, a grid and names."""
    return lambda fields, grid, names: States(fields, dates(len(fields)), grid, names)


@pytest.fixture(scope="session")
def small_planet():
    """Six years."""
    return planet(6 * 365)


@pytest.fixture(scope="session")
def planet_folder():
    """Folder of the perfect-model planet, where it is."""
    root = Path(__file__).resolve().parents[3]
    places = [os.environ.get("SCIDDIFF_DATA"), root.parent / "shared" / "data"]
    for place in places:
        if place and (Path(place) / "weather" / "planet" / "plasim_train.nc").exists():
            return Path(place) / "weather" / "planet"
    pytest.skip("the perfect-model planet is not on this machine; set SCIDDIFF_DATA")

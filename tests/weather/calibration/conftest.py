"""Worlds in which the right calibration is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from weather.sphere.grids import Grid
from weather.verification.ensembles import ArrayEnsemble
from weather.verification.instants import DAY, Instants
from weather.verification.truths import SeriesTruth
from weather.verification.verify import align

GRID = Grid.parse("gaussian-8x16")
AREA = np.repeat(GRID.weights, GRID.shape[1])


@dataclass
class Analyses:
    """Fields along time `[T, C, H, W]`."""

    fields: np.ndarray
    channels: tuple = ("t850",)
    grid: Grid = GRID
    step_hours: float = 24.0

    @property
    def times(self):
        return np.datetime64("2001-01-01", "s") + np.arange(len(self.fields)) * np.timedelta64(
            1, "D"
        )

    def read(self, start, stop):
        return self.fields[start:stop]


def gaussian(starts, members, alpha=0.0, beta=1.0, tau=1.0, seed=0, offset=280.0):
    """Members and what happened, for one lead of a day.

    Members are `offset + mu + sigma * noise`, and what happens is
    `alpha + beta * (offset + mu) + tau * sigma * noise`, with mu of deviation 3 and sigma 2.

    Returns:
        Members `[T, M, 1, H, W]` and analyses `[T + 1, 1, H, W]`.
    """
    rng = np.random.default_rng(seed)
    shape = GRID.shape
    mu = offset + 3.0 * rng.standard_normal((starts, *shape))
    x = mu[:, None] + 2.0 * rng.standard_normal((starts, members, *shape))
    y = alpha + beta * mu + 2.0 * tau * rng.standard_normal(mu.shape)
    truth = np.concatenate([y[:1], y])[:, None]
    return x[:, :, None].astype(np.float32), truth.astype(np.float32)


def planned(x, truth):
    """A forecast, its truth and their plan, of members `[T, M, L, H, W]`."""
    states = Analyses(truth)
    times = Instants.of(states.times[: len(x)])
    leads = np.arange(1, x.shape[2] + 1) * DAY
    made = ArrayEnsemble("forecast", {"t850": x}, times, leads, GRID.lat, GRID.lon)
    fact = SeriesTruth(states)
    return made, fact, align(made, fact)


@pytest.fixture(scope="session")
def toy():
    """The functions above and the area of the points."""
    from types import SimpleNamespace

    return SimpleNamespace(gaussian=gaussian, planned=planned, area=AREA)

"""A forecaster of a linear world whose indices are normal, with known mean and variance."""

import numpy as np
import pytest
import torch

from sciddiff.paths import GaussianPath, ProductPath
from sciddiff.schedules import Linear
from weather.data.store import Store
from weather.extremes.index import IndexMeter, parse_index
from weather.extremes.simulation import ForecastProcess
from weather.forecast.forecaster import Forecaster
from weather.sphere.grids import Grid

KAPPA = 0.3
PATTERNS = 3


class LinearHead:
    """Damping towards the mean, and noise on a few smooth patterns: AR(1) on the sphere.

    In units of the tendency, ``r = -KAPPA (x - mean) / tendency + sum_k b_k <u_k, z> u_k`` with
    orthonormal u: the noise of each pattern is one standard normal number.
    """

    def __init__(self, spec):
        grid = Grid.parse(spec.grid)
        lat, lon = np.radians(grid.lat)[:, None], np.radians(grid.lon)[None]
        rng = np.random.default_rng(2)
        raw = np.zeros((PATTERNS, len(spec.channels), *spec.shape))
        for k in range(PATTERNS):
            for c in range(len(spec.channels)):
                wave = np.cos(lat) ** (k + 1) * np.cos((k + 1) * lon + rng.uniform(0, 6))
                raw[k, c] = 1.0 + wave + rng.normal() * np.sin(lat)
        q, _ = np.linalg.qr(raw.reshape(PATTERNS, -1).T)
        shape = (PATTERNS, len(spec.channels), *spec.shape)
        self.patterns = torch.from_numpy(q.T.copy()).reshape(shape).float()
        self.sizes = torch.tensor([30.0, 20.0, 10.0])
        self.scale = (torch.tensor(spec.std) / torch.tensor(spec.tendency_std)).view(-1, 1, 1)
        self.path = ProductPath({"fields": GaussianPath(Linear())})

    def __call__(self, x_t, t, batch):
        z, now = x_t["fields"], batch.cond["history"][:, -1]
        numbers = torch.einsum("bchw,kchw->bk", z, self.patterns) * self.sizes
        data = torch.einsum("bk,kchw->bchw", numbers, self.patterns) - KAPPA * self.scale * now
        return {"fields": self.path["fields"].predict(z, z, t).with_data(data)}


def spatial(meter, fields):
    """Spatial part of an index of whole states `[B, C, H, W]`."""
    return meter.present(meter.points(fields[:, meter.channel]))


def normal_law(simulation, calibration=None):
    """Mean and deviation of an index that is a mean over days, by the recursion of AR(1), and of
    calibrated members by the affine map of each day."""
    meter, forecaster = simulation.meter, simulation.forecaster
    spec, head = forecaster.spec, forecaster.denoiser
    tendency = torch.tensor(spec.tendency_std).view(-1, 1, 1)
    slopes = spatial(meter, head.sizes.view(-1, 1, 1, 1) * head.patterns * tendency)
    centre = torch.tensor(spec.mean).view(-1, 1, 1).expand(-1, *spec.shape)
    now = float(spatial(meter, simulation.frames[-1:]))
    level = float(spatial(meter, centre[None]))
    days = list(meter.window)
    alpha, beta, tau = [0.0] * 99, [1.0] * 99, [1.0] * 99
    if calibration is not None:
        seconds = [86400 * n for n in range(99)]
        alpha, beta, tau = calibration.channels[spec.names[meter.channel]].at(seconds)
    daily = [level + (now - level) * (1 - KAPPA) ** n for n in days]
    mean = sum(alpha[n] + beta[n] * m for n, m in zip(days, daily, strict=True)) / len(days)
    factors = [
        sum(tau[n] * (1 - KAPPA) ** (n - t) for n in days if n >= t) / len(days)
        for t in range(1, meter.steps + 1)
    ]
    variance = sum(f**2 for f in factors) * float((slopes**2).sum())
    return mean, variance**0.5


@pytest.fixture(scope="session")
def linear_world(small_models, small_store):
    """From the text of an index to the simulation."""
    forecaster = Forecaster(small_models["crps"])
    forecaster.denoiser = LinearHead(forecaster.spec)
    store = Store(small_store)
    frames = torch.from_numpy(store.read(50, 52))

    def make(text: str, **more) -> ForecastProcess:
        meter = IndexMeter(parse_index(text), forecaster.spec)
        settings = {"batch": 250, **more}
        return ForecastProcess(forecaster, frames, store.times[51], meter, **settings)

    return make


@pytest.fixture(scope="session")
def spatial_part():
    """`spatial`."""
    return spatial


@pytest.fixture(scope="session")
def law():
    """`normal_law`."""
    return normal_law

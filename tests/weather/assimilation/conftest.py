"""A world whose analyses are known."""

import numpy as np
import pytest
import torch

from sciddiff.paths import GaussianPath, ProductPath
from sciddiff.schedules import Linear
from weather.sphere.grids import Grid

RANK = 6


class LowRank:
    """The exact denoiser of changes N(0, U diag(s) U^T) over a few smooth patterns U."""

    def __init__(self, shape):
        grid = Grid.parse("gaussian-16x32")
        lat, lon = np.radians(grid.lat)[:, None], np.radians(grid.lon)[None]
        rng = np.random.default_rng(4)
        raw = np.zeros((RANK, *shape))
        for k in range(RANK):
            for c in range(shape[0]):
                m = rng.integers(1, 4)
                wave = np.cos(m * lon + rng.uniform(0, 6)) * np.cos(lat) ** m
                raw[k, c] = rng.normal() * (wave + 0.5 * rng.normal() * np.sin(lat))
        q, _ = np.linalg.qr(raw.reshape(RANK, -1).T)
        self.patterns = torch.from_numpy(q.T.copy()).reshape(RANK, *shape)
        self.variances = torch.tensor([36.0, 30.0, 25.0, 16.0, 9.0, 4.0]).double()
        self.path = ProductPath({"fields": GaussianPath(Linear())})

    def __call__(self, x_t, t, batch):
        path, x = self.path["fields"], x_t["fields"]
        alpha, sigma = (one[:, None] for one in path.schedule.values(t.double()))
        weights = torch.einsum("bchw,kchw->bk", x.double(), self.patterns)
        gain = alpha * self.variances / (alpha**2 * self.variances + sigma**2)
        data = torch.einsum("bk,kchw->bchw", gain * weights, self.patterns).to(x)
        return {"fields": path.predict(x, x, t).with_data(data)}


@pytest.fixture(scope="session")
def low_rank():
    """`LowRank`."""
    return LowRank

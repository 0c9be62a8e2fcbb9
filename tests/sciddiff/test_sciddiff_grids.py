"""Grids: increasing from exactly 0 to exactly 1, with the spacing they promise."""

import math

import pytest
import torch
from torch import nn

from sciddiff import grids
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.manifolds import Torus
from sciddiff.paths import GeodesicPath
from sciddiff.samplers import Ancestral, Midpoint
from sciddiff.sampling import sample
from sciddiff.schedules import EDM, VP, Linear
from sciddiff.state import Batch
from sciddiff.times import BetaMixture, LogitNormal, LogNormalSigma, Uniform

MAKERS = {
    "uniform": grids.uniform,
    "power": grids.power,
    "log": grids.log,
    "compact": grids.compact,
    "karras EDM": lambda n: grids.karras(n, EDM()),
    "karras linear": lambda n: grids.karras(n, Linear()),
    "karras VP": lambda n: grids.karras(n, VP(), 0.002, 80.0),
    "log-snr": lambda n: grids.uniform_log_snr(n, VP()),
    "quantile beta": lambda n: grids.quantile(n, BetaMixture()),
    "quantile logit": lambda n: grids.quantile(n, LogitNormal()),
    "quantile sigma": lambda n: grids.quantile(n, LogNormalSigma(Linear())),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("steps", [1, 5, 1000])
def test_every_grid_increases_from_zero_to_one(name, steps):
    grid = MAKERS[name](steps)
    assert grid.dtype == torch.float64 and grid.shape == (steps + 1,)
    assert float(grid[0]) == 0.0 and float(grid[-1]) == 1.0
    assert (grid.diff() > 0).all()


def test_spacing_is_as_promised():
    torch.testing.assert_close(grids.karras(20, EDM()), grids.uniform(20), rtol=0, atol=1e-12)
    inner = Linear().log_snr(grids.uniform_log_snr(20, Linear())[1:-1])
    torch.testing.assert_close(inner.diff(), inner.diff()[:1].expand(18), rtol=1e-9, atol=0)
    ratio = grids.log(20, decades=2.0).diff()
    shrink = torch.full((19,), 0.01 ** (1 / 20), dtype=torch.float64)
    torch.testing.assert_close(ratio[1:] / ratio[:-1], shrink,
                               rtol=1e-6, atol=0)  # fmt: skip
    torch.testing.assert_close(grids.quantile(20, Uniform()), grids.uniform(20))


def test_impossible_grids_are_refused():
    with pytest.raises(InputError, match="steps: 0"):
        grids.uniform(0)
    with pytest.raises(InputError, match="do not increase"):
        grids.karras(10, EDM(0.1, 1.0), 0.002, 80.0)
    with pytest.raises(InputError, match="exponent"):
        grids.power(3, -1.0)


class Angle(nn.Module):
    """The expected way to a normal angle of mean 0, from where uniform noise can have led."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x_t, t, batch):
        x, half = x_t["angle"], math.pi * (1.0 - t.double()).clamp(min=1e-9)[:, None]
        mass, moment = torch.full_like(x, 1e-300), torch.zeros_like(x)
        for turn in (-2.0 * math.pi, 0.0, 2.0 * math.pi):
            low, high = (x - half - turn) / self.deviation, (x + half - turn) / self.deviation
            # In the tail that keeps its digits.
            part = torch.where(low > 0, torch.special.ndtr(-low) - torch.special.ndtr(-high),
                               torch.special.ndtr(high) - torch.special.ndtr(low))  # fmt: skip
            slope = (torch.exp(-(low**2) / 2) - torch.exp(-(high**2) / 2)) / math.sqrt(2 * math.pi)
            mass, moment = mass + part, moment + part * (turn - x) + self.deviation * slope
        return {"angle": (moment / mass).clamp(-half, half)}


def deviation_of(sampler, grid, deviation, count=20_000):
    """Relative to that of the data."""
    path = GeodesicPath(Torus(), parametrization="displacement")
    denoiser = Denoiser(Angle(deviation), {"angle": path})
    like = Batch({"angle": torch.zeros(count, 1, dtype=torch.float64)})
    return float(sample(denoiser, like, sampler, grid, seed=0).x["angle"].std()) / deviation


@pytest.mark.parametrize("deviation", [0.1, 0.2, 0.5])
def test_concentrated_angles_keep_their_width_in_twenty_calls(deviation):
    assert deviation_of(Midpoint(), grids.compact(10), deviation) == pytest.approx(1.0, abs=0.025)


def test_narrow_angles_keep_their_width_in_twenty_steps():
    assert deviation_of(Midpoint(), grids.compact(20), 0.05) == pytest.approx(1.0, abs=0.025)
    # What it is for: equal steps of first order lose a quarter of it, of second order a tenth.
    assert deviation_of(Ancestral(), grids.uniform(20), 0.1) < 0.8
    assert deviation_of(Midpoint(), grids.uniform(20), 0.05) < 0.95

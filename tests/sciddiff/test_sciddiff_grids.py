"""Grids: increasing from exactly 0 to exactly 1, with the spacing they promise."""

import pytest
import torch

from sciddiff import grids
from sciddiff.errors import InputError
from sciddiff.schedules import EDM, VP, Linear
from sciddiff.times import BetaMixture, LogitNormal, LogNormalSigma, Uniform

MAKERS = {
    "uniform": grids.uniform,
    "power": grids.power,
    "log": grids.log,
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

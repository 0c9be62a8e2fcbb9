"""Laws of training time: quantiles against references, and stratified draws."""

import math

import numpy as np
import pytest
import torch

from sciddiff import times
from sciddiff.schedules import EDM, Linear
from sciddiff.times import (
    BetaMixture,
    KarrasQuantile,
    LogitNormal,
    LogNormalSigma,
    Uniform,
)

LAWS = [
    Uniform(), Uniform(0.01, 0.9), BetaMixture(), BetaMixture(0.5, 3, 0.2), LogitNormal(0.4, 1.0),
    LogNormalSigma(), LogNormalSigma(Linear(), -0.4, 1.0), KarrasQuantile(),
    KarrasQuantile(Linear()),
]  # fmt: skip
U = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_quantiles_increase_within_the_unit_interval(law):
    t = law.quantile(U)
    assert (t.diff() >= 0).all() and float(t.min()) >= 0.0 and float(t.max()) <= 1.0


@pytest.mark.parametrize("law", [BetaMixture(), BetaMixture(0.5, 3.0, 0.2), BetaMixture(2, 2, 0)])
def test_beta_mixture_against_scipy(law):
    stats = pytest.importorskip("scipy.stats")
    t = law.quantile(U).numpy()
    cdf = (1 - law.uniform) * stats.beta(law.a, law.b).cdf(t) + law.uniform * t
    assert np.abs(cdf - U.numpy()).max() < 2e-6


def test_noise_levels_have_their_law():
    for schedule in (EDM(), Linear()):
        log_sigma = -schedule.log_snr(LogNormalSigma(schedule, -0.4, 1.0).quantile(U))
        z = torch.special.ndtri(1 - U)
        torch.testing.assert_close(log_sigma[5:-5], (-0.4 + z)[5:-5], rtol=0, atol=1e-9)
        level = torch.exp(-schedule.log_snr(KarrasQuantile(schedule, 0.02, 70.0).quantile(U)))
        steps = (level ** (1 / 7)).diff()
        torch.testing.assert_close(steps, steps[:1].expand_as(steps), rtol=1e-6, atol=0)


def test_low_discrepancy_puts_one_time_in_each_cell():
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        t = times.draw(Uniform(), 32, generator, dtype=torch.float64)
        assert (t * 32).floor().sort().values.tolist() == list(range(32))
        assert len({round(float(x) * 32 % 1, 6) for x in t}) == 1
    independent = times.draw(Uniform(), 3200, generator, low_discrepancy=False)
    assert float(independent.var()) == pytest.approx(1 / 12, rel=0.1)


def test_every_sample_meets_every_cell():
    generator = torch.Generator().manual_seed(0)
    first = torch.stack([times.draw(Uniform(), 8, generator)[0] for _ in range(2000)])
    gap = (first.sort().values - (torch.arange(2000) + 0.5) / 2000).abs().max()
    assert gap < 1.95 / math.sqrt(2000)

"""Schedules: ends, rates and inverses."""

import math

import pytest
import torch

from sciddiff.errors import InputError
from sciddiff.schedules import (
    EDM,
    VE,
    VP,
    Cosine,
    ExponentialKappa,
    Kappa,
    Linear,
    LinearKappa,
    Logarithmic,
    Polynomial,
    Schedule,
)

SCHEDULES = [
    Linear(), Cosine(), Cosine(0.5), VP(), VE(), EDM(), Logarithmic(), Polynomial(), Polynomial(3),
]  # fmt: skip
INSIDE = torch.linspace(0.003, 0.997, 101, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_inverse_returns_the_time(schedule):
    log_snr = schedule.log_snr(INSIDE)
    assert (log_snr.diff() > 0).all()
    torch.testing.assert_close(schedule.inverse(log_snr), INSIDE, rtol=0, atol=1e-11)
    bisected = Schedule.inverse(schedule, log_snr)
    torch.testing.assert_close(bisected, INSIDE, rtol=0, atol=1e-11)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_infinite_log_snr_means_the_ends(schedule):
    ends = torch.tensor([-math.inf, math.inf], dtype=torch.float64)
    for inverse in (schedule.inverse, lambda x: Schedule.inverse(schedule, x)):
        assert inverse(ends).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_rates_are_derivatives(schedule):
    rates, h = schedule.rates(INSIDE), 1e-5
    for function, rate in ((schedule.alpha, rates.alpha_rate), (schedule.sigma, rates.sigma_rate)):
        central = (function(INSIDE + h) - function(INSIDE - h)) / (2 * h)
        torch.testing.assert_close(rate, central, rtol=1e-5, atol=1e-7)
    assert (rates.wronskian > 0).all()


@pytest.mark.parametrize("schedule", [*SCHEDULES, Polynomial(0.5), EDM(rho=3)], ids=repr)
def test_formulas_are_the_automatic_derivatives(schedule):
    """Tensors, plain numbers, and what a schedule without formulas would get."""
    closed, derived = schedule.rates(INSIDE), Schedule.rates(schedule, INSIDE)
    for mine, automatic in zip(closed, derived, strict=True):
        assert mine.dtype == torch.float64
        assert mine.shape == INSIDE.shape
        torch.testing.assert_close(mine, automatic, rtol=1e-12, atol=1e-13)
    numbers = [schedule.at(t) for t in INSIDE.tolist()]
    for k, mine in enumerate(closed):
        column = torch.tensor([row[k] for row in numbers], dtype=torch.float64)
        torch.testing.assert_close(column, mine, rtol=1e-12, atol=1e-13)
    assert all(isinstance(value, float) for value in numbers[0])


@pytest.mark.parametrize("schedule", [*SCHEDULES, Polynomial(0.5)], ids=repr)
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_numbers_at_the_ends_are_those_of_tensors(schedule, t):
    tensors = schedule.rates(torch.tensor(t, dtype=torch.float64))
    assert schedule.at(t) == pytest.approx([float(value) for value in tensors], rel=1e-12)


def test_a_schedule_without_formulas_is_differentiated():
    class Squared(Schedule):
        def alpha(self, t):
            return t**2

        def sigma(self, t):
            return 1.0 - t

    assert Squared().at(0.5) == pytest.approx((0.25, 0.5, 1.0, -1.0))


@pytest.mark.parametrize("kappa", [LinearKappa(), ExponentialKappa(), ExponentialKappa(2.0)])
def test_kappa_in_formulas_and_by_derivative(kappa):
    closed, derived = kappa.rate(INSIDE), Kappa.rate(kappa, INSIDE)
    torch.testing.assert_close(torch.stack(closed), torch.stack(derived), rtol=1e-11, atol=0)
    numbers = torch.tensor([kappa.at(t) for t in INSIDE.tolist()], dtype=torch.float64).T
    torch.testing.assert_close(numbers, torch.stack(closed), rtol=1e-13, atol=0)


def test_closed_forms():
    t = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    vp, ve, edm = VP(), VE(), EDM()
    torch.testing.assert_close(vp.alpha(t) ** 2 + vp.sigma(t) ** 2, torch.ones_like(t))
    assert float(vp.alpha(t)[0]) == pytest.approx(math.exp(-0.25 * 19.9 - 0.05))
    assert ve.sigma(t).tolist() == pytest.approx([50.0, math.sqrt(0.5), 0.01])
    half = (0.5 * 80 ** (1 / 7) + 0.5 * 0.002 ** (1 / 7)) ** 7
    assert edm.sigma(t).tolist() == pytest.approx([80.0, half, 0.002])
    assert Logarithmic().sigma(t).tolist()[::2] == pytest.approx([1.5, 0.1])


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), VP(), Polynomial()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_ends_at_exactly_zero(schedule, dtype):
    assert float(schedule.sigma(torch.ones((), dtype=dtype))) == 0.0
    assert float(schedule.alpha(torch.ones((), dtype=dtype))) == pytest.approx(1.0)


def test_vp_keeps_its_digits_near_the_data():
    t = torch.tensor(1.0 - 1e-9, dtype=torch.float64)
    tau = 1.0 - t
    assert float(VP().sigma(t)) == pytest.approx(math.sqrt(0.1 * float(tau)), rel=1e-6)


@pytest.mark.parametrize("kappa", [LinearKappa(), ExponentialKappa(), ExponentialKappa(0.5)])
def test_progress_runs_from_zero_to_one(kappa):
    ends = torch.tensor([0.0, 1.0])
    assert kappa(ends).tolist() == pytest.approx([0.0, 1.0], abs=1e-15)
    value, rate = kappa.rate(INSIDE)
    assert (rate > 0).all()
    h = 1e-6
    torch.testing.assert_close(rate, (kappa(INSIDE + h) - kappa(INSIDE - h)) / (2 * h), rtol=1e-6,
                               atol=1e-6)  # fmt: skip
    assert torch.equal(value, kappa(INSIDE))


def test_settings_are_checked():
    for make in (lambda: VE(0.0), lambda: VE(2.0, 1.0), lambda: EDM(rho=-1), lambda: Cosine(0.0),
                 lambda: Polynomial(0), lambda: VP(1.0, 0.5)):  # fmt: skip
        with pytest.raises(InputError, match=" is not "):
            make()

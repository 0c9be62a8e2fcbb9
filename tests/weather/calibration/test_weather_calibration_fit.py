"""The fit finds what is known, leaves alone what is right, and refuses what it cannot use."""

import numpy as np
import pytest

from sciddiff.errors import InputError
from weather.calibration.fitting import FEWEST, fit, lone_crps, solve
from weather.calibration.members import Calibration, Coefficients
from weather.verification.instants import DAY
from weather.verification.kernels import score_field


def _fit(toy, x, truth):
    found, _ = fit(*toy.planned(x, truth), toy.area)
    return found["t850"]


def _crps_of_normal(mean, deviation, y):
    """Gneiting & Raftery 2007, equation 21."""
    from scipy.stats import norm

    z = (y - mean) / deviation
    return deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


@pytest.mark.parametrize("members", [3, 20])
def test_known_coefficients_are_found_by_few_members_as_by_many(toy, members):
    found = _fit(toy, *toy.gaussian(300, members, alpha=60.0, beta=0.8, tau=1.5))
    one = found.coefficients
    assert found.forms == ("full",) and one.leads == (DAY,)
    assert one.beta[0] == pytest.approx(0.8, abs=0.01)
    assert one.tau[0] == pytest.approx(1.5, abs=0.02)
    assert one.alpha[0] + one.beta[0] * 280.0 == pytest.approx(60.0 + 0.8 * 280.0, abs=0.05)
    assert found.after[0] < found.before[0]


@pytest.mark.parametrize("members", [3, 20])
def test_a_calibrated_ensemble_stays_as_it_is(toy, members):
    found = _fit(toy, *toy.gaussian(300, members, seed=1))
    one = found.coefficients
    assert found.forms[0] in ("none", "spread")
    assert (one.alpha[0], one.beta[0]) == (0.0, 1.0)
    assert one.tau[0] == pytest.approx(1.0, abs=0.02)


def test_a_spread_that_is_too_small_is_widened_and_nothing_else(toy):
    found = _fit(toy, *toy.gaussian(300, 10, tau=1.4, seed=2))
    assert found.forms == ("spread",)
    assert found.coefficients.tau[0] == pytest.approx(1.4, abs=0.02)
    # Of members and truths without end: sigma tau / sqrt(pi), and what is lost by a wrong spread.
    assert found.after[0] == pytest.approx(2.0 * 1.4 / np.sqrt(np.pi), rel=0.01)
    raw = np.sqrt(2 / np.pi) * 2.0 * np.sqrt(1 + 1.4**2) - 2.0 / np.sqrt(np.pi)
    assert found.before[0] == pytest.approx(raw, rel=0.01)


def test_without_a_change_the_score_is_the_fair_crps():
    rng = np.random.default_rng(3)
    members, truth = rng.standard_normal((7, 50)), rng.standard_normal(50)
    weights = np.full((1, 50), 1 / 50)
    fair = score_field(members.astype(np.float32), truth[None].astype(np.float32), weights)
    assert lone_crps(members, truth, (0, 1, 1)).mean() == pytest.approx(fair["crps"][0], rel=1e-5)


@pytest.mark.parametrize(("alpha", "beta", "tau"), [(0.3, 1.0, 1.3), (0.0, 0.9, 1.2)])
def test_few_members_are_scored_as_the_distribution_they_are_drawn_from(alpha, beta, tau):
    """Eight members: half a percent too bad at most, where their fair CRPS is far too good."""
    rng = np.random.default_rng(4)
    size, points = 8, 400_000
    mu = rng.standard_normal(points)
    members = mu + rng.standard_normal((size, points))
    truth = alpha + beta * mu + tau * rng.standard_normal(points)
    exact = _crps_of_normal(alpha + beta * mu, tau, truth).mean()
    lone = lone_crps(members, truth, (alpha, beta, tau)).mean()
    assert 0.999 * exact < lone < 1.006 * exact
    moved = alpha + beta * members.mean(0) + tau * (members - members.mean(0))
    fair = lone_crps(moved, truth, (0, 1, 1)).mean()
    assert fair < exact * 0.985


def test_the_lowest_fair_crps_would_widen_a_perfect_ensemble():
    """Why moments are used: of 20 perfect members the fair CRPS is lowest for tau 1.11."""
    rng = np.random.default_rng(5)
    members, truth = rng.standard_normal((20, 200_000)), rng.standard_normal(200_000)
    gaps, mean = members - members.mean(0), members.mean(0)
    taus = (1.0, 1.11, 1.22)
    fair = [lone_crps(mean + tau * gaps, truth, (0, 1, 1)).mean() for tau in taus]
    assert fair[1] < fair[0] and fair[1] < fair[2]
    lone = [lone_crps(members, truth, (0, 1, tau)).mean() for tau in taus]
    assert lone[0] < lone[1] < lone[2]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tau", [0.7, 0.97, 1.0, 1.03, 1.6])
def test_the_score_on_times_kept_aside_never_gets_worse(toy, tau, seed):
    found = _fit(toy, *toy.gaussian(24, 4, alpha=0.1, tau=tau, seed=seed))
    assert found.after[0] <= found.before[0]


def test_leads_have_their_own_coefficients_which_fade_after_the_last(toy):
    x, truth = toy.gaussian(120, 10, tau=1.2, seed=6)
    other, _ = toy.gaussian(120, 10, tau=1.0, seed=7)
    mean = np.roll(truth[1:, 0], -1, 0)[:, None]
    second = mean + (other[:, :, 0] - other[:, :, 0].mean(1, keepdims=True)) * 0.5
    found = _fit(toy, np.stack([x[:, :, 0], second], 2)[:-1], truth)
    one = found.coefficients
    assert one.leads == (DAY, 2 * DAY) and one.tau[0] > 1.1
    alpha, beta, tau = one.at([DAY // 2, DAY, 2 * DAY])
    assert tau[0] == pytest.approx((1.0 + one.tau[0]) / 2) and tau[1] == one.tau[0]
    assert (tau[2], beta[2], alpha[2]) == (one.tau[1], one.beta[1], one.alpha[1])
    # Of leads after the last nothing was fitted: days 15 and 20 of a fit to 10 days, and a year.
    known = Coefficients((DAY, 10 * DAY), (0.1, 0.4), (1.0, 0.8), (1.1, 1.2))
    alpha, beta, tau = known.at([10 * DAY, 15 * DAY, 20 * DAY, 365 * DAY])
    assert alpha == pytest.approx([0.4, 0.2, 0.0, 0.0])
    assert beta == pytest.approx([0.8, 0.9, 1.0, 1.0])
    assert tau == pytest.approx([1.2, 1.1, 1.0, 1.0])


def test_points_without_a_value_take_no_part(toy):
    x, truth = toy.gaussian(60, 5, tau=1.3, seed=8)
    x[:, :, :, :, 8:] = 1e6  # a half that would spoil everything
    truth[:, :, :, 8:] = np.nan
    by_truth = _fit(toy, x, truth)
    x[:, :, :, :, 8:] = np.nan
    assert _fit(toy, x, np.where(np.isnan(truth), 280.0, truth)).coefficients == (
        by_truth.coefficients
    )
    assert by_truth.coefficients.tau[0] == pytest.approx(1.3, abs=0.05)
    x[7, 2, 0, 3, 2] = np.nan
    with pytest.raises(InputError, match="t850 is not finite at lead 24 h, member 2"):
        _fit(toy, x, truth)


def test_what_cannot_be_fitted_is_refused(toy):
    x, truth = toy.gaussian(FEWEST - 1, 5)
    with pytest.raises(InputError, match=f"has {FEWEST - 1} initial times with a reference"):
        _fit(toy, x, truth)
    x, truth = toy.gaussian(FEWEST, 1)
    with pytest.raises(InputError, match="has one member"):
        _fit(toy, x, truth)
    x = np.broadcast_to(x, (FEWEST, 3, *x.shape[2:]))
    with pytest.raises(InputError, match="do not differ on day 1"):
        _fit(toy, x, truth)


def test_moments_that_allow_no_coefficients_give_none():
    nearer = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 2.0])  # the error is 0, its noise alone is 1
    assert solve(nearer, 2, "spread") is None and solve(nearer, 2, "full") is None
    assert solve(nearer, 2, "none") == (0.0, 1.0, 1.0)


def test_members_keep_their_order_and_get_the_mean_and_spread_they_should():
    rng = np.random.default_rng(9)
    x = (101000.0 + 500.0 * rng.standard_normal((12, 2, 5, 6))).astype(np.float32)
    one = Coefficients((DAY, 2 * DAY), (3.0, -50.0), (1.0, 1.001), (1.25, 0.8))
    made = Calibration({"mslp": one}).apply("mslp", [DAY, 2 * DAY], x)
    assert made.dtype == np.float32 and (made.argsort(0) == x.argsort(0)).all()
    for n, (alpha, beta, tau) in enumerate(zip(one.alpha, one.beta, one.tau, strict=True)):
        mean, spread = x[:, n].mean(0, dtype=np.float64), x[:, n].std(0, dtype=np.float64)
        np.testing.assert_allclose(
            made[:, n].mean(0, dtype=np.float64), alpha + beta * mean, rtol=1e-7
        )
        np.testing.assert_allclose(made[:, n].std(0, dtype=np.float64), tau * spread, rtol=1e-5)
    assert (Calibration({"mslp": one}).apply("t850", [DAY], x[:, :1]) == x[:, :1]).all()

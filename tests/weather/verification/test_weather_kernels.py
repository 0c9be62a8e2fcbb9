"""Scores of a field agree with the libraries, with closed forms and with each other."""

import numpy as np
import pytest
import scoringrules
import xarray as xr
from scipy.stats import norm
from scores.probability import brier_score_for_ensemble, crps_for_ensemble, rank_histogram

from weather.verification.kernels import (
    energy_products,
    energy_score,
    leave_one_out,
    score_field,
)

POINTS = 60


@pytest.fixture
def case():
    generator = np.random.default_rng(1)
    members = generator.standard_normal((12, POINTS)).astype(np.float32) + 1e5
    truths = generator.standard_normal((4, POINTS)).astype(np.float32) + 1e5
    weights = generator.uniform(0.5, 1.5, (2, POINTS))
    weights[1, : POINTS // 2] = 0
    return members, truths, weights / weights.sum(1, keepdims=True)


def test_fair_crps_is_that_of_the_libraries(case):
    members, truths, weights = case
    found = score_field(members, truths, weights)["crps"]
    fcst = xr.DataArray(members.astype(np.float64), dims=("member", "point"))
    obs = xr.DataArray(truths.astype(np.float64), dims=("truth", "point"))
    point = crps_for_ensemble(fcst, obs, "member", method="fair", preserve_dims="all")
    theirs = weights @ point.transpose("truth", "point").values.mean(0)
    np.testing.assert_allclose(found, theirs, rtol=1e-5)


def test_rank_histogram_is_that_of_scores(case):
    members, truths, weights = case
    found = score_field(members, truths, weights)["ranks"]
    np.testing.assert_allclose(found.sum(-1), 1.0)
    fcst = xr.DataArray(members, dims=("member", "point"))
    obs = xr.DataArray(truths, dims=("truth", "point"))
    for region in range(2):
        theirs = rank_histogram(
            fcst, obs, "member", weights=xr.DataArray(weights[region], dims="point")
        )
        np.testing.assert_allclose(found[region], theirs.values, atol=1e-12)


def test_ties_are_shared_by_the_ranks_they_span():
    members = np.array([[0.0], [0.0], [1.0]], dtype=np.float32)
    ranks = score_field(members, np.zeros((1, 1), np.float32), np.ones((1, 1)))["ranks"][0]
    np.testing.assert_allclose(ranks, [1 / 3, 1 / 3, 1 / 3, 0])


def test_events_below_a_value_are_the_others(case):
    """Brier score and ROC are those of the event above; the probabilities are turned round."""
    members, truths, weights = case
    values = np.stack([np.full(POINTS, 1e5, "f4"), np.full(POINTS, 1e5, "f4"),
                       np.full(POINTS, np.nan, "f4")])  # fmt: skip
    below = np.array([False, True, True])
    found = score_field(members, truths, weights, values, below=below)
    above, under, none = np.moveaxis(found["reliability"], 1, 0)
    np.testing.assert_allclose(under[..., 0], above[:, ::-1, 0])
    np.testing.assert_allclose(under[..., 1], (above[..., 0] - above[..., 1])[:, ::-1])
    np.testing.assert_allclose(found["brier"][:, 1], found["brier"][:, 0])
    assert not none[..., 1].any()  # a channel without the event never has it
    assert leave_one_out(truths, weights, values, below=below)["brier"].shape == (2, 3)


def test_fair_brier_score_is_that_of_scores(case):
    members, truths, weights = case
    thresholds = np.stack([members.mean(0), members.mean(0) + 0.7]).astype(np.float32)
    found = score_field(members, truths, weights, thresholds)
    fcst = xr.DataArray(members, dims=("member", "point"))
    obs = xr.DataArray(truths, dims=("truth", "point"))
    for q in range(2):
        level = xr.DataArray(thresholds[q], dims="point")
        theirs = brier_score_for_ensemble(
            fcst - level, obs - level, "member", 0.0, preserve_dims=("truth", "point")
        ).squeeze("threshold")
        values = theirs.transpose("truth", "point").values.mean(0)
        np.testing.assert_allclose(found["brier"][:, q], weights @ values, rtol=1e-6)
    np.testing.assert_allclose(found["reliability"][..., 0].sum(-1), 1.0)


def test_energy_score_is_that_of_scoringrules(case):
    members, truths, weights = case
    squares = energy_products(members, truths, weights, 2.0)
    found = energy_score(squares, len(members))
    for region in range(2):
        root = np.sqrt(weights[region])
        x, y = ((f.astype(np.float64) - 1e5) * root / 2.0 for f in (members, truths))
        theirs = np.mean([scoringrules.es_ensemble(one, x, estimator="fair") for one in y])
        assert found[region] == pytest.approx(theirs, rel=1e-4)


def test_the_score_does_not_favour_large_ensembles():
    """Fair scores of draws from one law have the same expectation for any ensemble size."""
    generator = np.random.default_rng(2)
    points, weights = 40_000, np.full((1, 40_000), 1 / 40_000)
    truths = generator.standard_normal((1, points)).astype(np.float32)
    for size in (2, 5, 50):
        members = generator.standard_normal((size, points)).astype(np.float32)
        found = score_field(members, truths, weights)
        assert found["crps"][0] == pytest.approx(1 / np.sqrt(np.pi), abs=0.012)
        ratio = (size + 1) / size * found["variance"][0] / found["mse"][0]
        assert ratio == pytest.approx(1.0, abs=0.03)
        flat = np.full(size + 1, 1 / (size + 1))
        np.testing.assert_allclose(found["ranks"][0], flat, atol=0.012)


def test_crps_of_a_biased_gaussian_is_the_closed_form():
    generator = np.random.default_rng(3)
    points = 20_000
    members = (0.5 + 2.0 * generator.standard_normal((40, points))).astype(np.float32)
    found = score_field(members, np.zeros((1, points), np.float32), np.full((1, points), 1e-4 / 2))
    z = -0.5 / 2.0
    exact = 2.0 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert found["crps"][0] == pytest.approx(exact, rel=5e-3)
    assert found["bias"][0] == pytest.approx(0.5, abs=0.02)


def test_truths_score_each_other_by_half_their_mean_distance(case):
    _, truths, weights = case
    found = leave_one_out(truths, weights)
    gaps = np.abs(truths[:, None].astype(np.float64) - truths[None])
    count = len(truths)
    half = gaps.sum((0, 1)) / (count * (count - 1)) / 2
    np.testing.assert_allclose(found["crps"], weights @ half, rtol=1e-4)
    size = count - 1
    ratio = (size + 1) / size * found["variance"] / found["mse"]
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-5)


def test_leaving_one_out_of_the_energy_score_is_half_the_mean_distance(case):
    _, truths, weights = case
    squares = energy_products(truths[:0], truths, weights, 1.0)
    each = []
    for k in range(len(truths)):
        one = energy_products(np.delete(truths, k, 0), truths[k : k + 1], weights, 1.0)
        each.append(energy_score(one, len(truths) - 1))
    np.testing.assert_allclose(energy_score(squares, 0), np.mean(each, 0), rtol=1e-4)


def test_one_member_is_scored_by_its_absolute_error(case):
    members, truths, weights = case
    found = score_field(members[:1], truths, weights)
    error = np.abs(members[:1] - truths).astype(np.float64).mean(0)
    np.testing.assert_allclose(found["crps"], weights @ error, rtol=1e-6)
    assert np.isnan(found["variance"]).all()


def test_points_without_a_truth_count_nowhere(case):
    members, truths, weights = case
    holed = truths.copy()
    holed[:, :5] = np.nan
    members = members.copy()
    members[:, :5] = 1e9
    found = score_field(members, holed, weights)
    some = weights[:, 5:] / weights[:, 5:].sum(1, keepdims=True)
    theirs = score_field(members[:, 5:], truths[:, 5:], some)
    np.testing.assert_allclose(found["crps"], theirs["crps"])
    np.testing.assert_allclose(found["ranks"], theirs["ranks"])


def test_anomaly_correlation_is_that_of_weighted_anomalies(case):
    """Of the ensemble mean with each truth, both about the climate and their own area mean."""
    members, truths, weights = case
    climate = np.linspace(-3, 3, POINTS).astype(np.float32) + np.float32(1e5)
    truths = truths + 0.5 * (members.mean(0) - 1e5)
    found = score_field(members, truths, weights, climate=climate)["acc"]
    mean = members.mean(0, dtype=np.float64) - climate
    for region, weight in enumerate(weights):
        theirs = [np.cov(mean, truth - np.float64(climate), aweights=weight) for truth in truths]
        expected = [c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]) for c in theirs]
        np.testing.assert_allclose(found[region], np.mean(expected), rtol=1e-4)
    assert "acc" not in score_field(members, truths, weights)
    truths[:, 3] = np.nan
    assert np.isfinite(score_field(members, truths, weights, climate=climate)["acc"]).all()

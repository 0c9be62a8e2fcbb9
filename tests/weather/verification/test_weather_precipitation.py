"""SEEPS against its matrix by hand, and the parts of the CRPS against their sum."""

import numpy as np
import pytest

from weather.verification.decomposition import crps_bins, crps_potential, crps_reliability
from weather.verification.kernels import score_field
from weather.verification.seeps import Rain, rain_climate, seeps, seeps_matrix


def test_the_matrix_is_that_of_the_paper():
    # p1 = 0.4, so that light is 0.4 and heavy 0.2: every entry by hand.
    wanted = 0.5 * np.array(
        [[0, 1 / 0.6, 5 + 1 / 0.6], [2.5, 0, 5], [2.5 + 1.25, 1.25, 0]]
    )
    np.testing.assert_allclose(seeps_matrix(np.array([0.4]))[:, :, 0], wanted, rtol=1e-14)


@pytest.mark.parametrize("chance", [0.1, 0.4, 0.85])
def test_a_constant_forecast_of_any_category_scores_one(chance):
    third = (1 - chance) / 3
    climate = np.array([chance, 2 * third, third])
    np.testing.assert_allclose(seeps_matrix(np.array([chance]))[:, :, 0] @ climate, 1, rtol=1e-14)


def test_the_climate_counts_dry_days_and_halves_the_wet_ones():
    # Six wet days of ten: 1 to 6 mm. The largest two are heavy.
    states = np.array([0, 0.25, 0.1, 0, 1, 2, 3, 4, 5, 6], "f4")[:, None]
    rain = rain_climate(states, 0.25)
    assert rain.chance[0] == pytest.approx(0.4) and rain.heavy[0] == 4.0
    assert (states > rain.heavy).sum() == 2
    desert = rain_climate(np.zeros((10, 1), "f4"), 0.25)
    assert desert.chance[0] == 1.0 and desert.heavy[0] == np.inf


def test_members_and_truths_are_scored_by_category():
    rain = Rain(0.25, np.array([0.4, 0.4, 0.95]), np.array([4.0, 4.0, 4.0]))
    members = np.array([[0.0, 5.0, 0.0], [1.0, 5.0, 9.0]], "f4")
    truths = np.array([[5.0, 0.1, 9.0]], "f4")
    weights = np.array([[0.25, 0.25, 0.5], [0.0, 0.0, 1.0]])
    # Half dry and half light where it was heavy; heavy where it was dry; a desert.
    first = 0.5 * (0.5 * (5 + 1 / 0.6)) + 0.5 * (0.5 * 5)
    second = 0.5 * (2.5 + 1.25)
    found = seeps(members, truths, weights, rain)
    assert found[0] == pytest.approx(0.5 * (first + second), rel=1e-12)
    assert np.isnan(found[1])
    # A missing truth belongs to no region.
    truths[0, 0] = np.nan
    assert seeps(members, truths, weights, rain)[0] == pytest.approx(second, rel=1e-12)
    assert seeps(truths[:, 1:], truths[:, 1:], weights[:1, 1:], Rain(0.25, rain.chance[1:],
                 rain.heavy[1:]))[0] == 0  # fmt: skip


def test_the_climate_as_a_forecast_scores_one():
    """Drawn from the climate, forecasts have a mean error of 1: the score is equitable."""
    rng = np.random.default_rng(0)
    states = np.where(rng.random((3000, 4)) < 0.5, 0, rng.gamma(1.0, 5.0, (3000, 4))).astype("f4")
    rain = rain_climate(states, 0.25)
    found = seeps(states, states, np.full((1, 4), 0.25), rain)
    assert found[0] == pytest.approx(1.0, abs=1e-3)
    # Leaving out the truth itself: a little more.
    apart = seeps(states[:0], states[:50], np.full((1, 4), 0.25), rain)
    pairs = [seeps(np.delete(states[:50], k, 0), states[k : k + 1], np.full((1, 4), 0.25), rain)
             for k in range(50)]  # fmt: skip
    assert apart[0] == pytest.approx(np.mean(pairs), rel=1e-12)


def _table(members, truths, weights):
    ordered = np.sort(members.T, axis=-1)
    return crps_bins(ordered, truths, weights)


def test_parts_add_up_to_the_crps():
    rng = np.random.default_rng(1)
    members, truths = rng.normal(size=(7, 400)), 1.5 * rng.normal(size=(3, 400))
    weights = rng.dirichlet(np.ones(400), size=2)
    table = _table(members, truths, weights)
    pairs = np.abs(members[:, None] - members[None]).mean((0, 1)) / 2
    crps = np.abs(members[:, None] - truths[None]).mean((0, 1)) - pairs
    total = crps_reliability(table) + crps_potential(table)
    np.testing.assert_allclose(total, weights @ crps, rtol=1e-12)
    # score_field gives the same table, in single precision.
    found = score_field(members.astype("f4"), truths.astype("f4"), weights)["bins"]
    np.testing.assert_allclose(found, table, atol=2e-6)


def test_hersbach_by_hand():
    """Members 0 and 1; truths 0.25, -1 and 3: every interval by hand."""
    members, one = np.array([[0.0], [1.0]]), np.ones((1, 1))
    each = [_table(members, np.array([[y]]), one) for y in (0.25, -1, 3)]
    table = np.mean(each, axis=0)[0]
    third = 1 / 3
    wanted = [[0, third, third], [1.25 * third, 1.75 * third, 0], [2 * third, 0, 2 * third]]
    np.testing.assert_allclose(table, wanted, rtol=1e-12)
    frequency = 1.75 / 3
    reliability = 1 * third**2 + 1 * (frequency - 0.5) ** 2 + 2 * third**2
    potential = 1 * third * 2 * third + frequency * (1 - frequency) + 2 * third * 2 * third
    assert crps_reliability(table) == pytest.approx(reliability, rel=1e-12)
    assert crps_potential(table) == pytest.approx(potential, rel=1e-12)


def test_a_reliable_ensemble_has_little_to_calibrate():
    rng = np.random.default_rng(2)
    members, truths = rng.normal(size=(9, 20_000)), rng.normal(size=(1, 20_000))
    weights = np.full((1, 20_000), 5e-5)
    table = _table(members, truths, weights)
    # Nine members place the truth to a tenth: 2 % are left.
    assert crps_reliability(table)[0] < 0.02 * crps_potential(table)[0]
    narrow = _table(0.5 * members, truths, weights)
    assert crps_reliability(narrow)[0] > 0.1 * crps_potential(narrow)[0]

"""Seasons of area means: the course and its persistence are found again."""

import numpy as np
import pytest

from weather.data.seasons import fit_seasons, season_of

DAYS = np.tile(np.arange(1, 366), 12)
CURVE = np.array([[280.0, -6.0, 2.0, 0.5, -0.3], [0.0, 0.0, 0.0, 0.0, 0.0]])


def _means(persistence, seed=0):
    rng = np.random.default_rng(seed)
    left = np.zeros((len(DAYS), 2))
    for t in range(1, len(DAYS)):
        left[t] = persistence * left[t - 1] + rng.normal(size=2)
    angle = 2 * np.pi * DAYS / 365
    waves = [np.ones_like(angle), np.cos(angle), np.sin(angle), np.cos(2 * angle)]
    return np.stack([*waves, np.sin(2 * angle)], 1) @ CURVE.T + left


def test_course_and_persistence_are_found_again():
    steps = np.ones(len(DAYS), dtype=bool)
    found = fit_seasons(_means(np.array([0.9, 0.3])), DAYS, steps)
    # Five deviations of what 4,380 days with that persistence can tell.
    np.testing.assert_allclose(found[0, :5], CURVE[0], atol=1.1)
    np.testing.assert_allclose(found[1, :5], CURVE[1], atol=0.2)
    np.testing.assert_allclose(found[:, 5], [0.9, 0.3], atol=0.05)
    course = season_of(found, [1, 183])
    assert course.shape == (2, 2) and course[1, 0] - course[0, 0] > 10.0


def test_gaps_are_no_steps_and_missing_means_no_days():
    means = _means(np.array([0.9, 0.9]))
    steps = np.ones(len(DAYS), dtype=bool)
    # Every other day is gone: no pair is left but those that a gap would make up.
    half = fit_seasons(means[::2], DAYS[::2], np.zeros(len(DAYS[::2]), dtype=bool))
    np.testing.assert_array_equal(half[:, 5], [1.0, 1.0])
    holed = means.copy()
    holed[1000:1003] = np.nan
    np.testing.assert_allclose(
        fit_seasons(holed, DAYS, steps), fit_seasons(means, DAYS, steps), atol=0.05
    )


@pytest.mark.parametrize("days", [120, 340])
def test_a_part_of_a_year_has_no_season(days):
    means = np.zeros((days, 1))
    assert fit_seasons(means, np.arange(1, days + 1), np.ones(days, dtype=bool)) is None


def test_what_never_departs_does_not_fade():
    steps = np.ones(len(DAYS), dtype=bool)
    found = fit_seasons(np.full((len(DAYS), 1), 7.0), DAYS, steps)
    assert found[0, 0] == pytest.approx(7.0) and 0.0 <= found[0, 5] <= 1.0

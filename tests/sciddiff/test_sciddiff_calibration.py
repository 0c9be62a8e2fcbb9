"""Scores of confidences, against values worked out by hand."""

import math
from itertools import product

import numpy as np
import pytest

from sciddiff.calibration import (
    auroc,
    brier,
    expected_calibration_error,
    reliability,
    selective_success,
)
from sciddiff.errors import InputError


def test_auroc_counts_pairs_and_halves_ties():
    # Successes 0.9, 0.5; failures 0.5, 0.1: of 4 pairs 3 are right, one is a tie.
    assert auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == 3.5 / 4
    assert auroc([1, 2, 3], [0, 1, 1]) == 1.0
    assert auroc([3, 2, 1], [0, 1, 1]) == 0.0
    assert auroc([7, 7, 7], [0, 1, 0]) == 0.5


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, 60), rng.random(60) < 0.4
    pairs = list(product(scores[labels], scores[~labels]))
    expected = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    assert auroc(scores, labels) == pytest.approx(expected, abs=1e-12)
    # Only the order of scores matters.
    assert auroc(np.exp(scores), labels) == auroc(scores, labels)


def test_auroc_of_one_class_is_not_a_number():
    assert math.isnan(auroc([0.1, 0.2], [1, 1]))
    assert math.isnan(auroc([], []))


def test_brier_by_hand():
    assert brier([0.8, 0.3, 1.0], [1, 0, 1]) == pytest.approx((0.04 + 0.09) / 3)
    assert brier([0.0, 1.0], [1, 0]) == 1.0
    assert math.isnan(brier([], []))


def test_calibration_error_by_hand():
    # Bin [0.2, 0.3): 0.2 and 0.26, none happened: gap 0.23. Bin [0.9, 1]: 0.9, 1.0, both: 0.05.
    p, y = [0.2, 0.26, 0.9, 1.0], [0, 0, 1, 1]
    assert expected_calibration_error(p, y) == pytest.approx(0.5 * 0.23 + 0.5 * 0.05)
    # One bin: mean forecast 0.59 against one half.
    assert expected_calibration_error(p, y, bins=1) == pytest.approx(0.09)
    assert math.isnan(expected_calibration_error([], []))


def test_a_forecast_of_the_frequency_has_no_calibration_error():
    assert expected_calibration_error([0.25] * 4, [1, 0, 0, 0]) == 0.0


def test_reliability_puts_edges_into_the_bin_above():
    table = reliability([0.0, 0.1, 0.3, 0.6, 0.7, 1.0], [0, 0, 0, 1, 1, 1])
    assert table.count.tolist() == [1, 1, 0, 1, 0, 0, 1, 1, 0, 1]
    assert np.isnan(table.forecast[2]) and np.isnan(table.frequency[2])
    assert table.frequency[[0, 1, 3, 6, 7, 9]].tolist() == [0, 0, 0, 1, 1, 1]
    assert table.count.sum() == 6


def test_selective_success_takes_ties_together():
    coverage, success = selective_success([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 0])
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert success.tolist() == [1.0, pytest.approx(2 / 3), 0.5]
    swapped = selective_success([0.8, 0.1, 0.9, 0.8], [0, 0, 1, 1])
    assert np.array_equal(swapped[1], success)
    assert selective_success([], [])[0].size == 0


@pytest.mark.parametrize(
    ("function", "p", "y", "word"),
    [
        (auroc, [0.5], [1, 0], "one each"),
        (auroc, [float("nan")], [1], "not finite"),
        (auroc, [0.5], [2], "neither 0 nor 1"),
        (brier, [1.5], [1], "from 0 to 1"),
        (reliability, [[0.5]], [1], "shape"),
        (expected_calibration_error, [-0.1], [0], "from 0 to 1"),
    ],
)
def test_bad_input_is_named(function, p, y, word):
    with pytest.raises(InputError, match=word):
        function(p, y)


def test_no_bins_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        reliability([0.5], [1], bins=0)

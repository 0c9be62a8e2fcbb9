r"""How good confidences are: whether they rank, and whether they mean what they say.

For events y in {0, 1} and forecasts p in [0, 1]:

* AUROC, the chance that a success is ranked above a failure, ties counted by half (Mann & Whitney
  1947, *Ann. Math. Stat.* 18);
* Brier score :math:`\mathrm{mean}\,(p - y)^2` (Brier 1950, *Mon. Weather Rev.* 78);
* expected calibration error :math:`\sum_b \frac{n_b}{n} |\bar p_b - \bar y_b|` over bins of equal
  width (Naeini et al. 2015, AAAI);
* selective success: the share of successes among the most confident part, against the size of that
  part (Geifman & El-Yaniv 2017, NeurIPS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

__all__ = [
    "Reliability",
    "auroc",
    "brier",
    "expected_calibration_error",
    "reliability",
    "selective_success",
]

Numbers: TypeAlias = NDArray[np.generic] | Sequence[float] | Sequence[bool]
"""An array or a list of numbers `[K]`."""


@final
@dataclass(frozen=True, eq=False)
class Reliability:
    """Forecasts and what happened, by bins of the forecast.

    Attributes:
        edges: Of the bins `[B + 1]`, from 0 to 1; a bin holds its lower edge, the last one both.
        count: Forecasts in each bin `[B]`.
        forecast: Their mean `[B]`; NaN in an empty bin.
        frequency: Share of them that happened `[B]`; NaN in an empty bin.
    """

    edges: NDArray[np.float64]
    count: NDArray[np.int64]
    forecast: NDArray[np.float64]
    frequency: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error; NaN without a forecast."""
        filled = self.count > 0
        if not filled.any():
            return float("nan")
        gap = np.abs(self.forecast[filled] - self.frequency[filled])
        return float((gap * self.count[filled]).sum() / self.count.sum())


def auroc(scores: Numbers, labels: Numbers) -> float:
    """Area under the curve of true against false positives, ties counted by half.

    Args:
        scores: Higher for what should be a success `[K]`; any finite numbers.
        labels: 1 for a success, 0 for a failure `[K]`.

    Returns:
        Between 0 and 1; NaN where there are no successes or no failures.

    Raises:
        InputError: Lengths differ, a score is not finite, or a label is neither 0 nor 1.
    """
    values, happened = _scores(scores, "scores"), _labels(labels)
    _same_length(values, happened)
    positive = int(happened.sum())
    negative = len(happened) - positive
    if positive == 0 or negative == 0:
        return float("nan")
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    # The rank of a group of ties is the mean of the ranks it takes.
    last = np.cumsum(ties)
    ranks = last - (ties - 1) / 2
    above = ranks[place][happened].sum() - positive * (positive + 1) / 2
    return float(above / (positive * negative))


def brier(p: Numbers, y: Numbers) -> float:
    """Mean squared difference of forecasts and events; NaN without any.

    Args:
        p: Forecasts `[K]`, between 0 and 1.
        y: 1 where it happened, else 0 `[K]`.

    Raises:
        InputError: Lengths differ, or a value is out of its range.
    """
    forecast, happened = _probabilities(p), _labels(y)
    _same_length(forecast, happened)
    if len(forecast) == 0:
        return float("nan")
    return float(np.square(forecast - happened).mean())


def reliability(p: Numbers, y: Numbers, bins: int = 10) -> Reliability:
    """Forecasts and frequencies by bins of equal width.

    Args:
        p: Forecasts `[K]`, between 0 and 1.
        y: 1 where it happened, else 0 `[K]`.
        bins: How many, B.

    Raises:
        InputError: Lengths differ, a value is out of its range, or there is no bin.
    """
    if bins < 1:
        raise InputError(f"bins: {bins} is less than 1; give at least 1")
    forecast, happened = _probabilities(p), _labels(y)
    _same_length(forecast, happened)
    edges = np.arange(bins + 1) / bins
    # By the edges themselves: 0.3 * 10 is below 3 in floating point, and 0.3 is an edge.
    place = np.minimum(np.searchsorted(edges, forecast, side="right") - 1, bins - 1)
    count = np.bincount(place, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    return Reliability(
        edges,
        count.astype(np.int64),
        np.bincount(place, forecast, bins) / filled,
        np.bincount(place, happened.astype(np.float64), bins) / filled,
    )


def expected_calibration_error(p: Numbers, y: Numbers, bins: int = 10) -> float:
    """Mean gap between forecast and frequency over bins of equal width; NaN without a forecast.

    Args:
        p: Forecasts `[K]`, between 0 and 1.
        y: 1 where it happened, else 0 `[K]`.
        bins: How many.

    Raises:
        InputError: As `reliability`.
    """
    return reliability(p, y, bins).error


def selective_success(
    scores: Numbers, labels: Numbers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Success among the most confident part, against the size of that part.

    Ties are taken or left together, so that the curve does not depend on their order.

    Args:
        scores: Higher for what is trusted more `[K]`.
        labels: 1 for a success, 0 for a failure `[K]`.

    Returns:
        Coverage `[J]`, growing to 1, and the share of successes within it `[J]`; one point for
        each distinct score.

    Raises:
        InputError: Lengths differ, a score is not finite, or a label is neither 0 nor 1.
    """
    values, happened = _scores(scores, "scores"), _labels(labels)
    _same_length(values, happened)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else []
    rows = np.asarray(last, dtype=np.int64)
    successes = np.cumsum(happened[order])
    return (rows + 1) / max(1, len(values)), successes[rows] / (rows + 1)


def _scores(values: Numbers, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"{name}: of shape {array.shape}; give one number each, [K]")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: some are not finite; leave out what has none")
    return array


def _probabilities(values: Numbers) -> NDArray[np.float64]:
    array = _scores(values, "probabilities")
    if len(array) and (array.min() < 0 or array.max() > 1):
        raise InputError(
            f"probabilities: from {array.min():g} to {array.max():g}; give values from 0 to 1"
        )
    return array


def _labels(values: Numbers) -> NDArray[np.bool_]:
    array = _scores(np.asarray(values, dtype=np.float64), "labels")
    if not np.isin(array, (0.0, 1.0)).all():
        raise InputError("labels: some are neither 0 nor 1; give 1 for a success, 0 for a failure")
    return array == 1.0


def _same_length(left: NDArray[np.generic], right: NDArray[np.generic]) -> None:
    if len(left) != len(right):
        raise InputError(f"labels: {len(right)} for {len(left)} scores; give one each")

"""Intervals from few, dependent initial times.

Forecasts started on neighbouring days share their weather, so that whole blocks of consecutive
initial times are drawn with replacement (moving blocks around a circle; Politis & Romano, 1992),
and a figure is computed anew from each draw.  What enters are averages per initial time; ratios
are taken of the averaged numerators and denominators.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_weights", "interval", "jackknife", "weighted_mean"]

Floats = NDArray[np.float64]


@lru_cache(maxsize=4)
def draw_weights(count: int, block: int, draws: int, seed: int = 0) -> Floats:
    """How often each of `count` initial times occurs in each draw, `[draws, count]`.

    Args:
        count: Number of initial times, in order.
        block: Consecutive ones drawn together.
        draws: Number of resamples.
        seed: Of the draws.
    """
    block = max(1, min(block, count))
    blocks = -(-count // block)
    generator = np.random.default_rng([seed, count, block])
    starts = generator.integers(0, count, (draws, blocks))
    chosen = (starts[..., None] + np.arange(block)) % count
    chosen = chosen.reshape(draws, -1)[:, :count]
    weights = np.zeros((draws, count))
    np.add.at(weights, (np.arange(draws)[:, None], chosen), 1.0)
    weights.setflags(write=False)
    return weights


def weighted_mean(weights: Floats, values: Floats) -> Floats:
    """Mean over initial times under each draw; missing values count nowhere.

    Args:
        weights: `[B, T]`.
        values: `[T, ...]`, NaN where missing.

    Returns:
        `[B, ...]`, NaN where a draw holds no value.
    """
    flat = values.reshape(len(values), -1)
    known = np.isfinite(flat)
    total = weights @ np.where(known, flat, 0.0)
    count = weights @ known.astype(np.float64)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return mean.reshape(len(weights), *values.shape[1:])


def interval(draws: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval over the first axis, ignoring draws that hold nothing."""
    import warnings

    tail = 50.0 * (1.0 - level)
    if np.isfinite(draws).all():
        # Many times faster than the version that looks for missing values.
        low, high = np.percentile(draws, [tail, 100.0 - tail], axis=0)
        return low, high
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN")
        low, high = np.nanpercentile(draws, [tail, 100.0 - tail], axis=0)
    return low, high


def jackknife(
    statistic: Callable[[Floats], Floats], count: int, level: float = 0.95
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Estimate and interval of a figure by leaving out one initial time after the other.

    With fewer than about twenty initial times percentiles of a bootstrap are too narrow; this is
    the t interval on the jackknife's standard error (Efron & Tibshirani 1993, ch. 11).

    Args:
        statistic: Takes weights of the initial times `[B, T]`, gives the figure `[B, ...]`.
        count: T.
        level: Of the interval.

    Returns:
        Estimate, lower and upper bound, each `[...]`.
    """
    from scipy.stats import t as student

    whole = statistic(np.ones((1, count)))[0]
    if count < 2:
        return whole, np.full_like(whole, np.nan), np.full_like(whole, np.nan)
    without = statistic(np.ones((count, count)) - np.eye(count))
    spread = np.square(without - without.mean(0)).sum(0) * (count - 1) / count
    reach = student.ppf(0.5 + level / 2, count - 1) * np.sqrt(spread)
    return whole, whole - reach, whole + reach

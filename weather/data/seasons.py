r"""The season of area means: their annual course, and how fast departures from it fade.

The area mean of a channel at a time of the year (an angle :math:`\theta`) is fitted by least
squares

.. math:: s(\theta) = c_0 + c_1 \cos\theta + c_2 \sin\theta + c_3 \cos 2\theta + c_4 \sin 2\theta,

and what is left by a first-order autoregression :math:`a_{t+1} = \varphi a_t + \ldots` (von Storch
& Zwiers 1999, *Statistical Analysis in Climate Research*, section 10.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weather.data.forcings import YEAR

__all__ = ["SEASON", "annual_waves", "fit_seasons", "season_of"]

SEASON = ("mean", "cos", "sin", "cos2", "sin2", "persistence")
"""The numbers of a channel: the course in its units, and the persistence of a step."""

#: Share of the days of a year that data must cover: a course cannot be told from half of it.
COVER = 0.95

Array = NDArray[np.float64]


def fit_seasons(means: Array, days: NDArray[Any], steps: NDArray[np.bool_]) -> Array | None:
    """Season of each channel.

    Args:
        means: Area means `[T, C]`.
        days: Days of a 365-day year `[T]`.
        steps: Times that follow their predecessor by one step `[T]`.

    Returns:
        `[C, 6]`, as `SEASON`; None where the data leave out more than a few days of the year.
    """
    known = np.asarray(np.isfinite(means).all(axis=1), dtype=np.bool_)
    steps = (steps & np.append(False, known[:-1]))[known]
    means, days = means[known], days[known]
    if len(np.unique(np.asarray(days).astype(int))) < COVER * YEAR:
        return None
    basis = annual_waves(days)
    curve = np.linalg.lstsq(basis, means, rcond=None)[0]
    left = means - basis @ curve
    here = np.flatnonzero(steps[1:]) + 1
    before, after = left[here - 1], left[here]
    power = np.square(before).sum(0)
    # A channel that never leaves its course has nothing to fade.
    persistence = np.where(power > 0, (before * after).sum(0) / np.where(power > 0, power, 1), 1)
    both = np.concatenate([curve.T, persistence.clip(0.0, 1.0)[:, None]], 1)
    return both.astype(np.float64)


def season_of(seasons: Array, days: ArrayLike) -> Array:
    """Seasonal area means on days of the year: `[T, C]` of `seasons [C, 6]` and `days [T]`."""
    return np.asarray(annual_waves(days) @ seasons[:, :5].T, dtype=np.float64)


def annual_waves(days: ArrayLike, harmonics: int = 2) -> Array:
    """A constant, and cosine and sine of every harmonic of the year: `[T, 1 + 2 harmonics]`."""
    angle = 2.0 * np.pi * np.asarray(days, dtype=np.float64) / YEAR
    waves = [f(k * angle) for k in range(1, harmonics + 1) for f in (np.cos, np.sin)]
    return np.stack([np.ones_like(angle), *waves], -1)

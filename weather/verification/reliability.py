r"""Reliability of probabilities, from counts.

An ensemble of M members gives one of M + 1 probabilities, so that the frequency of the event at
each of them is all that reliability depends on.  The calibrated curve is the isotonic fit to these
frequencies (pool adjacent violators, by ``scores``); it splits the Brier score of the raw
probabilities into miscalibration - discrimination + uncertainty (Dimitriadis, Gneiting & Jordan
2021, PNAS 118, e2016191118).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "reliability_curve"]

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Curve:
    """Reliability of one event.

    Attributes:
        chance: Forecast probabilities that occurred, ascending, `[n]`.
        weight: How often each did, summing to 1, `[n]`.
        frequency: Of the event at each, `[n]`.
        calibrated: Isotonic fit to `frequency`, `[n]`.
        miscalibration: Part of the Brier score that recalibration would remove; 0 is reliable.
        discrimination: What the calibrated forecast gains over the mean frequency.
        uncertainty: Brier score of the mean frequency.
    """

    chance: Floats
    weight: Floats
    frequency: Floats
    calibrated: Floats
    miscalibration: float
    discrimination: float
    uncertainty: float


def reliability_curve(table: Floats) -> Curve | None:
    """Compute the curve from counts by number of members, `[M + 1, 2]`; None if there are none.

    Args:
        table: Weight of forecasts with 0 ... M members having the event, and of the events.
    """
    from scores.processing import isotonic_fit

    used = np.isfinite(table).all(-1) & (table[:, 0] > 0)
    if not used.any():
        return None
    chance = np.arange(len(table))[used] / (len(table) - 1)
    weight, event = table[used].T
    weight, event = weight / weight.sum(), event / weight.sum()
    frequency = event / weight
    fit = isotonic_fit(fcst=chance, obs=frequency, weight=weight)
    calibrated = np.asarray(fit["regression_func"](chance), dtype=np.float64)
    rate = float(event.sum())

    def brier(forecast: Floats | float) -> float:
        return float((weight * forecast**2 - 2 * event * forecast + event).sum())

    best = brier(calibrated)
    flat = rate * (1 - rate)
    return Curve(
        chance, weight, frequency, calibrated, brier(chance) - best, flat - best, flat
    )  # fmt: skip

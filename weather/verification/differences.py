r"""Whether one forecast is better than another: paired differences with intervals.

Both are scored on the same initial times, and every resample of the block bootstrap takes the same
times for both, so that the weather they share cancels. What is shown is the relative difference
:math:`(s - s_\text{ref}) / s_\text{ref}`; its interval is the expanded percentile interval
(Hesterberg 2015, Am. Stat. 69, 371), which allows for the small number n of blocks by replacing
the normal tail by :math:`\Phi(-\sqrt{n/(n-1)}\,t_{\alpha/2,\,n-1})`. A difference is significant
where the interval does not hold 0. Tests of many cells are not independent and are not corrected:
one in twenty stands out by chance.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.verification.bootstrap import draw_weights, interval
from weather.verification.figures import FIGURES, Verification
from weather.verification.instants import DAY

__all__ = ["COMPARED", "Difference", "compare", "expanded_level", "write_differences"]

Floats = NDArray[np.float64]

COMPARED = ("crps", "rmse", "energy", "brier")
"""Figures that are compared: the smaller, the better."""

_COLUMNS = (
    "forecast", "reference", "score", "channel", "event", "region", "lead_days", "value",
    "reference_value", "percent", "low", "high", "significant", "initial_times",
)  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Difference:
    """One figure of a forecast relative to that of the reference.

    Attributes:
        forecast: Its name.
        reference: Name of the reference.
        score: Key of `weather.verification.figures.FIGURES`.
        value: The figure, with the figure's axes.
        reference_value: That of the reference.
        percent: ``100 (value - reference) / reference``: below 0 is better.
        low: Lower bound of the percentage; NaN with fewer than three initial times.
        high: Upper bound.
    """

    forecast: str
    reference: str
    score: str
    value: Floats
    reference_value: Floats
    percent: Floats
    low: Floats
    high: Floats

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Where the interval does not hold 0."""
        return (self.low > 0) | (self.high < 0)


def compare(result: Verification, reference: str) -> list[Difference]:
    """Differences of every other forecast from a reference.

    Args:
        result: The scores.
        reference: Name of the reference.

    Raises:
        InputError: No such forecast was scored.
    """
    if reference not in result.forecasts:
        raise InputError(
            f"--reference {reference}: not among the forecasts {', '.join(result.forecasts)}"
        )
    found = []
    for forecast in result.forecasts:
        for score in COMPARED:
            both = all(result.has(score, name) for name in (forecast, reference))
            if forecast != reference and both:
                found.append(_difference(result, forecast, reference, score))
    return found


def _difference(result: Verification, forecast: str, reference: str, score: str) -> Difference:
    value, other = (result.figure(score, name)[0] for name in (forecast, reference))
    percent = _percent(value, other)
    low = high = np.full_like(percent, np.nan)
    if result.resampled:
        weights = draw_weights(len(result.times), result.block, result.draws, result.seed)
        # The same initial times for both in every draw.
        pair = (result.figure(score, name, weights) for name in (forecast, reference))
        low, high = interval(_percent(*pair), expanded_level(result.level, result.blocks))
    return Difference(forecast, reference, score, value, other, percent, low, high)


def expanded_level(level: float, blocks: float) -> float:
    """Level of the percentile interval that covers `level` with few blocks.

    >>> round(expanded_level(0.95, 10), 3), round(expanded_level(0.95, 1000), 3)
    (0.983, 0.95)
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    n = max(blocks, 2.0)
    reach = math.sqrt(n / (n - 1.0)) * student.ppf(0.5 + level / 2.0, n - 1.0)
    return float(2.0 * norm.cdf(reach) - 1.0)


def _percent(value: Floats, reference: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 100.0 * (value - reference) / reference


def write_differences(result: Verification, found: list[Difference], path: Path) -> None:
    """Write the tidy table of differences; it appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for one in found:
            writer.writerows(_rows(result, one))
    part.replace(path)


def _rows(result: Verification, one: Difference) -> Iterator[list[Any]]:
    axes = FIGURES[one.score].axes
    for index in np.ndindex(one.percent.shape):
        if not math.isfinite(one.percent[index]):
            continue
        at = dict(zip(axes, index, strict=True))
        numbers = (one.value, one.reference_value, one.percent, one.low, one.high)
        yield [
            one.forecast,
            one.reference,
            one.score,
            result.channels[at["channel"]] if "channel" in at else "all",
            result.events[at["event"]] if "event" in at else "",
            result.regions[at["region"]],
            f"{result.leads[at['lead']] / DAY:g}",
            *("" if math.isnan(x[index]) else f"{x[index]:.6g}" for x in numbers),
            "yes" if one.significant[index] else "no",
            len(result.times),
        ]

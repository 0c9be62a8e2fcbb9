"""Scores of a limited area, as `weather_area.py` and `weather_latents.py` print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weather.data.areas import Area
from weather.data.prepare import prepare_forecast
from weather.data.reading import ReaderSettings
from weather.data.store import Store
from weather.data.times import Period
from weather.verification import ArrayEnsemble, Verification
from weather.verification.differences import compare

Row = dict[str, list[float]]
"""Value and bounds of a figure, by day."""


def prepared(data: Path, store: Path, area: str, period: str = "") -> Store:
    """The prepared store of an area and a period of a file, made once."""
    chosen = Period.parse(period) if period else None
    settings = ReaderSettings(area=Area.parse(area), period=chosen)
    return prepare_forecast([data], store, settings).store or Store(store)


def as_ensemble(
    name: str, fields: np.ndarray, channels: tuple[str, ...], shape: Mapping[str, Any]
) -> ArrayEnsemble:
    """Fields `[T, M, L, C, H, W]` as an ensemble."""
    return ArrayEnsemble(name, {c: fields[:, :, :, i] for i, c in enumerate(channels)}, **shape)


def figures(
    result: Verification, name: str, days: Sequence[int], wanted: Mapping[str, float]
) -> dict[str, Row]:
    """Every figure of a forecast that it has.

    Args:
        result: The scores of one region.
        name: Of the forecast.
        days: Leads.
        wanted: Names of the figures, and what they are divided by.
    """
    found: dict[str, Row] = {}
    for figure, unit in wanted.items():
        single = result.sizes[name] < 2  # such a forecast has an error, and no spread
        if not result.has(figure, name) or (single and figure not in ("rmse", "acc")):
            continue
        bounds = [x[:, 0, 0] / unit for x in result.estimate(figure, name)]
        found[figure] = _by_day(bounds, days, 4)
    return found


def gain(result: Verification, name: str, other: str, days: Sequence[int]) -> Row | None:
    """How much lower the CRPS of a forecast is than that of another, percent; None if unknown."""
    for one in compare(result, other):
        if one.forecast == name and one.score == "crps":
            return _by_day([-x[:, 0, 0] for x in (one.percent, one.high, one.low)], days, 2)
    return None


def _by_day(bounds: Sequence[np.ndarray], days: Sequence[int], digits: int) -> Row:
    return {
        f"{day}": [round(float(x[i]), digits) for x in bounds] for i, day in enumerate(days)
    }


def cells(row: Row) -> str:
    """Values and bounds between the bars of a table."""
    return " | ".join(f"{value:.3g} [{low:.3g}, {high:.3g}]" for value, low, high in row.values())

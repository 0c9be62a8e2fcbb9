"""Times of a file as the report counts them: initial times as dates, leads as days."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["dates_of", "days_between", "days_of", "later"]

_SECONDS = {"s": 1.0, "second": 1.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0,
            "day": 86400.0}  # fmt: skip


def days_of(values: NDArray[Any], units: str) -> NDArray[np.float64]:
    """Leads in days; numbers without units that are known count as days."""
    if np.issubdtype(values.dtype, np.timedelta64):
        return values / np.timedelta64(1, "D")
    return values.astype(np.float64) * _SECONDS.get(units, 86400.0) / 86400.0


def dates_of(coordinate: xr.DataArray) -> list[Any]:
    """The dates of a coordinate, of numpy or of any calendar."""
    values = np.atleast_1d(np.asarray(coordinate.values))
    if np.issubdtype(values.dtype, np.datetime64):
        return list(values)
    return values.tolist()


def days_between(first: Any, second: Any) -> float:
    """Days from one date to another; numbers stand for themselves."""
    if isinstance(first, int | float):
        return float(second) - float(first)
    gap = second - first
    return float(gap / np.timedelta64(1, "D")) if isinstance(gap, np.timedelta64) else (
        gap.total_seconds() / 86400.0
    )  # fmt: skip


def later(first: Any, days: float) -> Any:
    """The date some days after another; without a date the days themselves."""
    if first is None:
        return days
    if isinstance(first, int | float):
        return float(first) + days
    if isinstance(first, np.datetime64):
        return first + np.timedelta64(round(days * 86400), "s")
    return first + dt.timedelta(days=days)

"""Valid times: a field is stamped with the time it is of, not with that of the run it comes from.

Files of single leads (a six-hour forecast from every analysis, GRIB steps) carry the initial time
and the lead apart. Three conventions are in use:

* cfgrib and ECMWF name the initial time ``time`` and give ``step`` and ``valid_time``;
* WeatherBench name them ``time`` (or ``init_time``) and ``prediction_timedelta`` (``lead_time``);
* CF name the valid time ``time`` and give ``forecast_period`` and ``forecast_reference_time``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.units import normal_units

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["at_valid_times"]

_LEADS: Final = (
    "step",
    "lead",
    "lead_time",
    "prediction_timedelta",
    "forecast_period",
    "leadtime",
    "fcst_lead",
)
_INITIAL: Final = ("forecast_reference_time", "init_time", "initial_time", "reftime")
_SECONDS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "ns": 1e-9, "us": 1e-6,
                   "ms": 1e-3}  # fmt: skip
_WORDS: Final = {
    "second": "s", "seconds": "s", "sec": "s", "secs": "s", "minute": "min", "minutes": "min",
    "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "day": "d", "days": "d",
    "nanosecond": "ns", "nanoseconds": "ns", "microseconds": "us", "milliseconds": "ms",
}  # fmt: skip


def at_valid_times(dataset: xr.Dataset, path: str) -> xr.Dataset:
    """Replace initial times and one lead by valid times.

    Args:
        dataset: As opened; leads may be numbers with units, or time differences.
        path: Its name, for messages.

    Raises:
        InputError: There are several leads, or the lead has no units of time.
    """
    leads = [n for n in dataset.variables if _is_lead(str(n), dataset[n])]
    for name in leads:
        if name in dataset.dims and dataset.sizes[name] > 1:
            raise InputError(
                f"{path}: holds forecasts (dimension {name} of {dataset.sizes[name]}), not "
                "analyses with one time axis; choose one lead before, or give analyses"
            )
    bare = [d for d in dataset.dims if str(d).lower() in _LEADS and d not in dataset.variables]
    for name in bare:
        if dataset.sizes[name] > 1:
            raise InputError(
                f"{path}: holds forecasts (dimension {name} of {dataset.sizes[name]}), not "
                "analyses with one time axis; choose one lead before, or give analyses"
            )
    dataset = dataset.squeeze([d for d in dataset.dims if d in (*leads, *bare)])
    initial = _initial(dataset, [str(n).lower() for n in leads])
    if leads and initial is not None:
        stamped = _stamp(dataset, initial, leads[0], path)
        dataset = _replace(dataset, initial, stamped)
    elif initial is not None and "time" not in dataset.variables and not leads:
        dataset = dataset.rename({initial: "time"})
    return dataset.drop_vars([n for n in leads if n in dataset.variables])


def _is_lead(name: str, variable: Any) -> bool:
    if variable.ndim > 1:
        return False
    standard = str(variable.attrs.get("standard_name", ""))
    return name.lower() in _LEADS or standard == "forecast_period"


def _initial(dataset: xr.Dataset, leads: list[str]) -> Any:
    """Name of the coordinate that holds initial times; None where ``time`` is the valid time."""
    named = [
        n
        for n in dataset.variables
        if str(n).lower() in _INITIAL
        or str(dataset[n].attrs.get("standard_name", "")) == "forecast_reference_time"
    ]
    if not named:
        # CF's name of the lead comes with CF's meaning of time.
        return "time" if "time" in dataset.variables and "forecast_period" not in leads else None
    if named[0] != "time" and "time" in dataset.variables:
        return None  # CF: the initial time stands beside the valid time.
    return named[0]


def _stamp(dataset: xr.Dataset, initial: Any, lead: Any, path: str) -> NDArray[Any]:
    """Valid times, of the shape of the initial times."""
    start = dataset[initial]
    if "valid_time" in dataset.variables and dataset["valid_time"].dims == start.dims:
        return np.asarray(dataset["valid_time"].values)
    seconds = _seconds(dataset[lead], str(lead), path)
    times = np.asarray(start.values)
    if seconds.ndim and dataset[lead].dims != start.dims:
        raise InputError(
            f"{path}: {lead} varies along {', '.join(map(str, dataset[lead].dims))}, not along "
            "the initial times; choose one lead before"
        )
    if np.issubdtype(times.dtype, np.datetime64):
        whole = np.round(seconds * 1e3).astype(np.int64).astype("timedelta64[ms]")
        return times + whole.astype("timedelta64[ns]")
    from datetime import timedelta

    shifts = np.broadcast_to(seconds, times.shape).ravel()
    moved = [t + timedelta(seconds=float(s)) for t, s in zip(times.ravel(), shifts, strict=True)]
    out = np.empty(len(moved), dtype=object)
    out[:] = moved
    return out.reshape(times.shape)


def _seconds(lead: Any, name: str, path: str) -> NDArray[np.float64]:
    values = np.asarray(lead.values)
    if np.issubdtype(values.dtype, np.timedelta64):
        return values.astype("timedelta64[ms]").astype(np.float64) / 1e3
    values = values.astype(np.float64)
    if not values.any():
        return values
    units = str(lead.attrs.get("units", "")).strip().lower()
    unit = _SECONDS.get(_WORDS.get(units, normal_units(units)))
    if unit is None:
        raise InputError(
            f"{path}: lead time {name} = {values.ravel()[0]:g} has no units of time "
            f"({units or 'none'}); give it the attribute units, such as hours"
        )
    return values * unit


def _replace(dataset: xr.Dataset, initial: Any, stamped: NDArray[Any]) -> xr.Dataset:
    """Put the valid times in the place of the initial ones, under the name ``time``."""
    dims = dataset[initial].dims
    drop = [n for n in ("valid_time",) if n in dataset.variables and n != initial]
    dataset = dataset.drop_vars(drop)
    if initial != "time":
        dataset = dataset.rename({initial: "time"})
        dims = dataset["time"].dims
    encoding = dict(dataset["time"].encoding)
    dataset = dataset.assign_coords(time=(dims, stamped))
    dataset["time"].encoding.update(encoding)
    return dataset

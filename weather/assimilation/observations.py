"""Scattered observations from a CSV file.

One line each, with a header that names the columns in any order::

    variable,lat,lon,value,error,units,time
    tas,60.4,5.3,281.2,1.0,K,2001-02-03T12

``variable`` is a channel of the model or an alias of it (``t2m`` for ``tas``), ``error`` the
standard deviation of the observation's error. ``units`` (default those of the channel) and
``time`` are optional.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, brief, reading
from sciddiff.files import read_text, split_rows
from weather.data.channels import Channel, parse_channel
from weather.data.times import calendar_of, label
from weather.data.units import conversion
from weather.forecast.spec import ForecastSpec

__all__ = ["Observations", "read_observations"]

_NEEDED = ("variable", "lat", "lon", "value", "error")
_ALIASES = {"latitude": "lat", "longitude": "lon", "unit": "units", "channel": "variable"}
_FAR = 12.0  # standard deviations from the model's mean: hPa and Pa are further apart


@final
@dataclass(frozen=True, eq=False)
class Observations:
    """A set of K observed numbers with their places, times and errors.

    Attributes:
        channel: Position of each among the channels of the model, int64 ``[K]``.
        lat: Degrees north, ``[K]``.
        lon: Degrees east, ``[K]``.
        value: In the units of the channel, ``[K]``.
        error: Standard deviation of the error, in the units of the channel, ``[K]``.
        time: ISO text, or None where none is given, ``[K]``.
    """

    channel: NDArray[np.int64]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    time: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.value)

    def near(self, valid: Any, hours: float) -> Observations:
        """Return the observations within some hours of a time, and those without a time.

        Args:
            valid: `datetime64` or `cftime` date.
            hours: Half-width of the window.

        Raises:
            InputError: A time that is no date of the calendar, or none within the window.
        """
        calendar = calendar_of(np.atleast_1d(np.asarray(valid)))
        centre = _hours(label(valid), calendar)
        keep = [
            text is None or abs(_hours(text, calendar) - centre) <= hours + 1e-6
            for text in self.time
        ]
        if not any(keep):
            raise InputError(
                f"observations: none within {hours:g} h of {label(valid)}; correct the column "
                "time, widen --window, or start from another time"
            )
        chosen = np.flatnonzero(keep)
        return Observations(
            self.channel[chosen],
            self.lat[chosen],
            self.lon[chosen],
            self.value[chosen],
            self.error[chosen],
            tuple(self.time[i] for i in chosen),
        )


def read_observations(path: Path, spec: ForecastSpec) -> Observations:
    """Read a CSV file.

    Args:
        path: The file.
        spec: The channels there are.

    Raises:
        InputError: Not such a file; the message names the line.
    """
    lines = read_text(path, "a CSV file of observations").splitlines()
    with reading(path, "a CSV file of observations"):
        header, *table = [*split_rows(lines, skipinitialspace=True)] or [[]]
    names = [_ALIASES.get(n.strip().lower(), n.strip().lower()) for n in header]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; the first line must name "
            f"{', '.join(_NEEDED)} and optionally units, time"
        )
    for number, row in enumerate(table, start=2):
        if any(cell.strip() for cell in row[len(names) :]):
            raise InputError(
                f"{path} line {number}: has {len(row)} cells where the first line names "
                f"{len(names)}; a decimal comma?"
            )
    rows = [
        _row(f"{path} line {number}", dict(zip(names, row, strict=False)), spec)
        for number, row in enumerate(table, start=2)
        if any(value.strip() for value in row)
    ]
    if not rows:
        raise InputError(f"{path}: holds no observation; add lines below the header")
    columns = list(zip(*rows, strict=True))
    numbers = [np.array(column, dtype=np.float64) for column in columns[1:5]]
    return Observations(np.array(columns[0], dtype=np.int64), *numbers, time=columns[5])


def _row(
    where: str, row: Mapping[str, Any], spec: ForecastSpec
) -> tuple[int, float, float, float, float, str | None]:
    position = _position(where, str(row.get("variable") or "").strip(), spec)
    channel = spec.channels[position]
    lat, lon, value, error = (_number(where, name, row.get(name)) for name in _NEEDED[1:])
    if abs(lat) > 90.0 or not -360.0 <= lon <= 720.0:
        raise InputError(
            f"{where}: {lat:g}, {lon:g} is not on the globe; give degrees"
        )
    if error <= 0:
        raise InputError(f"{where}: error {error:g}; give a positive standard deviation")
    value, error = _converted(where, str(row.get("units") or "").strip(), value, error, channel)
    mean, std = spec.mean[position], spec.std[position]
    if abs(value - mean) > _FAR * std:
        raise InputError(
            f"{where}: {channel.name} {value:g} is far from the model's {mean:.4g} ± {std:.3g} "
            f"{channel.units}; give it in {channel.units}, or add a column units"
        )
    time = str(row.get("time") or "").strip() or None
    return position, lat, lon, value, error, time


def _position(where: str, name: str, spec: ForecastSpec) -> int:
    if name in spec.names:
        return spec.names.index(name)
    try:
        canonical = parse_channel(name).name
    except InputError:
        canonical = name
    if canonical not in spec.names:
        raise InputError(
            f"{where}: variable {brief(ValueError(name or '(empty)'))} is not of the model; it "
            f"has {', '.join(spec.names)}"
        )
    return spec.names.index(canonical)


def _number(where: str, name: str, text: Any) -> float:
    try:
        value = float(str(text).strip())
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        shown = brief(ValueError(repr(str(text or "").strip())))
        raise InputError(f"{where}: {name} {shown} is not a number; correct it")
    return value


def _converted(
    where: str, units: str, value: float, error: float, channel: Channel
) -> tuple[float, float]:
    """Value and error in the units of a channel."""
    if not units:
        return value, error
    change = conversion(units, channel.units)
    if change is None:
        raise InputError(
            f"{where}: units {units} cannot be turned into {channel.units} of {channel.name}"
        )
    return value * change.scale + change.offset, error * abs(change.scale)


def _hours(text: str, calendar: str) -> float:
    """A date as hours since year 1."""
    import cftime

    date, _, clock = text.strip().removesuffix("Z").replace(" ", "T").partition("T")
    try:
        year, month, day = (int(part) for part in date.split("-"))
        hour, minute, *_ = (*(int(float(part)) for part in clock.split(":") if part), 0, 0)
        moment = cftime.datetime(year, month, day, hour, minute, calendar=calendar)
    except ValueError as error:
        raise InputError(
            f"observations: time {text!r} is no date of the {calendar} calendar; write "
            "2001-02-03T12"
        ) from error
    return float(cftime.date2num(moment, "hours since 0001-01-01", calendar=calendar))

"""Times as whole seconds since year 1 of their own calendar.

Models of the atmosphere count 360, 365 or 366 days in a year, and files write their times as
``datetime64`` or as ``cftime`` objects.  Scores only need differences of times, whether two times
are the same, and the day of the year, and these are plain arithmetic on `Instants`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

__all__ = ["DAY", "YEAR_DAYS", "Instants", "days_apart", "lead_seconds"]

DAY = 86400
"""Seconds in a day."""

YEAR_DAYS = 365.0
"""Days of the year run from 0 to this, in every calendar."""

_EPOCH = 62135596800  # seconds from 0001-01-01 to 1970-01-01 in the proleptic calendar
_GREGORIAN = ("standard", "gregorian", "proleptic_gregorian", "")
_UNITS = {
    "seconds": 1, "second": 1, "s": 1, "minutes": 60, "hours": 3600, "hour": 3600, "h": 3600,
    "days": DAY, "day": DAY, "d": DAY,
}  # fmt: skip


@final
@dataclass(frozen=True)
class Instants:
    """Points in time of one calendar.

    Attributes:
        seconds: Seconds since 0001-01-01 00:00, `[N]` int64.
        calendar: CF name; the Gregorian calendars are all ``proleptic_gregorian``.
    """

    seconds: NDArray[np.int64]
    calendar: str

    @classmethod
    def of(cls, times: Any) -> Instants:
        """Read ``datetime64`` or ``cftime`` values, `[N]`.

        Raises:
            InputError: Anything else, or times that are not given.
        """
        values = np.atleast_1d(np.asarray(getattr(times, "values", times)))
        if np.issubdtype(values.dtype, np.datetime64):
            if np.isnat(values).any():
                raise InputError("time: has missing values; write a time for every field")
            seconds = values.astype("datetime64[s]").astype(np.int64) + _EPOCH
            return cls(seconds, "proleptic_gregorian")
        if not values.size or not hasattr(values[0], "timetuple"):
            raise InputError("time: not dates; write CF units such as 'days since 2000-01-01'")
        calendar = str(getattr(values[0], "calendar", "") or "")
        if calendar in _GREGORIAN:
            calendar = "proleptic_gregorian"
        return cls(_cftime_seconds(list(values), calendar), calendar)

    def __len__(self) -> int:
        return len(self.seconds)

    def day_of_year(self, offset: int = 0) -> NDArray[np.float64]:
        """Days since the year began, `[N]` in [0, 365), `offset` seconds later."""
        return day_of_year(self.seconds + offset, self.calendar)

    def text(self, index: int) -> str:
        """Write one time as ISO 8601 does."""
        import cftime

        date = cftime.num2date(
            int(self.seconds[index]), "seconds since 0001-01-01", calendar=self.calendar
        )
        return date.strftime("%Y-%m-%dT%H:%M").strip()

    def dates(self) -> list[Any]:
        """Return the times as ``cftime`` dates, which xarray writes in any calendar."""
        import cftime

        return list(
            cftime.num2date(self.seconds, "seconds since 0001-01-01", calendar=self.calendar)
        )


def _cftime_seconds(dates: list[Any], calendar: str) -> NDArray[np.int64]:
    import cftime

    fields = ((d.year, d.month, d.day, d.hour, d.minute, d.second) for d in dates)
    same = [cftime.datetime(*f, calendar=calendar) for f in fields]
    numbers = cftime.date2num(same, "seconds since 0001-01-01", calendar=calendar)
    return np.rint(np.asarray(numbers, dtype=np.float64)).astype(np.int64)


def day_of_year(seconds: NDArray[np.int64], calendar: str) -> NDArray[np.float64]:
    """Days since the year began, stretched so that every year has 365, `[N]`."""
    lengths = {"noleap": 365, "365_day": 365, "360_day": 360, "all_leap": 366, "366_day": 366}
    if calendar in lengths:
        length = lengths[calendar]
        return (seconds / DAY) % length * (YEAR_DAYS / length)
    stamp = (np.asarray(seconds) - _EPOCH).astype("datetime64[s]")
    year = stamp.astype("datetime64[Y]")
    start = year.astype("datetime64[s]")
    length = (year + 1).astype("datetime64[s]") - start
    return (stamp - start) / length * YEAR_DAYS


def days_apart(a: NDArray[np.float64], b: float) -> NDArray[np.float64]:
    """Distance between days of the year around the circle, `[N]`."""
    gap = np.abs(a - b) % YEAR_DAYS
    return np.minimum(gap, YEAR_DAYS - gap)


def lead_seconds(values: Any, units: str | None = None) -> NDArray[np.int64]:
    """Read leads, ``timedelta64`` or numbers with CF units, as seconds, `[L]`.

    Raises:
        InputError: Numbers without units, or units that are not of time.
    """
    array = np.atleast_1d(np.asarray(getattr(values, "values", values)))
    if np.issubdtype(array.dtype, np.timedelta64):
        return array.astype("timedelta64[s]").astype(np.int64)
    if units is None or units.strip().lower() not in _UNITS:
        raise InputError(
            f"prediction_timedelta: units {units!r} are not of time; write 'hours' or 'days'"
        )
    return np.rint(array.astype(np.float64) * _UNITS[units.strip().lower()]).astype(np.int64)

"""Times of any calendar: steps, runs without a break, periods, days of the year.

Times are ``datetime64[s]`` where the calendar is the everyday one, and ``cftime`` dates where it
is not (``noleap``, ``360_day``, ...). Files and stores hold hours since the first time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

__all__ = [
    "Period",
    "Step",
    "TimeAxis",
    "as_times",
    "calendar_of",
    "day_of_year",
    "find_step",
    "label",
    "labels",
    "snap",
]

EVERYDAY: Final = ("standard", "gregorian", "proleptic_gregorian")
_CUMULATIVE: Final = np.asarray([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])


def as_times(values: Any) -> NDArray[Any]:
    """Dates as `datetime64[s]` or, in another calendar, as an array of `cftime` dates `[T]`.

    Rounded to the nearest second: days counted as fractions are seldom whole seconds exactly.

    >>> as_times(np.datetime64("2001-01-01T05:59:59.999"))
    array(['2001-01-01T06:00:00'], dtype='datetime64[s]')
    """
    array = np.atleast_1d(np.asarray(values))
    if np.issubdtype(array.dtype, np.datetime64):
        if np.datetime_data(array.dtype)[0] in ("ms", "us", "ns"):
            array = array + np.timedelta64(500, "ms")
        return array.astype("datetime64[s]")
    if len(array) and hasattr(array[0], "calendar"):
        array = _whole_seconds(array)
    if len(array) and getattr(array[0], "calendar", "") in EVERYDAY:
        return np.asarray([np.datetime64(label(t), "s") for t in array])
    if len(array) and not hasattr(array[0], "calendar"):
        raise InputError(
            f"time: holds {array.dtype} values, not dates; give it units such as "
            "'hours since 2000-01-01'"
        )
    return array


def _whole_seconds(dates: NDArray[Any]) -> NDArray[Any]:
    """`cftime` dates at the nearest second `[T]`."""
    if not any(date.microsecond for date in dates):
        return dates
    rounded = np.empty(len(dates), dtype=object)
    for i, date in enumerate(dates):
        up = timedelta(seconds=1) if date.microsecond >= 500_000 else timedelta()
        rounded[i] = date - timedelta(microseconds=date.microsecond) + up
    return rounded


def snap(times: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Move times that are known to `tolerance` seconds only to the hours or minutes they mean.

    Days since 1900 in single precision are known to 5 minutes: hourly fields then seem to come at
    irregular times. Times stay as they are where no whole hour, nor whole minute, is near all of
    them.

    Args:
        times: As `as_times` gives them `[T]`.
        tolerance: Their uncertainty, s.
    """
    axis = TimeAxis.encode(times)
    hour, minute, second = (int(part) for part in labels(times[:1])[0][11:].split(":"))
    seconds = axis.hours * 3600.0 + 3600.0 * hour + 60.0 * minute + second
    for unit in (3600.0, 60.0):
        shift = np.round(seconds / unit) * unit - seconds
        if tolerance < unit / 2 and np.abs(shift).max() <= tolerance:
            if times.dtype.kind == "M":
                return times + np.round(shift).astype(np.int64).astype("timedelta64[s]")
            moved = np.empty(len(times), dtype=object)
            moved[:] = [t + timedelta(seconds=round(s)) for t, s in zip(times, shift, strict=True)]
            return moved
    return times


def calendar_of(times: NDArray[Any]) -> str:
    """CF name of the calendar."""
    return "standard" if times.dtype.kind == "M" else str(times[0].calendar)


def label(time: Any) -> str:
    """A time as ``2001-02-03T04:05:06``, in any calendar."""
    if isinstance(time, np.datetime64):
        return str(np.datetime_as_string(time, unit="s"))
    return (
        f"{time.year:04d}-{time.month:02d}-{time.day:02d}"
        f"T{time.hour:02d}:{time.minute:02d}:{time.second:02d}"
    )


def labels(times: NDArray[Any]) -> NDArray[np.str_]:
    """`label` of every time `[T]`; sorts and compares as the times do."""
    if times.dtype.kind == "M":
        return np.datetime_as_string(times, unit="s")
    return np.asarray([label(t) for t in times], dtype="U19")


def day_of_year(times: NDArray[Any]) -> NDArray[np.int64]:
    """Day of a 365-day year, 1 to 365 `[T]`; the 29th of February counts as the 28th.

    In calendars of other lengths (``360_day``) the days are spread over the 365.
    """
    texts = labels(times)
    if calendar_of(times) == "360_day":
        days = np.asarray([t.dayofyr for t in times], dtype=np.int64)
        return (days - 1) * 365 // 360 + 1
    month = np.asarray([int(t[5:7]) for t in texts])
    day = np.asarray([int(t[8:10]) for t in texts])
    leap = (month == 2) & (day == 29)
    return (_CUMULATIVE[month - 1] + day - leap).astype(np.int64)


@final
@dataclass(frozen=True)
class TimeAxis:
    """Times as numbers.

    Attributes:
        hours: Hours since the reference `[T]`.
        units: CF units, ``hours since ...``.
        calendar: CF calendar.
    """

    hours: NDArray[np.float64]
    units: str
    calendar: str

    @classmethod
    def encode(cls, times: NDArray[Any]) -> TimeAxis:
        """Count hours from the first time."""
        calendar = calendar_of(times)
        units = "hours since " + label(times[0]).replace("T", " ")
        if calendar == "standard":
            hours = (times - times[0]).astype("timedelta64[s]").astype(np.int64) / 3600.0
        else:
            seconds = [(t - times[0]).total_seconds() for t in times]
            hours = np.asarray(seconds) / 3600.0
        return cls(hours.astype(np.float64), units, calendar)

    def decode(self) -> NDArray[Any]:
        """The times."""
        start = self.units.removeprefix("hours since ").strip()
        if self.calendar in EVERYDAY:
            seconds = np.round(self.hours * 3600.0).astype("timedelta64[s]")
            return np.datetime64(start.replace(" ", "T"), "s") + seconds
        import cftime

        return np.asarray(cftime.num2date(self.hours, self.units, self.calendar), dtype=object)


@final
@dataclass(frozen=True)
class Step:
    """Distance of neighbouring times: hours, or whole calendar months.

    Attributes:
        hours: Nominal hours; 0 if there is a single time.
        months: Whole months (12 for yearly sets), or 0 where hours are exact.
    """

    hours: float
    months: int = 0

    def follows(self, times: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each time but the first is one step after its predecessor `[T - 1]`."""
        if self.months:
            return _month_steps(times) == self.months
        return np.isclose(np.diff(TimeAxis.encode(times).hours), self.hours, atol=1e-3)

    def runs(self, times: NDArray[Any]) -> list[tuple[int, int]]:
        """Ranges [start, stop) without a break."""
        breaks = np.flatnonzero(~self.follows(times)) + 1
        edges = [0, *breaks.tolist(), len(times)]
        return list(zip(edges[:-1], edges[1:], strict=True))

    def __str__(self) -> str:
        if self.months:
            return "1 month" if self.months == 1 else f"{self.months} months"
        return f"{self.hours:g} h" if self.hours else "none"


def find_step(times: NDArray[Any]) -> Step:
    """The most frequent distance of neighbouring, ascending times."""
    if len(times) < 2:
        return Step(0.0)
    gaps = np.diff(TimeAxis.encode(times).hours)
    if gaps.min() >= 28 * 24:
        months = _month_steps(times)
        values, counts = np.unique(months[months > 0], return_counts=True)
        if len(values) and counts.max() >= 0.5 * len(months):
            n = int(values[counts.argmax()])
            return Step(730.5 * n, n)
    values, counts = np.unique(np.round(gaps, 3), return_counts=True)
    return Step(float(values[counts.argmax()]))


def _month_steps(times: NDArray[Any]) -> NDArray[np.int64]:
    """Whole months between neighbours `[T - 1]`; 0 where they fall on other days.

    Two days are the same within two: middles of months move with their length.
    """
    texts = labels(times)
    count = np.asarray([int(t[:4]) * 12 + int(t[5:7]) for t in texts])
    day = np.asarray([int(t[8:10]) + int(t[11:13]) / 24.0 for t in texts])
    return np.where(np.abs(np.diff(day)) <= 2.0, np.diff(count), 0)


@final
@dataclass(frozen=True)
class Period:
    """From one date to another, both included; either may be open.

    ``2001`` as an end includes all of 2001, ``2001-06`` all of June.

    Attributes:
        start: First date, or empty.
        stop: Last date, or empty.
    """

    start: str = ""
    stop: str = ""

    @classmethod
    def parse(cls, text: str | Sequence[str], option: str = "--period") -> Period:
        """Read ``A:B``, or ``A/B`` where the dates hold times of day.

        Raises:
            InputError: Not of that form.
        """
        if not isinstance(text, str):
            start, stop = text
            return cls(_date(str(start), option), _date(str(stop), option))
        mark = "/" if "/" in text else ":"
        parts = [part.strip() for part in text.split(mark)]
        if len(parts) != 2 or not any(parts):
            raise InputError(
                f"{option} {text}: not a period; write {option} 1990-01-01:1999-12-31"
            )
        return cls(*(_date(part, option) for part in parts))

    def mask(self, times: NDArray[Any]) -> NDArray[np.bool_]:
        """Which times lie within `[T]`."""
        texts = labels(times)
        inside = np.ones(len(texts), dtype=bool)
        if self.start:
            inside &= texts >= self.start
        if self.stop:
            size = len(self.stop)
            inside &= np.asarray([t[:size] <= self.stop for t in texts], dtype=bool)
        return inside

    def __str__(self) -> str:
        return f"{self.start}/{self.stop}"


def _date(text: str, option: str) -> str:
    parts = text.replace(" ", "T").split("T")
    numbers = parts[0].split("-")
    if text and not all(n.isdigit() for n in numbers):
        raise InputError(f"{option} {text}: not a date; write for example 1990-01-31")
    if not text:
        return ""
    date = "-".join([numbers[0].zfill(4), *(n.zfill(2) for n in numbers[1:])])
    return "T".join([date, *parts[1:]])

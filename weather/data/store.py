"""The prepared store: what ``sciddiff prepare forecast`` writes and everything else reads.

A Zarr group (format 2, consolidated, so that xarray opens it too) with

===================== ============================== ===========================================
array                 shape, type                    meaning
===================== ============================== ===========================================
``fields``            float32 [time, channel, lat,   values in physical units, none missing
                      lon]
``time``              float64 [time]                 CF time, any calendar
``lat``, ``lon``      float64                        south to north; east from the first
``channel`` and its   str, float64 [channel]         names; ``units``, ``standard_name``,
attributes                                           ``long_name``, ``level``, ``vector``,
                                                     ``positive``
``mean``, ``std``,    float64 [channel]              over the globe and the training times
``tendency_std``
``moments``           float64 [time, channel, 4]     see `weather.data.statistics`
``digest``            uint8 [time, 32]               SHA-256 of every time's field
``time_bnds``         float64 [time, 2]              the period that channels with ``cell_methods``
                                                     are a sum or a mean over
``observed``          uint8 [channel, lat, lon]      0 where a value was ever filled
===================== ============================== ===========================================

Chunks are written in order, the digest last, so that a killed writer leaves a prefix from which
the next one goes on. Files are replaced atomically; a store is complete when its attribute
``status`` says so.

A chunk that is lost reads as numbers like any others. So every field is compared with its digest
when it is first read, the digests with the fingerprint, and the small arrays with the attribute
``sums``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, MissingExtra, reading
from weather.data.channels import Channel
from weather.data.digests import array_sum, field_digest, fingerprint_of
from weather.data.rectangles import AnyGrid, Rectangle
from weather.data.statistics import Statistics, combine
from weather.data.times import Period, Step, TimeAxis, as_times, label
from weather.sphere.grids import Grid

if TYPE_CHECKING:
    import zarr

__all__ = [
    "EXTENDING",
    "FORMAT",
    "Store",
    "followers",
    "is_store",
    "open_group",
    "plain_channels",
    "read_array",
    "read_attributes",
]

FORMAT = "sciddiff-fields-1"
"""Value of the attribute ``format``."""

EXTENDING = "extending"
"""Value of the attribute ``status`` in the moment in which later times become part of it."""

_REMEDY = "copy it again, or make it anew with sciddiff prepare forecast"


@final
class Store:
    """Read-only view of a complete prepared store.

    Args:
        path: Folder of the store.

    Raises:
        InputError: No store, or one half written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        attributes = read_attributes(self.path)
        if attributes is None:
            raise InputError(
                f"{self.path}: not a prepared store; make one with: "
                f"sciddiff prepare forecast FILES -o {self.path}"
            )
        status = attributes.get("status")
        if status == EXTENDING:
            raise InputError(
                f"{self.path}: was left while it was being extended; repeat the command with "
                "--append to finish it"
            )
        if status != "complete":
            raise InputError(
                f"{self.path}: half written; run the command that made it again to finish it, "
                "or with --overwrite to begin anew"
            )
        self.attributes: Mapping[str, Any] = attributes
        self._sound = np.zeros(0, dtype=bool)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} times, {self.names}, {self.grid})"

    def __len__(self) -> int:
        return len(self.times)

    def __getstate__(self) -> dict[str, Any]:
        """A reader of another process opens the files itself."""
        return {"path": self.path, "attributes": self.attributes, "_sound": np.zeros(0, bool)}

    @cached_property
    def group(self) -> zarr.Group:
        """The Zarr group."""
        with reading(self.path, "a prepared store", _REMEDY):
            return open_group(self.path)

    def array(self, name: str) -> NDArray[Any]:
        """All of an array other than the fields, compared with its sum.

        Raises:
            InputError: It cannot be read, or is not what was written.
        """
        with reading(f"{self.path}/{name}", remedy=_REMEDY):
            values = read_array(self.group, name)
        wanted = self.attributes.get("sums", {}).get(name)
        if wanted is not None and array_sum(values) != wanted:
            raise InputError(f"{self.path}: array {name} is damaged; {_REMEDY}")
        return values

    @cached_property
    def _digests(self) -> NDArray[np.uint8]:
        """SHA-256 of every field `[T, 32]`, compared with the fingerprint."""
        digests = self.array("digest")
        if fingerprint_of(self.channels, self.grid, self.axis, digests) != self.fingerprint:
            raise InputError(
                f"{self.path}: digests, times or channels are not those of its fingerprint; "
                f"{_REMEDY}"
            )
        return digests

    def _check(self, start: int, fields: NDArray[np.float32]) -> None:
        """Compare fields with their digests, each once for every store that is opened."""
        if not len(self._sound):
            self._sound = np.zeros(len(self), dtype=bool)
        for i, field in enumerate(fields, start=start):
            if self._sound[i]:
                continue
            if not np.array_equal(field_digest(field), self._digests[i]):
                raise InputError(
                    f"{self.path}: the fields of {label(self.times[i])} are damaged or missing; "
                    f"{_REMEDY}"
                )
            self._sound[i] = True

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """Channels in the order of the fields, C of them."""
        return tuple(Channel(**entry) for entry in self.attributes["channels"])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(c.name for c in self.channels)

    @cached_property
    def grid(self) -> AnyGrid:
        """Grid of the fields; a `Rectangle` if the store holds a region."""
        text = str(self.attributes["grid"])
        if not text.startswith(Rectangle.kind):
            return Grid.parse(text)
        return Rectangle(self.array("lat"), self.array("lon"))

    @cached_property
    def axis(self) -> TimeAxis:
        """Times as hours."""
        with reading(self.path, "a prepared store", _REMEDY):
            array = self.group["time"]
        return TimeAxis(
            self.array("time"), str(array.attrs["units"]), str(array.attrs["calendar"])
        )

    @cached_property
    def times(self) -> NDArray[Any]:
        """Times `[T]`: `datetime64[s]`, or `cftime` dates in other calendars."""
        return self.axis.decode()

    @property
    def calendar(self) -> str:
        """CF name of the calendar."""
        return self.axis.calendar

    @property
    def step(self) -> Step:
        """Distance of neighbouring times."""
        return Step(self.step_hours, int(self.attributes["step_months"]))

    @property
    def step_hours(self) -> float:
        """Hours between neighbouring times; nominal for monthly sets, 0 for a single time."""
        return float(self.attributes["step_hours"])

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Ranges [start, stop) of times without a gap."""
        return self.step.runs(self.times)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of grid, channels, times and values."""
        return str(self.attributes["fingerprint"])

    @cached_property
    def statistics(self) -> Statistics:
        """Over the training period the store was prepared with (all times by default)."""
        return Statistics(
            self.names, *(self.array(name) for name in ("mean", "std", "tendency_std"))
        )

    def statistics_over(self, period: Period) -> Statistics:
        """Statistics over another period, exact, without reading a field.

        Raises:
            InputError: No time lies within.
        """
        use = np.zeros(len(self), dtype=bool)
        use[slice(*self.range_of(period))] = True
        return combine(self.names, self.array("moments"), use, followers(self))

    @cached_property
    def observed(self) -> NDArray[np.bool_] | None:
        """Where no value was ever filled `[C, H, W]`; None if nothing was."""
        return self.array("observed").astype(bool) if "observed" in self.group else None

    @property
    def nbytes(self) -> int:
        """Size of all fields in memory."""
        return len(self) * len(self.channels) * self.grid.height * self.grid.width * 4

    @cached_property
    def chunk(self) -> int:
        """Times in a chunk."""
        return int(self._fields.chunks[0])

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Fields of times [start, stop) in physical units `[T, C, H, W]`.

        Raises:
            InputError: Outside the store, or the fields are damaged.
        """
        if not 0 <= start < stop <= len(self):
            raise InputError(f"{self.path}: holds times 0 to {len(self)}, not {start} to {stop}")
        with reading(f"{self.path}/fields", remedy=_REMEDY):
            fields = np.asarray(self._fields[start:stop], dtype=np.float32)
        self._check(start, fields)
        return fields

    def nearest(self, time: Any) -> int:
        """Index of the time nearest to a date.

        Args:
            time: ``datetime64``, `cftime` date of the store's calendar, or text
                (``2001-02-03``, ``0003-03-03T12``).

        Raises:
            InputError: Farther than half a step from every time.
        """
        wanted = label(as_times([time])[0]) if not isinstance(time, str) else time
        hours = self._hours(wanted)
        index = int(np.abs(self.axis.hours - hours).argmin())
        if abs(self.axis.hours[index] - hours) > max(0.5 * self.step_hours, 1e-3):
            raise InputError(
                f"{self.path}: nothing near {wanted}; it holds {label(self.times[0])} to "
                f"{label(self.times[-1])}, every {self.step}"
            )
        return index

    def range_of(self, period: Period) -> tuple[int, int]:
        """Range [start, stop) of the times within a period.

        Raises:
            InputError: There are none.
        """
        inside = np.flatnonzero(period.mask(self.times))
        if not len(inside):
            raise InputError(
                f"{self.path}: no time within {period}; it holds {label(self.times[0])} to "
                f"{label(self.times[-1])}"
            )
        return int(inside[0]), int(inside[-1]) + 1

    def select(self, names: Sequence[str]) -> list[int]:
        """Indices of channels by name.

        Raises:
            InputError: One is not in the store.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(
                f"{self.path}: has no channel {', '.join(missing)}; it has {', '.join(self.names)}"
            )
        return [self.names.index(name) for name in names]

    @cached_property
    def _fields(self) -> Any:
        with reading(self.path, "a prepared store", _REMEDY):
            return self.group["fields"]

    def _hours(self, text: str) -> float:
        padded = text.replace(" ", "T")
        date, _, clock = padded.partition("T")
        try:
            year, month, day = (int(part) for part in (*date.split("-"), "1", "1")[:3])
            parts = [int(float(part)) for part in clock.split(":") if part]
            hour, minute, second = (*parts, 0, 0, 0)[:3]
            if self.times.dtype.kind == "M":
                clock = f"{hour:02d}:{minute:02d}:{second:02d}"
                exact = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{clock}", "s")
                return float((exact - self.times[0]).astype(np.int64) / 3600.0)
            import cftime

            exact = cftime.datetime(year, month, day, hour, minute, second, calendar=self.calendar)
        except ValueError as error:
            raise InputError(f"time {text}: not a date; write for example 2001-02-03") from error
        first = self.times[0]
        return float((exact - first).total_seconds() / 3600.0 + self.axis.hours[0])


def followers(store: Store) -> NDArray[np.bool_]:
    """Times one step after their predecessor `[T]`."""
    return np.concatenate([[False], store.step.follows(store.times)])


def open_group(path: Path, mode: str = "r") -> zarr.Group:
    """Open a Zarr group.

    Raises:
        MissingExtra: zarr is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtra("zarr", "weather") from error
    if mode == "r":
        return zarr.open_group(str(path), mode="r", zarr_format=2, use_consolidated=True)
    # A writer does not need the metadata in one place, which a killed one may have left torn.
    return zarr.open_group(
        str(path), mode=cast(Any, mode), zarr_format=2, use_consolidated=False
    )


def read_attributes(path: Path) -> dict[str, Any] | None:
    """Attributes of a store, complete or not; None if there is none of this format."""
    try:
        attributes = json.loads((path / ".zattrs").read_text())
    except (OSError, ValueError):
        return None
    return attributes if attributes.get("format") == FORMAT else None


def is_store(path: str | Path) -> bool:
    """Whether a prepared store, complete or not, is there."""
    return read_attributes(Path(path)) is not None


def plain_channels(channels: Sequence[Channel]) -> list[dict[str, Any]]:
    """Channels as plain values."""
    return [asdict(c) for c in channels]


def read_array(group: zarr.Group, name: str) -> NDArray[Any]:
    """All of an array."""
    return np.asarray(cast(Any, group[name])[...])

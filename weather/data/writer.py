"""Writing a prepared store chunk by chunk, so that a killed writer can be followed by another."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.cli.fingerprint import Inputs
from sciddiff.errors import InputError
from weather.data.channels import Channel
from weather.data.digests import SUMMED, array_sum, field_digest, fingerprint_of
from weather.data.rectangles import AnyGrid
from weather.data.statistics import MOMENTS, combine, moments
from weather.data.store import (
    FORMAT,
    Store,
    open_group,
    plain_channels,
    read_array,
    read_attributes,
)
from weather.data.times import Period, Step, TimeAxis

if TYPE_CHECKING:
    import zarr

__all__ = [
    "BY_TIME", "Plan", "StoreWriter", "closing", "consolidate", "digest_of", "is_consolidated",
    "mark_filled", "write_times",
]  # fmt: skip

_CHUNK_BYTES = 1 << 25
BY_TIME = ("fields", "moments", "digest")
"""Arrays that are written time by time, in this order."""


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """What a store will hold.

    Attributes:
        channels: Its channels, C.
        grid: Its grid.
        times: Its times `[T]`.
        step: Their distance.
        sources: Names of the files, for the record.
        method: How fields were regridded, or empty.
        training: Times the statistics are taken over.
        nan_policy: What was done about missing values, by channel.
        period_hours: Length of the periods that end at the times, where a channel is a sum or a
            mean over them; else 0.
        planet: Which one, where it is not the Earth.
        chunk_times: Times in a chunk; 0 chooses by the size of the fields.
    """

    channels: tuple[Channel, ...]
    grid: AnyGrid
    times: NDArray[Any]
    step: Step
    sources: tuple[str, ...] = ()
    method: str = ""
    training: Period = field(default_factory=Period)
    nan_policy: Mapping[str, str] = field(default_factory=dict)
    period_hours: float = 0.0
    planet: str = ""
    chunk_times: int = 0

    @property
    def chunk(self) -> int:
        """Times in a chunk; where nothing is asked for, 16, or fewer where fields are large."""
        if self.chunk_times:
            return self.chunk_times
        one = len(self.channels) * self.grid.height * self.grid.width * 4
        return int(np.clip(_CHUNK_BYTES // one, 1, 16))

    def key(self) -> dict[str, str]:
        """What two runs must have in common for one to go on where the other stopped."""
        axis = TimeAxis.encode(self.times)
        rows = np.concatenate([self.grid.lat, self.grid.lon])
        return {
            "files": digest_of(list(self.sources)),
            "channels": digest_of([c.name for c in self.channels]),
            "grid": f"{self.grid} {digest_of(np.round(rows, 6).tolist())}",
            "times": digest_of([axis.units, axis.calendar, axis.hours.tolist()]),
            "method": self.method,
        }


@final
class StoreWriter:
    """Writes fields in the order of time.

    Args:
        path: Folder of the store.
        plan: What it will hold.
        overwrite: Replace a store that is there.
        request: Further plain values that decide what is written, such as the member.
        inputs: Content of the files that are read.

    Attributes:
        done: Times already written, by this writer or one before it.
        complete: Whether the very store is there already; there is nothing to do then.

    Raises:
        InputError: Something else is there, or a store of other files or settings, complete or
            half written.
    """

    def __init__(
        self,
        path: Path,
        plan: Plan,
        overwrite: bool = False,
        request: Mapping[str, Any] | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        self.path, self.plan = path, plan
        self.complete = False
        entries = {} if inputs is None else inputs.entries
        asked = {name: digest_of(value) for name, value in (request or {}).items()}
        key = {**plan.key(), **asked, "nan": dict((request or {}).get("nan", {}))}
        if entries:
            key["files"] = digest_of({name: entry["sha256"] for name, entry in entries.items()})
        if overwrite and read_attributes(path) is not None:
            shutil.rmtree(path)
        if path.exists():
            self._check(key)
        else:
            _create(path, plan, key, entries)
        self._group = open_group(path, "r+")
        if not self.complete:
            self._group.attrs.update({"key": key})
        # Looked up once: every look-up reads metadata.
        self._arrays = {name: cast(Any, self._group[name]) for name in BY_TIME}
        written = read_array(self._group, "digest").any(axis=1)
        self.done = len(plan.times) if written.all() else int(written.argmin())
        self._last: NDArray[np.float32] | None = None

    @property
    def finished(self) -> bool:
        """All times are written."""
        return self.done == len(self.plan.times)

    def next_block(self) -> tuple[int, int]:
        """Range [start, stop) of the times to write next."""
        stop = (self.done // self.plan.chunk + 1) * self.plan.chunk
        return self.done, min(stop, len(self.plan.times))

    def write(self, fields: NDArray[np.float32], filled: NDArray[np.bool_] | None = None) -> None:
        """Write the fields of `next_block` `[n, C, H, W]`; `filled` marks invented values."""
        start, stop = self.next_block()
        if start and self._last is None:
            self._last = np.asarray(self._arrays["fields"][start - 1], dtype=np.float32)
        if filled is not None and filled.any():
            mark_filled(self._group, filled)
        write_times(self._arrays, start, fields, self._last, self.plan.grid.weights)
        self._last, self.done = fields[-1].copy(), stop

    def finish(self) -> Store:
        """Write statistics and fingerprint, declare the store complete and open it.

        The metadata in one place come last. A run that was killed before they were there left a
        store that calls itself complete and cannot be opened; they are written then.
        """
        if self.complete:
            if not is_consolidated(self.path):
                consolidate(self.path)
            return Store(self.path)
        arrays, attributes = closing(self._group, self.plan)
        for name, values in arrays.items():
            cast(Any, self._group[name])[...] = values
        self._group.attrs.update(attributes)
        consolidate(self.path)
        return Store(self.path)

    def _check(self, key: Mapping[str, Any]) -> None:
        """Refuse what is there unless it is this plan, or its beginning."""
        attributes = read_attributes(self.path)
        if attributes is None:
            raise InputError(
                f"{self.path}: exists and is not a prepared store; choose another name"
            )
        theirs = attributes.get("key", {})
        # Where no rule was given, a missing value would have stopped the run: a new rule changes
        # nothing of what was written.
        rules = dict(theirs.get("nan", {}))
        if rules.items() <= key["nan"].items():
            theirs = {**theirs, "nan": key["nan"]}
        other = [name for name, value in key.items() if theirs.get(name) != value]
        if attributes.get("status") == "complete":
            if attributes.get("training_period") != str(self.plan.training):
                other.append("train-period")
            if other:
                raise InputError(
                    f"{self.path}: a complete store is there, made with other "
                    f"{', '.join(other)}; give --overwrite to replace it"
                )
            self.complete = True
        elif other:
            raise InputError(
                f"{self.path}: half written by a run with other {', '.join(other)}; repeat that "
                "command to finish it, or give --overwrite to begin anew"
            )


def write_times(
    arrays: Mapping[str, Any],
    start: int,
    fields: NDArray[np.float32],
    before: NDArray[np.float32] | None,
    weights: NDArray[np.float64],
) -> None:
    """Write the fields of some times with their moments and digests.

    Args:
        arrays: Those of `BY_TIME`.
        start: Place of the first time.
        fields: `[n, C, H, W]`.
        before: Of the time before the first `[C, H, W]`; None where there is none.
        weights: Area of the rows `[H]`.
    """
    table = moments(fields, before, weights)
    digests = np.stack([field_digest(x) for x in fields])
    # The digest last: a time that has one has everything else.
    for name, values in zip(BY_TIME, (fields, table, digests), strict=True):
        arrays[name][start : start + len(fields)] = values


def closing(
    group: zarr.Group, plan: Plan, observed: NDArray[np.uint8] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What is written last, when the fields are all there: statistics, fingerprint and sums.

    Args:
        group: The store.
        plan: What it holds.
        observed: What that array will be; by default what it is.

    Returns:
        Small arrays by name, and attributes.

    Raises:
        InputError: No time lies within the period of the statistics.
    """
    steps = np.concatenate([[False], plan.step.follows(plan.times)])
    use = plan.training.mask(plan.times)
    if not use.any():
        raise InputError(f"--train-period {plan.training}: holds none of the times; widen it")
    names = tuple(c.name for c in plan.channels)
    found = combine(names, read_array(group, "moments"), use, steps)
    arrays = {name: getattr(found, name) for name in ("mean", "std", "tendency_std")}
    arrays |= {} if observed is None else {"observed": observed}
    held = {name: read_array(group, name) for name in SUMMED if name in group} | arrays
    attributes = {
        "status": "complete",
        "fingerprint": fingerprint_of(
            plan.channels, plan.grid, TimeAxis.encode(plan.times), read_array(group, "digest")
        ),
        "sums": {name: array_sum(values) for name, values in held.items()},
        "nan_policy": dict(plan.nan_policy),
        "training_period": str(plan.training),
    }
    return arrays, attributes


def mark_filled(group: zarr.Group, filled: NDArray[np.bool_], name: str = "observed") -> None:
    """Remember in an array where values were invented, `[n, C, H, W]`."""
    if name not in group:
        shape = filled.shape[1:]
        array = _array(group, name, shape, "u1", shape, ("channel", "lat", "lon"))
        array[...] = np.ones(shape, dtype=np.uint8)
    observed = read_array(group, name)
    cast(Any, group[name])[...] = observed & ~filled.any(0)


def _create(
    path: Path, plan: Plan, key: Mapping[str, Any], inputs: Mapping[str, Any]
) -> None:
    """Lay out an empty store beside its place and move it there in one step."""
    new = path.with_name(f".{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    group = open_group(new, "w")
    group.attrs.put(
        {
            "format": FORMAT,
            "Conventions": "CF-1.10",
            "title": "Fields prepared for sciddiff",
            "status": "writing",
            "key": dict(key),
            "inputs": dict(inputs),
            "grid": str(plan.grid),
            "step_hours": plan.step.hours,
            "step_months": plan.step.months,
            "sources": list(plan.sources),
            "method": plan.method,
            "channels": plain_channels(plan.channels),
            "planet": plan.planet,
        }
    )
    _coordinates(group, plan)
    t, c, (h, w), n = len(plan.times), len(plan.channels), plan.grid.shape, plan.chunk
    dims = ("time", "channel", "lat", "lon")
    _array(group, "fields", (t, c, h, w), "f4", (n, c, h, w), dims)
    kinds = (t, c, len(MOMENTS))
    _array(group, "moments", kinds, "f8", (n, *kinds[1:]), ("time", "channel", "moment"))
    _array(group, "digest", (t, 32), "u1", (n, 32), ("time", "byte"))
    for name in ("mean", "std", "tendency_std"):
        _array(group, name, (c,), "f8", (c,), ("channel",))
    new.rename(path)


def _coordinates(group: zarr.Group, plan: Plan) -> None:
    axis = TimeAxis.encode(plan.times)
    time = _put(group, "time", axis.hours, ("time",))
    time.attrs.update(
        {"units": axis.units, "calendar": axis.calendar, "standard_name": "time", "axis": "T"}
    )
    if plan.period_hours:
        bounds = np.stack([axis.hours - plan.period_hours, axis.hours], 1)
        _put(group, "time_bnds", bounds, ("time", "bnds"))
        time.attrs["bounds"] = "time_bnds"
    lat = _put(group, "lat", plan.grid.lat, ("lat",))
    lat.attrs.update({"units": "degrees_north", "standard_name": "latitude", "axis": "Y"})
    lon = _put(group, "lon", plan.grid.lon, ("lon",))
    lon.attrs.update({"units": "degrees_east", "standard_name": "longitude", "axis": "X"})
    channels, dims = plan.channels, ("channel",)
    _put(group, "channel", np.asarray([c.name for c in channels]), dims)
    for name in ("units", "standard_name", "long_name", "cell_methods"):
        # At least one character: an array of empty strings has no width.
        text = np.asarray([getattr(c, name) or " " for c in channels])
        _put(group, name, text, dims)
    levels = [np.nan if c.level_hPa is None else c.level_hPa for c in channels]
    _put(group, "level", np.asarray(levels, dtype=np.float64), dims).attrs["units"] = "hPa"
    for name in ("vector", "positive"):
        _put(group, name, np.asarray([getattr(c, name) for c in channels], dtype="u1"), dims)


def _put(group: zarr.Group, name: str, values: NDArray[Any], dims: Sequence[str]) -> zarr.Array:
    array = _array(group, name, values.shape, values.dtype, values.shape, dims)
    array[...] = values
    return array


def _array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...],
    dims: Sequence[str],
) -> zarr.Array:
    array = group.create_array(name, shape=shape, dtype=dtype, chunks=chunks, fill_value=None)
    array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
    return array


def is_consolidated(path: Path) -> bool:
    """Whether the metadata in one place are whole, and those of the finished store."""
    try:
        said = json.loads((path / ".zmetadata").read_text(encoding="utf-8"))["metadata"]
        return said[".zattrs"] == json.loads((path / ".zattrs").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def consolidate(path: Path) -> None:
    """Put the metadata in one place, through which a store is read."""
    import zarr

    zarr.consolidate_metadata(str(path), zarr_format=2)


def digest_of(value: Any) -> str:
    """SHA-256 of plain values, its first 16 digits."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]

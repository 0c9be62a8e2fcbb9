"""Extending a complete store by later times; a killed run is followed by the next.

While later times are written, everybody else goes on reading the store as it was: the metadata in
one place, through which it is read, still tell the former sizes, chunks are replaced atomically,
and the values of former times in them do not change. The statistics, the fingerprint and the
metadata follow last, in a moment; a store that was left in that moment says which command
finishes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.cli.fingerprint import Inputs
from sciddiff.errors import InputError
from weather.data.areas import same_grid
from weather.data.store import EXTENDING, Store, open_group, read_array, read_attributes
from weather.data.times import Period, TimeAxis, label
from weather.data.writer import (
    BY_TIME,
    Plan,
    closing,
    consolidate,
    digest_of,
    is_consolidated,
    mark_filled,
    write_times,
)

__all__ = ["StoreExtender", "extension_key", "former_store", "is_extended", "joined_plan"]

_FILLED = "observed_later"
"""The array ``observed`` of the later times, until they belong to the store."""


def former_store(path: Path) -> Store:
    """The store that is to be extended; what a killed run had all but finished is finished.

    Raises:
        InputError: There is none.
    """
    attributes = read_attributes(path) or {}
    if attributes.get("status") == EXTENDING or (
        attributes.get("extensions") and not is_consolidated(path)
    ):
        _settle(path)
    return Store(path)


def joined_plan(store: Store, later: Plan, training: Period | None, gaps: str) -> Plan:
    """What the store will hold, if later times fit what it holds.

    Args:
        store: The store.
        later: Of the later times.
        training: Times the statistics are taken over; by default those of the store.
        gaps: ``refuse`` or ``keep`` a gap between the two.

    Raises:
        InputError: Other channels, another grid, step, calendar or period, times that the store
            holds already, or a gap.
    """
    path = store.path
    _same_channels(store, later)
    if not same_grid(store.grid, later.grid):
        raise InputError(
            f"{path}: holds the grid {store.grid}, and the files give {later.grid}; bring them to "
            "it with --grid or --area"
        )
    if store.calendar != TimeAxis.encode(later.times).calendar:
        raise InputError(
            f"{path}: its calendar is {store.calendar}, not that of the files; they cannot be "
            "joined"
        )
    times, first = store.times, later.times[0]
    if len(times) < 2:
        raise InputError(
            f"{path}: holds a single time and therefore no step; prepare all files together"
        )
    if first <= times[-1]:
        raise InputError(
            f"--append: the files begin at {label(first)}, and {path} holds the times to "
            f"{label(times[-1])}; choose those after it with --period"
        )
    if len(later.times) > 1 and later.step != store.step:
        raise InputError(
            f"--append: the files have a step of {later.step}, and {path} one of {store.step}; "
            "choose fields with --step"
        )
    joint = np.concatenate([times[-1:], later.times[:1]])
    if not store.step.follows(joint).all() and gaps != "keep":
        raise InputError(
            f"--append: {path} ends at {label(times[-1])} and the files begin at {label(first)}, "
            f"which is not one step of {store.step} later; add the files between, or say --gaps "
            "keep"
        )
    start, _, stop = str(store.attributes.get("training_period", "/")).partition("/")
    return replace(
        later,
        channels=store.channels,
        grid=store.grid,
        times=np.concatenate([times, later.times]),
        step=store.step,
        sources=(*store.attributes.get("sources", ()), *later.sources),
        training=Period(start, stop) if training is None else training,
        nan_policy={**store.attributes.get("nan_policy", {}), **later.nan_policy},
        chunk_times=store.chunk,
    )


def _same_channels(store: Store, later: Plan) -> None:
    for name in ("name", "units", "cell_methods"):
        own = [getattr(c, name) for c in store.channels]
        theirs = [getattr(c, name) for c in later.channels]
        if own != theirs:
            what = {"name": "the channels", "cell_methods": "sums and means"}.get(name, name)
            remedy = "--aggregate" if name == "cell_methods" else "--variables and --rename"
            raise InputError(
                f"{store.path}: {what} are {_listed(own)}, and the files give {_listed(theirs)}; "
                f"give the {remedy} it was made with"
            )


def _listed(words: list[str]) -> str:
    return ", ".join(word or "none" for word in words)


@final
class StoreExtender:
    """Writes later fields in the order of time.

    Args:
        store: From `former_store`.
        plan: From `joined_plan`: of all times, former and later.
        request: Further plain values that decide what is written.
        inputs: Content of the files that are read.

    Attributes:
        done: Times already written, former ones included.
        former: Number of the former times.
    """

    def __init__(
        self, store: Store, plan: Plan, request: Mapping[str, Any], inputs: Inputs
    ) -> None:
        self.path, self.plan, self.former = store.path, plan, len(store)
        self._key = extension_key(request, inputs)
        attributes = read_attributes(store.path) or {}
        self._group = open_group(store.path, "r+")
        if attributes.get("extension", {}).get("key") != self._key:
            self._begin(attributes)
        self._arrays = {name: cast(Any, self._group[name]) for name in BY_TIME}
        written = read_array(self._group, "digest").any(axis=1)
        self.done = len(plan.times) if written.all() else int(written.argmin())

    @property
    def finished(self) -> bool:
        """All times are written."""
        return self.done == len(self.plan.times)

    def next_block(self) -> tuple[int, int]:
        """Range [start, stop) of the times to write next, counted among the later ones."""
        stop = (self.done // self.plan.chunk + 1) * self.plan.chunk
        return self.done - self.former, min(stop, len(self.plan.times)) - self.former

    def write(self, fields: NDArray[np.float32], filled: NDArray[np.bool_]) -> None:
        """Write the fields of `next_block` `[n, C, H, W]`; `filled` marks invented values."""
        before = np.asarray(self._arrays["fields"][self.done - 1], dtype=np.float32)
        if filled.any():
            mark_filled(self._group, filled, _FILLED)
        write_times(self._arrays, self.done, fields, before, self.plan.grid.weights)
        self.done += len(fields)

    def finish(self) -> Store:
        """Make the later times part of the store, and open it."""
        group, observed = self._group, None
        if _FILLED in group:
            observed = read_array(group, _FILLED)
            observed &= read_array(group, "observed") if "observed" in group else 1
        arrays, attributes = closing(group, self.plan, observed)
        attributes["sources"] = list(self.plan.sources)
        hexes = {n: [float(x).hex() for x in v] for n, v in arrays.items() if v.ndim == 1}
        about = dict(cast(Any, group.attrs["extension"]))
        about |= {"arrays": hexes, "attributes": attributes}
        # From here on all that is left to do is in the attributes and `_FILLED`.
        group.attrs.update({"status": EXTENDING, "extension": about})
        _settle(self.path)
        return Store(self.path)

    def _begin(self, attributes: Mapping[str, Any]) -> None:
        """Make room for the later times; what an abandoned extension has written is dropped."""
        group, total = self._group, len(self.plan.times)
        kept = {k: v for k, v in attributes.items() if k != "extension"}
        group.attrs.put(kept)
        if _FILLED in group:
            del group[_FILLED]
        axis = TimeAxis.encode(self.plan.times)
        tables: dict[str, Any] = {"time": axis.hours}
        if "time_bnds" in group:
            tables["time_bnds"] = np.stack([axis.hours - self.plan.period_hours, axis.hours], 1)
        for name in (*BY_TIME, *tables):
            array = cast(Any, group[name])
            array.resize((total, *array.shape[1:]))
        # A chunk of the digests may hold rows of an extension that was begun before.
        cast(Any, group["digest"])[self.former :] = 0
        for name, values in tables.items():
            cast(Any, group[name])[self.former :] = values[self.former :]
        about = {"key": self._key, "from": self.former, "times": total - self.former}
        group.attrs.put({**kept, "extension": about})


def _settle(path: Path) -> None:
    """Write what comes last; may be begun again at any point."""
    group = open_group(path, "r+")
    attributes = dict(group.attrs)
    if attributes["status"] == EXTENDING:
        about = cast(Any, attributes.pop("extension"))
        for name, values in about.pop("arrays").items():
            cast(Any, group[name])[...] = np.asarray([float.fromhex(x) for x in values])
        if _FILLED in group:
            later = read_array(group, _FILLED)
            mark_filled(group, later[None] == 0)
        attributes |= about.pop("attributes")
        known = cast(Any, attributes.get("extensions", []))
        # Through the metadata in one place the store is read; they come before its status.
        consolidate(path)
        group.attrs.put({**attributes, "extensions": [*known, about]})
    if _FILLED in group:
        del group[_FILLED]
    consolidate(path)


def extension_key(request: Mapping[str, Any], inputs: Inputs) -> str:
    """What two runs must have in common for one to go on where the other stopped."""
    files = {name: entry["sha256"] for name, entry in inputs.entries.items()}
    return digest_of({"request": dict(request), "files": files})


def is_extended(store: Store, request: Mapping[str, Any], inputs: Inputs) -> bool:
    """Whether these very files are in the store already."""
    key = extension_key(request, inputs)
    return any(one["key"] == key for one in store.attributes.get("extensions", []))

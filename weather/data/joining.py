"""Many data sets as one: joined along time, along levels and by variable.

What is joined are *pieces*, a variable at some levels: files may hold different variables, levels
in another order, or the same quantity under another of its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.channels import find_by_alias
from weather.data.times import calendar_of, label, labels
from weather.data.units import conversion, normal_units

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["join", "source_of"]

_BLOCK = 16
_OPTIONS: dict[str, Any] = {
    "data_vars": "minimal",
    "coords": "minimal",
    "compat": "override",
    "join": "override",
    "combine_attrs": "override",
}


@final
@dataclass(frozen=True, eq=False)
class _Piece:
    """Variables at some levels, the parts that hold them, and their data joined along time."""

    names: tuple[str, ...]
    levels: tuple[float, ...]
    parts: tuple[int, ...]
    dataset: xr.Dataset

    @cached_property
    def times(self) -> set[str]:
        """Labels of its times."""
        return set(labels(self.dataset["time"].values))

    @property
    def text(self) -> str:
        """For people: names and levels."""
        at = f" at {', '.join(f'{v:g}' for v in self.levels)}" if self.levels else ""
        return ", ".join(self.names) + at


def source_of(part: xr.Dataset) -> str:
    """Name of the file a part was opened from."""
    return str(part.encoding.get("source", "file"))


def join(parts: Sequence[xr.Dataset], wanted: Sequence[str] = ()) -> xr.Dataset:
    """Join data sets that `weather.data.dimensions.normalise` has brought to one form.

    A variable that some of the files of a series lack is left out, unless it is asked for: it
    would shorten the series to its own times. `attrs["left_out"]` then says so.

    Args:
        parts: With dimensions ``time [level] lat lon``.
        wanted: Names asked for, which are kept at the price of times.

    Raises:
        InputError: Grids, calendars or units differ, or there is no time that all hold.
    """
    parts = _one_name(_same_grid(parts))
    parts = [_chunked(part) for part in parts]
    _same_units(parts)
    _widest_range(parts)
    pieces, left = _whole_series(_pieces(parts), wanted)
    common, missing = _common_times(pieces, parts)
    whole = _side_by_side(common, pieces)
    whole.attrs["times_left_out"] = missing
    whole.attrs["left_out"] = left
    return whole


def _pieces(parts: Sequence[xr.Dataset]) -> list[_Piece]:
    """Join along time what the same parts hold."""
    holders: dict[tuple[str, float | None], list[int]] = {}
    for i, part in enumerate(parts):
        for name, field in part.data_vars.items():
            levels = part["level"].values if "level" in field.dims else [None]
            for level in levels:
                key = None if level is None else float(level)
                holders.setdefault((str(name), key), []).append(i)
    groups: dict[tuple[str, tuple[int, ...]], list[float]] = {}
    for (name, level), where in holders.items():
        groups.setdefault((name, tuple(where)), []).extend([] if level is None else [level])
    alike: dict[tuple[tuple[float, ...], tuple[int, ...]], list[str]] = {}
    for (name, where), levels in groups.items():
        alike.setdefault((tuple(levels), where), []).append(name)
    return [
        _Piece(tuple(names), levels, where, _along_time([parts[i] for i in where], names, levels))
        for (levels, where), names in alike.items()
    ]


def _along_time(
    parts: Sequence[xr.Dataset], names: Sequence[str], levels: Sequence[float]
) -> xr.Dataset:
    import xarray as xr

    taken = []
    for part in parts:
        own = part[list(names)]
        if levels:
            values = own["level"].values.tolist()
            if values != list(levels):
                own = own.isel(level=[values.index(level) for level in levels])
        elif "level" in own.coords:
            own = own.drop_vars("level")
        taken.append(own)
    taken.sort(key=lambda p: label(p["time"].values[0]))
    return taken[0] if len(taken) == 1 else xr.concat(taken, dim="time", **_OPTIONS)


def _whole_series(
    pieces: list[_Piece], wanted: Sequence[str]
) -> tuple[list[_Piece], dict[str, str]]:
    """Set aside what fewer files of a series hold than others beside it."""
    kept, left = [], {}
    times = [piece.times for piece in pieces]
    for piece, own in zip(pieces, times, strict=True):
        beside = [
            other
            for other, theirs in zip(pieces, times, strict=True)
            if set(other.parts) & set(piece.parts) and theirs > own
        ]
        asked = any(_is_asked(name, wanted) for name in piece.names)
        if not beside or asked:
            kept.append(piece)
            continue
        more = max(beside, key=lambda other: len(other.times))
        why = (
            f"has {len(own)} of the {len(more.times)} times of {more.names[0]}; name it in "
            "--variables to take the times that all have"
        )
        for name in piece.names:
            at = f" at {', '.join(f'{v:g}' for v in piece.levels)} hPa" if piece.levels else ""
            left[f"{name}{at}"] = why
    return kept, left


def _is_asked(name: str, wanted: Sequence[str]) -> bool:
    found = find_by_alias(name)
    for text in wanted:
        asked = find_by_alias(text)
        if name == text or (found is not None and asked is not None and found[0] == asked[0]):
            return True
    return False


def _common_times(
    pieces: Sequence[_Piece], parts: Sequence[xr.Dataset]
) -> tuple[list[xr.Dataset], int]:
    """Restrict to the times that all hold, in their order; also how many are lost."""
    stamps = [labels(p.dataset["time"].values) for p in pieces]
    if all(np.array_equal(s, stamps[0]) for s in stamps):
        return [p.dataset for p in pieces], 0
    common = set(stamps[0]).intersection(*stamps[1:])
    if not common:
        first, second = _apart(pieces)
        raise InputError(
            f"{source_of(parts[second.parts[0]])}: no time in common: {first.text} from "
            f"{min(first.times)} to {max(first.times)}, but {second.text} from "
            f"{min(second.times)} to {max(second.times)}; give files of the same period, or "
            "prepare them apart"
        )
    chosen = []
    for piece, stamp in zip(pieces, stamps, strict=True):
        _, first_of = np.unique(stamp, return_index=True)
        keep = [int(i) for i in first_of if stamp[i] in common]
        chosen.append(piece.dataset.isel(time=keep))
    return chosen, len(set().union(*stamps)) - len(common)


def _apart(pieces: Sequence[_Piece]) -> tuple[_Piece, _Piece]:
    """Two pieces without a common time, or the two that share the fewest."""
    pairs = [(a, b) for i, a in enumerate(pieces) for b in pieces[i + 1 :]]
    return min(pairs, key=lambda pair: len(pair[0].times & pair[1].times))


def _side_by_side(datasets: Sequence[xr.Dataset], pieces: Sequence[_Piece]) -> xr.Dataset:
    """Join the levels of each variable, then put all variables into one data set."""
    import xarray as xr

    fields: dict[str, list[xr.DataArray]] = {}
    for data, piece in zip(datasets, pieces, strict=True):
        for name in piece.names:
            fields.setdefault(name, []).append(data[name])
    joined: dict[str, xr.DataArray] = {}
    for name, members in fields.items():
        joined[name] = members[0] if len(members) == 1 else _by_level(members)
    axes: dict[tuple[float, ...], str] = {}
    for field in joined.values():
        if "level" in field.dims:
            axes.setdefault(tuple(field["level"].values), f"level_{len(axes)}")
    named = {}
    for name, field in joined.items():
        # One axis for different sets of levels would invent missing values.
        if "level" in field.dims and len(axes) > 1:
            field = field.rename(level=axes[tuple(field["level"].values)])
        named[name] = field
    parts: list[xr.Dataset] = [field.to_dataset(name=name) for name, field in named.items()]
    return xr.merge(parts, compat="override", join="override", combine_attrs="override")


def _by_level(members: Sequence[xr.DataArray]) -> xr.DataArray:
    import xarray as xr

    joined = xr.concat(
        list(members), dim="level", coords="minimal", compat="override", join="override",
        combine_attrs="override",
    )  # fmt: skip
    return joined.isel(level=np.argsort(joined["level"].values, kind="stable"))


def _chunked(dataset: xr.Dataset) -> xr.Dataset:
    """Make a part lazy in a way that survives joining: one file alone is lazy by itself."""
    if dataset.chunks or "time" not in dataset.dims:
        return dataset
    source = dataset.encoding.get("source")
    dataset = dataset.chunk({"time": min(_BLOCK, dataset.sizes["time"])})
    dataset.encoding["source"] = source
    return dataset


def _one_name(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Call a quantity by one name where the files of a series call it by several."""
    first: dict[Any, str] = {}
    held = [{str(name) for name in part.data_vars} for part in parts]
    renamed = []
    for part, own in zip(parts, held, strict=True):
        changes: dict[Any, str] = {}
        for name in sorted(own):
            key = _same_field(name)
            if key is None:
                continue
            known = first.setdefault(key, name)
            # Two names in one file are two fields, such as precipitation over 6 and 24 hours.
            together = any({known, name} <= names for names in held)
            if known != name and known not in changes.values() and not together:
                changes[name] = known
        source = source_of(part)
        part = part.rename(changes) if changes else part
        part.encoding["source"] = source
        renamed.append(part)
    return renamed


def _same_field(name: str) -> Any:
    """What a name stands for; periods of accumulation keep quantities apart."""
    found = find_by_alias(name)
    if found is None:
        return None
    period = name.lower().rpartition("_")[2]
    return found[0].name, found[1], period if period.endswith(("hr", "h")) else ""


def _same_grid(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    first, name = parts[0], source_of(parts[0])
    same = []
    for part in parts:
        own = source_of(part)
        for axis in ("lat", "lon"):
            mine: NDArray[Any] = part[axis].values
            theirs: NDArray[Any] = first[axis].values
            if len(mine) != len(theirs) or np.abs(mine - theirs).max() > 1e-3:
                raise InputError(
                    f"{own}: grid {part.sizes['lat']}x{part.sizes['lon']} is not "
                    f"that of {name} ({first.sizes['lat']}x{first.sizes['lon']}); prepare them "
                    "apart"
                )
        if calendar_of(part["time"].values) != calendar_of(first["time"].values):
            raise InputError(
                f"{own}: calendar {calendar_of(part['time'].values)}, not "
                f"{calendar_of(first['time'].values)} as in {name}; prepare them apart"
            )
        moved = part.assign_coords(lat=first["lat"], lon=first["lon"])
        moved.encoding["source"] = own
        same.append(moved)
    return same


def _same_units(parts: Sequence[xr.Dataset]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for part in parts:
        for key, variable in part.data_vars.items():
            units, name = str(variable.attrs.get("units", "")), source_of(part)
            before, where = seen.setdefault(str(key), (units, name))
            same = normal_units(before) == normal_units(units)
            how = conversion(units, before)
            if not same and not (how is not None and how.scale == 1.0 and how.offset == 0.0):
                raise InputError(
                    f"{name}: {key} in {units or 'no units'}, but {before or 'no units'} in "
                    f"{where}; prepare them apart"
                )


def _widest_range(parts: Sequence[xr.Dataset]) -> None:
    """Give a variable one valid range where files state several."""
    ranges: dict[Any, list[tuple[float, float]]] = {}
    for part in parts:
        for name, field in part.data_vars.items():
            if "valid_range" in field.attrs:
                ranges.setdefault(name, []).append(field.attrs["valid_range"])
    for part in parts:
        for name, found in ranges.items():
            if name in part.data_vars:
                low, high = zip(*found, strict=True)
                part[name].attrs["valid_range"] = (min(low), max(high))

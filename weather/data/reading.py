"""Fields of files as channels on a grid: matched, converted, regridded, missing values treated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, reading
from weather.data.aggregate import METHODS, check_thinning, method_of, reduce
from weather.data.areas import Area
from weather.data.checks import NanPolicy, TimeSelection, choose_times, mask_fills
from weather.data.integrity import MISSING_CHUNKS
from weather.data.matching import Match, Matching, check_names, match
from weather.data.opening import open_files
from weather.data.plausible import check_units, check_values
from weather.data.rectangles import AnyGrid, Rectangle, grid_of
from weather.data.regrid import Method, Regridder
from weather.data.times import Period, label
from weather.sphere.grids import Grid

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Reader", "ReaderSettings", "open_reader", "open_reader_of", "read_fields"]

_BLOCK_BYTES = 1 << 28


@final
@dataclass(frozen=True)
class ReaderSettings:
    """How files become channels.

    Attributes:
        variables: Channels to take, in order; everything known by default.
        levels: Pressure levels to take, hPa; all by default.
        grid: Name of the grid to bring the fields to; that of the files by default.
        method: ``conservative`` or ``bilinear``.
        period: Times to take.
        step_hours: Keep a field every so many hours; 0 keeps all.
        area: Part of the globe to take.
        aggregate: Channels that are a ``sum``, ``mean``, ``min`` or ``max`` over the step.
        gaps: ``refuse`` or ``keep``.
        duplicates: ``refuse``, ``first`` or ``last``.
        nan: Rules for missing values by channel, such as ``{"sst": "fill"}``.
        rename: What a variable of the files is, where its name does not tell.
        units: What units a variable is in, where its attribute is absent or wrong; those of the
            levels go by the name ``level``.
        missing: A value that stands for missing ones, by variable, where the files do not say.
        member: Label of the ensemble member to take.
        any_values: Do not judge units by the values.
    """

    variables: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    grid: str = ""
    method: Method = "conservative"
    period: Period | None = None
    step_hours: float = 0.0
    area: Area | None = None
    aggregate: Mapping[str, str] = field(default_factory=dict)
    gaps: str = "refuse"
    duplicates: str = "refuse"
    nan: Mapping[str, str] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)
    member: str | int | None = None
    any_values: bool = False


@final
@dataclass(frozen=True, eq=False)
class Reader:
    """Files opened, understood and checked as far as can be without reading everything.

    Attributes:
        dataset: Lazy, with dimensions ``time [level] lat lon``.
        matching: Which variable is which channel.
        selection: Which times are read.
        regrid: From the grid of the files to the one wanted.
        policy: What to do about missing values.
        aggregate: How channels are aggregated, by channel or variable.
        missing: Values that stand for missing ones, by variable of the files.
        any_values: Do not judge values.
    """

    dataset: xr.Dataset
    matching: Matching
    selection: TimeSelection
    regrid: Regridder
    policy: NanPolicy
    aggregate: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)
    any_values: bool = False

    @property
    def grid(self) -> AnyGrid:
        """Grid of the fields that `block` gives."""
        return self.regrid.target

    def block(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Fields of the selected times [start, stop).

        Returns:
            Values in the channels' units `[n, C, H, W]`, and where they were filled.

        Raises:
            InputError: Values are missing and the policy is to refuse.
        """
        matches, shape = self.matching.matches, self.grid.shape
        fields = np.empty((stop - start, len(matches), *shape), dtype=np.float32)
        filled = np.zeros(fields.shape, dtype=bool)
        for (source, method), places in self._together().items():
            members = [matches[k] for k in places]
            for a, b in self._pieces(start, stop, len(members), method):
                values = self._values(source, members, method, a, b)
                for layer, k in enumerate(places):
                    out = self._channel(matches[k], values[:, layer], a, b)
                    fields[a - start : b - start, k], filled[a - start : b - start, k] = out
        return fields, filled

    def probe(self) -> None:
        """Judge units by a first look, and find missing values at the ends and the middle.

        Raises:
            InputError: Units or values are not what they should be.
        """
        matches, last = self.matching.matches, len(self.selection.times) - 1
        for (source, _), places in self._together().items():
            members = [matches[k] for k in places]
            raw = self._raw(source, members, self.selection.index[:1])[0]
            w = self.regrid.source.weights[:, None]
            for layer, m in zip(raw, members, strict=True):
                valid = np.where(np.isnan(layer), 0.0, w)
                mean = float((np.nan_to_num(layer) * valid).sum() / max(valid.sum(), 1e-30))
                if not valid.any():
                    mean = float("nan")
                if m.conversion is None or not self.any_values:
                    check_units(m, mean)
        for place in sorted({0, last // 2, last}):
            self.block(place, place + 1)

    def _channel(
        self, m: Match, values: NDArray[Any], a: int, b: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        times, source = self.selection.times[a:b], self.regrid.source
        if self.policy.of(m.channel) == "refuse":
            # Before regridding, which would make up for small patches.
            self.policy.apply(m.channel, values, source.weights, times, source.lat, source.lon)
        out = self.regrid(values, vector=m.channel.vector)
        if m.channel.positive:
            # Packing of integers leaves dust below zero.
            out = np.maximum(out, 0.0)
        grid = self.grid
        return self.policy.apply(m.channel, out, grid.weights, times, grid.lat, grid.lon)

    def _values(
        self, source: str, members: Sequence[Match], method: str, a: int, b: int
    ) -> NDArray[Any]:
        """Values of one variable for some channels, judged and aggregated `[n, L, h, w]`."""
        windows = self.selection.windows
        index = self.selection.index[a:b]
        if windows is not None and method:
            index = windows.index[a:b].ravel()
        raw = self._raw(source, members, index)
        layers = [(m.conversion or _never(m))(raw[:, k]) for k, m in enumerate(members)]
        grid = self.regrid.source
        if not self.any_values:
            times = self.dataset["time"].values[index]
            for m, layer in zip(members, layers, strict=True):
                check_values(m, layer, grid.weights, times, grid.lat, grid.lon)
        values = np.stack(layers, 1)
        if method:
            values = reduce(values.reshape(b - a, -1, *values.shape[1:]), method)
        return values

    def _raw(
        self, source: str, members: Sequence[Match], index: NDArray[np.int64]
    ) -> NDArray[Any]:
        """Values of one variable as in the files, NaN where missing `[n, L, h, w]`."""
        steps = np.diff(index)
        chosen: Any = slice(index[0], index[-1] + 1) if (steps == 1).all() else index
        field = self.dataset[source].isel(time=chosen)
        level = members[0].level_dim
        first = label(self.selection.times[0])
        with reading(f"{self._name}: {source}", remedy=f"is the file whole after {first}?"):
            if level is None:
                values = field.transpose("time", "lat", "lon").values[:, None]
            else:
                field = field.isel({level: [m.level for m in members]})
                values = field.transpose("time", level, "lat", "lon").values
        valid = self.dataset[source].attrs.get("valid_range")
        return mask_fills(values, valid, self.missing.get(source))

    @property
    def _name(self) -> str:
        """Of the files, for messages."""
        return str(self.dataset.encoding.get("source", "FILES"))

    def _together(self) -> dict[tuple[str, str], list[int]]:
        """Channels by variable of the files and aggregation: their levels are read together."""
        groups: dict[tuple[str, str], list[int]] = {}
        for k, m in enumerate(self.matching.matches):
            method = method_of(m.channel, self.aggregate) if self.selection.windows else ""
            groups.setdefault((m.source, method), []).append(k)
        return groups

    def _pieces(self, start: int, stop: int, levels: int, method: str) -> list[tuple[int, int]]:
        """Ranges of times whose source fields fit in a block of memory."""
        one = levels * self.regrid.source.height * self.regrid.source.width * 8
        windows = self.selection.windows
        if windows is not None and method:
            one *= windows.index.shape[1]
        n = max(1, _BLOCK_BYTES // one)
        return [(a, min(a + n, stop)) for a in range(start, stop, n)]


def open_reader(
    paths: Sequence[str | Path], settings: ReaderSettings, probe: bool = True
) -> Reader:
    """Open files, match them and check what can be checked at once.

    Raises:
        InputError: Anything wrong with files or settings, in one line.
        MissingExtra: A package for the format is absent.
    """
    dataset = open_files(
        paths, settings.member, settings.variables, settings.units.get("level", "")
    )
    check_names(dataset, settings.missing, "--missing")
    if settings.area is not None:
        dataset = settings.area.cut(dataset)
    dataset.encoding.setdefault("source", str(paths[0]) if len(paths) == 1 else "FILES")
    matching = _aggregated(_without_dropped(_match(dataset, settings), settings), settings)
    selection = _select(dataset, settings)
    stated = {str(n): str(v.attrs.get("cell_methods", "")) for n, v in dataset.data_vars.items()}
    if settings.step_hours:
        check_thinning(
            matching.matches, settings.aggregate, stated, selection.own_hours, settings.step_hours
        )
    selection = _note_missing_chunks(dataset, matching, selection)
    source = grid_of(dataset["lat"].values, dataset["lon"].values)
    target = Grid.parse(settings.grid) if settings.grid else source
    _check_target(source, target)
    regrid = Regridder(source, target, settings.method)
    reader = Reader(
        dataset, matching, selection, regrid, NanPolicy(settings.nan), settings.aggregate,
        settings.missing, settings.any_values,
    )  # fmt: skip
    if probe:
        reader.probe()
    return reader


def open_reader_of(dataset: xr.Dataset, matching: Matching, regrid: Regridder) -> Reader:
    """A reader of all times that are in the files, in order, each once.

    Args:
        dataset: As `weather.data.opening.open_files` gives it.
        matching: Its channels.
        regrid: To the grid wanted.
    """
    selection = choose_times(dataset["time"].values, gaps="keep", duplicates="first")
    return Reader(dataset, matching, selection, regrid, NanPolicy({}))


def _select(dataset: xr.Dataset, settings: ReaderSettings) -> TimeSelection:
    """Times to read, with a note on those that not all variables have."""
    selection = choose_times(
        dataset["time"].values,
        settings.period,
        settings.step_hours,
        settings.gaps,
        settings.duplicates,
        periods=bool(settings.aggregate),
    )
    left_out = dataset.attrs.get("times_left_out", 0)
    if left_out:
        note = f"{left_out} times that not all files hold were left out"
        selection = replace(selection, notes=(*selection.notes, note))
    return selection


def _note_missing_chunks(
    dataset: xr.Dataset, matching: Matching, selection: TimeSelection
) -> TimeSelection:
    """Refuse a store that lacks chunks, unless a chunk of zeros may be weather: no rain."""
    for m in matching.matches:
        lacking = dataset[m.source].attrs.get(MISSING_CHUNKS)
        if lacking is None:
            continue
        if not m.channel.positive:
            raise InputError(
                f"{m.source}: the store lacks {lacking}; copy it again, or declare the value as "
                f"missing with --missing {m.source}=0"
            )
        note = f"{m.source}: the store lacks {lacking}"
        selection = replace(selection, notes=(*dict.fromkeys((*selection.notes, note)),))
    return selection


def _aggregated(matching: Matching, settings: ReaderSettings) -> Matching:
    """Say in the channels how they are aggregated."""
    names = {m.channel.name for m in matching.matches} | {"all"}
    names |= {m.channel.variable for m in matching.matches}
    for name in settings.aggregate:
        if name not in names:
            raise InputError(
                f"--aggregate {name}: not among the channels "
                f"({', '.join(m.channel.name for m in matching.matches)})"
            )
    matches = []
    for m in matching.matches:
        method = method_of(m.channel, settings.aggregate)
        cell = METHODS[method] if method else m.channel.cell_methods
        matches.append(replace(m, channel=replace(m.channel, cell_methods=cell)))
    return replace(matching, matches=tuple(matches))


def read_fields(
    paths: Sequence[str | Path], settings: ReaderSettings
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """All selected times of files at once: the initial state of a forecast.

    Args:
        paths: Files.
        settings: `variables` names the channels in the order wanted, `grid` the model's grid.

    Returns:
        Times `[T]` and fields in the channels' units `[T, C, H, W]`.

    Raises:
        InputError: Anything wrong with files or settings, in one line.
    """
    reader = open_reader(paths, settings)
    fields, _ = reader.block(0, len(reader.selection.times))
    return reader.selection.times, fields


def _match(dataset: xr.Dataset, settings: ReaderSettings) -> Matching:
    return match(dataset, settings.variables, settings.levels, settings.rename, settings.units)


def _without_dropped(matching: Matching, settings: ReaderSettings) -> Matching:
    policy = NanPolicy(settings.nan)
    names = {m.channel.name for m in matching.matches}
    names |= {m.channel.variable for m in matching.matches} | {"all"}
    unknown = [name for name in settings.nan if name not in names]
    if unknown:
        raise InputError(
            f"--nan {unknown[0]}: not among the channels "
            f"({', '.join(m.channel.name for m in matching.matches)})"
        )
    kept = tuple(m for m in matching.matches if policy.of(m.channel) != "drop")
    if not kept:
        raise InputError("--nan: drops every channel; keep one")
    return replace(matching, matches=kept)


def _check_target(source: AnyGrid, target: AnyGrid) -> None:
    """A global set must end on a named grid; models know no other."""
    if source == target and isinstance(source, Rectangle) and source.is_global:
        raise InputError(
            f"grid: {source.describe()}, is global but neither Gaussian, nor of cell centres, nor "
            "with poles, from 0E; say which to regrid to, for example --grid "
            f"{_like(source)}"
        )


def _like(source: Rectangle) -> Grid:
    height = round(180.0 / float(np.diff(source.lat).mean()))
    return Grid("equiangular", height, source.width)


def _never(m: Match) -> Any:
    raise InputError(f"{m.source}: units {m.units!r} do not become {m.channel.units}")

"""Fields of files as channels on a grid: matched, converted, regridded, missing values treated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.checks import (
    NanPolicy,
    TimeSelection,
    check_units,
    choose_times,
    mask_fills,
    parse_nan,
)
from weather.data.matching import Match, Matching, match
from weather.data.opening import open_files
from weather.data.rectangles import AnyGrid, Rectangle, grid_of
from weather.data.regrid import Method, Regridder
from weather.data.times import Period
from weather.sphere.grids import Grid

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Reader", "ReaderSettings", "open_reader", "read_fields"]

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
        gaps: ``refuse`` or ``keep``.
        duplicates: ``refuse``, ``first`` or ``last``.
        nan: Rules for missing values by channel, such as ``{"sst": "fill"}``.
        rename: What a variable of the files is, where its name does not tell.
        units: What units a variable is in, where its attribute is absent or wrong.
        member: Label of the ensemble member to take.
        any_values: Do not judge units by the values.
    """

    variables: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    grid: str = ""
    method: Method = "conservative"
    period: Period | None = None
    step_hours: float = 0.0
    gaps: str = "refuse"
    duplicates: str = "refuse"
    nan: Mapping[str, str] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    member: int | None = None
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
    """

    dataset: xr.Dataset
    matching: Matching
    selection: TimeSelection
    regrid: Regridder
    policy: NanPolicy

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
        for source, places in self._by_source().items():
            for a, b in self._pieces(start, stop, len(places)):
                values = self._values(source, [matches[k] for k in places], a, b)
                for layer, k in enumerate(places):
                    out = self._channel(matches[k], values[:, layer], a, b)
                    fields[a - start : b - start, k], filled[a - start : b - start, k] = out
        return fields, filled

    def probe(self, any_values: bool = False) -> None:
        """Judge units by a first look, and find missing values at the ends and the middle.

        Raises:
            InputError: Units or values are not what they should be.
        """
        matches, last = self.matching.matches, len(self.selection.times) - 1
        for source, places in self._by_source().items():
            members = [matches[k] for k in places]
            raw = self._values(source, members, 0, 1, convert=False)[0]
            w = self.regrid.source.weights[:, None]
            for layer, m in zip(raw, members, strict=True):
                valid = np.where(np.isnan(layer), 0.0, w)
                mean = float((np.nan_to_num(layer) * valid).sum() / max(valid.sum(), 1e-30))
                if not valid.any():
                    mean = float("nan")
                if m.conversion is None or not any_values:
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
        self, source: str, members: Sequence[Match], a: int, b: int, convert: bool = True
    ) -> NDArray[Any]:
        """Values of one variable at the levels of some channels `[n, L, h, w]`."""
        index = self.selection.index[a:b]
        steps = np.diff(index)
        chosen: Any = slice(index[0], index[-1] + 1) if (steps == 1).all() else index
        field = self.dataset[source].isel(time=chosen)
        level = members[0].level_dim
        if level is None:
            values = field.transpose("time", "lat", "lon").values[:, None]
        else:
            field = field.isel({level: [m.level for m in members]})
            values = field.transpose("time", level, "lat", "lon").values
        values = mask_fills(values)
        if not convert:
            return values
        layers = [(m.conversion or _never(m))(values[:, k]) for k, m in enumerate(members)]
        return np.stack(layers, 1)

    def _by_source(self) -> dict[str, list[int]]:
        """Channels of each variable of the files: its levels are read together."""
        groups: dict[str, list[int]] = {}
        for k, m in enumerate(self.matching.matches):
            groups.setdefault(m.source, []).append(k)
        return groups

    def _pieces(self, start: int, stop: int, levels: int) -> list[tuple[int, int]]:
        """Ranges of times whose source fields fit in a block of memory."""
        one = levels * self.regrid.source.height * self.regrid.source.width * 8
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
    dataset = open_files(paths, settings.member, settings.variables)
    matching = _without_dropped(_match(dataset, settings), settings)
    selection = choose_times(
        dataset["time"].values,
        settings.period,
        settings.step_hours,
        settings.gaps,
        settings.duplicates,
    )
    left_out = dataset.attrs.get("times_left_out", 0)
    if left_out:
        note = f"{left_out} times that not all files hold were left out"
        selection = replace(selection, notes=(*selection.notes, note))
    source = grid_of(dataset["lat"].values, dataset["lon"].values)
    target = Grid.parse(settings.grid) if settings.grid else source
    _check_target(source, target)
    regrid = Regridder(source, target, settings.method)
    rules = [f"{name}={rule}" for name, rule in settings.nan.items()]
    reader = Reader(dataset, matching, selection, regrid, parse_nan(rules))
    if probe:
        reader.probe(settings.any_values)
    return reader


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

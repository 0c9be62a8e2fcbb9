"""Initial states of a forecast, from the files users have.

Files are read and matched as `sciddiff prepare forecast` does: by variable, level, units and
grid.  A state is the last F times up to the initial time, one step of the model apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciddiff.errors import InputError
from weather.data.areas import Area, same_grid
from weather.data.rectangles import AnyGrid, Rectangle
from weather.data.remedies import options_of_prepare
from weather.data.store import Store, is_store
from weather.data.times import TimeAxis, label, labels
from weather.forecast.spec import ForecastSpec
from weather.sphere.grids import Grid

if TYPE_CHECKING:
    from weather.data.matching import Match

__all__ = ["InitialState", "open_analyses", "read_initial"]

_CLOSE_HOURS = 1e-3
_FAR = 6.0  # standard deviations between area means: Kelvin and Celsius are further apart


@final
@dataclass(frozen=True, eq=False)
class InitialState:
    """The initial time of a forecast and the states up to it.

    Attributes:
        time: Initial time, `datetime64` or a `cftime` date.
        frames: States up to that time, oldest first, physical, `[F, C, H, W]`.
    """

    time: Any
    frames: Tensor


@final
@dataclass(frozen=True, eq=False)
class _Source:
    """Fields of the model's channels on its grid.

    Attributes:
        name: For messages.
        times: `[T]`.
        read: From the index of a time to its fields, physical `[C, H, W]`.
    """

    name: str
    times: NDArray[Any]
    read: Callable[[int], NDArray[np.float32]]


def read_initial(
    paths: str | Path | Sequence[str | Path],
    spec: ForecastSpec,
    starts: Sequence[str] | None = None,
    regrid: str | None = None,
) -> list[InitialState]:
    """Read the initial states of forecasts from files.

    Args:
        paths: A file, several files, or one prepared store.
        spec: What the model needs.
        starts: Initial times; `["all"]` for every time that has what it needs; None: the last.
        regrid: Method to bring the files to the model's grid by; None: they must be on it.

    Raises:
        InputError: Something the model needs is missing, on another grid, or in other units.
    """
    files = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    for path in files:
        if not path.exists():
            raise InputError(f"{path}: no such file; give the file of the initial state")
    stores = [path for path in files if is_store(path)]
    if stores and len(files) > 1:
        raise InputError(f"{stores[0]}: is a prepared store; give it alone")
    with options_of_prepare(files[0] if files else "FILES", ("--regrid",)):
        source = _prepared(stores[0], spec) if stores else _files(files, spec, regrid)
    kept: dict[int, Tensor] = {}
    states = []
    for position in _positions(source, spec, starts):
        for i in position:
            if i not in kept:
                kept[i] = torch.from_numpy(np.array(source.read(i), dtype=np.float32))
        frames = torch.stack([kept[i] for i in position])
        states.append(InitialState(source.times[position[-1]], frames))
        kept = {i: field for i, field in kept.items() if i in position}
    return states


def open_analyses(path: Path, spec: ForecastSpec) -> _Source:
    """Open fields along time on the model's grid, from a prepared store or a file that holds it.

    Raises:
        InputError: As `read_initial`.
    """
    return _prepared(path, spec) if is_store(path) else _files([path], spec, None)


def _prepared(path: Path, spec: ForecastSpec) -> _Source:
    """A prepared store; it must be on the model's grid."""
    store = Store(path)
    if not same_grid(store.grid, spec.area):
        area = spec.area
        how = f"--grid {area}" if isinstance(area, Grid) else f"--area {Area.of(area)}"
        raise InputError(
            f"{path}: on grid {_called(store.grid)}; the model's is {_called(area)}: prepare the "
            f"files with {how}"
        )
    rows = store.select(spec.names)
    for row, channel in zip(rows, spec.channels, strict=True):
        if store.channels[row].units != channel.units:
            raise InputError(
                f"{path}: {channel.name} is in {store.channels[row].units}; the model's is in "
                f"{channel.units}: prepare the files again"
            )
    return _Source(str(path), store.times, lambda i: store.read(i, i + 1)[0, rows])


def _files(paths: Sequence[Path], spec: ForecastSpec, regrid: str | None) -> _Source:
    """Files of any kind, matched by name, level and units, and brought to the model's grid."""
    from weather.data.matching import match
    from weather.data.opening import open_files
    from weather.data.reading import open_reader_of
    from weather.data.rectangles import grid_of
    from weather.data.regrid import Regridder

    name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    dataset = open_files(paths, wanted=spec.names)
    try:
        matching = match(dataset, spec.names)
    except InputError as error:
        raise InputError(f"{name}: the model needs {', '.join(spec.names)}; {error}") from error
    for one in matching.matches:
        _check_units(name, one, spec)
    if not isinstance(spec.area, Grid):
        dataset = Area.of(spec.area).cut(dataset)
    grid = grid_of(dataset["lat"].values, dataset["lon"].values)
    target = spec.area
    if not same_grid(grid, target):
        if not isinstance(target, Grid):
            raise InputError(
                f"{name}: on another grid ({_called(grid)}) than the model's, {_called(target)}; "
                "give files on that grid, which may hold more than the area"
            )
        _check_grid(name, grid, target, regrid)
        change = Regridder(grid, target, "bilinear" if regrid == "bilinear" else "conservative")
    else:
        change = Regridder(grid, grid)
    reader = open_reader_of(dataset, matching, change)

    def read(index: int) -> NDArray[np.float32]:
        with options_of_prepare(name, ("--regrid",)):
            made = reader.block(index, index + 1)[0][0]
        _check_range(name, made, spec)
        return made

    return _Source(name, reader.selection.times, read)


def _check_units(name: str, one: Match, spec: ForecastSpec) -> None:
    channel = spec.channels[spec.names.index(one.channel.name)]
    if one.channel.units != channel.units or (one.conversion is None and one.units):
        raise InputError(
            f"{name}: {one.source} is in {one.units or 'no units'}, which cannot be turned into "
            f"{channel.units} of {channel.name}; correct its attribute 'units'"
        )
    if one.conversion is None:
        raise InputError(
            f"{name}: {one.source} has no units; give it the attribute 'units' ({channel.units} "
            "is what the model works in)"
        )


def _check_grid(name: str, grid: AnyGrid, target: Grid, regrid: str | None) -> None:
    if isinstance(grid, Rectangle) and not grid.is_global:
        raise InputError(
            f"{name}: covers a region only ({grid.describe()}); the model needs the whole globe"
        )
    if regrid is None:
        raise InputError(
            f"{name}: on another grid ({_called(grid)}) than the model's, {target}; add "
            "--regrid conservative (or bilinear) to bring it there"
        )


def _called(grid: AnyGrid) -> str:
    return grid.describe() if isinstance(grid, Rectangle) else str(grid)


def _check_range(name: str, fields: NDArray[np.float32], spec: ForecastSpec) -> None:
    """Refuse fields so far from what the model has seen that the units must be others."""
    for field, channel, mean, std in zip(fields, spec.channels, spec.mean, spec.std, strict=True):
        level = float(np.nanmean(field)) if np.isfinite(field).any() else mean
        if abs(level - mean) > _FAR * std:
            raise InputError(
                f"{name}: {channel.name} has a mean of {level:.4g}, the model's data one of "
                f"{mean:.4g} {channel.units}; are its values in the units they claim?"
            )


def _positions(
    source: _Source, spec: ForecastSpec, starts: Sequence[str] | None
) -> list[list[int]]:
    """Indices of the frames of each start, oldest first."""
    hours = TimeAxis.encode(source.times).hours
    last = len(hours) - 1
    if starts is None or [str(s) for s in starts] == ["all"]:
        whole = []
        for i in range(last, -1, -1):
            frames = _frames(hours, i, spec)
            if frames is not None:
                whole.append(frames)
                if starts is None:
                    break
        if not whole:
            raise InputError(_lacking(source, spec, last))
        return whole[::-1]
    chosen = []
    for text in starts:
        index = _index_of(source, text)
        frames = _frames(hours, index, spec)
        if frames is None:
            raise InputError(_lacking(source, spec, index))
        chosen.append(frames)
    if len({frames[-1] for frames in chosen}) < len(chosen):
        raise InputError("--start: a date is given twice; keep one")
    return sorted(chosen, key=lambda frames: frames[-1])


def _frames(hours: NDArray[np.float64], last: int, spec: ForecastSpec) -> list[int] | None:
    """Indices of the F times up to one, a step of the model apart; None if one is missing."""
    wanted = hours[last] - spec.step_hours * np.arange(spec.frames - 1, -1, -1)
    at = np.clip(np.searchsorted(hours, wanted - _CLOSE_HOURS), 0, len(hours) - 1)
    fine = np.abs(hours[at] - wanted) < _CLOSE_HOURS
    return at.tolist() if fine.all() else None


def _lacking(source: _Source, spec: ForecastSpec, index: int) -> str:
    before = spec.after(source.times[index], -1)
    there = (
        "it holds that time alone"
        if len(source.times) == 1
        else f"it holds {label(source.times[0])} to {label(source.times[-1])}"
    )
    return (
        f"{source.name}: a forecast from {label(source.times[index])} needs {spec.frames} times "
        f"{spec.step_hours:g} h apart, and {label(before)} is missing ({there}); add it to the "
        "files"
    )


def _index_of(source: _Source, text: str) -> int:
    """Index of the time a user wrote: `2001-02-03`, `2001-02-03T12`, `2001-02-03T12:00`."""
    wanted = text.strip().replace(" ", "T")
    date, mark, clock = wanted.partition("T")
    numbers = date.split("-")
    if len(numbers) != 3 or not all(n.isdigit() for n in numbers):
        raise InputError(f"--start {text}: not a date; write for example 2001-02-03 or all")
    year, month, day = numbers
    wanted = f"{year.zfill(4)}-{month.zfill(2)}-{day.zfill(2)}{mark}{clock}"
    near = np.flatnonzero([one.startswith(wanted) for one in labels(source.times)])
    if not len(near):
        first, last = label(source.times[0]), label(source.times[-1])
        raise InputError(
            f"--start {text}: {source.name} does not hold it; it holds {first} to {last}"
        )
    # A date without an hour means its first time.
    return int(near[0])

"""Futures that are given: a strip along the edges of a limited area, or whole channels.

A model trained with `domain.boundary: 2` is told, at every step, the next state in the two
outermost rows and columns, from another forecast (the *parent*) or from analyses.  The network
reads it, and the strip of its own state is then replaced by it, so that weather enters and leaves
the area as in the parent.  Member k of a forecast reads member k of its parent; a parent with
fewer members is read again from its first.

A model trained with `domain.prescribed: [sst]` is told the next state of these channels, from
another forecast or from analyses, or as it was at the initial time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciddiff.errors import InputError
from weather.data.areas import Area, same_grid
from weather.data.rectangles import AnyGrid, Rectangle, grid_of
from weather.data.times import label
from weather.forecast import PERSISTENCE
from weather.forecast.spec import ForecastSpec
from weather.verification.instants import Instants

if TYPE_CHECKING:
    from weather.forecast.initial import InitialState
    from weather.verification.ensembles import Ensemble

__all__ = [
    "Boundaries",
    "analyses_as_boundaries",
    "lacking",
    "open_boundaries",
    "open_future",
    "parent_boundaries",
    "refuse_untold",
    "strip",
]

Fields = NDArray[np.float32]

Read = Callable[[Any, int, Sequence[int]], Fields]
"""From initial time, lead (1, 2, ...) and members to fields `[M, C, H, W]` or `[1, C, H, W]`."""


def strip(grid: AnyGrid, width: int) -> Tensor:
    """Mark where the boundary is prescribed: 1 in the outermost rows and columns, `[H, W]`.

    Args:
        grid: Of the model. Where its longitudes go round the globe, only rows are prescribed.
        width: Rows and columns on each side.

    Raises:
        InputError: The globe has no boundary, or nothing of the area would be left.
    """
    height, columns = grid.shape
    if not isinstance(grid, Rectangle) or grid.is_global:
        raise InputError("domain.boundary: the globe has none; set it to 0, or cut out an area")
    if width < 1 or 2 * width >= height or (not grid.wraps and 2 * width >= columns):
        raise InputError(
            f"domain.boundary {width}: must be at least 1 and leave something of an area of "
            f"{height} x {columns} points"
        )
    edge = torch.ones(height, columns)
    inside = slice(None) if grid.wraps else slice(width, columns - width)
    edge[width : height - width, inside] = 0.0
    return edge


@final
class Boundaries:
    """The future that is given, for every member and lead of a forecast.

    Args:
        name: For messages.
        read: See `Read`.
    """

    def __init__(self, name: str, read: Read) -> None:
        self.name, self._read = name, read

    def __call__(self, start: Any, members: Sequence[int], lead: int) -> Tensor:
        """States part of which is prescribed, physical, `[B, C, H, W]`; the rest is not read.

        Args:
            start: Initial time of the forecast.
            members: Numbers of the members.
            lead: Number of the step, from 1.
        """
        fields = torch.from_numpy(np.ascontiguousarray(self._read(start, lead, members)))
        return fields.float().expand(len(members), *fields.shape[1:])


def open_boundaries(
    path: Path, spec: ForecastSpec, starts: Sequence[Any], leads: int, option: str = "--boundary"
) -> Boundaries:
    """Open boundaries from a forecast of any kind that `sciddiff verify` reads, or from analyses.

    Args:
        path: The parent.
        spec: Of the model.
        starts: Initial times of the forecast.
        leads: Steps of the forecast.
        option: What the user named it by, for messages.

    Raises:
        InputError: The parent lacks a channel, part of the area or a time, which is named.
    """
    from weather.data.store import is_store
    from weather.verification.ensembles import is_forecast, open_forecast

    if not path.exists():
        raise InputError(f"{option} {path}: no such file; give a forecast, or analyses")
    if not is_store(path) and is_forecast(path):
        return parent_boundaries(open_forecast(path), spec, starts, leads, f"{option} {path}")
    return analyses_as_boundaries(path, spec, starts, leads, option)


def analyses_as_boundaries(
    path: Path, spec: ForecastSpec, starts: Sequence[Any], leads: int, option: str = "--boundary"
) -> Boundaries:
    """Take boundaries from what happened, the same for all members.

    Args:
        path: A prepared store, or a file of fields along time, that holds the model's points.
        spec: Of the model.
        starts: Initial times of the forecast.
        leads: Steps of the forecast.
        option: What the user named it by, for messages.

    Raises:
        InputError: As `open_boundaries`.
    """
    from weather.forecast.initial import open_analyses

    source = open_analyses(path, spec)
    times = Instants.of(source.times)
    positions = {int(second): i for i, second in enumerate(times.seconds)}
    found: dict[tuple[str, int], int] = {}
    for start, valid, lead in _wanted(spec, starts, leads, times, f"{option} {path}"):
        if valid not in positions:
            last = times.text(len(times) - 1)
            raise InputError(
                f"{option} {path}: has no state {lead * spec.step_hours:g} h after {start}; it "
                f"holds {times.text(0)} to {last}: give analyses of that time, or fewer --days"
            )
        found[start, lead] = positions[valid]

    def read(start: Any, lead: int, members: Sequence[int]) -> Fields:
        return source.read(found[label(start), lead])[None]

    return Boundaries(f"{option} {path}", read)


def parent_boundaries(
    parent: Ensemble, spec: ForecastSpec, starts: Sequence[Any], leads: int, name: str
) -> Boundaries:
    """Take boundaries from another forecast, member by member.

    Its latest initial time that is not after the forecast's is used, so that a parent that
    started earlier serves as long as it reaches far enough.

    Args:
        parent: The other forecast.
        spec: Of the model.
        starts: Initial times of the forecast.
        leads: Steps of the forecast.
        name: Of the parent with its option, for messages.

    Raises:
        InputError: As `open_boundaries`.
    """
    absent = [channel for channel in spec.names if channel not in parent.channels]
    if absent:
        raise InputError(f"{name}: has no {', '.join(absent)}, whose future the model needs")
    change = _to_area(parent, spec.area, name)
    step, origins = round(3600 * spec.step_hours), parent.times.seconds
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for start, valid, lead in _wanted(spec, starts, leads, parent.times, name):
        before = np.flatnonzero(origins <= valid - lead * step)
        reached = parent.leads == valid - origins[before[-1]] if len(before) else np.zeros(1, bool)
        if not reached.any():
            raise InputError(
                f"{name}: has no state {lead * spec.step_hours:g} h after {start}; it "
                f"begins {parent.times.text(0)} and reaches {parent.leads[-1] / 3600:g} h: give a "
                "parent of that time, or fewer --days"
            )
        found[start, lead] = int(before[-1]), int(np.flatnonzero(reached)[0])

    def read(start: Any, lead: int, members: Sequence[int]) -> Fields:
        case, index = found[label(start), lead]
        fields = parent.open(case, [index])
        rows = np.asarray(members) % parent.members
        return np.stack([change(fields(index, channel)[rows]) for channel in spec.names], 1)

    return Boundaries(name, read)


def _wanted(
    spec: ForecastSpec, starts: Sequence[Any], leads: int, times: Instants, name: str
) -> Iterator[tuple[str, int, int]]:
    """Initial time as text, valid time in seconds and number of the step, of every step."""
    first = Instants.of(list(starts))
    if first.calendar != times.calendar:
        raise InputError(
            f"{name}: calendar {times.calendar}, and the forecast's is "
            f"{first.calendar}; give boundaries in the same calendar"
        )
    for start, seconds in zip(starts, first.seconds.tolist(), strict=True):
        for lead in range(1, leads + 1):
            yield label(start), seconds + round(3600 * spec.step_hours * lead), lead


def _to_area(parent: Ensemble, area: AnyGrid, name: str) -> Callable[[Fields], Fields]:
    """How fields of the parent become fields of the area: cut out, or interpolated."""
    from weather.data.regrid import Regridder

    grid = grid_of(parent.lat, parent.lon)
    if same_grid(grid, area):
        return lambda fields: fields
    rows, columns = _places(parent.lat, area.lat), _places(parent.lon % 360.0, area.lon % 360.0)
    if rows is not None and columns is not None:
        return lambda fields: fields[..., rows[:, None], columns]
    if isinstance(grid, Rectangle) and not grid.is_global:
        raise InputError(
            f"{name}: holds {grid.describe()}, which has not all points of the model's "
            f"area {Area.of(area)}; give a parent on those points, or of the whole globe"
        )
    # Vectors next to a pole are of no concern to an area that has edges there.
    return Regridder(grid, area, "bilinear")


def _places(have: NDArray[np.float64], want: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Index of each wanted coordinate, or None if one is not there."""
    gap = np.abs(have[None] - want[:, None])
    return gap.argmin(1) if bool((gap.min(1) < 1e-3).all()) else None


def lacking(spec: ForecastSpec) -> str:
    """What to say where a model is told a part of the future and is given none."""
    others = "extremes and assimilate need a model that is told nothing of the future"
    if spec.prescribed:
        return (
            f"model: is told the next {', '.join(spec.prescribed)} at every step; give a forecast "
            "or analyses with --prescribed, or --prescribed persistence to keep the initial state "
            f"({others})"
        )
    return (
        f"model: is told the {spec.boundary} outermost rows and columns at every step; give a "
        f"parent forecast or analyses with --boundary ({others})"
    )


def refuse_untold(spec: ForecastSpec, boundary: bool, channels: bool) -> None:
    """Refuse a future that a model is not told.

    Args:
        spec: Of the model.
        boundary: Whether the edges are given.
        channels: Whether whole channels are given.

    Raises:
        InputError: The edges of the model are open, or it is told no channels.
    """
    if boundary and not spec.boundary:
        raise InputError(
            "--boundary: the edges of this model are open; leave it out, or train a model with "
            "domain.boundary"
        )
    if channels and not spec.prescribed:
        raise InputError(
            "--prescribed: this model is told no channels; leave it out, or train a model with "
            "domain.prescribed"
        )


def open_future(
    boundary: Path | None,
    channels: str | None,
    spec: ForecastSpec,
    initials: Sequence[InitialState],
    leads: int,
) -> Boundaries | None:
    """Open what is prescribed of a forecast; None for nothing.

    Args:
        boundary: What prescribes the edges of a limited area.
        channels: What prescribes whole channels: a file, or `persistence`.
        spec: Of the model.
        initials: Initial states of the forecast.
        leads: Steps of the forecast.

    Raises:
        InputError: As `open_boundaries`, or the model is told more, or less.
    """
    refuse_untold(spec, boundary is not None, channels is not None)
    if (spec.prescribed and channels is None) or (spec.boundary and boundary is None):
        raise InputError(lacking(spec if channels is None else replace(spec, prescribed=())))
    starts = tuple(initial.time for initial in initials)
    edges = None if boundary is None else open_boundaries(boundary, spec, starts, leads)
    if channels is None:
        return edges
    if channels == PERSISTENCE:
        return _joined(edges, _persistent(spec, initials), spec)
    only = spec.only(spec.known)
    return _joined(
        edges, open_boundaries(Path(channels), only, starts, leads, "--prescribed"), spec
    )


def _joined(edges: Boundaries | None, channels: Boundaries, spec: ForecastSpec) -> Boundaries:
    """The future along the edges, of all channels, and that of the prescribed channels alone."""
    rows = spec.known

    def read(start: Any, lead: int, members: Sequence[int]) -> Fields:
        given = channels(start, members, lead).numpy()
        where = np.argwhere(~np.isfinite(given))
        if len(where):
            name = spec.names[rows[int(where[0][1])]]
            hours = lead * spec.step_hours
            raise InputError(
                f"{channels.name}: {name} is missing (NaN) at some points {hours:g} h after "
                f"{label(start)}; fill it as in training, such as with sciddiff prepare forecast "
                f"--nan {name}=fill"
            )
        if edges is None:
            whole = np.full((len(given), len(spec.names), *spec.shape), np.nan, np.float32)
        else:
            whole = edges(start, members, lead).numpy().copy()
        whole[:, rows] = given
        return whole

    names = [one.name for one in (edges, channels) if one is not None]
    return Boundaries(" and ".join(names), read)


def _persistent(spec: ForecastSpec, initials: Sequence[InitialState]) -> Boundaries:
    """The prescribed channels as they were at the initial time."""
    kept = {label(one.time): one.frames[-1, spec.known].numpy()[None] for one in initials}

    def read(start: Any, lead: int, members: Sequence[int]) -> Fields:
        return kept[label(start)]

    return Boundaries(f"--prescribed {PERSISTENCE}", read)

"""Prescribed boundaries of a limited area: a strip along its edges whose future is given.

A model trained with `domain.boundary: 2` is told, at every step, the next state in the two
outermost rows and columns, from another forecast (the *parent*) or from analyses.  The network
reads it, and the strip of its own state is then replaced by it, so that weather enters and leaves
the area as in the parent.  Member k of a forecast reads member k of its parent; a parent with
fewer members is read again from its first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from weather.forecast.advance import BOUNDARY, prescribed
from weather.forecast.spec import ForecastSpec
from weather.verification.instants import Instants

if TYPE_CHECKING:
    from weather.verification.ensembles import Ensemble

__all__ = [
    "Boundaries",
    "Edge",
    "analyses_as_boundaries",
    "open_boundaries",
    "parent_boundaries",
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
class Edge:
    """What a model does at the edges of its area: nothing, or what is prescribed.

    Args:
        spec: Of the model.
        device: Where states are.
    """

    def __init__(self, spec: ForecastSpec, device: torch.device) -> None:
        self._spec, self._device = spec, device
        self._strip = strip(spec.area, spec.boundary).to(device) if spec.boundary else None

    def told(self, boundary: Tensor | None) -> dict[str, Tensor]:
        """Return the condition that the network is given, if the model has one.

        Args:
            boundary: Next states of which the strip is prescribed, physical, `[B, C, H, W]`.

        Raises:
            InputError: The model needs boundaries and is given none, or the other way round.
        """
        if boundary is not None and self._strip is not None:
            states = self._spec.standardise(boundary.to(self._device, torch.float32))
            return {BOUNDARY: prescribed(states, self._strip)}
        if self._strip is not None:
            raise InputError(
                f"model: is told the {self._spec.boundary} outermost rows and columns at every "
                "step; give a parent forecast or analyses with --boundary (extremes and "
                "assimilate need a model with open boundaries)"
            )
        if boundary is not None:
            raise InputError(
                "--boundary: the edges of this model are open; leave it out, or train a model "
                "with domain.boundary"
            )
        return {}

    def impose(self, state: Tensor, boundary: Tensor | None) -> Tensor:
        """Return the state `[B, C, H, W]` with its strip as prescribed."""
        if boundary is None or self._strip is None:
            return state
        return torch.where(self._strip > 0, boundary.to(state), state)


@final
class Boundaries:
    """The future along the edges, for every member and lead of a forecast.

    Args:
        name: For messages.
        read: See `Read`.
    """

    def __init__(self, name: str, read: Read) -> None:
        self.name, self._read = name, read

    def __call__(self, start: Any, members: Sequence[int], lead: int) -> Tensor:
        """States whose strip is prescribed, physical, `[B, C, H, W]`.

        Args:
            start: Initial time of the forecast.
            members: Numbers of the members.
            lead: Number of the step, from 1.
        """
        fields = torch.from_numpy(np.ascontiguousarray(self._read(start, lead, members)))
        return fields.float().expand(len(members), *fields.shape[1:])


def open_boundaries(
    path: Path, spec: ForecastSpec, starts: Sequence[Any], leads: int
) -> Boundaries:
    """Open boundaries from a forecast of any kind that `sciddiff verify` reads, or from analyses.

    Args:
        path: The parent.
        spec: Of the model.
        starts: Initial times of the forecast.
        leads: Steps of the forecast.

    Raises:
        InputError: The parent lacks a channel, part of the area or a time, which is named.
    """
    from weather.data.store import is_store
    from weather.verification.ensembles import is_forecast, open_forecast

    if not path.exists():
        raise InputError(f"--boundary {path}: no such file; give a forecast, or analyses")
    if not is_store(path) and is_forecast(path):
        return parent_boundaries(open_forecast(path), spec, starts, leads, str(path))
    return analyses_as_boundaries(path, spec, starts, leads)


def analyses_as_boundaries(
    path: Path, spec: ForecastSpec, starts: Sequence[Any], leads: int
) -> Boundaries:
    """Take boundaries from what happened, the same for all members.

    Args:
        path: A prepared store, or a file of fields along time, that holds the model's points.
        spec: Of the model.
        starts: Initial times of the forecast.
        leads: Steps of the forecast.

    Raises:
        InputError: As `open_boundaries`.
    """
    from weather.forecast.initial import open_analyses

    source = open_analyses(path, spec)
    times = Instants.of(source.times)
    positions = {int(second): i for i, second in enumerate(times.seconds)}
    found: dict[tuple[str, int], int] = {}
    for start, valid, lead in _wanted(spec, starts, leads, times, str(path)):
        if valid not in positions:
            last = times.text(len(times) - 1)
            raise InputError(
                f"--boundary {path}: has no state {lead * spec.step_hours:g} h after {start}; it "
                f"holds {times.text(0)} to {last}: give analyses of that time, or fewer --days"
            )
        found[start, lead] = positions[valid]

    def read(start: Any, lead: int, members: Sequence[int]) -> Fields:
        return source.read(found[label(start), lead])[None]

    return Boundaries(str(path), read)


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
        name: Of the parent, for messages.

    Raises:
        InputError: As `open_boundaries`.
    """
    lacking = [channel for channel in spec.names if channel not in parent.channels]
    if lacking:
        raise InputError(
            f"--boundary {name}: has no {', '.join(lacking)}, which the model needs at its edges"
        )
    change = _to_area(parent, spec.area, name)
    step, origins = round(3600 * spec.step_hours), parent.times.seconds
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for start, valid, lead in _wanted(spec, starts, leads, parent.times, name):
        before = np.flatnonzero(origins <= valid - lead * step)
        reached = parent.leads == valid - origins[before[-1]] if len(before) else np.zeros(1, bool)
        if not reached.any():
            raise InputError(
                f"--boundary {name}: has no state {lead * spec.step_hours:g} h after {start}; it "
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
            f"--boundary {name}: calendar {times.calendar}, and the forecast's is "
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
            f"--boundary {name}: holds {grid.describe()}, which has not all points of the model's "
            f"area {Area.of(area)}; give a parent on those points, or of the whole globe"
        )
    # Vectors next to a pole are of no concern to an area that has edges there.
    return Regridder(grid, area, "bilinear")


def _places(have: NDArray[np.float64], want: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Index of each wanted coordinate, or None if one is not there."""
    gap = np.abs(have[None] - want[:, None])
    return gap.argmin(1) if bool((gap.min(1) < 1e-3).all()) else None

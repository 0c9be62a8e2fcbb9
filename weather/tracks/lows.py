r"""Lows: points at which the pressure is smallest around.

A point of the grid is a low if no point within a radius has a smaller pressure, and if the
pressure is smaller than the area mean within that radius by some depth. On coarse grids the radius
is one and a half distances of the rows at least. Place and pressure of a low are those of the
parabola through it and its neighbours, along either axis,

.. math:: s=\frac{p_{-}-p_{+}}{2(p_{-}-2p_0+p_{+})},\qquad p=p_0-\frac{(p_{-}-p_{+})\,s}{4},

which is exact where the pressure is quadratic and the rows are even. Points on the edge of an
area, and in the outermost rows of the globe, are none: what lies beyond is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from weather.sphere.flow import EARTH_RADIUS
from weather.sphere.grids import unit_vectors

__all__ = ["KM_PER_RADIAN", "LowSettings", "Lows", "find_lows"]

KM_PER_RADIAN: Final = EARTH_RADIUS / 1000.0
_CHUNK: Final = 1 << 22

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class LowSettings:
    """What counts as a low.

    Attributes:
        radius_km: Within it no pressure is smaller.
        depth: Pressure below the mean within the radius, in the units of the field.
        below: Only lows whose pressure is at most this; None for all.
    """

    radius_km: float = 500.0
    depth: float = 1.0
    below: float | None = None


@final
@dataclass(frozen=True, eq=False)
class Lows:
    """The lows of all members at one time, N of them.

    Attributes:
        member: Whose they are `[N]`.
        lat: Degrees north `[N]`.
        lon: Degrees east `[N]`, as those of the grid.
        pressure: In the units of the field `[N]`.
    """

    member: NDArray[np.int64]
    lat: Floats
    lon: Floats
    pressure: Floats


def find_lows(
    fields: NDArray[np.floating],
    lat: Floats,
    lon: Floats,
    around: bool,
    settings: LowSettings | None = None,
) -> Lows:
    """Find the lows of every member.

    Args:
        fields: Pressure `[M, H, W]`; NaN where unknown, which is nowhere near a low.
        lat: Degrees north, ascending `[H]`.
        lon: Degrees east, ascending `[W]`.
        around: The columns go once around the globe.
        settings: What counts as a low.
    """
    chosen = settings or LowSettings()
    fields = np.asarray(fields, dtype=np.float64)
    wrapped = np.pad(fields, ((0, 0), (0, 0), (1, 1)), mode="wrap") if around else fields
    shift = 0 if around else 1
    centre = wrapped[:, 1:-1, 1:-1]
    smallest = np.ones(centre.shape, dtype=bool)
    for i in range(3):
        for j in range(3):
            if (i, j) == (1, 1):
                continue
            other = wrapped[:, i : i + centre.shape[1], j : j + centre.shape[2]]
            # Of equal neighbours the first one counts.
            smallest &= centre < other if (i, j) < (1, 1) else centre <= other
    member, row, column = np.nonzero(smallest)
    place = row + 1, column + shift
    keep = _deep(fields, member, place, lat, lon, chosen)
    member, (row, column) = member[keep], (place[0][keep], place[1][keep])
    return _refined(fields, member, row, column, lat, lon, around, chosen.below)


def _deep(
    fields: Floats,
    member: NDArray[np.int64],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
    lat: Floats,
    lon: Floats,
    settings: LowSettings,
) -> NDArray[np.bool_]:
    """Which points have no smaller pressure within the radius, and are deep enough `[N]`."""
    points = unit_vectors(lat[:, None], lon[None, :]).reshape(-1, 3)
    area = np.repeat(np.cos(np.radians(lat)), len(lon))
    flat = fields.reshape(len(fields), -1)
    index = place[0] * len(lon) + place[1]
    coarse = 1.5 * np.radians(np.diff(lat).max())
    near = np.cos(max(settings.radius_km / KM_PER_RADIAN, coarse))
    keep = np.zeros(len(index), dtype=bool)
    step = max(1, _CHUNK // len(points))
    for first in range(0, len(index), step):
        some = slice(first, first + step)
        inside = points[index[some]] @ points.T >= near - 1e-12
        values = flat[member[some]]
        own = flat[member[some], index[some]]
        lowest = np.where(inside, values, np.inf).min(1) >= own
        weight = inside * area
        mean = (np.where(inside, values, 0.0) * weight).sum(1) / weight.sum(1)
        # A NaN within the radius makes the mean NaN, which is not deep.
        keep[some] = lowest & (mean - own >= settings.depth)
    return keep


def _refined(
    fields: Floats,
    member: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    lat: Floats,
    lon: Floats,
    around: bool,
    below: float | None,
) -> Lows:
    width = len(lon)
    west, east = (column - 1) % width, (column + 1) % width
    own = fields[member, row, column]
    north_south = _vertex(fields[member, row - 1, column], own, fields[member, row + 1, column])
    west_east = _vertex(fields[member, row, west], own, fields[member, row, east])
    down, up = lat[row] - lat[row - 1], lat[row + 1] - lat[row]
    left = (lon[column] - lon[west]) % 360.0 if around else lon[column] - lon[west]
    right = (lon[east] - lon[column]) % 360.0 if around else lon[east] - lon[column]
    found = Lows(
        member.astype(np.int64),
        lat[row] + north_south[0] * np.where(north_south[0] < 0, down, up),
        lon[column] + west_east[0] * np.where(west_east[0] < 0, left, right),
        own + north_south[1] + west_east[1],
    )
    if below is None:
        return found
    low = found.pressure <= below
    return Lows(found.member[low], found.lat[low], found.lon[low], found.pressure[low])


def _vertex(before: Floats, own: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Where the parabola through three values has its vertex, in steps, and how much lower."""
    curvature = before - 2.0 * own + after
    shift = np.divide(
        before - after, 2.0 * curvature, out=np.zeros_like(own), where=curvature > 0
    )
    shift = np.clip(shift, -0.5, 0.5)
    return shift, -0.25 * (before - after) * shift

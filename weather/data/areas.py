"""Limited areas: cutting them out of what files hold, and their names in models.

A model names its grid in one line of text. That of a limited area is
``regional-HxW:south:north:west:east``, evenly spaced with both ends included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, final

import numpy as np

from sciddiff.errors import InputError
from weather.data.rectangles import AnyGrid, Rectangle
from weather.sphere.grids import Grid

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Area", "grid_name", "parse_grid", "same_grid"]

_NAME = re.compile(r"regional-(\d+)x(\d+):([^:]+):([^:]+):([^:]+):([^:]+)")
_NEAR = 1e-3  # degrees: coordinates in single precision are off by less


@final
@dataclass(frozen=True)
class Area:
    """A box of latitudes and longitudes, in degrees.

    Attributes:
        south: Southern edge.
        north: Northern edge.
        west: Western edge.
        east: Eastern edge, up to 360 degrees east of the western one.
    """

    south: float
    north: float
    west: float
    east: float

    @classmethod
    def parse(cls, text: str) -> Area:
        """Read ``30:70,-70:10``: south to north, west to east.

        Raises:
            InputError: Not of that form.
        """
        try:
            rows, columns = text.split(",")
            south, north = (float(part) for part in rows.split(":"))
            west, east = (float(part) for part in columns.split(":"))
        except ValueError as error:
            raise InputError(
                f"--area {text}: not of the form south:north,west:east; write --area 30:70,-70:10"
            ) from error
        if not -90 <= south < north <= 90:
            raise InputError(
                f"--area {text}: latitudes must rise within -90 to 90; write --area 30:70,-70:10"
            )
        if not west < east <= west + 360:
            across = Area(south, north, west, west + ((east - west) % 360.0 or 360.0))
            raise InputError(
                f"--area {text}: longitudes must rise by at most 360; if it crosses the date line "
                f"or Greenwich write --area {across}"
            )
        return cls(south, north, west, east)

    @classmethod
    def of(cls, grid: AnyGrid) -> Area:
        """The box that a grid spans."""
        return cls(
            float(grid.lat[0]), float(grid.lat[-1]), float(grid.lon[0]), float(grid.lon[-1])
        )

    def __str__(self) -> str:
        return f"{self.south:g}:{self.north:g},{self.west:g}:{self.east:g}"

    def cut(self, dataset: xr.Dataset) -> xr.Dataset:
        """Take the points within, edges included.

        Args:
            dataset: With ascending coordinates ``lat`` and ``lon``, as the files are read.

        Raises:
            InputError: The data do not reach every edge, to one spacing.
        """
        lat, lon = dataset["lat"].values, dataset["lon"].values
        east = (lon - self.west + _NEAR) % 360.0 - _NEAR  # degrees east of the western edge
        order = np.argsort(east, kind="stable")
        columns = order[east[order] <= self.east - self.west + _NEAR]
        rows = np.flatnonzero((lat >= self.south - _NEAR) & (lat <= self.north + _NEAR))
        if len(rows) < 2 or len(columns) < 2:
            raise InputError(f"--area {self}: holds fewer than 2 x 2 points of the files")
        step = float(np.diff(lat).max()), float(np.diff(np.sort(lon)).max())
        inside = np.sort(east[columns])
        short = max(lat[rows[0]] - self.south, self.north - lat[rows[-1]]) > step[0] + _NEAR
        short |= max(inside[0], self.east - self.west - inside[-1]) > step[1] + _NEAR
        hole = np.diff(inside).max() > 1.5 * np.median(np.diff(inside))
        if short or hole:
            raise InputError(
                f"--area {self}: leaves the data, which hold latitude {lat[0]:g} to {lat[-1]:g} "
                f"and longitude {lon[0]:g} to {lon[-1]:g}; choose an area inside"
            )
        chosen = dataset.isel(lat=rows, lon=columns)
        return chosen.assign_coords(lon=("lon", self.west % 360.0 + east[columns]))


def grid_name(grid: AnyGrid) -> str:
    """Text from which `parse_grid` makes the grid again.

    Raises:
        InputError: A limited area whose rows or columns are not evenly spaced.
    """
    if isinstance(grid, Grid):
        return str(grid)
    (height, width), lat, lon = grid.shape, grid.lat, grid.lon
    ends = (lat[0], lat[-1], lon[0], lon[-1])
    text = f"regional-{height}x{width}:" + ":".join(f"{end:.8g}" for end in ends)
    again = parse_grid(text)
    if np.abs(again.lat - lat).max() > _NEAR or np.abs(again.lon - lon).max() > _NEAR:
        raise InputError(
            f"grid: {grid.describe()}, is not evenly spaced; models of a limited area need even "
            "steps: regrid it first"
        )
    return text


def same_grid(a: AnyGrid, b: AnyGrid) -> bool:
    """Whether two grids have the same points, to the rounding of coordinates."""
    if a.shape != b.shape:
        return False
    east = (a.lon - b.lon + 180.0) % 360.0 - 180.0
    return bool(np.abs(a.lat - b.lat).max() < _NEAR and np.abs(east).max() < _NEAR)


@lru_cache(maxsize=8)
def parse_grid(text: str) -> AnyGrid:
    """The grid of a model: global by its name, or a limited area.

    Raises:
        InputError: Neither.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        return Grid.parse(text)
    height, width = int(match[1]), int(match[2])
    south, north, west, east = (float(match[i]) for i in range(3, 7))
    return Rectangle(np.linspace(south, north, height), np.linspace(west, east, width))

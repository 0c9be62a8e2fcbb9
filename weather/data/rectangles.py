"""Grids of files: any rectangle of latitudes and longitudes, global or regional.

A `Rectangle` describes what files hold: regions, global grids that begin elsewhere than at
Greenwich, global grids whose outermost rows are not at the poles. Models live on
`weather.sphere.grids.Grid`; a store may also hold a region, of kind ``regional``.

Conventions as for `Grid`: latitudes run from south to north, longitudes to the east. The first
longitude lies in [0, 360) and a region across Greenwich runs on above 360.
"""

from __future__ import annotations

from functools import cached_property
from typing import TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciddiff.errors import InputError
from weather.sphere.grids import Grid

__all__ = ["AnyGrid", "Rectangle", "grid_of", "position", "row_edges"]

Array = NDArray[np.float64]


@final
class Rectangle:
    """Latitudes times longitudes.

    Args:
        lat: Degrees, south to north, ``[H]``.
        lon: Degrees, ascending, ``[W]``.

    Attributes:
        kind: ``regional``.
        wraps: The longitudes go once around the globe.
        reaches: The rows reach both poles, when the outermost are widened by up to one spacing.
    """

    kind = "regional"

    def __init__(self, lat: ArrayLike, lon: ArrayLike) -> None:
        self.lat: Array = np.asarray(lat, dtype=np.float64)
        self.lon: Array = np.asarray(lon, dtype=np.float64)
        if (np.diff(self.lat) <= 0).any() or (np.diff(self.lon) <= 0).any():
            raise InputError("grid: latitudes or longitudes are not ascending; sort them")
        step = np.diff(self.lon).mean() if len(self.lon) > 1 else 360.0
        self.wraps = bool(abs(self.lon[-1] + step - self.lon[0] - 360.0) < 0.1 * step)
        # One hemisphere must not pass as the globe: each end is judged by the rows next to it.
        ends = np.diff(self.lat)[[0, -1]] if len(self.lat) > 1 else np.asarray([180.0, 180.0])
        short = np.asarray([90.0 + self.lat[0], 90.0 - self.lat[-1]])
        self.reaches = bool((short <= 1.01 * ends).all())

    def __str__(self) -> str:
        extent = "global" if self.is_global else self.kind
        return f"{extent}-{self.height}x{self.width}"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Rectangle)
            and np.array_equal(self.lat, other.lat)
            and np.array_equal(self.lon, other.lon)
        )

    def __hash__(self) -> int:
        return hash((self.lat.tobytes(), self.lon.tobytes()))

    @property
    def height(self) -> int:
        """Number of latitudes, H."""
        return len(self.lat)

    @property
    def width(self) -> int:
        """Number of longitudes, W."""
        return len(self.lon)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    @property
    def is_global(self) -> bool:
        """Covers the sphere."""
        return self.wraps and self.reaches

    @cached_property
    def lat_bounds(self) -> Array:
        """Edges of the rows, half-way between them, `[H + 1]`; a global grid reaches the poles."""
        edges = _midpoints(self.lat)
        if self.is_global:
            edges[0], edges[-1] = -90.0, 90.0
        return np.clip(edges, -90.0, 90.0)

    @cached_property
    def lon_bounds(self) -> Array:
        """Edges of the columns, half-way between them, `[W + 1]`."""
        return _midpoints(self.lon, period=360.0 if self.wraps else None)

    @cached_property
    def weights(self) -> Array:
        """Area of each row, mean 1, `[H]`."""
        area = np.diff(np.sin(np.radians(self.lat_bounds)))
        return area / area.mean()

    def describe(self) -> str:
        """Extent, for messages."""
        return (
            f"{self.height}x{self.width} points, latitude {self.lat[0]:g} to {self.lat[-1]:g}, "
            f"longitude {self.lon[0]:g} to {self.lon[-1]:g}"
        )


AnyGrid: TypeAlias = Grid | Rectangle


def position(lat: float, lon: float) -> str:
    """A point in words.

    >>> position(-55.0, 350.0)
    '55S 10W'
    """
    lon = (lon + 180.0) % 360.0 - 180.0
    return f"{abs(lat):.4g}{'N' if lat >= 0 else 'S'} {abs(lon):.4g}{'E' if lon >= 0 else 'W'}"


def grid_of(lat: ArrayLike, lon: ArrayLike) -> AnyGrid:
    """The named grid with these coordinates, or the rectangle they span."""
    try:
        return Grid.detect(lat, lon)
    except InputError:
        return Rectangle(lat, lon)


def row_edges(grid: AnyGrid) -> Array:
    """Sines of the edges of the rows whose areas are the grid's weights, `[H + 1]`.

    For a named grid the row areas are its quadrature weights, so that the area mean of cells is
    the quadrature, and conserving one conserves the other.
    """
    if isinstance(grid, Rectangle):
        return np.sin(np.radians(grid.lat_bounds))
    edges = np.concatenate([[0.0], np.cumsum(grid.weights)]) * (2.0 / grid.height) - 1.0
    edges[-1] = 1.0
    return edges


def _midpoints(x: Array, period: float | None = None) -> Array:
    inner = 0.5 * (x[1:] + x[:-1])
    if len(x) == 1:
        return np.asarray([x[0] - 0.5, x[0] + 0.5])
    if period is not None:
        first = 0.5 * (x[0] + x[-1] - period)
        return np.concatenate([[first], inner, [first + period]])
    return np.concatenate([[2 * x[0] - inner[0]], inner, [2 * x[-1] - inner[-1]]])

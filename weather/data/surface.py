"""Orography and land fraction on any grid, from a packaged map.

The map is ETOPO5 (NOAA National Geophysical Data Center, public domain) as cell means on the
1 degree grid with poles: height of land in whole metres, sea as zero, and the share of land in
units of 1/250.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from weather.data.rectangles import AnyGrid
from weather.data.regrid import Regridder
from weather.sphere.grids import Grid

__all__ = ["LAND_STEPS", "coastlines", "surface_fields"]

LAND_STEPS = 250
"""Steps of the packaged land fraction from no land to all land."""

_SOURCE = Grid("regular", 181, 360)


@lru_cache(maxsize=8)
def surface_fields(grid: AnyGrid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Height of the land and share of land, averaged over the cells of a grid.

    Args:
        grid: Any grid.

    Returns:
        Orography in m, zero over the sea, and land fraction in [0, 1], each `[H, W]` float32,
        read-only.
    """
    with np.load(str(files("weather.data") / "etopo5_1deg.npz")) as packed:
        height = packed["orography"].astype(np.float64)
        land = packed["land"].astype(np.float64) / LAND_STEPS
    regrid = Regridder(_SOURCE, grid, "conservative")
    orography, fraction = regrid(height), np.clip(regrid(land), 0.0, 1.0)
    for field in (orography, fraction):
        field.setflags(write=False)
    return orography, fraction


def coastlines() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coastlines at 1:110 million (Natural Earth, public domain).

    Returns:
        Longitudes in [-180, 180] and latitudes in degrees `[n]`; NaN separates the lines.
    """
    with np.load(str(files("weather.data") / "coastlines_110m.npz")) as packed:
        return packed["lon"], packed["lat"]

"""Parts of the globe over which scores are averaged, each field weighted by area.

The extratropics begin at 20 degrees, as in the scorecards of the forecast centres.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

__all__ = [
    "GLOBE",
    "NAMED_REGIONS",
    "STANDARD_REGIONS",
    "Region",
    "area_weights",
    "default_regions",
    "parse_region",
    "parse_regions",
]

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_BOX = re.compile(rf"(?:([\w-]+)=)?{_NUMBER}:{_NUMBER},{_NUMBER}:{_NUMBER}")


@final
@dataclass(frozen=True)
class Region:
    """A box in latitude and longitude.

    Attributes:
        name: As the tables call it.
        south, north: Latitudes in degrees; both edges belong to the box.
        west, east: Longitudes in degrees from 0 or from -180; the box runs eastward from `west`
            to `east` and may cross either seam. Equal modulo 360 means all longitudes.
    """

    name: str
    south: float = -90.0
    north: float = 90.0
    west: float = 0.0
    east: float = 360.0

    @property
    def width(self) -> float:
        """Degrees of longitude from `west` eastward to `east`, above 0 and up to 360."""
        return (self.east - self.west) % 360.0 or 360.0

    def mask(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points belong to it, `[H, W]`.

        Raises:
            InputError: No point of the grid lies inside.
        """
        rows = (lat >= self.south - 1e-6) & (lat <= self.north + 1e-6)
        columns = ((lon - self.west + 1e-6) % 360.0) <= self.width + 2e-6
        inside = rows[:, None] & columns[None, :]
        if not inside.any():
            raise InputError(f"--region {self.name}: holds no point of the grid; widen it")
        return inside


GLOBE = Region("globe")
STANDARD_REGIONS = (
    GLOBE,
    Region("north", 20.0, 90.0),
    Region("tropics", -20.0, 20.0),
    Region("south", -90.0, -20.0),
)
"""Globe, extratropics of both hemispheres, and the tropics between them."""


NAMED_REGIONS = {
    **{region.name: region for region in STANDARD_REGIONS},
    "europe": Region("europe", 35.0, 72.0, -12.0, 42.0),
    "north-america": Region("north-america", 25.0, 60.0, -130.0, -60.0),
    "east-asia": Region("east-asia", 20.0, 55.0, 95.0, 145.0),
    "south-america": Region("south-america", -55.0, 10.0, -80.0, -35.0),
    "africa": Region("africa", -35.0, 35.0, -18.0, 50.0),
    "australia": Region("australia", -40.0, -10.0, 112.0, 155.0),
}
"""Boxes by name."""


def default_regions(is_global: bool) -> tuple[Region, ...]:
    """Regions of a table for which none are named: of a limited area, all of it as one.

    >>> [region.name for region in default_regions(False)]
    ['area']
    """
    return STANDARD_REGIONS if is_global else (Region("area"),)


def parse_region(text: str) -> Region:
    """Read a name such as ``europe``, or ``name=south:north,west:east``.

    Raises:
        InputError: Neither, or a box without latitudes.
    """
    if text in NAMED_REGIONS:
        return NAMED_REGIONS[text]
    match = _BOX.fullmatch(text.replace(" ", ""))
    if match is None:
        raise InputError(
            f"--region {text}: not one of {', '.join(NAMED_REGIONS)} nor a box; write "
            "alps=44:48,5:16"
        )
    south, north, west, east = (float(match[i]) for i in range(2, 6))
    if not -90 <= south < north <= 90:
        raise InputError(f"--region {text}: latitudes must rise within -90 to 90; swap them")
    # A box without a name is called by its edges, so that several can be told apart.
    own = f"{south:g}:{north:g},{west:g}:{east:g}"
    return Region(match[1] or own, south, north, west, east)


def parse_regions(texts: Sequence[str]) -> tuple[Region, ...]:
    """Read several regions, each of a name of its own.

    Raises:
        InputError: As `parse_region`, or two of one name.
    """
    regions: dict[str, Region] = {}
    for region in map(parse_region, texts):
        if regions.setdefault(region.name, region) != region:
            raise InputError(
                f"--region {region.name}: names two boxes; call them differently, as NAME="
                "south:north,west:east"
            )
    return tuple(regions.values())


def area_weights(
    regions: tuple[Region, ...], lat: NDArray[np.float64], lon: NDArray[np.float64],
    rows: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Weights of the points in each region, summing to 1, `[R, H * W]`.

    Args:
        regions: The regions.
        lat: Latitudes in degrees, `[H]`.
        lon: Longitudes in degrees, `[W]`.
        rows: Quadrature weights of the rows, `[H]`.
    """
    weights = np.stack([rows[:, None] * region.mask(lat, lon) for region in regions])
    weights = weights.reshape(len(regions), -1)
    return weights / weights.sum(-1, keepdims=True)

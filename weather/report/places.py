"""Places at which a report shows the forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.assimilation.operator import PointOperator

__all__ = ["DEFAULT_PLACES", "Place", "places_within"]


@final
@dataclass(frozen=True)
class Place:
    """A named point.

    Attributes:
        name: As shown.
        lat: Degrees north.
        lon: Degrees east.
    """

    name: str
    lat: float
    lon: float

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read ``Bergen,60.4,5.3``: name, degrees north, degrees east.

        Raises:
            InputError: Not of that form, or not on the globe.
        """
        name, *numbers = (part.strip() for part in text.rsplit(",", 2))
        try:
            lat, lon = (float(number) for number in numbers)
        except ValueError as error:
            raise InputError(
                f"--place {text}: not of the form NAME,LAT,LON; write Bergen,60.4,5.3"
            ) from error
        if not (name and abs(lat) <= 90.0 and -360.0 <= lon <= 720.0):
            raise InputError(f"--place {text}: not on the globe; write NAME,LAT,LON in degrees")
        return cls(name, lat, lon)

    def __str__(self) -> str:
        lon = (self.lon + 180.0) % 360.0 - 180.0
        north = f"{abs(self.lat):g}°{'N' if self.lat >= 0 else 'S'}"
        return f"{north} {abs(lon):g}°{'E' if lon >= 0 else 'W'}"


DEFAULT_PLACES = (
    Place("Bergen", 60.39, 5.32),
    Place("Chicago", 41.88, -87.63),
    Place("Tokyo", 35.68, 139.69),
    Place("Singapore", 1.35, 103.82),
    Place("Cape Town", -33.92, 18.42),
)
"""One for each kind of weather; those inside the grid are shown."""


def places_within(
    places: Sequence[Place],
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
    elsewhere: bool = False,
) -> tuple[Place, ...]:
    """The default places inside a grid, or its middle; places of a user's own are all kept.

    Args:
        places: Those a user named; empty for the default.
        lat: Latitudes of the grid, ascending.
        lon: Longitudes of the grid, ascending.
        elsewhere: The planet is not the Earth, and the default places have no names there.

    Raises:
        InputError: A place of the user's lies outside.
    """
    if places:
        for place in places:
            try:
                PointOperator.build(lat, lon, [place.lat], [place.lon])
            except InputError as error:
                raise InputError(f"--place {place.name}: {error}") from error
        return tuple(places)
    inside = []
    for place in DEFAULT_PLACES:
        try:
            PointOperator.build(lat, lon, [place.lat], [place.lon])
        except InputError:
            continue
        inside.append(Place(str(place), place.lat, place.lon) if elsewhere else place)
    if inside:
        return tuple(inside)
    return (Place("Middle", float(lat[[0, -1]].mean()), float(lon[[0, -1]].mean())),)

"""What a file calls the dimensions and variables of a forecast: our names or WeatherBench's.

Our files hold one variable for each channel. WeatherBench 2 and WeatherBench-X hold the quantities
of pressure levels in variables with a dimension ``level``, under the long names of ERA5,
geopotential in m2 s-2 and precipitation in m; the latter calls the initial time ``init_time`` and
the lead ``lead_time``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from weather.data.channels import Channel
from weather.data.levels import LEVELS_HELD
from weather.data.units import GRAVITY

__all__ = ["DIMS", "NAMES", "OWN", "Layout", "Names", "Place"]

DIMS: Final = ("time", "number", "prediction_timedelta", "latitude", "longitude")
"""Dimensions of a forecast: initial time, member, lead and the two of space."""

_LONG: Final = {
    "z": "geopotential", "t": "temperature", "u": "u_component_of_wind",
    "v": "v_component_of_wind", "w": "vertical_velocity", "q": "specific_humidity",
    "r": "relative_humidity", "vo": "vorticity", "d": "divergence", "pv": "potential_vorticity",
    "o3": "ozone_mass_mixing_ratio", "clwc": "specific_cloud_liquid_water_content",
    "ciwc": "specific_cloud_ice_water_content", "mslp": "mean_sea_level_pressure",
    "sp": "surface_pressure", "tas": "2m_temperature", "tasmax": "maximum_2m_temperature",
    "tasmin": "minimum_2m_temperature", "q2m": "2m_specific_humidity",
    "r2m": "2m_relative_humidity", "d2m": "2m_dewpoint_temperature", "skt": "skin_temperature",
    "sst": "sea_surface_temperature", "sic": "sea_ice_cover", "tp": "total_precipitation",
    "tcwv": "total_column_water_vapour", "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind", "u100m": "100m_u_component_of_wind",
    "v100m": "100m_v_component_of_wind", "tcc": "total_cloud_cover",
}  # fmt: skip
_UNITS: Final = {"z": ("m2 s-2", GRAVITY, "geopotential"), "tp": ("m", 1e-3, "")}
_ACCUMULATED: Final = (6.0, 12.0, 24.0)


@final
@dataclass(frozen=True)
class Names:
    """A way to name things.

    Attributes:
        key: As the option calls it.
        dims: Of the dimensions, in the order of `DIMS`.
        long: Long names, and levels as a dimension.
    """

    key: str
    dims: tuple[str, ...]
    long: bool


OWN: Final = Names("own", DIMS, False)
NAMES: Final = {
    names.key: names
    for names in (
        OWN,
        Names("weatherbench2", DIMS, True),
        Names("weatherbenchx", ("init_time", "number", "lead_time", *DIMS[3:]), True),
    )
}
"""Every way to name things."""


@final
@dataclass(frozen=True)
class Place:
    """Where a channel is in a file.

    Attributes:
        variable: Name of the variable.
        level: Position along the dimension ``level``; None without one.
        scale: Number in the file over number in the channel's units.
    """

    variable: str
    level: int | None = None
    scale: float = 1.0


@final
class Layout:
    """The variables of a file and the channels in them.

    Args:
        channels: In order.
        names: How things are called.
        step_hours: Hours of one step, over which precipitation is summed.

    Attributes:
        dims: Names of the five dimensions, in the order of `DIMS`.
        levels: Pressure levels of the dimension ``level``, hPa, ascending; empty without one.
        places: Where each channel is.
        arrays: CF attributes of every variable, by name.
    """

    def __init__(
        self, channels: tuple[Channel, ...], names: Names = OWN, step_hours: float = 0.0
    ) -> None:
        self.dims = names.dims
        found = {c.level_hPa for c in channels if c.level_hPa is not None} if names.long else set()
        self.levels: tuple[float, ...] = tuple(sorted(found))
        self.places: tuple[Place, ...] = tuple(
            self._place(c, names.long, step_hours) for c in channels
        )
        self.arrays: dict[str, dict[str, Any]] = {}
        for channel, place in zip(channels, self.places, strict=True):
            self._describe(channel, place, names.long)
        for name, about in self.arrays.items():
            held = sorted(self.levels[p.level] for p in self._of(name) if p.level is not None)
            if held and len(held) < len(self.levels):
                about[LEVELS_HELD] = held

    def dimensions(self, variable: str) -> tuple[str, ...]:
        """Names of the dimensions of a variable."""
        if self._of(variable)[0].level is None:
            return self.dims
        return (*self.dims[:3], "level", *self.dims[3:])

    def coordinates(
        self, own: Mapping[str, tuple[Any, dict[str, Any]]]
    ) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Values and attributes of the coordinates, from those under the names of `DIMS`."""
        named = {name: own[ours] for name, ours in zip(self.dims, DIMS, strict=True)}
        if self.levels:
            import numpy as np

            about = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
            named["level"] = (np.asarray(self.levels), about)
        return named

    def _of(self, variable: str) -> list[Place]:
        return [place for place in self.places if place.variable == variable]

    def _place(self, channel: Channel, long: bool, step_hours: float) -> Place:
        known = _LONG.get(channel.variable) if long else None
        if known is None:
            return Place(channel.name)
        if channel.variable == "tp" and step_hours in _ACCUMULATED:
            known += f"_{step_hours:g}hr"
        level = None if channel.level_hPa is None else self.levels.index(channel.level_hPa)
        return Place(known, level, _UNITS.get(channel.variable, ("", 1.0, ""))[1])

    def _describe(self, channel: Channel, place: Place, long: bool) -> None:
        about: dict[str, Any] = {"units": channel.units, "long_name": channel.long_name}
        if channel.standard_name:
            about["standard_name"] = channel.standard_name
        if place.level is None and channel.level_hPa is not None:
            about["pressure_level_hPa"] = channel.level_hPa
        if long and place.variable != channel.name:
            about["long_name"] = place.variable.replace("_", " ")
            units, _, standard = _UNITS.get(channel.variable, ("", 1.0, ""))
            about["units"] = units or about["units"]
            if standard:
                about["standard_name"] = standard
            elif channel.variable == "tp":
                about.pop("standard_name", None)
        self.arrays.setdefault(place.variable, about)

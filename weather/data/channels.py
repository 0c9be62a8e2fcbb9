"""Channels: the fields a model knows, and every name under which files hold them.

A channel is one two-dimensional field in one unit, such as ``z500`` (geopotential height at
500 hPa, m) or ``mslp`` (Pa). Its name is the short name of a variable, followed by the level in
hPa where the variable lives on pressure levels.

Names understood: those here, CF standard names, ERA5 short and long names (also those of
WeatherBench 2), CMIP and NCEP names. Case does not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final, final

from sciddiff.errors import InputError, brief

__all__ = [
    "VARIABLES",
    "Channel",
    "Variable",
    "channel",
    "find_by_alias",
    "find_by_standard_name",
    "parse_channel",
]


@final
@dataclass(frozen=True)
class Variable:
    """A physical quantity.

    Attributes:
        name: Short name, the channel's name without the level.
        units: Units of every channel of it.
        standard_name: CF standard name.
        long_name: For people.
        aliases: Names in files, lower case.
        upper: Lives on pressure levels.
        vector: Component of a vector, which changes sign where a pole is crossed.
        positive: Never below zero.
        low: Smallest plausible mean over a field, in `units`.
        high: Largest.
    """

    name: str
    units: str
    standard_name: str
    long_name: str
    aliases: tuple[str, ...]
    upper: bool = False
    vector: bool = False
    positive: bool = False
    low: float = float("-inf")
    high: float = float("inf")


@final
@dataclass(frozen=True)
class Channel:
    """One two-dimensional field.

    Attributes:
        name: Such as ``z500`` or ``mslp``.
        variable: Short name of the quantity.
        level_hPa: Pressure level, or None.
        units: Units of the values in a store.
        standard_name: CF standard name, or empty.
        long_name: For people.
        vector: Component of a vector, which changes sign where a pole is crossed.
        positive: Never below zero.
        cell_methods: How values were aggregated in time, as CF writes it; empty for values of an
            instant.
    """

    name: str
    variable: str
    level_hPa: float | None  # noqa: N815 - a unit keeps its letters
    units: str
    standard_name: str = ""
    long_name: str = ""
    vector: bool = False
    positive: bool = False
    cell_methods: str = ""

    @classmethod
    def unknown(cls, name: str, units: str, long_name: str = "") -> Channel:
        """A field this package has no name for, taken as it is."""
        return cls(name, name, None, units, "", long_name or name)


def _upper(
    name: str, units: str, standard: str, long: str, aliases: str, **more: float | bool
) -> Variable:
    return Variable(name, units, standard, long, tuple(aliases.split()), upper=True, **more)  # type: ignore[arg-type]


def _surface(
    name: str, units: str, standard: str, long: str, aliases: str, **more: float | bool
) -> Variable:
    return Variable(name, units, standard, long, tuple(aliases.split()), **more)  # type: ignore[arg-type]


VARIABLES: Final[dict[str, Variable]] = {
    v.name: v
    for v in (
        _upper("z", "m", "geopotential_height", "geopotential height",
               "zg gh hgt geopotential geopotential_height height phi", low=-700.0, high=9e4),
        _upper("t", "K", "air_temperature", "temperature",
               "ta temp air tmp temperature air_temperature", low=150.0, high=330.0),
        _upper("u", "m s-1", "eastward_wind", "zonal wind",
               "ua uwnd ugrd u_component_of_wind eastward_wind zonal_wind", vector=True,
               low=-150.0, high=150.0),
        _upper("v", "m s-1", "northward_wind", "meridional wind",
               "va vwnd vgrd v_component_of_wind northward_wind meridional_wind", vector=True,
               low=-150.0, high=150.0),
        _upper("w", "Pa s-1", "lagrangian_tendency_of_air_pressure", "pressure velocity",
               "wap omega vvel vertical_velocity"),
        _upper("q", "kg kg-1", "specific_humidity", "specific humidity",
               "hus shum spfh specific_humidity", positive=True, low=0.0, high=0.03),
        _upper("r", "%", "relative_humidity", "relative humidity",
               "hur rhum rh relative_humidity", positive=True, low=0.0, high=160.0),
        _upper("vo", "s-1", "atmosphere_relative_vorticity", "relative vorticity",
               "vorticity relative_vorticity"),
        _upper("d", "s-1", "divergence_of_wind", "divergence", "divergence"),
        _upper("pv", "K m2 kg-1 s-1", "ertel_potential_vorticity", "potential vorticity",
               "potential_vorticity epv"),
        _upper("o3", "kg kg-1", "mass_fraction_of_ozone_in_air", "ozone mass fraction",
               "ozone_mass_mixing_ratio", positive=True),
        _upper("clwc", "kg kg-1", "mass_fraction_of_cloud_liquid_water_in_air",
               "cloud liquid water", "specific_cloud_liquid_water_content clw", positive=True),
        _upper("ciwc", "kg kg-1", "mass_fraction_of_cloud_ice_in_air", "cloud ice",
               "specific_cloud_ice_water_content cli", positive=True),
        _surface("mslp", "Pa", "air_pressure_at_mean_sea_level", "mean sea level pressure",
                 "msl slp psl prmsl mslet mean_sea_level_pressure", low=8.5e4, high=1.1e5),
        _surface("sp", "Pa", "surface_air_pressure", "surface pressure",
                 "ps pres_sfc surface_pressure", low=4.5e4, high=1.1e5),
        _surface("tas", "K", "air_temperature", "2 m temperature",
                 "t2m 2t air2m air_2m tmp2m 2m_temperature t2 temperature_2m", low=180.0,
                 high=330.0),
        _surface("tasmax", "K", "air_temperature", "largest 2 m temperature",
                 "mx2t tmax 2m_temperature_max maximum_2m_temperature", low=180.0, high=335.0),
        _surface("tasmin", "K", "air_temperature", "smallest 2 m temperature",
                 "mn2t tmin 2m_temperature_min minimum_2m_temperature", low=180.0, high=330.0),
        _surface("q2m", "kg kg-1", "specific_humidity", "2 m specific humidity",
                 "q2 2q sh2 2sh huss qv2m shum2m 2m_specific_humidity", positive=True, low=0.0,
                 high=0.04),
        _surface("r2m", "%", "relative_humidity", "2 m relative humidity",
                 "r2 2r hurs rh2 rh2m rhum2m 2m_relative_humidity", positive=True, low=0.0,
                 high=160.0),
        _surface("d2m", "K", "dew_point_temperature", "2 m dew point",
                 "2d tdps 2m_dewpoint_temperature", low=170.0, high=310.0),
        _surface("skt", "K", "surface_temperature", "skin temperature",
                 "ts skin_temperature", low=180.0, high=340.0),
        _surface("sst", "K", "sea_surface_temperature", "sea surface temperature",
                 "tos sea_surface_temperature", low=268.0, high=310.0),
        _surface("sic", "1", "sea_ice_area_fraction", "sea ice fraction",
                 "ci siconc sea_ice_cover icec sea_ice_fraction", positive=True, low=0.0,
                 high=1.01),
        _surface("tp", "kg m-2", "precipitation_amount", "precipitation",
                 "apcp total_precipitation total_precipitation_24hr total_precipitation_6hr "
                 "total_precipitation_12hr lwe_thickness_of_precipitation_amount", positive=True,
                 low=0.0, high=500.0),
        _surface("pr", "kg m-2 s-1", "precipitation_flux", "precipitation rate",
                 "prate precip_rate lwe_precipitation_rate", positive=True, low=0.0, high=0.01),
        _surface("tcwv", "kg m-2", "atmosphere_mass_content_of_water_vapor",
                 "total column water vapour",
                 "prw pwat pr_wtr pwtr total_column_water_vapour total_column_water_vapor",
                 positive=True, low=0.0, high=80.0),
        _surface("u10", "m s-1", "eastward_wind", "10 m zonal wind",
                 "10u uas uwnd10m u10m 10m_u_component_of_wind", vector=True, low=-80.0,
                 high=80.0),
        _surface("v10", "m s-1", "northward_wind", "10 m meridional wind",
                 "10v vas vwnd10m v10m 10m_v_component_of_wind", vector=True, low=-80.0,
                 high=80.0),
        _surface("u100m", "m s-1", "eastward_wind", "100 m zonal wind",
                 "100u 100m_u_component_of_wind", vector=True, low=-90.0, high=90.0),
        _surface("v100m", "m s-1", "northward_wind", "100 m meridional wind",
                 "100v 100m_v_component_of_wind", vector=True, low=-90.0, high=90.0),
        _surface("tcc", "1", "cloud_area_fraction", "total cloud cover",
                 "clt total_cloud_cover", positive=True, low=0.0, high=1.01),
        _surface("rlut", "W m-2", "toa_outgoing_longwave_flux",
                 "outgoing long-wave radiation", "olr ulwrf mtnlwrf", low=50.0, high=400.0),
    )
}  # fmt: skip
"""Every quantity with a name here, by that name."""


@cache
def _aliases() -> dict[str, Variable]:
    """Names of files to quantities; a short name beats an alias of another."""
    table: dict[str, Variable] = {}
    for variable in VARIABLES.values():
        for name in variable.aliases:
            table.setdefault(name, variable)
    table.update(VARIABLES)
    return table


def find_by_alias(name: str) -> tuple[Variable, float | None] | None:
    """The quantity and the level a variable's name in a file stands for.

    ``geopotential`` gives (z, None), ``hgt500`` and ``Z_500hPa`` give (z, 500).
    """
    plain = name.strip().lower()
    table = _aliases()
    if plain in table:
        return table[plain], None
    if (match := re.fullmatch(r"([a-z0-9_ -]*?)[_ -]?(\d+)[_ ]?pa", plain)) is not None:
        # Levels in pascal, written out: t_85000pa.
        plain = f"{match[1]}{int(match[2]) / 100:g}"
    plain = re.sub(r"[_ ]?(hpa|mbar|mb)$", "", plain)
    digits = len(plain) - len(plain.rstrip("0123456789"))
    for count in range(min(digits, 4), 0, -1):  # o3500 is ozone at 500 hPa
        name, level = plain[:-count].rstrip("_- "), int(plain[-count:])
        found = table.get(name) or table.get(name.removesuffix("p").rstrip("_- "))
        if found is not None and found.upper and 1 <= level <= 1100:
            return found, float(level)
    return None


def find_by_standard_name(standard_name: str, upper: bool) -> Variable | None:
    """The quantity of a CF standard name, on pressure levels or near the surface."""
    wanted = standard_name.strip().lower()
    if wanted == "geopotential":
        wanted = "geopotential_height"
    if wanted in ("air_pressure_at_sea_level",):
        wanted = "air_pressure_at_mean_sea_level"
    for variable in VARIABLES.values():
        if variable.standard_name == wanted and variable.upper == upper:
            return variable
    return None


def channel(variable: Variable, level_hPa: float | None = None) -> Channel:
    """The channel of a quantity, at a level where it has levels.

    Raises:
        InputError: A level is missing or too many.
    """
    if variable.upper != (level_hPa is not None):
        need = f"write {variable.name}500" if variable.upper else f"write {variable.name}"
        raise InputError(f"channel {variable.name}: {_level_fault(variable)}; {need}")
    if level_hPa is None:
        name, long_name = variable.name, variable.long_name
    else:
        name = f"{variable.name}{level_hPa:g}"
        # u10 is the wind 10 m above the ground everywhere, and q2 the humidity 2 m above it; those
        # at 10 and 2 hPa are written u10hPa and q2hPa.
        name += "hPa" if name in _aliases() else ""
        long_name = f"{level_hPa:g} hPa {variable.long_name}"
    return Channel(
        name,
        variable.name,
        level_hPa,
        variable.units,
        variable.standard_name,
        long_name,
        variable.vector,
        variable.positive,
    )


def parse_channel(name: str) -> Channel:
    """The channel a name stands for, canonical or alias: ``z500``, ``msl``, ``t2m``.

    Raises:
        InputError: No such channel.
    """
    name = brief(ValueError(name))  # a damaged file may hold a name of any length
    match = re.fullmatch(r"([a-z0-9]+?)([\d.]+)hPa", name)
    if match is not None and match[1] in VARIABLES and VARIABLES[match[1]].upper:
        return channel(VARIABLES[match[1]], float(match[2]))
    found = find_by_alias(name)
    if found is None:
        raise InputError(
            f"channel {name}: not a known field; write a quantity and a level such as z500, or "
            f"one of {', '.join(v.name for v in VARIABLES.values() if not v.upper)}"
        )
    return channel(*found)


def _level_fault(variable: Variable) -> str:
    return "a level in hPa is needed" if variable.upper else "has no levels"

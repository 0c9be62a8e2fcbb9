"""Which parts of a forecast file are which channels, and what its dimensions are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from sciddiff.errors import InputError
from weather.data.levels import held_levels, pressure_levels

if TYPE_CHECKING:
    import xarray as xr

    from weather.data.channels import Channel
    from weather.data.units import Conversion

__all__ = ["DIMENSIONS", "Layer", "find_dimensions", "find_layers"]

DIMENSIONS = {
    "time": ("time", "start", "init_time", "initial_time", "forecast_reference_time"),
    "number": ("number", "member", "realization", "ensemble", "ens"),
    "lead": ("prediction_timedelta", "lead", "lead_time", "step", "forecast_period"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}
"""Names under which files hold the dimensions of a forecast, the own ones first."""

_OF_TWO_UNITS = ("geopotential", "phi", "total_precipitation")
_LEVELS = ("level", "isobaricInhPa", "pressure_level", "plev")


@final
@dataclass(frozen=True)
class Layer:
    """Where a channel is in a file.

    Attributes:
        source: Name of the variable.
        level_dim: Its dimension of levels, or None.
        level: Index along it.
        conversion: To the channel's units; None if they are the same.
    """

    source: str
    level_dim: str | None = None
    level: int = 0
    conversion: Conversion | None = None


def find_dimensions(data: xr.Dataset, path: Path) -> dict[str, str]:
    """Names of the dimensions by role; ``number`` only where there are members.

    Raises:
        InputError: One is missing.
    """
    found = {}
    for role, names in DIMENSIONS.items():
        for name in names:
            if name in data.dims or (role == "time" and name in data.coords):
                found[role] = name
                break
    for role in ("time", "lead", "latitude", "longitude"):
        if role not in found:
            raise InputError(
                f"{path}: has no dimension {DIMENSIONS[role][0]}; "
                "a forecast has time, number, prediction_timedelta, latitude and longitude"
            )
    return found


def find_layers(data: xr.Dataset, dims: dict[str, str], path: Path) -> dict[str, Layer]:
    """Channels of a file by canonical name, those on levels one by one.

    Raises:
        InputError: Units that cannot be converted.
    """
    layers: dict[str, Layer] = {}
    own = set(dims.values())
    for variable in map(str, data.data_vars):
        field = data[variable]
        if not {dims["latitude"], dims["lead"]} <= set(field.dims):
            continue
        other = [str(d) for d in field.dims if d not in own]
        if not other:
            name, channel = _canonical(variable, None)
            layers[name] = Layer(variable, conversion=_conversion(field, channel, path))
        elif len(other) == 1 and other[0] in _LEVELS and other[0] in data.coords:
            found = pressure_levels(data[other[0]])
            if isinstance(found, str):
                raise InputError(f"{path}: {variable}: {found}")
            for index in np.flatnonzero(held_levels(field, found)):
                hpa = found[index]
                name, channel = _canonical(variable, float(hpa))
                change = _conversion(field, channel, path)
                layers[name] = Layer(variable, other[0], int(index), change)
    return layers


def _canonical(variable: str, level: float | None) -> tuple[str, Channel | None]:
    from weather.data.channels import channel, find_by_alias

    found = find_by_alias(variable)
    if found is None:
        return (variable if level is None else f"{variable}{level:g}"), None
    try:
        known = channel(found[0], level if level is not None else found[1])
    except InputError:
        return variable, None
    return known.name, known


def _conversion(field: Any, channel: Channel | None, path: Path) -> Conversion | None:
    from weather.data.units import Conversion, conversion

    units = str(field.attrs.get("units", "") or "")
    if channel is not None and not units and str(field.name).lower() in _OF_TWO_UNITS:
        raise InputError(
            f"{path}: {field.name} has no units, and files hold it in several; write the "
            "attribute units, such as m2 s-2"
        )
    if channel is None or not units:
        return None
    change = conversion(units, channel.units)
    if change is None:
        raise InputError(
            f"{path}: {channel.name} is in {units}, which is not {channel.units}; "
            "correct the attribute units"
        )
    return None if change == Conversion() else change

r"""From a simulator's sigma levels to pressure levels, heights and sea-level pressure.

Height follows from the hydrostatic equation: over a layer of virtual temperature :math:`T_v` it
grows by :math:`(R T_v / g) \ln(p_\mathrm{below} / p_\mathrm{above})`. Temperature, wind and
humidity are linear in the logarithm of pressure. Below the ground temperature grows by 6.5 K/km
downwards, everything else keeps its lowest value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

GAS, GRAVITY, LAPSE = 287.04, 9.80665, 0.0065

ATTRIBUTES = {
    "z500": ("geopotential_height", "m"),
    "t850": ("air_temperature", "K"),
    "u850": ("eastward_wind", "m s-1"),
    "v850": ("northward_wind", "m s-1"),
    "u250": ("eastward_wind", "m s-1"),
    "v250": ("northward_wind", "m s-1"),
    "q700": ("specific_humidity", "kg kg-1"),
    "mslp": ("air_pressure_at_mean_sea_level", "Pa"),
    "tas": ("air_temperature", "K"),
    "tp": ("precipitation_amount", "kg m-2"),
}
"""CF standard name and units of the fields that are written."""


def interpolate(field: np.ndarray, pressure: np.ndarray, target: float) -> np.ndarray:
    """A field at a pressure, constant above the highest and below the lowest level.

    Args:
        field: From the top down, `[T, K, H, W]`.
        pressure: Of its levels, Pa, `[T, K, H, W]`.
        target: Pa.
    """
    logs = np.log(pressure)
    above = (logs < np.log(target)).sum(1, keepdims=True).clip(1, field.shape[1] - 1) - 1
    first, second = (np.take_along_axis(x, above, 1)[:, 0] for x in (field, logs))
    third, fourth = (np.take_along_axis(x, above + 1, 1)[:, 0] for x in (field, logs))
    share = ((np.log(target) - second) / (fourth - second)).clip(0.0, 1.0)
    return first + share * (third - first)


def heights(
    temperature: np.ndarray,
    humidity: np.ndarray,
    surface_pressure: np.ndarray,
    orography: np.ndarray,
    edges: np.ndarray,
    target: float,
) -> np.ndarray:
    """Geopotential height at a pressure, m, `[T, H, W]`.

    Args:
        temperature: K, from the top down, `[T, K, H, W]`.
        humidity: kg/kg, `[T, K, H, W]`.
        surface_pressure: Pa, `[T, H, W]`.
        orography: Height of the ground, m, `[T, H, W]`.
        edges: Sigma between the layers, without the 0 at the top, `[K]`; the last is 1.
        target: Pa.
    """
    virtual = temperature * (1.0 + 0.608 * humidity.clip(0.0))
    height = np.array(orography, dtype=np.float64)
    below = np.array(surface_pressure, dtype=np.float64)
    wanted = np.full_like(below, target)
    for k in range(len(edges) - 1, -1, -1):
        top = edges[k - 1] * surface_pressure if k > 0 else np.zeros_like(below)
        reach = np.clip(wanted, np.maximum(top, 1.0), below)
        height += GAS * virtual[:, k] / GRAVITY * np.log(below / reach)
        below = np.minimum(below, np.maximum(top, 1.0))
    ground = ground_temperature(virtual, surface_pressure, edges)
    fall = (wanted / surface_pressure).clip(1.0) ** (GAS * LAPSE / GRAVITY) - 1.0
    return height - ground / LAPSE * fall


def sea_level_pressure(
    temperature: np.ndarray,
    humidity: np.ndarray,
    surface_pressure: np.ndarray,
    orography: np.ndarray,
    edges: np.ndarray,
) -> np.ndarray:
    """Pressure at height 0, Pa, `[T, H, W]`; arguments as of `heights`."""
    virtual = temperature * (1.0 + 0.608 * humidity.clip(0.0))
    ground = ground_temperature(virtual, surface_pressure, edges)
    return surface_pressure * (1.0 + LAPSE * orography / ground) ** (GRAVITY / (GAS * LAPSE))


def ground_temperature(
    virtual: np.ndarray, surface_pressure: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """Virtual temperature at the ground, from the lowest layer by the lapse rate, `[T, H, W]`."""
    middle = 0.5 * (edges[-2] + edges[-1])
    return virtual[:, -1] * middle ** (-GAS * LAPSE / GRAVITY) + 0.0 * surface_pressure


def on_pressure_levels(
    column: tuple[np.ndarray, ...], u: np.ndarray, v: np.ndarray, pressure: np.ndarray
) -> dict[str, np.ndarray]:
    """The fields that both simulators give, `[T, H, W]`.

    Args:
        column: Arguments of `heights` but the last.
        u: Eastward wind, m/s, `[T, K, H, W]`.
        v: Northward wind.
        pressure: Of the levels, Pa, `[T, K, H, W]`.
    """
    temperature, humidity = column[:2]
    # Below the lowest level, the ground included, it is warmer by the lapse rate.
    below = (8.5e4 / pressure[:, -1]).clip(1.0) ** (GAS * LAPSE / GRAVITY)
    return {
        "z500": heights(*column, 5e4),
        "t850": below * interpolate(temperature, pressure, 8.5e4),
        "u850": interpolate(u, pressure, 8.5e4),
        "v850": interpolate(v, pressure, 8.5e4),
        "u250": interpolate(u, pressure, 2.5e4),
        "v250": interpolate(v, pressure, 2.5e4),
        "q700": interpolate(humidity.clip(0.0), pressure, 7e4),
        "mslp": sea_level_pressure(*column),
    }


def as_dataset(
    fields: Mapping[str, np.ndarray],
    times: Sequence[Any] | np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    source: str,
) -> xr.Dataset:
    """CF data set of fields `[T, H, W]` by the names of `ATTRIBUTES`."""
    data = {}
    for name, values in fields.items():
        about = dict(zip(("standard_name", "units"), ATTRIBUTES[name], strict=True))
        data[name] = (("time", "lat", "lon"), values.astype(np.float32), about)
    coords = {
        "time": times,
        "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    return xr.Dataset(data, coords, {"Conventions": "CF-1.10", "source": source})

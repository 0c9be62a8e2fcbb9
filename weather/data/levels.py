"""The vertical axis of files: pressure levels in hPa, or the reason why it is something else.

Numbers without units are taken for hPa only where all of them are levels on which centres
publish their analyses. Model levels (1, 2, 3, ...) and potential temperatures (300, 315, 330 K)
are numbers of the same size, and a field on them is not the field at that pressure. Bare numbers
that all lie below 10 are more often the uppermost model levels than the upper stratosphere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from weather.data.units import conversion, normal_units

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LEVELS_HELD", "held_levels", "in_hpa", "named_after_pressure", "pressure_levels"]

LEVELS_HELD: Final = "levels_held"
"""Attribute of a variable that lacks some levels of its file: those that it holds, in hPa."""

# ERA5, CMIP (plev19, plev39), NCEP, JRA, WeatherBench 2 and MERRA-2 together.
_PUBLISHED: Final = frozenset(
    (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100, 115, 125, 130, 150, 170, 175,
     200, 225, 250, 275, 300, 325, 350, 375, 400, 425, 450, 475, 500, 525, 550, 575, 600, 625, 650,
     675, 700, 725, 750, 775, 800, 825, 850, 875, 900, 925, 950, 975, 1000)
)  # fmt: skip
_OTHER_AXES: Final = {
    "model level": r"\b(model|eta|full|half)\b|hybrid|sigma|model_level",
    "potential temperature": r"isentropic|theta|potential[ _]temperature",
    "height": r"\bheight\b|altitude|geometric",
    "depth": r"\bdepth\b|\bsoil\b",
}
_HIGHEST: Final = 1100.0


def held_levels(field: xr.DataArray, levels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the pressure levels of its file a variable holds, `[L]`."""
    held = np.atleast_1d(field.attrs.get(LEVELS_HELD, levels)).astype(np.float64)
    return np.any(np.isclose(levels[:, None], held[None, :]), axis=1)


def pressure_levels(level: xr.DataArray, said: str = "") -> NDArray[np.float64] | str:
    """Levels in hPa `[L]`, or the reason why the coordinate holds no pressures.

    Args:
        level: The coordinate.
        said: Its units as the user states them, which overrule the attribute.
    """
    values = np.atleast_1d(np.asarray(level.values))
    if not np.issubdtype(values.dtype, np.number):
        return "its levels are not numbers"
    values = values.astype(np.float64)
    units = normal_units(said or str(level.attrs.get("units", "")))
    other = "" if said else _other_axis(level)
    if other:
        return f"its levels are {other}, not pressures; interpolate it to pressure levels first"
    if units == "1":
        return _without_units(values)
    if units in ("hPa", "Pa"):
        found = values / (100.0 if units == "Pa" else 1.0)
    else:
        how = conversion(units, "Pa")
        if how is None:
            return f"its levels are in {level.attrs.get('units', said)}, which is no pressure"
        found = how(values) / 100.0
    if not ((found > 0) & (found <= _HIGHEST)).all():
        return (
            f"its levels, {_some(values)} {units}, are no pressures of the atmosphere; correct "
            "them with --units level=Pa or level=hPa"
        )
    return np.round(found, 6)


def in_hpa(dataset: xr.Dataset, said: str = "") -> xr.Dataset:
    """Put a vertical axis of pressures into hPa; any other axis stays as it is.

    Args:
        dataset: With or without a coordinate ``level``.
        said: Its units as the user states them.
    """
    if "level" not in dataset.coords:
        return dataset
    level = dataset["level"]
    found = pressure_levels(level, said)
    if isinstance(found, str):
        return dataset
    values: Any = (level.dims, found, {"units": "hPa"}) if level.dims else found[0]
    dataset = dataset.assign_coords(level=values)
    dataset["level"].attrs["units"] = "hPa"
    return dataset


def named_after_pressure(name: str, values: NDArray[np.float64]) -> str:
    """Units that the name of a coordinate implies; empty where it says nothing.

    >>> named_after_pressure("isobaricInPa", np.asarray([1000.0]))
    'Pa'
    >>> named_after_pressure("plev", np.asarray([50000.0]))
    'Pa'
    >>> named_after_pressure("level", np.asarray([500.0]))
    ''
    """
    plain = name.lower()
    if plain in ("isobaricinpa", "isobaricinhpa"):
        return "Pa" if plain.endswith("inpa") else "hPa"
    if plain in ("plev", "pressure_level", "pressure", "isobaric"):
        return "Pa" if values.max() > 2000.0 else "hPa"
    return ""


def _other_axis(level: xr.DataArray) -> str:
    """What the attributes say the axis is, where that is not pressure; empty otherwise."""
    keys = ("standard_name", "long_name", "GRIB_typeOfLevel", "formula_terms")
    text = " ".join(str(level.attrs.get(key, "")) for key in keys).lower()
    if re.search(r"pressure|isobaric", text) and "hybrid" not in text and "sigma" not in text:
        return ""
    for kind, pattern in _OTHER_AXES.items():
        if re.search(pattern, text):
            return f"of {kind}" if kind != "model level" else "model levels"
    return ""


def _without_units(values: NDArray[np.float64]) -> NDArray[np.float64] | str:
    pascal = values.max() > 2000.0
    found = values / 100.0 if pascal else values
    if found.max() < 10.0 or not _PUBLISHED.issuperset(found.tolist()):
        return (
            f"its levels, {_some(values)}, have no units and may be model levels or potential "
            "temperatures; if they are pressures, say --units level=hPa"
        )
    return found


def _some(values: NDArray[np.float64]) -> str:
    shown = [f"{v:g}" for v in values[:3]]
    return ", ".join(shown) + (", …" if len(values) > 3 else "")

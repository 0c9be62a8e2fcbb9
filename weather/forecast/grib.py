"""A finished forecast as one GRIB file, edition 2, as weather services exchange them.

Every field of every member is a message with its parameter of ECMWF's table, initial time, lead
and member. Heights are written as geopotential height (gpm), precipitation in kg m-2 over the
step that ends at the lead, cloud cover in percent. Values have 24 bits: the rounding is at most
6e-8 of the range of a field.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, MissingExtra, reading
from weather.data.channels import Channel
from weather.data.times import calendar_of, label
from weather.forecast.calibrated import CalibratedStore
from weather.forecast.ensemble import EnsembleStore
from weather.forecast.spec import ForecastSpec
from weather.sphere.grids import Grid

__all__ = ["check_grib_output", "members_of_grib", "write_grib"]

_PARAMETERS: Final = {
    "z": 156, "t": 130, "u": 131, "v": 132, "w": 135, "q": 133, "r": 157, "vo": 138, "d": 155,
    "pv": 60, "o3": 203, "mslp": 151, "sp": 134, "tas": 167, "d2m": 168, "u10": 165, "v10": 166,
    "u100m": 228246, "v100m": 228247, "skt": 235, "sst": 34, "sic": 31, "tp": 228228,
    "tcwv": 137, "tcc": 228164,
}  # fmt: skip
_PERCENT: Final = {"tcc": 100.0}
_BITS: Final = 24
_INSTANT, _PERIOD = 1, 11  # templates of an ensemble member's field


def check_grib_output(spec: ForecastSpec, starts: tuple[Any, ...], names: str = "own") -> None:
    """Find out before anything is made whether a forecast can be written as GRIB.

    Raises:
        InputError: A channel without a parameter, a calendar of its own, a step that is not of
            whole hours, or other names.
        MissingExtra: ecCodes is not installed.
    """
    _library()
    if names != "own":
        raise InputError(f"--names {names}: GRIB has names of its own; leave it out")
    unknown = [c.name for c in spec.channels if c.variable not in _PARAMETERS]
    if unknown:
        raise InputError(
            f"-o: GRIB has no parameter here for {', '.join(unknown)}; write Zarr or NetCDF"
        )
    if calendar_of(np.asarray(starts)) != "standard":
        raise InputError(
            f"-o: GRIB knows the standard calendar only, not {calendar_of(np.asarray(starts))}; "
            "write Zarr or NetCDF"
        )
    if spec.step_hours % 1.0:
        raise InputError(
            f"-o: steps of {spec.step_hours:g} h are not whole hours; write Zarr or NetCDF"
        )


def write_grib(store: EnsembleStore | CalibratedStore, out: Path) -> None:
    """Copy a store to a GRIB file, message by message; it appears whole or not at all.

    Args:
        store: A finished forecast under our own names, calibrated or not.
        out: The file.

    Raises:
        MissingExtra: ecCodes is not installed.
    """
    codes = _library()
    spec, channels = store.spec, {c.name: c for c in store.spec.channels}
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("wb") as file:
        for name, block, values in store.read():
            channel, start = channels[name], store.plan.starts[block.start]
            for member, fields in zip(block.members, values, strict=True):
                for lead, field in enumerate(fields, start=1):
                    hours = lead * spec.step_hours
                    message = _message(codes, spec, channel, start, hours)
                    codes.codes_set(message, "perturbationNumber", member)
                    codes.codes_set(message, "numberOfForecastsInEnsemble", store.plan.members)
                    _set_values(codes, message, field * _PERCENT.get(channel.variable, 1.0))
                    codes.codes_write(message, file)
                    codes.codes_release(message)
    os.replace(partial, out)


def members_of_grib(out: Path) -> int:
    """Number of members of a GRIB file."""
    codes, found = _library(), 0
    with reading(out, "a forecast"), out.open("rb") as file:
        while (message := codes.codes_grib_new_from_file(file, headers_only=True)) is not None:
            found = max(found, 1 + int(codes.codes_get(message, "perturbationNumber")))
            codes.codes_release(message)
    return found


def _message(codes: Any, spec: ForecastSpec, channel: Channel, start: Any, hours: float) -> Any:
    """A message without values."""
    grid = spec.area
    gaussian = isinstance(grid, Grid) and grid.kind == "gaussian"
    kind = "regular_gg" if gaussian else "regular_ll"
    message = codes.codes_grib_new_from_samples(f"{kind}_pl_grib2")
    period = channel.variable == "tp"
    texts = label(start)
    keys: dict[str, Any] = {
        "productDefinitionTemplateNumber": _PERIOD if period else _INSTANT,
        "typeOfProcessedData": 4,
    }
    if channel.level_hPa is not None:
        pascal = channel.level_hPa < 1.0
        keys["typeOfLevel"] = "isobaricInPa" if pascal else "isobaricInhPa"
        keys["level"] = round(channel.level_hPa * (100.0 if pascal else 1.0))
    keys["paramId"] = _PARAMETERS[channel.variable]
    keys["dataDate"], keys["dataTime"] = (
        int(texts[:10].replace("-", "")),
        int(texts[11:16].replace(":", "")),
    )
    keys["stepUnits"] = "h"
    if period:
        keys["stepRange"] = f"{hours - spec.step_hours:.0f}-{hours:.0f}"
    else:
        keys["forecastTime"] = round(hours)
    if gaussian:
        keys["N"] = grid.height // 2
    keys |= {"Ni": grid.width, "Nj": grid.height}
    keys["iDirectionIncrementInDegrees"] = float(np.diff(grid.lon).mean())
    if not gaussian:
        keys["jDirectionIncrementInDegrees"] = float(np.diff(grid.lat).mean())
    # From north to south, as most files run.
    keys |= {
        "latitudeOfFirstGridPointInDegrees": float(grid.lat[-1]),
        "latitudeOfLastGridPointInDegrees": float(grid.lat[0]),
        "longitudeOfFirstGridPointInDegrees": float(grid.lon[0] % 360.0),
        "longitudeOfLastGridPointInDegrees": float(grid.lon[-1] % 360.0),
        "bitsPerValue": _BITS,
    }
    for key, value in keys.items():
        codes.codes_set(message, key, value)
    return message


def _set_values(codes: Any, message: Any, field: NDArray[np.floating[Any]]) -> None:
    codes.codes_set_values(message, np.ascontiguousarray(field[::-1], dtype=np.float64).ravel())


def _library() -> Any:
    try:
        return import_module("eccodes")
    except (ImportError, RuntimeError) as error:  # RuntimeError: no ecCodes library
        raise MissingExtra("eccodes", "grib") from error

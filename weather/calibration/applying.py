"""Calibrating a forecast that is there, from any centre: a file like it, with other members."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciddiff.cli.campaign import RECORD
from sciddiff.errors import InputError, reading
from sciddiff.files import write_json
from weather.calibration.members import META_ENTRY, Calibration
from weather.data.channels import parse_channel
from weather.verification.ensembles import open_dataset
from weather.verification.instants import lead_seconds
from weather.verification.layers import Layer, find_dimensions, find_layers

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["calibrate_file", "record_beside"]


def record_beside(out: Path) -> Path:
    """Where the record of a calibrated file lies: in a store, beside a file."""
    return out / RECORD if out.suffix == ".zarr" else out.with_name(f"{out.name}.{RECORD}")


def calibrate_file(
    path: Path, out: Path, calibration: Calibration, told: str, record: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """Write a forecast with calibrated members; it appears whole or not at all.

    Fields are read, calibrated and written lead by lead of every initial time. What is no
    calibrated channel, or has no members beside others that have, is copied.

    Args:
        path: The forecast: a Zarr store, NetCDF or GRIB, with members.
        out: The file to write, ``.zarr`` or ``.nc``.
        calibration: What is done to the members.
        told: Value of the attribute ``calibration``.
        record: Written as the record of the output.

    Returns:
        Channels that were calibrated, and those that were copied.

    Raises:
        InputError: The file cannot be read, has no members, or none of the channels.
    """
    data = open_dataset(path)
    dims = find_dimensions(data, path)
    if "number" not in dims:
        raise InputError(f"{path}: has no members; a calibration moves them about their mean")
    layers = find_layers(data, dims, path)
    known = [name for name in layers if name in calibration.channels]
    chosen = [name for name in known if dims["number"] in data[layers[name].source].dims]
    if known and not chosen:
        raise InputError(
            f"{path}: {', '.join(known)} has no members; a calibration moves them about their mean"
        )
    if not chosen:
        raise InputError(
            f"{path}: holds {', '.join(layers)}, and the calibration is of "
            f"{', '.join(calibration.channels)}; fit one to forecasts of these channels"
        )
    lead = data[dims["lead"]]
    seconds = lead_seconds(lead.values, lead.attrs.get("units")).tolist()
    whole = {role: 1 for role in ("time", "lead") if dims[role] in data.dims}
    pieces = data.chunk({dims[role]: size for role, size in whole.items()})
    for variable in dict.fromkeys(layers[name].source for name in chosen):
        own = {name: layers[name] for name in chosen if layers[name].source == variable}
        pieces[variable] = _calibrated(pieces[variable], own, calibration, seconds, dims)
    pieces.attrs[META_ENTRY] = told
    with reading(path, "a forecast"):
        _write(pieces, out, record)
    return chosen, [name for name in layers if name not in chosen]


def _calibrated(
    field: xr.DataArray, layers: dict[str, Layer], calibration: Calibration, seconds: list[int],
    dims: dict[str, str],
) -> xr.DataArray:  # fmt: skip
    """A variable of the file with the coefficients of each of its channels, in its own units."""
    import xarray as xr

    level = next(iter(layers.values())).level_dim
    count = 1 if level is None else field.sizes[level]
    # What has no coefficients keeps its mean and its deviations.
    rows = np.tile(np.array([0.0, 1.0, 1.0])[:, None, None], (1, len(seconds), count))
    floor = np.full(count, -np.inf)
    for name, layer in layers.items():
        scale, offset = 1.0, 0.0
        if layer.conversion is not None:
            scale, offset = layer.conversion.scale, layer.conversion.offset
        alpha, beta, tau = calibration.channels[name].at(seconds)
        moved = (alpha + (beta - 1.0) * offset) / scale
        rows[:, :, layer.level] = moved, beta, tau
        if _positive(name):
            floor[layer.level] = -offset / scale
    names = (dims["lead"],) if level is None else (dims["lead"], level)
    alpha, beta, tau = (xr.DataArray(_flat(row, level), dims=names) for row in rows)
    mean = field.mean(dims["number"], dtype=np.float64)
    made = alpha + beta * mean + tau * (field - mean)
    least = xr.DataArray(floor, dims=(level,)) if level is not None else float(floor[0])
    made = made.clip(min=least) if np.isfinite(floor).any() else made
    changed = made.transpose(*field.dims).astype(np.float32).assign_attrs(field.attrs)
    changed.encoding = {"_FillValue": np.float32("nan")}
    return changed


def _flat(row: NDArray[np.float64], level: str | None) -> NDArray[np.float64]:
    return row[:, 0] if level is None else row


def _positive(name: str) -> bool:
    try:
        return parse_channel(name).positive
    except InputError:  # a field under a name of its own
        return False


def _write(data: xr.Dataset, out: Path, record: dict[str, Any]) -> None:
    partial = out.with_name(f".{out.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    for one in data.variables.values():  # chunks of the file that was read need not fit
        for key in ("chunks", "preferred_chunks", "compressor", "filters"):
            one.encoding.pop(key, None)
    write_json(out.with_name(f".{out.name}.record"), record)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*onsolidated.*")
        if out.suffix == ".zarr":
            data.to_zarr(partial, mode="w", zarr_format=2)
        else:
            data.to_netcdf(partial, engine="netcdf4")
    where = partial / RECORD if out.suffix == ".zarr" else record_beside(out)
    os.replace(out.with_name(f".{out.name}.record"), where)
    os.replace(partial, out)

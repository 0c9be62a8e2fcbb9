"""A finished forecast as one NetCDF file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sciddiff.errors import MissingExtra, reading
from weather.forecast.ensemble import DIMS, EnsembleStore, coordinates, variables

__all__ = ["members_of", "write_netcdf"]


def write_netcdf(store: EnsembleStore, out: Path, attrs: Mapping[str, Any]) -> None:
    """Copy a store to a NetCDF-4 file, block by block; it appears whole or not at all.

    Args:
        store: A finished forecast.
        out: The file.
        attrs: Its global attributes.

    Raises:
        MissingExtra: netCDF4 is not installed.
    """
    netCDF4 = _library()
    plan, (height, width) = store.plan, store.spec.shape
    partial = out.with_name(f".{out.name}.partial")
    with netCDF4.Dataset(partial, "w") as file:
        file.setncatts({"Conventions": "CF-1.10", **attrs})
        for name, (values, about) in coordinates(plan, store.spec).items():
            file.createDimension(name, len(values))
            variable = file.createVariable(name, values.dtype, (name,))
            variable.setncatts(about)
            variable[:] = values
        chunks = (1, min(plan.block, plan.members), store.span, height, width)
        for name, about in variables(store.spec).items():
            variable = file.createVariable(
                name, "f4", DIMS, zlib=True, complevel=1, shuffle=True, chunksizes=chunks,
                fill_value=float("nan"),
            )  # fmt: skip
            variable.setncatts(about)
        for name, block, values in store.read():
            members = slice(block.members.start, block.members.stop)
            file[name][block.start, members] = values
    os.replace(partial, out)


def members_of(out: Path) -> int:
    """Number of members of a forecast."""
    with reading(out, "a forecast"), _library().Dataset(out) as file:
        return len(file.dimensions["number"])


def _library() -> Any:
    try:
        import netCDF4
    except ImportError as error:
        raise MissingExtra("netCDF4", "weather") from error
    return netCDF4

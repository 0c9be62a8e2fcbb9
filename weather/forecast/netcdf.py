"""A finished forecast where it was asked for: as a store, or as one NetCDF or GRIB file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sciddiff.cli.campaign import RECORD, made_before
from sciddiff.cli.fingerprint import Inputs
from sciddiff.errors import InputError, MissingExtra, reading
from sciddiff.files import replacing
from weather.calibration.members import Calibration
from weather.forecast.calibrated import CalibratedStore, write_calibrated
from weather.forecast.ensemble import GRIB, ONE_FILE, EnsembleStore, coordinates

__all__ = ["check_name", "finish", "finished", "members_of", "record_of", "write_netcdf"]


# Suffixes of other files of fields and tables, which no store is called by.
_OTHER_FILES = (
    ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".grib1", ".csv", ".json", ".txt", ".html", ".npz",
    ".npy", ".png",
)  # fmt: skip


def check_name(out: Path) -> None:
    """Refuse a name that promises a file of another kind, where a Zarr folder would be made.

    Raises:
        InputError: The name ends as that of such a file; how it may end.
    """
    if out.suffix not in ONE_FILE and out.suffix.lower() in (*_OTHER_FILES, *ONE_FILE):
        raise InputError(
            f"-o {out}: {out.suffix} is not written; name it with .zarr, .nc or .grib, as "
            f"{out.with_suffix('.nc')}"
        )


def write_netcdf(
    store: EnsembleStore | CalibratedStore, out: Path, attrs: Mapping[str, Any]
) -> None:
    """Copy a store to a NetCDF-4 file, block by block; it appears whole or not at all.

    Args:
        store: A finished forecast, calibrated or not.
        out: The file.
        attrs: Its global attributes.

    Raises:
        MissingExtra: netCDF4 is not installed.
    """
    netCDF4 = _library()
    plan, layout = store.plan, store.layout
    partial = out.with_name(f".{out.name}.partial")
    with netCDF4.Dataset(partial, "w") as file:
        file.setncatts({"Conventions": "CF-1.10", **attrs})
        for name, (values, about) in layout.coordinates(coordinates(plan, store.spec)).items():
            file.createDimension(name, len(values))
            variable = file.createVariable(name, values.dtype, (name,))
            variable.setncatts(about)
            variable[:] = values
        chunks = (1, min(plan.block, plan.members), store.span)
        for name, about in layout.arrays.items():
            dims = layout.dimensions(name)
            sizes = (*chunks, *(1,) * (len(dims) - 5), *store.spec.shape)
            variable = file.createVariable(
                name, "f4", dims, zlib=True, complevel=1, shuffle=True, chunksizes=sizes,
                fill_value=float("nan"),
            )  # fmt: skip
            variable.setncatts(about)
        for name, block, values in store.read():
            members = slice(block.members.start, block.members.stop)
            file[name][block.start, members] = values
    os.replace(partial, out)


def record_of(out: Path) -> Path:
    """The record of a forecast or of analyses: inside a store, beside a single file."""
    return out.with_name(f"{out.name}.{RECORD}") if out.suffix in ONE_FILE else out / RECORD


def finish(
    store: EnsembleStore,
    out: Path,
    attrs: Mapping[str, Any],
    calibration: Calibration | None = None,
) -> None:
    """Close a store; calibrate it, and turn it into one file, if that was asked for.

    Args:
        store: A finished forecast.
        out: Where it was to be written.
        attrs: Its global attributes.
        calibration: What is done to the members, which then were made beside `out`.
    """
    if out.suffix not in ONE_FILE:
        store.close()
        if calibration is not None:
            write_calibrated(store, out, calibration)
            discard(store.path)
        return
    source = store if calibration is None else CalibratedStore(store, calibration)
    # The record comes first: it means nothing until the file is there.
    with replacing(record_of(out)) as file:
        file.write((store.path / RECORD).read_bytes())
    if out.suffix in GRIB:
        from weather.forecast.grib import write_grib

        write_grib(source, out)
    else:
        write_netcdf(source, out, attrs)
    discard(store.path)


def discard(staging: Path) -> None:
    """Remove members that were collected beside an output, at once as far as others can see.

    A folder that is removed file by file, and half of it when the process is killed, would tell
    the next command that its members are there.

    Args:
        staging: The store, see `weather.forecast.making.staging`; it need not exist.
    """
    gone = staging.with_name(f"{staging.name}.old")
    shutil.rmtree(gone, ignore_errors=True)
    if staging.exists():
        os.replace(staging, gone)
        shutil.rmtree(gone)


def finished(
    out: Path, request: Mapping[str, Any], members: int, calibrated: bool = False
) -> bool:
    """Whether the output of this very request is there already, whole.

    Args:
        out: A file or a store; of a store that is written in its place the answer is no, since
            the store itself tells which members are there.
        request: Plain values that decide every member.
        members: How many are wanted.
        calibrated: Whether members are calibrated, so that a store appears whole.

    Raises:
        InputError: The output of another request is there.
    """
    store = out.suffix not in ONE_FILE
    if (store and not calibrated) or not out.exists():
        return False
    made_before(out, record_of(out), request, Inputs(), "choose another -o, or remove it")
    there = members_of(out)
    if store:  # with more members, all of them are calibrated again
        return there >= members
    if there != members:
        raise InputError(
            f"{out}: is there already with {there} members, and such a file takes no more; "
            "choose another -o, or remove it"
        )
    return True


def members_of(out: Path) -> int:
    """Number of members of a forecast."""
    if out.suffix not in ONE_FILE:
        import zarr

        with reading(out, "a forecast", "remove it, or choose another -o"):
            return zarr.open_array(str(out / "number"), mode="r", zarr_format=2).shape[0]
    if out.suffix in GRIB:
        from weather.forecast.grib import members_of_grib

        return members_of_grib(out)
    with reading(out, "a forecast"), _library().Dataset(out) as file:
        return len(file.dimensions["number"])


def _library() -> Any:
    try:
        import netCDF4
    except ImportError as error:
        raise MissingExtra("netCDF4", "weather") from error
    return netCDF4

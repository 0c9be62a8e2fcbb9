"""Files of any laboratory as one lazy data set: NetCDF, Zarr, GRIB; one file or many.

Many files are joined along time, along levels and by variable, whichever they differ in, through
dask (`weather.data.joining`). Data are read only when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciddiff.errors import InputError, MissingExtra
from sciddiff.files import regular
from weather.data.dimensions import has_members, normalise
from weather.data.integrity import check_grib, note_missing_chunks, quietly, with_valid_ranges
from weather.data.joining import join
from weather.data.times import as_times, label, snap

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["is_grib", "is_zarr", "open_files", "open_grib"]


def open_files(
    paths: Sequence[str | Path],
    member: str | int | None = None,
    wanted: Sequence[str] = (),
    level_units: str = "",
) -> xr.Dataset:
    """Open files as one data set with dimensions ``time [level] lat lon``.

    Times are as in the files: unsorted and repeated ones are the business of
    `weather.data.checks`.

    Args:
        paths: Files, Zarr stores, or folders of files.
        member: Label of the ensemble member to take.
        wanted: Variables that are asked for.
        level_units: Units of the levels, where the files do not say.

    Raises:
        InputError: A file is absent, unreadable, or does not fit the others.
        MissingExtra: GRIB without cfgrib.
    """
    names = _expand(paths)
    opened = [(part, name) for name in names for part in _open(name)]
    if not opened:
        raise InputError("FILES: none given; name NetCDF, GRIB or Zarr files")
    if member is not None and not any(has_members(part) for part, _ in opened):
        raise InputError(f"--member {member}: the files hold no ensemble members; leave it out")
    parts = [_understood(part, name, member, wanted, level_units) for part, name in opened]
    whole = parts[0] if len(parts) == 1 else join(parts, wanted)
    whole.attrs.setdefault("planet", str(parts[0].attrs.get("planet", "")))
    return whole


def _understood(
    part: xr.Dataset,
    name: str,
    member: str | int | None,
    wanted: Sequence[str],
    level_units: str,
) -> xr.Dataset:
    part = normalise(with_valid_ranges(part), name, member, wanted, level_units)
    part = part.assign_coords(time=_times(part, name))
    part.encoding["source"] = name
    return part


def _expand(paths: Sequence[str | Path]) -> list[str]:
    """Replace folders by the files in them."""
    names: list[str] = []
    for path in paths:
        text = str(path)
        folder = Path(text)
        if "://" in text or not folder.is_dir() or is_zarr(folder):
            if "://" not in text and not folder.exists():
                raise InputError(f"{text}: no such file or folder; check the path")
            names.append(text)
            continue
        inside = sorted(
            str(p) for p in folder.iterdir() if p.is_file() and _kind(p) or is_zarr(p)
        )
        if not inside:
            raise InputError(f"{text}: holds no NetCDF, GRIB or Zarr; name the files")
        names += inside
    return names


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group."""
    return any((path / n).exists() for n in (".zgroup", ".zmetadata", "zarr.json"))


def _kind(path: Path) -> str:
    """netcdf or grib by the first bytes of a file; empty for anything else."""
    with regular(path).open("rb") as file:
        head = file.read(8)
    if head[:4] == b"GRIB":
        return "grib"
    return "netcdf" if head[:3] == b"CDF" or head[:4] == b"\x89HDF" else ""


def is_grib(path: Path) -> bool:
    """Whether a file is GRIB."""
    return path.is_file() and _kind(path) == "grib"


def open_grib(path: Path) -> xr.Dataset:
    """A GRIB file as one data set: every quantity at every level is a variable of its own.

    Variables are called by their short name and level, such as ``gh500`` and ``2t``, and keep
    the dimensions ``time``, ``number`` and ``step`` that any of them has.

    Raises:
        InputError: It cannot be read.
        MissingExtra: cfgrib is not installed.
    """
    import xarray as xr

    fields: dict[str, Any] = {}
    for part in _open_grib(str(path)):
        levels = np.atleast_1d(part["isobaricInhPa"].values) if "isobaricInhPa" in part else [None]
        for name, field in part.data_vars.items():
            short = str(field.attrs.get("GRIB_shortName", name))
            for i, level in enumerate(levels):
                one = field.isel(isobaricInhPa=i) if "isobaricInhPa" in field.dims else field
                named = [n for n in ("time", "number", "step") if n in one.coords]
                one = one.expand_dims([n for n in named if n not in one.dims])
                kept = (*named, "latitude", "longitude")
                one = one.drop_vars([n for n in one.coords if n not in kept])
                fields[short if level is None else f"{short}{level:g}"] = one
    return xr.Dataset(fields)


def _open(name: str) -> list[xr.Dataset]:
    """The data sets of one file; GRIB may hold several."""
    try:
        import xarray as xr
    except ImportError as error:
        raise MissingExtra("xarray", "weather") from error
    path = Path(name)
    try:
        if "://" in name or is_zarr(path):
            parts = [_open_zarr(name)]
        elif (kind := _kind(path)) == "grib":
            parts = _open_grib(name)
        elif kind == "netcdf":
            with quietly():
                opened = xr.open_dataset(
                    name, engine="netcdf4", decode_timedelta=False, cache=False
                )
            parts = [opened]
        else:
            raise InputError(f"{name}: neither NetCDF, GRIB nor a Zarr store; give one of these")
    except (InputError, MissingExtra):
        raise
    except PermissionError as error:
        raise InputError(f"{name}: permission denied; change its rights") from error
    except Exception as error:  # each backend fails in its own ways
        raise InputError(f"{name}: cannot be read ({_short(error)}); is it complete?") from error
    for part in parts:
        part.encoding["source"] = name
    return parts


def _open_zarr(name: str) -> xr.Dataset:
    import xarray as xr

    with quietly():
        opened = xr.open_zarr(name, chunks={}, decode_timedelta=False)
    # Listed in the order of the file system, which is none.
    opened = opened[sorted(opened.data_vars, key=str)]
    return opened if "://" in name else note_missing_chunks(opened, Path(name))


def _open_grib(name: str) -> list[xr.Dataset]:
    try:
        cfgrib = import_module("cfgrib")
    except (ImportError, RuntimeError) as error:  # RuntimeError: no ecCodes library
        raise MissingExtra("cfgrib", "grib") from error
    check_grib(Path(name))
    # No index files beside the user's data.
    with quietly():
        return cfgrib.open_datasets(name, backend_kwargs={"indexpath": ""})


def _times(part: xr.Dataset, name: str) -> Any:
    """Times at whole seconds, and at whole hours where single precision has blurred them."""
    try:
        times = as_times(part["time"].values)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return ("time", snap(times, _uncertainty(part)))


def _uncertainty(part: xr.Dataset) -> float:
    """Seconds by which the times may be off, because the file holds them in few digits."""
    encoding = part["time"].encoding
    unit, since, start = str(encoding.get("units", "")).partition(" since ")
    kind = np.dtype(encoding.get("dtype", "f8"))
    if kind != np.float32 or not since:
        return 0.0
    seconds = {"d": 86400.0, "h": 3600.0, "m": 60.0}.get(unit.strip()[:1].lower(), 1.0)
    # Digits are lost to the largest count: from the reference date to the last time, in years.
    reference = re.match(r"\s*-?(\d+)", start)
    first_year = int(reference[1]) if reference else 0
    last_year = int(label(as_times(part["time"].values)[-1])[:4])
    count = (abs(last_year - first_year) + 1) * 366 * 86400.0 / seconds
    return float(np.spacing(np.float32(count))) * seconds


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160]

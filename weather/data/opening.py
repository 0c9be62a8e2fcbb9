"""Files of any laboratory as one lazy data set: NetCDF, Zarr, GRIB; one file or many.

Many files are joined along time, along levels and by variable, whichever they differ in, through
dask. Data are read only when asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciddiff.errors import InputError, MissingExtra
from weather.data.dimensions import normalise
from weather.data.times import as_times, calendar_of, label, labels

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["open_files"]

_BLOCK = 16


def open_files(
    paths: Sequence[str | Path], member: int | None = None, wanted: Sequence[str] = ()
) -> xr.Dataset:
    """Open files as one data set with dimensions ``time [level] lat lon``.

    Times are as in the files: unsorted and repeated ones are the business of
    `weather.data.checks`.

    Args:
        paths: Files, Zarr stores, or folders of files.
        member: Label of the ensemble member to take.
        wanted: Variables whose grid decides where files hold several.

    Raises:
        InputError: A file is absent, unreadable, or does not fit the others.
        MissingExtra: GRIB without cfgrib.
    """
    names = _expand(paths)
    parts = [normalise(part, name, member, wanted) for name in names for part in _open(name)]
    if not parts:
        raise InputError("FILES: none given; name NetCDF, GRIB or Zarr files")
    parts = [p.assign_coords(time=_times(p, n)) for p, n in zip(parts, _named(parts), strict=True)]
    return parts[0] if len(parts) == 1 else _join(parts)


def _expand(paths: Sequence[str | Path]) -> list[str]:
    """Replace folders by the files in them."""
    names: list[str] = []
    for path in paths:
        text = str(path)
        folder = Path(text)
        if "://" in text or not folder.is_dir() or _is_zarr(folder):
            if "://" not in text and not folder.exists():
                raise InputError(f"{text}: no such file or folder; check the path")
            names.append(text)
            continue
        inside = sorted(
            str(p) for p in folder.iterdir() if p.is_file() and _kind(p) or _is_zarr(p)
        )
        if not inside:
            raise InputError(f"{text}: holds no NetCDF, GRIB or Zarr; name the files")
        names += inside
    return names


def _is_zarr(path: Path) -> bool:
    return any((path / n).exists() for n in (".zgroup", ".zmetadata", "zarr.json"))


def _kind(path: Path) -> str:
    """netcdf or grib by the first bytes of a file; empty for anything else."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"GRIB":
        return "grib"
    return "netcdf" if head[:3] == b"CDF" or head[:4] == b"\x89HDF" else ""


def _open(name: str) -> list[xr.Dataset]:
    """The data sets of one file; GRIB may hold several."""
    try:
        import xarray as xr
    except ImportError as error:
        raise MissingExtra("xarray", "weather") from error
    path = Path(name)
    try:
        if "://" in name or _is_zarr(path):
            parts = [_open_zarr(name)]
        elif (kind := _kind(path)) == "grib":
            parts = _open_grib(name)
        elif kind == "netcdf":
            opened = xr.open_dataset(name, engine="netcdf4", decode_timedelta=False, cache=False)
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

    with warnings.catch_warnings():
        # That metadata are not consolidated makes opening slow, nothing else.
        warnings.simplefilter("ignore", RuntimeWarning)
        opened = xr.open_zarr(name, chunks={}, decode_timedelta=False)
    # Listed in the order of the file system, which is none.
    return opened[sorted(opened.data_vars, key=str)]


def _open_grib(name: str) -> list[xr.Dataset]:
    try:
        cfgrib = import_module("cfgrib")
    except (ImportError, RuntimeError) as error:  # RuntimeError: no ecCodes library
        raise MissingExtra("cfgrib", "grib") from error
    # No index files beside the user's data.
    parts = cfgrib.open_datasets(name, backend_kwargs={"indexpath": ""})
    return parts


def _chunked(dataset: xr.Dataset) -> xr.Dataset:
    """Make a part lazy in a way that survives joining: one file alone is lazy by itself."""
    if dataset.chunks or "time" not in dataset.dims:
        return dataset
    return dataset.chunk({"time": min(_BLOCK, dataset.sizes["time"])})


def _times(part: xr.Dataset, name: str) -> Any:
    try:
        return ("time", as_times(part["time"].values).astype(_stamp(part)))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _stamp(part: xr.Dataset) -> str:
    kind = as_times(part["time"].values).dtype.kind
    return "datetime64[s]" if kind == "M" else "object"


def _named(parts: Sequence[xr.Dataset]) -> list[str]:
    return [str(p.encoding.get("source", "file")) for p in parts]


def _join(parts: list[xr.Dataset]) -> xr.Dataset:
    """Join along time, then levels, then by variable."""
    import xarray as xr

    parts = [_chunked(part) for part in _same_grid(parts)]
    _same_units(parts)
    groups: dict[tuple[Any, ...], list[xr.Dataset]] = {}
    for part in parts:
        levels = tuple(np.atleast_1d(part["level"].values)) if "level" in part.coords else ()
        names = tuple(sorted(str(v) for v in part.data_vars))
        groups.setdefault((names, levels), []).append(part)
    options: dict[str, Any] = {
        "data_vars": "minimal",
        "coords": "minimal",
        "compat": "override",
        "join": "override",
        "combine_attrs": "override",
    }
    by_names: dict[tuple[str, ...], list[xr.Dataset]] = {}
    for (names, _), members in groups.items():
        members.sort(key=lambda p: label(p["time"].values[0]))
        joined = members[0] if len(members) == 1 else xr.concat(members, dim="time", **options)
        by_names.setdefault(names, []).append(joined)
    whole = []
    for members in by_names.values():
        if len(members) > 1:
            common = _common_times(members)
            lifted = [m if "level" in m.dims else m.expand_dims("level") for m in common]
            members = [xr.concat(lifted, dim="level", **options)]
        whole.append(members[0])
    if len(whole) == 1:
        return whole[0]
    return _merge(_common_times(whole))


def _merge(parts: list[xr.Dataset]) -> xr.Dataset:
    """Put variables side by side; those on other levels keep theirs as separate variables."""
    import xarray as xr

    levels = [tuple(np.atleast_1d(p["level"].values)) for p in parts if "level" in p.dims]
    if len(set(levels)) > 1:
        # Variables on different sets of levels: one axis with gaps would invent missing values.
        parts = [
            p.rename({"level": f"level_{i}"}) if "level" in p.dims else p
            for i, p in enumerate(parts)
        ]
    scalars = [p.drop_vars("level") if _scalar_level(p) else p for p in parts]
    return xr.merge(scalars, compat="override", join="override", combine_attrs="override")


def _scalar_level(part: xr.Dataset) -> bool:
    """Whether a single level belongs to these variables alone; it moves to their attributes."""
    if "level" in part.dims or "level" not in part.coords:
        return False
    for variable in part.data_vars.values():
        variable.attrs.setdefault("level", float(part["level"].values))
    return True


def _common_times(parts: list[xr.Dataset]) -> list[xr.Dataset]:
    """Restrict to the times that all hold, in their order."""
    stamps = [labels(p["time"].values) for p in parts]
    if all(np.array_equal(s, stamps[0]) for s in stamps):
        return parts
    common = set(stamps[0]).intersection(*stamps[1:])
    if not common:
        names = ", ".join(_named(parts)[:3])
        raise InputError(f"{names}: no time in common; give files of the same period")
    chosen = []
    for part, stamp in zip(parts, stamps, strict=True):
        _, first = np.unique(stamp, return_index=True)
        keep = [int(i) for i in first if stamp[i] in common]
        chosen.append(part.isel(time=keep))
    chosen[0].attrs["times_left_out"] = len(set().union(*stamps)) - len(common)
    return chosen


def _same_grid(parts: list[xr.Dataset]) -> list[xr.Dataset]:
    first, name = parts[0], _named(parts)[0]
    same = []
    for part in parts:
        for axis in ("lat", "lon"):
            mine, theirs = part[axis].values, first[axis].values
            if len(mine) != len(theirs) or np.abs(mine - theirs).max() > 1e-3:
                raise InputError(
                    f"{_named([part])[0]}: grid {part.sizes['lat']}x{part.sizes['lon']} is not "
                    f"that of {name} ({first.sizes['lat']}x{first.sizes['lon']}); prepare them "
                    "apart"
                )
        if calendar_of(part["time"].values) != calendar_of(first["time"].values):
            raise InputError(
                f"{_named([part])[0]}: calendar {calendar_of(part['time'].values)}, not "
                f"{calendar_of(first['time'].values)} as in {name}; prepare them apart"
            )
        same.append(part.assign_coords(lat=first["lat"], lon=first["lon"]))
    return same


def _same_units(parts: Sequence[xr.Dataset]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for part, name in zip(parts, _named(parts), strict=True):
        for key, variable in part.data_vars.items():
            units = str(variable.attrs.get("units", ""))
            before, where = seen.setdefault(str(key), (units, name))
            if before != units:
                raise InputError(
                    f"{name}: {key} in {units or 'no units'}, but {before or 'no units'} in "
                    f"{where}; prepare them apart"
                )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160]

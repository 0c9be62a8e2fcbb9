"""Dimensions of a data set under one set of names: ``time level lat lon``.

Coordinates are found by CF attributes first and by the names in use second. Latitudes come out
south to north; longitudes east from the first in [0, 360), where files count from -180, repeat
the first meridian at the end or cut the globe elsewhere. Nothing is loaded but coordinates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.channels import find_by_alias
from weather.data.leads import at_valid_times
from weather.data.levels import in_hpa, named_after_pressure
from weather.data.units import normal_units

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MEMBER", "has_members", "normalise"]

MEMBER: Final = "number"
"""Name of the dimension of ensemble members."""

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "lat": ("lat", "latitude", "lats", "nav_lat"),
    "lon": ("lon", "longitude", "lons", "long", "nav_lon"),
    "time": ("time", "valid_time", "date", "datetime", "t"),
    "level": ("level", "levels", "lev", "plev", "pressure_level", "isobaricinhpa", "pressure",
              "isobaricinpa", "levelist", "isobaric", "p"),
    MEMBER: ("number", "member", "members", "realization", "ens", "ensemble", "ensemble_member"),
}  # fmt: skip
_STANDARD: Final = {
    "latitude": "lat",
    "longitude": "lon",
    "time": "time",
    "air_pressure": "level",
    "realization": MEMBER,
}


def normalise(
    dataset: xr.Dataset,
    path: str,
    member: str | int | None = None,
    wanted: Sequence[str] = (),
    levels: str = "",
) -> xr.Dataset:
    """Rename dimensions, choose a member, stamp valid times, order the coordinates.

    A single level is a dimension of size one, so that it stays with its variables when files are
    joined. Pressure levels come out in hPa.

    Args:
        dataset: As opened, times decoded.
        path: Its name, for messages.
        member: Label of the ensemble member to take.
        wanted: Variables whose grid decides where a file has several.
        levels: Units of the levels as the user states them.

    Raises:
        InputError: The data set is not on latitudes and longitudes, or not over time.
    """
    _flat(dataset, path)
    dataset = _rename_horizontal(dataset, path, wanted)
    dataset = at_valid_times(dataset, path)
    for role in ("time", "level", MEMBER):
        dataset = _rename(dataset, role)
    dataset = _level_axis(in_hpa(dataset, levels))
    dataset = _choose_member(dataset, path, member)
    dataset = _merge_expver(dataset)
    dataset = _with_time(dataset, path)
    return _order_lon(_order_lat(dataset, path), path)


def _flat(dataset: xr.Dataset, path: str) -> None:
    """Refuse grids whose latitude depends on longitude."""
    for name in dataset.variables:
        variable = dataset[name]
        if _role(str(name), variable) == "lat" and variable.ndim > 1:
            raise InputError(
                f"{path}: latitudes vary along the rows (a rotated or projected grid); regrid to "
                "latitudes and longitudes first, for example with cdo remapbil"
            )


def _role(name: str, variable: Any) -> str | None:
    """What a coordinate is: lat, lon, time, level, number, or None."""
    attributes = variable.attrs
    found = _STANDARD.get(str(attributes.get("standard_name", "")))
    if found is not None:
        return found
    units = str(attributes.get("units", "")).lower()
    if re.fullmatch(r"degrees?_?n(orth)?", units):
        return "lat"
    if re.fullmatch(r"degrees?_?e(ast)?", units):
        return "lon"
    plain = name.lower()
    for role, names in _NAMES.items():
        if plain in names:
            # "t" and "p" are also names of fields.
            return role if variable.ndim <= 2 else None
    # A second grid in the same file: lat_2, lon_g.
    match = re.fullmatch(r"(lat|lon)(itude)?[_\-]?\w{0,2}", plain)
    return match[1] if match else None


def _rename_horizontal(dataset: xr.Dataset, path: str, wanted: Sequence[str]) -> xr.Dataset:
    lats = [d for d in dataset.dims if _role(str(d), dataset[d]) == "lat"]
    lons = [d for d in dataset.dims if _role(str(d), dataset[d]) == "lon"]
    pairs: dict[tuple[Any, Any], int] = {}
    for name, variable in dataset.data_vars.items():
        lat = [d for d in lats if d in variable.dims]
        lon = [d for d in lons if d in variable.dims]
        if lat and lon:
            weight = 1 if not wanted or _is_wanted(str(name), wanted) else 0
            pairs[lat[0], lon[0]] = pairs.get((lat[0], lon[0]), 0) + weight
    if not pairs:
        if dataset.sizes.get("values") or dataset.sizes.get("cell") or dataset.sizes.get("ncells"):
            hint = "points of an unstructured or reduced grid; regrid them first"
        else:
            hint = "no field has latitude and longitude as dimensions"
        dims = ", ".join(f"{d} ({n})" for d, n in dataset.sizes.items()) or "none"
        raise InputError(f"{path}: {hint}; its dimensions are {dims}")
    lat, lon = max(pairs, key=lambda pair: pairs[pair])
    # What is called lat or lon already but belongs to another grid makes way.
    clash = {n: f"{n}_" for n in ("lat", "lon") if n in dataset.dims and n not in (lat, lon)}
    dataset = dataset.rename(clash) if clash else dataset
    return dataset.rename({a: b for a, b in ((lat, "lat"), (lon, "lon")) if a != b})


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    """Whether a variable is among the names asked for, under whichever of its names."""
    found = find_by_alias(name)
    return any(name == w or (found is not None and found == find_by_alias(w)) for w in wanted)


def _rename(dataset: xr.Dataset, role: str) -> xr.Dataset:
    """Give the coordinate of a role its name; dimensions come before scalars."""
    if role in dataset.dims:
        return dataset
    found = [n for n in dataset.dims if _role(str(n), dataset[n]) == role]
    if not found:
        found = [
            n for n in dataset.coords if not dataset[n].ndim and _role(str(n), dataset[n]) == role
        ]
    if not found or found[0] == role:
        return dataset
    if role in dataset.variables:
        dataset = dataset.drop_vars(role)
    if role == "level" and found[0] in dataset.coords and "units" not in dataset[found[0]].attrs:
        values = np.atleast_1d(dataset[found[0]].values)
        if np.issubdtype(values.dtype, np.number):
            units = named_after_pressure(str(found[0]), values)
            dataset = dataset.assign_coords(
                {found[0]: dataset[found[0]].assign_attrs(units=units)}
            )
    return dataset.rename({found[0]: role})


def _level_axis(dataset: xr.Dataset) -> xr.Dataset:
    """Make a single level a dimension of the variables that have it."""
    if "level" not in dataset.coords or dataset["level"].ndim:
        return dataset
    raised = {
        name: field.expand_dims("level")
        for name, field in dataset.data_vars.items()
        if "lat" in field.dims and "lon" in field.dims
    }
    attrs, level = dict(dataset["level"].attrs), np.atleast_1d(dataset["level"].values)
    dataset = dataset.drop_vars("level").assign(raised)
    return dataset.assign_coords(level=("level", level, attrs))


def has_members(dataset: xr.Dataset) -> bool:
    """Whether a file tells members apart, along a dimension or by a coordinate."""
    names = {str(name).lower() for name in (*dataset.dims, *dataset.coords)}
    stated = {str(one.attrs.get("standard_name", "")) for one in dataset.coords.values()}
    return "realization" in stated or not names.isdisjoint(_NAMES[MEMBER])


def _choose_member(dataset: xr.Dataset, path: str, member: str | int | None) -> xr.Dataset:
    """Take one member by its label, a number or a name such as ``r1i1p1f1``."""
    if MEMBER not in dataset.dims:
        return dataset
    size = dataset.sizes[MEMBER]
    if MEMBER not in dataset.coords:
        dataset = dataset.assign_coords({MEMBER: np.arange(size)})
    labels = [_plain(n) for n in dataset[MEMBER].values]
    there = labels[0] if size == 1 else f"{labels[0]} to {labels[-1]}"
    if size > 1 and member is None:
        raise InputError(
            f"{path}: {size} ensemble members; choose one with --member LABEL ({there})"
        )
    if member is not None and str(member) not in labels:
        raise InputError(f"{path}: has no member {member}; it has {there}")
    index = labels.index(str(member)) if member is not None else 0
    return dataset.isel({MEMBER: index}, drop=True)


def _plain(label: Any) -> str:
    """A member's label as a user writes it: 3 for 3.0, text without padding."""
    if isinstance(label, bytes):
        return label.decode(errors="replace").strip()
    if isinstance(label, (int, np.integer)) or not isinstance(label, (float, np.floating)):
        return str(label).strip()
    return f"{label:g}"


def _merge_expver(dataset: xr.Dataset) -> xr.Dataset:
    """ERA5 with its preliminary months: two versions along a dimension, each missing in turn."""
    if "expver" not in dataset.dims:
        return dataset
    dataset = dataset.chunk({"time": 16} if "time" in dataset.dims else {})
    parts = [dataset.isel(expver=i, drop=True) for i in range(dataset.sizes["expver"])]
    for other in parts[1:]:
        parts[0] = parts[0].combine_first(other)
    return parts[0]


def _with_time(dataset: xr.Dataset, path: str) -> xr.Dataset:
    if "time" not in dataset.variables:
        if "month" in dataset.dims:
            raise InputError(
                f"{path}: months of a climatology (dimension month), not times; give files whose "
                "time axis holds dates"
            )
        raise InputError(f"{path}: no time; give it a coordinate 'time' that holds dates")
    if "time" not in dataset.dims:
        dataset = dataset.assign_coords(time=dataset["time"])
        data = {n: v.expand_dims("time") for n, v in dataset.data_vars.items() if v.ndim >= 2}
        dataset = dataset.drop_vars("time").assign(data).assign_coords(
            time=np.atleast_1d(dataset["time"].values)
        )  # fmt: skip
    if dataset.sizes["time"] == 0:
        raise InputError(f"{path}: no times in it; give a file that holds some")
    return dataset


def _order_lat(dataset: xr.Dataset, path: str) -> xr.Dataset:
    lat = _numbers(dataset, "lat", path)
    if np.abs(lat).max() > 90.0 + 1e-3:
        raise InputError(f"{path}: latitudes beyond 90 degrees; give degrees north")
    lat = np.clip(lat, -90.0, 90.0)
    order = np.argsort(lat, kind="stable")
    if (np.diff(lat[order]) <= 0).any():
        raise InputError(f"{path}: latitudes repeat; leave the copies out")
    return _taken(dataset.assign_coords(lat=("lat", lat)), "lat", order)


def _order_lon(dataset: xr.Dataset, path: str) -> xr.Dataset:
    lon = np.round(_numbers(dataset, "lon", path), 6) % 360.0
    order = np.argsort(lon, kind="stable")
    sorted_lon = lon[order]
    # The first meridian again at the end of a row, as plotting programs like it.
    keep = np.concatenate([[True], np.diff(sorted_lon) > 1e-4])
    order, sorted_lon = order[keep], sorted_lon[keep]
    if len(lon) - len(order) > 1:
        raise InputError(f"{path}: longitudes repeat; leave the copies out")
    # A region may lie across Greenwich: begin after the widest gap.
    gaps = np.diff(np.append(sorted_lon, sorted_lon[0] + 360.0))
    cut = int(gaps.argmax()) + 1
    if cut < len(order) and gaps.max() > 1.5 * np.median(gaps):
        order = np.roll(order, -cut)
        sorted_lon = np.concatenate([sorted_lon[cut:], sorted_lon[:cut] + 360.0])
    dataset = _taken(dataset, "lon", order)
    return dataset.assign_coords(lon=("lon", sorted_lon))


def _numbers(dataset: xr.Dataset, name: str, path: str) -> NDArray[np.float64]:
    if name not in dataset.coords:
        raise InputError(f"{path}: dimension {name} has no values; add the coordinate")
    values = np.asarray(dataset[name].values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {name} holds missing values; repair the coordinate")
    if normal_units(str(dataset[name].attrs.get("units", ""))) in ("rad", "radian", "radians"):
        values = np.degrees(values)
    return values


def _taken(dataset: xr.Dataset, name: str, order: NDArray[np.int64]) -> xr.Dataset:
    if np.array_equal(order, np.arange(dataset.sizes[name])):
        return dataset
    if np.array_equal(order, np.arange(dataset.sizes[name])[::-1]):
        return dataset.isel({name: slice(None, None, -1)})
    return dataset.isel({name: order})

"""An ensemble of fields as the report sees it, wherever it came from.

A forecast has an initial time, members and leads; an analysis or reanalysis has times and perhaps
members. Both become ``(init, member, lead, lat, lon)``: for an analysis there is one init, its
first time, and the leads count from there. Latitudes ascend, longitudes ascend without a jump.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, MissingExtra, reading
from sciddiff.files import regular
from weather.assimilation.operator import is_global
from weather.data.channels import (
    Channel,
    Variable,
    channel,
    find_by_alias,
    find_by_standard_name,
)
from weather.data.integrity import quietly
from weather.data.levels import held_levels, pressure_levels
from weather.data.opening import is_grib, is_zarr, open_grib
from weather.data.units import Conversion, conversion
from weather.report.dates import dates_of, days_between, days_of, later
from weather.report.parts import join_parts
from weather.report.units import Display, display_of, find_name
from weather.verification.ensembles import open_forecast

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Ensemble", "open_ensemble", "when"]

_DIMS = {
    "member": ("number", "member", "realization", "ensemble", "ens"),
    "lead": ("prediction_timedelta", "lead", "step", "lead_time", "leadtime", "fhour"),
    "init": ("init", "start", "init_time", "forecast_reference_time", "time"),
    "lat": ("latitude", "lat", "y"),
    "lon": ("longitude", "lon", "x"),
    "level": ("level", "plev", "isobaricInhPa", "pressure_level", "pressure"),
}
_ORDER = ("init", "member", "lead", "lat", "lon")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@final
@dataclass(frozen=True, eq=False)
class Ensemble:
    """Fields of one source.

    Attributes:
        source: Where they came from.
        kind: ``"forecast"`` or ``"analysis"``.
        data: Variables with dimensions init, member, lead, lat, lon (and level).
        lat: Degrees north, ascending, ``[H]``.
        lon: Degrees east, ascending, ``[W]``.
        leads: Days after the initial time, ``[L]``.
        inits: Initial times, dates of any calendar (or numpy's), ``[N]``.
        channels: What is in the file, by name.
        names: For each channel the name in the file, and the position among its levels or None.
        attributes: Global attributes of the file.
        notes: What the files of a folder do not share and is left out.
    """

    source: str
    kind: str
    data: xr.Dataset
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    leads: NDArray[np.float64]
    inits: Sequence[Any]
    channels: Mapping[str, Channel]
    names: Mapping[str, tuple[str, int | None]]
    attributes: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def members(self) -> int:
        """Number of members."""
        return self.data.sizes["member"]

    @property
    def planet(self) -> str:
        """Which planet the fields are of; empty for the Earth."""
        name = str(self.attributes.get("planet", ""))
        return "" if name.lower() == "earth" else name

    @property
    def around(self) -> bool:
        """Whether the grid goes round the globe."""
        return is_global(self.lon)

    @cached_property
    def shown(self) -> dict[str, Display]:
        """How each variable is shown, wind speeds included."""
        result = {}
        for name, (variable, _) in self.names.items():
            source = str(self.data[variable].attrs.get("units", ""))
            one = self.channels[name]
            result[name] = display_of(one, source, conversion(source, one.units) or Conversion())
        for name in list(result):
            pair = _partner(name)
            if pair is not None and pair in result:
                result[f"wind{name[1:]}"] = self._speed(name, result[name])
        return result

    def _speed(self, eastward: str, component: Display) -> Display:
        level = eastward[1:]
        height = "10 m" if level == "10" else level.replace("hPa", "") + " hPa" if level else ""
        label = f"{height} wind speed".strip().capitalize().replace("hpa", "hPa")
        return Display(f"wind{level}", label, component.units, 1.0, 0.0, component.file_units)

    def read(self, name: str, init: int, lead: int) -> NDArray[np.float32]:
        """One variable at one lead in shown units, ``[M, H, W]``.

        Raises:
            InputError: No such variable.
        """
        name = find_name(name, self.shown)
        if name not in self.names:
            level = name.removeprefix("wind")
            return np.hypot(self.read(f"u{level}", init, lead), self.read(f"v{level}", init, lead))
        variable, level = self.names[name]
        chosen = self.data[variable].isel(init=init, lead=lead)
        if level is not None:
            chosen = chosen.isel(level=level)
        display = self.shown[name]
        with reading(f"{self.source}: {variable}"):
            values = np.asarray(chosen.transpose("member", "lat", "lon").values, dtype=np.float32)
        return values * np.float32(display.scale) + np.float32(display.offset)

    def valid(self, init: int, lead: int) -> Any:
        """The time that a lead is valid at."""
        return later(self.inits[init], float(self.leads[lead]))


def open_ensemble(path: Path, select: Mapping[str, int] | None = None) -> Ensemble:
    """Open a forecast, an analysis or a reanalysis: Zarr, NetCDF or GRIB.

    Args:
        path: The file or Zarr folder, or a folder with forecasts from several initial times.
        select: Positions along dimensions the report does not know.

    Raises:
        InputError: It cannot be read, or holds no fields on a latitude-longitude grid; the
            forecasts of a folder do not belong together.
        MissingExtra: The package that reads it is not installed.
    """
    files, notes = _files(path)
    if len(files) == 1:
        data, kind = _named(files[0], select or {})
    else:
        kind, parts = "forecast", []
        for file in files:
            part, _ = _named(file, select or {})
            part = _alike(part, file)
            lead = part["lead"]
            units = str(lead.attrs.get("units", "days")).rstrip("s") or "s"
            parts.append((file, part, days_of(np.atleast_1d(lead.values), units)))
        data = join_parts(parts, path)
    lat, lon, data = _ordered(data, path)
    leads, inits, data = _times(data, kind)
    extra = [name for name in ("init", "member", "lead") if name not in data.dims]
    data = data.expand_dims(extra) if extra else data
    names, channels = _names(data)
    if not names:
        known = {*_ORDER, "level"}
        others = {str(n): size for n, size in data.sizes.items() if n not in known}
        remedy = "give a file with fields on a grid"
        if others:
            fix = " ".join(f"--select {name}=0" for name in others)
            remedy = f"choose a position along {', '.join(others)}, as in {fix}"
        raise InputError(f"{path}: no field on latitude and longitude alone; {remedy}")
    return Ensemble(
        path.name, kind, data, lat, lon, leads, inits, channels, names, dict(data.attrs), notes
    )


def _files(path: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files that a path stands for, and what is left out of those of a folder."""
    if not path.is_dir() or is_zarr(path):
        return (path,), ()
    found = open_forecast(path)
    return found.files, tuple(getattr(found, "notes", ()))


def _alike(part: xr.Dataset, path: Path) -> xr.Dataset:
    """A part of a folder as the others: from the south and west, fields by their channels."""
    lat, lon, part = _ordered(part, path)
    part = part.assign_coords(lat=lat, lon=lon)
    found, channels = _names(part)
    plain = {
        variable: name
        for name, (variable, level) in found.items()
        if level is None and part[variable].attrs.get("units") == channels[name].units
    }
    return part.rename({v: n for v, n in plain.items() if v != n and n not in part.variables})


def _named(path: Path, select: Mapping[str, int]) -> tuple[xr.Dataset, str]:
    """Fields of one file under our names of dimensions, and what kind they are."""
    data = _split_channels(_open(path))
    for name, position in select.items():
        if name not in data.dims or not 0 <= position < data.sizes[name]:
            raise InputError(
                f"--select {name}={position}: {path.name} has {_sizes(data)}; choose from these"
            )
        data = data.isel({name: position})
    return _rename(data, path)


def when(date: Any, year: bool = True) -> str:
    """A date as people write it: ``8 Oct 2001 00 UTC``; for a lead without date, days."""
    if isinstance(date, int | float | np.number):
        return f"day {float(date):g}"
    if isinstance(date, np.datetime64):
        date = date.astype("datetime64[s]").astype(dt.datetime)
    text = f"{date.day} {_MONTHS[date.month - 1]}"
    clock = f"{date.hour:02d}" if date.minute == 0 else f"{date.hour:02d}:{date.minute:02d}"
    return f"{text} {date.year:04d} {clock} UTC" if year else f"{text} {clock}"


def _open(path: Path) -> xr.Dataset:
    import xarray

    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    decode: Any = {"decode_timedelta": False}
    try:
        with quietly():
            if path.is_dir():
                return xarray.open_zarr(path, **decode, chunks=None)
            regular(path)
            if is_grib(path):
                return open_grib(path)
            return xarray.open_dataset(path, engine="netcdf4", **decode)
    except InputError:
        raise
    except ImportError as error:
        package = error.name or ("zarr" if path.is_dir() else "netCDF4")
        raise MissingExtra(package, "weather") from error
    except Exception as error:  # each backend fails in its own ways
        if "cfgrib" in str(error):
            raise MissingExtra("cfgrib", "grib") from error
        remedy = "give a forecast, or a CF NetCDF file"
        with reading(path, "a Zarr store or a NetCDF file", remedy):
            raise


def _split_channels(data: xr.Dataset) -> xr.Dataset:
    """A prepared store keeps all variables in one array; give each its own."""
    if "fields" not in data or "channel" not in data["fields"].dims:
        return data
    fields, result = data["fields"], {}
    for i, name in enumerate(np.asarray(data["channel"].values).tolist()):
        one = fields.isel(channel=i, drop=True)
        for key in ("units", "standard_name", "long_name"):
            if key in data:
                one.attrs[key] = str(data[key].values[i])
        result[str(name)] = one
    return data.drop_dims("channel").assign(result)


def _rename(data: xr.Dataset, path: Path) -> tuple[xr.Dataset, str]:
    names = {}
    for ours, theirs in _DIMS.items():
        found = next((n for n in theirs if n in data.dims), None)
        if found is None:
            found = next((n for n in theirs if n in data.coords and n != "number"), None)
        if found is not None:
            names[found] = ours
    kind = "forecast" if "lead" in names.values() else "analysis"
    if kind == "analysis" and "init" in names.values():
        time = next(n for n, ours in names.items() if ours == "init")
        names[time] = "lead"
    renamed = data.rename({a: b for a, b in names.items() if a != b and b not in data.variables})
    missing = [word for word in ("lat", "lon") if word not in renamed.dims]
    if missing:
        raise InputError(
            f"{path}: no dimension {' or '.join(missing)}; it has {_sizes(data)}. Give fields on "
            "a latitude-longitude grid"
        )
    return renamed, kind


def _ordered(
    data: xr.Dataset, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], xr.Dataset]:
    lat = np.asarray(data["lat"].values, dtype=np.float64)
    lon = np.asarray(data["lon"].values, dtype=np.float64) % 360.0
    rows, columns = np.argsort(lat, kind="stable"), np.argsort(lon, kind="stable")
    lat, lon = lat[rows], lon[columns]
    if len(lat) < 2 or len(lon) < 2 or (np.diff(lat) == 0).any() or (np.diff(lon) == 0).any():
        raise InputError(f"{path}: latitudes or longitudes repeat; remove the doubled ones")
    gaps = np.append(np.diff(lon), lon[0] + 360.0 - lon[-1])
    if is_global(lon):
        first = int(np.searchsorted(lon, 180.0)) % len(lon)
    else:  # a region begins after the largest gap
        first = (int(np.argmax(gaps)) + 1) % len(lon)
    columns, lon = np.roll(columns, -first), np.roll(lon, -first)
    lon = np.where(lon < lon[0], lon + 360.0, lon)
    lon = lon - 360.0 if lon[0] >= 180.0 else lon
    return lat, lon, data.isel(lat=rows, lon=columns)


def _times(data: xr.Dataset, kind: str) -> tuple[NDArray[np.float64], Sequence[Any], xr.Dataset]:
    if kind == "forecast":
        lead = data["lead"]
        values = np.atleast_1d(np.asarray(lead.values))
        units = str(lead.attrs.get("units", "days")).rstrip("s") or "s"
        inits = dates_of(data["init"]) if "init" in data.variables else [None]
        return days_of(values, units), inits, data
    if "lead" not in data.variables:
        return np.zeros(1), [None], data
    dates = dates_of(data["lead"])
    return np.array([days_between(dates[0], date) for date in dates]), dates[:1], data


def _names(
    data: xr.Dataset,
) -> tuple[dict[str, tuple[str, int | None]], dict[str, Channel]]:
    """Every field of the file by the channel it is, or by its own name if that is unknown."""
    names: dict[str, tuple[str, int | None]] = {}
    channels: dict[str, Channel] = {}
    for variable, array in data.data_vars.items():
        dims = set(array.dims)
        numeric = np.issubdtype(array.dtype, np.number)
        if not (numeric and {"lat", "lon"} <= dims and dims <= {*_ORDER, "level"}):
            continue
        levels: list[Any] = [None]
        held, other = np.ones(data.sizes.get("level", 1), dtype=bool), False
        if "level" in dims or ("level" in data.variables and data["level"].ndim == 0):
            pressures = pressure_levels(data["level"])
            other = isinstance(pressures, str)
            values = np.atleast_1d(data["level"].values) if other else pressures
            levels = [_number(value) for value in values]
            if not other:
                held = held_levels(array, np.asarray(values, dtype=np.float64))
        for i, level in enumerate(levels):
            if not held[i]:
                continue
            found = _channel(str(variable), dict(array.attrs), level, other)
            channels[found.name] = found
            names[found.name] = (str(variable), i if "level" in dims else None)
    return names, channels


def _channel(
    variable: str, attributes: Mapping[str, Any], level: Any, other: bool = False
) -> Channel:
    """The channel of a field at a level, which is a pressure unless the axis is some `other`."""
    units = str(attributes.get("units", ""))
    words = str(attributes.get("long_name") or variable).replace("_", " ")
    known = None if other else find_by_alias(variable)
    if known is None and not other and attributes.get("standard_name"):
        standard = str(attributes["standard_name"])
        by_name = find_by_standard_name(standard, upper=level is not None)
        known = None if by_name is None else (by_name, None)
    if known is not None:
        quantity: Variable = known[0]
        named = known[1] if known[1] is not None else level
        fits = not quantity.upper or named is not None
        if fits and conversion(units, quantity.units) is not None:
            return channel(quantity, named if quantity.upper else None)
    name = variable if level is None else f"{variable}{level}"
    words = words if level is None else f"{words} at level {level}"
    return Channel.unknown(name, units, words)


def _number(value: Any) -> Any:
    """A level as it is written: 500 for 500.0; text stays text."""
    if isinstance(value, (float, np.floating)):
        return int(value) if float(value).is_integer() else float(value)
    return value.item() if isinstance(value, np.generic) else value


def _partner(name: str) -> str | None:
    """The other component of a wind, seen from its eastward one."""
    return f"v{name[1:]}" if re.fullmatch(r"u\d*(hPa)?", name) else None


def _sizes(data: xr.Dataset) -> str:
    return ", ".join(f"{name} {size}" for name, size in data.sizes.items())

r"""Raw output of PlaSim as CF NetCDF on pressure levels: what `sciddiff prepare forecast` reads.

    python examples/weather/plasim.py planet/MOST.* -o planet.nc

PlaSim writes Fortran records in pairs, a header of eight integers (code, level, date, time, two
sizes, step, days of a year) and 32-bit values. Temperature, humidity, vorticity, divergence, the
logarithm of surface pressure and orography are spherical harmonics up to T21, real and imaginary
parts in turn, order by order, with the sign of Condon and Shortley (without it, mountains lie half
a turn from the land of the mask); the rest is on the Gaussian grid from north to south. Here they
become fields by the same transform that the networks use.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import cftime
import numpy as np
import torch
import xarray as xr
from pressure import GRAVITY, as_dataset, on_pressure_levels
from torch import Tensor

from weather.sphere.flow import wind
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

OROGRAPHY, TEMPERATURE, HUMIDITY = 129, 130, 133
VORTICITY, LOG_PRESSURE, DIVERGENCE = 138, 152, 155
LARGE_SCALE_RAIN, CONVECTIVE_RAIN, NEAR_SURFACE = 142, 143, 167
HOURS_APART = 6


def records(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Headers `[8]` and values of a file, one after the other."""
    with path.open("rb") as file:
        while (header := _record(file, "<i4")) is not None:
            values = _record(file, "<f4")
            if values is None:
                raise SystemExit(f"{path}: ends in the middle of a record; was the run killed?")
            yield header, values


def _record(file, kind: str) -> np.ndarray | None:
    size = np.fromfile(file, "<i4", 1)
    if not len(size):
        return None
    values = np.fromfile(file, kind, int(size[0]) // 4)
    np.fromfile(file, "<i4", 1)
    return values


def states(path: Path) -> tuple[np.ndarray, dict[tuple[int, ...], dict]]:
    """Edges of the layers `[K]`, and values by time and (code, level)."""
    stream = records(path)
    header, values = next(stream)
    if header[0] != 333:
        raise SystemExit(f"{path}: not raw output of PlaSim")
    found: dict[tuple[int, ...], dict] = {}
    for head, field in stream:
        found.setdefault((int(head[2]), int(head[3])), {})[int(head[0]), int(head[1])] = field
    return values[: header[6]].astype(np.float64), found


class Transform:
    """From PlaSim's coefficients to fields.

    Args:
        degree: Truncation, 21 for T21.
        latitudes: Rows of its grid, 32 for T21.
    """

    def __init__(self, degree: int = 21, latitudes: int = 32) -> None:
        self.grid = Grid("gaussian", latitudes, 2 * latitudes)
        self.harmonics = SphericalHarmonics(self.grid, degree + 1)
        self.degree = degree

    def coefficients(self, raw: np.ndarray) -> Tensor:
        """Our coefficients `[..., L, M]` of raw ones `[..., (T + 1)(T + 2)]`."""
        pairs = np.asarray(raw, dtype=np.float64).reshape(*raw.shape[:-1], -1, 2)
        size = self.degree + 2
        made = np.zeros((*raw.shape[:-1], size, size), dtype=np.complex128)
        at = 0
        for m in range(self.degree + 1):
            count = self.degree + 1 - m
            part = pairs[..., at : at + count, :]
            made[..., m : m + count, m] = part[..., 0] + 1j * part[..., 1]
            at += count
        return torch.from_numpy(made)

    def field(self, raw: np.ndarray) -> np.ndarray:
        """Fields `[..., H, W]`."""
        return self.harmonics.synthesis(self.coefficients(raw)).numpy()

    def wind(self, vorticity: np.ndarray, divergence: np.ndarray) -> tuple[np.ndarray, ...]:
        """u and v `[..., H, W]`."""
        curl, spread = (self.coefficients(x) for x in (vorticity, divergence))
        u, v = wind(self.harmonics, curl, spread)
        return u.numpy(), v.numpy()

    def rows(self, raw: np.ndarray) -> np.ndarray:
        """Values on the grid, from the south `[..., H, W]`."""
        return raw.reshape(*raw.shape[:-1], *self.grid.shape)[..., ::-1, :].astype(np.float64)


def channels(transform: Transform, edges: np.ndarray, found: dict, hours: float) -> dict:
    """The ten fields of one file `[T, H, W]`, by name."""
    times, levels = list(found), range(1, len(edges) + 1)

    def surface(code: int) -> np.ndarray:
        return np.stack([found[time][code, 0] for time in times])

    def upper(code: int) -> np.ndarray:
        return np.stack([[found[time][code, k] for k in levels] for time in times])

    temperature = transform.field(upper(TEMPERATURE))
    humidity = transform.field(upper(HUMIDITY)).clip(0.0)
    u, v = transform.wind(upper(VORTICITY), upper(DIVERGENCE))
    ground = np.exp(transform.field(surface(LOG_PRESSURE)))
    if ground.mean() < 10.0:  # as a share of the mean pressure: older versions
        raise SystemExit("surface pressure: not in Pa; is this output of another version?")
    orography = transform.field(surface(OROGRAPHY)) / GRAVITY
    middles = 0.5 * (edges + np.concatenate([[0.0], edges[:-1]]))
    pressure = middles[None, :, None, None] * ground[:, None]
    column = (temperature, humidity, ground, orography, edges)
    rain = transform.rows(surface(LARGE_SCALE_RAIN) + surface(CONVECTIVE_RAIN))
    return {
        **on_pressure_levels(column, u, v, pressure),
        "tas": transform.rows(surface(NEAR_SURFACE)),
        "tp": 1000.0 * 3600.0 * hours * rain.clip(0.0),
    }


def calendar(stamps: Iterable[tuple[int, ...]]) -> str:
    """PlaSim's years of 365 days have leap days by the Gregorian rule; others have even months."""
    even = any(stamp[0] % 10000 == 230 for stamp in stamps)
    return "360_day" if even else "proleptic_gregorian"


def date(stamp: tuple[int, ...], calendar: str) -> cftime.datetime:
    """Time of a state. The header has the beginning of the step that leads to it."""
    day, clock = stamp
    began = cftime.datetime(day // 10000, day // 100 % 100, day % 100, clock // 100, clock % 100,
                            calendar=calendar)  # fmt: skip
    hours = cftime.date2num(began, "hours since 0001-01-01", calendar)
    later = HOURS_APART * (hours // HOURS_APART + 1)
    return cftime.num2date(later, "hours since 0001-01-01", calendar)


def convert(paths: list[Path]) -> xr.Dataset:
    """Raw files as one data set."""
    transform, fields, times = Transform(), [], []
    for path in paths:
        edges, found = states(path)
        found = {stamp: values for stamp, values in found.items() if (TEMPERATURE, 1) in values}
        named = calendar(found)
        these = [date(stamp, named) for stamp in found]
        hours = (these[1] - these[0]).total_seconds() / 3600 if len(these) > 1 else 24.0
        fields.append(channels(transform, edges, found, hours))
        times += these
    whole = {name: np.concatenate([part[name] for part in fields]) for name in fields[0]}
    return as_dataset(whole, times, transform.grid.lat, transform.grid.lon, "PlaSim T21L10")


def main() -> None:
    """Read raw output, write NetCDF."""
    parser = argparse.ArgumentParser(description="Raw output of PlaSim as CF NetCDF.")
    parser.add_argument("raw", type=Path, nargs="+", help="plasim_output, or MOST.00001 and so on")
    parser.add_argument("-o", "--out", type=Path, required=True, help="NetCDF file to write")
    args = parser.parse_args()
    convert(args.raw).to_netcdf(args.out, engine="netcdf4")
    print(args.out)


if __name__ == "__main__":
    main()

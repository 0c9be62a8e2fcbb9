"""A further run of a simulator beside the first one, so that both can be prepared as one store.

    python examples/weather/further_run.py planet.nc more.nc -o both/ --shift mslp t850
    sciddiff prepare forecast both/ --gaps keep -o data/both.zarr

The first run is labelled so many years later that it follows the further one: its last days stay
those that training holds out. Leap days of the further run are left out, as a calendar without
them has no name for them, and each moves what follows by a year, so that no two days look like
neighbours that are none. Between the runs lies at least most of a year, and windows never cross a
gap.

Runs of one simulator from other seeds may differ in their means by more than years do, by the mass
of the air for example. The table tells every difference in deviations of a year's mean; channels
named by `--shift` are brought to the mean of the first run by adding a constant.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import xarray as xr

CALENDAR, YEAR = "noleap", 365


def read(path: Path) -> xr.Dataset:
    """A file with dates of its own calendar, whatever the year."""
    run = xr.open_dataset(path, decode_times=False)
    about = run["time"].attrs
    dates = cftime.num2date(run["time"].values, about["units"], about.get("calendar", "standard"))
    return run.assign_coords(time=dates)


def without_leap_days(times: Sequence[Any]) -> tuple[np.ndarray, list[cftime.datetime]]:
    """Which times are kept `[T]`, and the labels of those."""
    keep = np.array([(t.month, t.day) != (2, 29) for t in times])
    labels = [
        cftime.datetime(t.year + int(later), t.month, t.day, t.hour, t.minute, calendar=CALENDAR)
        for t, kept, later in zip(times, keep, np.cumsum(~keep), strict=True)
        if kept
    ]
    return keep, labels


def means_of_years(run: xr.Dataset, name: str) -> np.ndarray:
    """Area mean of every whole year, counted back from the end."""
    years = run.sizes["time"] // YEAR
    if years < 1:
        raise SystemExit(f"{name}: a run of {run.sizes['time']} days; a mean needs a year")
    field = run[name].isel(time=slice(-YEAR * years, None))
    area = np.cos(np.radians(run["lat"]))
    return field.weighted(area).mean(("lat", "lon")).values.reshape(years, YEAR).mean(1)


def joined(
    first: xr.Dataset, more: xr.Dataset, shift: Sequence[str]
) -> tuple[xr.Dataset, xr.Dataset, list[str]]:
    """Both runs as they are prepared together, and a line for every channel.

    Args:
        first: Daily, of whole years at least one.
        more: Of the same channels and grid, without its spin-up.
        shift: Channels that are brought to the mean of the first run.
    """
    keep, labels = without_leap_days(more["time"].values)
    more = more.isel(time=np.flatnonzero(keep)).assign_coords(time=labels)
    times = first["time"].values
    later = max(0, labels[-1].year + 2 - times[0].year)
    moved = [
        cftime.datetime(t.year + later, t.month, t.day, t.hour, t.minute, calendar=CALENDAR)
        for t in times
    ]
    lines = []
    for name in more.data_vars:
        one, other = means_of_years(first, str(name)), means_of_years(more, str(name))
        gap = float(one.mean() - other.mean())
        error = float(one.std(ddof=1)) * (1 / len(one) + 1 / len(other)) ** 0.5
        lines.append(
            f"{name}: {one.mean():.6g}, further {other.mean():.6g}, apart {gap:.3g} "
            f"({gap / error:+.1f} errors){', shifted' if name in shift else ''}"
        )
        if name in shift:
            values = (more[name] + gap).astype(np.float32)
            more[name] = values.assign_attrs(more[name].attrs)
    return first.assign_coords(time=moved), more, lines


def main() -> None:
    """Read both, write both."""
    parser = argparse.ArgumentParser(description="A further run of a simulator beside the first.")
    parser.add_argument("first", type=Path, help="first run, in a calendar without leap days")
    parser.add_argument("more", type=Path, help="further run, without its spin-up")
    parser.add_argument("--shift", nargs="*", default=[], metavar="CHANNEL")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for both")
    args = parser.parse_args()
    first, more, lines = joined(read(args.first), read(args.more), args.shift)
    args.out.mkdir(parents=True, exist_ok=True)
    first.to_netcdf(args.out / "first.nc", engine="netcdf4")
    more.to_netcdf(args.out / "further.nc", engine="netcdf4")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

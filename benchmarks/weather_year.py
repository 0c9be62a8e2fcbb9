"""A year of a forecast model as a world of its own: what drifts against the training climatology.

    sciddiff forecast CONTROL.nc --start 0001-10-08 --days 365 --members 4 -o year.zarr
    python benchmarks/weather_year.py year.zarr --train TRAIN.nc --truth CONTROL.nc

For each quarter of the forecast and each channel: how far the area mean of a day is from that of
its season, in standard deviations of the training days (mean, and share of days within two); and
the power of departures from the season over that of the training days of the same quarter, in
bands of total wavenumber. `--truth` adds the same figures of a year that the simulator made, which
no perfect forecast could be told from. All files are daily fields on one Gaussian grid.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from sciddiff.cli.output import as_table
from weather.data.seasons import annual_waves
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics
from weather.sphere.spectra import power_spectrum

BANDS = {"1-3": (1, 4), "4-8": (4, 9), "9-20": (9, 21)}
QUARTERS = 4


class Climate:
    """Seasonal mean of one channel at every point, and what is usual around it.

    Args:
        fields: Training days ``[n, H, W]``.
        days: Their days of the year ``[n]``, from 0.
        harmonics: The transform of the grid.
    """

    def __init__(
        self, fields: np.ndarray, days: np.ndarray, harmonics: SphericalHarmonics
    ) -> None:
        self.harmonics = harmonics
        waves = annual_waves(days, 3)
        fit = np.linalg.lstsq(waves, fields.reshape(len(fields), -1), rcond=None)[0]
        self._fit = fit.reshape(-1, *fields.shape[1:])
        anomalies = self.anomalies(fields, days)
        self.deviation = float(self.area_mean(anomalies).std())
        quarters = days.astype(int) * QUARTERS // 365
        self.power = np.stack([self.bands(anomalies[quarters == q]) for q in range(QUARTERS)])

    def anomalies(self, fields: np.ndarray, days: np.ndarray) -> np.ndarray:
        """Departures from the season, ``[n, H, W]``."""
        return fields - np.tensordot(annual_waves(days, 3), self._fit, 1)

    def area_mean(self, fields: np.ndarray) -> np.ndarray:
        """Area means ``[n]``."""
        weights = self.harmonics.grid.weights
        return fields.mean(-1) @ (weights / weights.sum())

    def bands(self, anomalies: np.ndarray) -> np.ndarray:
        """Mean power in each band, and of all degrees above 0."""
        power = power_spectrum(torch.from_numpy(anomalies).float(), self.harmonics).mean(0).numpy()
        return np.array([*(power[a:b].sum() for a, b in BANDS.values()), power[1:].sum()])

    def judge(self, fields: np.ndarray, days: np.ndarray) -> dict[str, Any]:
        """Figures of some days in a row."""
        anomalies = self.anomalies(fields, days)
        away = self.area_mean(anomalies) / self.deviation
        quarters = days.astype(int) * QUARTERS // 365
        usual = np.mean([self.power[q] for q in quarters], 0)
        ratios = zip([*BANDS, "all"], self.bands(anomalies) / usual, strict=True)
        powers = {f"power {name}": float(ratio) for name, ratio in ratios}
        within = float((np.abs(away) < 2).mean())
        return {"away": float(away.mean()), "within two": within, **powers}


def runs(path: Path) -> Iterator[tuple[str, xr.Dataset]]:
    """Series of a file ``(time, lat, lon)``: each member of a forecast, or the one it is."""
    data = xr.open_zarr(path) if path.suffix == ".zarr" else xr.open_dataset(path)
    if "prediction_timedelta" not in data.dims:
        yield path.name, data
        return
    start, leads = data.time.values[0], data.prediction_timedelta.dt.days.values
    data = data.isel(time=0, drop=True).rename(
        prediction_timedelta="time", latitude="lat", longitude="lon"
    )
    for k in data.number.values:
        yield f"member {k}", data.sel(number=k).assign_coords(time=start + _days(leads))


def _days(leads: np.ndarray) -> np.ndarray:
    from datetime import timedelta

    return np.array([timedelta(days=int(n)) for n in leads], dtype=object)


def day_of_year(data: xr.Dataset) -> np.ndarray:
    """Days of the year ``[n]``, from 0."""
    return data.time.dt.dayofyear.values.astype(float) - 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("forecast", type=Path)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="a year of the simulator")
    parser.add_argument("--json", type=Path, help="file for every figure")
    args = parser.parse_args()
    torch.set_num_threads(1)
    train = xr.open_dataset(args.train)
    harmonics = SphericalHarmonics(Grid.detect(train.lat.values, train.lon.values))
    series = [("forecast", one) for _, one in runs(args.forecast)]
    first, length = series[0][1].time.values[0], series[0][1].sizes["time"]
    if args.truth is not None:
        truth = xr.open_dataset(args.truth)
        series.append(("simulator", truth.sel(time=slice(first, None)).isel(time=slice(length))))
    found: list[dict[str, Any]] = []
    names = [name for name in series[0][1].data_vars if name in train]
    for name in names:
        learned = train[name].transpose("time", "lat", "lon").sortby("lat").values
        climate = Climate(learned, day_of_year(train), harmonics)
        for kind, data in series:
            fields = data[name].transpose("time", "lat", "lon").sortby("lat").values
            days = day_of_year(data)
            for q, part in enumerate(np.array_split(np.arange(len(days)), QUARTERS)):
                figures = climate.judge(fields[part], days[part])
                found.append({"channel": name, "of": kind, "quarter": q + 1, **figures})
        print(as_table(*_table(name, found)), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


def _table(
    name: str, found: list[dict[str, Any]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Means over members, one row a quarter, of one channel."""
    keys = [key for key in found[0] if key not in ("channel", "of", "quarter")]
    parts: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for one in found:
        if one["channel"] == name:
            parts.setdefault((one["of"], one["quarter"]), []).append(one)
    rows = [
        (kind, str(q), *(f"{np.mean([one[key] for one in mine]):.2f}" for key in keys))
        for (kind, q), mine in parts.items()
    ]
    return (name, "quarter", *keys), rows


if __name__ == "__main__":
    main()

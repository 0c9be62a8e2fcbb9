"""Scores as files: a dataset with every axis, a tidy table, and rows for the terminal."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weather.verification.figures import FIGURES, PERFECT, Verification
from weather.verification.instants import DAY

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COLUMNS", "ENERGY_CHANNEL", "rows", "summary_rows", "to_dataset", "write_csv",
    "write_scores",
]  # fmt: skip

COLUMNS = (
    "forecast", "members", "channel", "variable", "level_hPa", "lead_hours", "region", "score",
    "event", "value", "low", "high", "initial_times",
)  # fmt: skip
"""Columns of the tidy table."""

ENERGY_CHANNEL = "all"
"""What the energy score, taken over all channels at once, has in the column of channels."""

_ARRAYS = ("rank_frequency", "spectrum_ratio")
_SUMMARY = ("crps", "skill", "attainable", "rmse", "ssr", "rank_outliers")


def to_dataset(result: Verification) -> xr.Dataset:
    """Everything, by forecast, lead, channel, region, event, rank and wavenumber.

    Each figure has its bounds beside it, ``<figure>_low`` and ``<figure>_high``; ``crps_by_time``
    and its like hold the scores of every initial time.
    """
    import xarray as xr

    fields: dict[str, Any] = {}
    for name, figure in FIGURES.items():
        found = {f: result.estimate(name, f) for f in result.forecasts if result.has(name, f)}
        if not found:
            continue
        for place, suffix in enumerate(("", "_low", "_high")):
            values = _stack([found[f][place] if f in found else None for f in result.forecasts])
            attrs = {"long_name": figure.text}
            fields[name + suffix] = (("forecast", *figure.axes), values, attrs)
    for part in ("crps", "mse", "variance", "energy"):
        axes = ("lead", "region") if part == "energy" else ("lead", "channel", "region")
        each = np.stack([result.tallies[f].by_time(part) for f in result.forecasts])
        fields[f"{part}_by_time"] = (("forecast", "time", *axes), each.astype(np.float32))
    if result.events:
        ones = np.ones((1, len(result.times)))
        tables = [result.mean("reliability", f, ones)[0] for f in result.forecasts]
        fields["reliability"] = (
            ("forecast", "lead", "channel", "region", "event", "hits", "part"),
            _stack(tables, axis=-2).astype(np.float32),
            {"long_name": "weight of forecasts by members with the event, and of the events"},
        )
    coords: dict[str, Any] = {
        "forecast": list(result.forecasts),
        "members": ("forecast", [result.sizes[f] for f in result.forecasts]),
        "time": result.times.dates(),
        "lead": ("lead", result.leads / 3600.0, {"units": "hours", "long_name": "lead time"}),
        "channel": list(result.channels),
        "region": list(result.regions),
    }
    if result.events:
        coords |= {"event": list(result.events), "part": ["forecasts", "events"]}
    attrs = {"title": "forecast verification", "truths": result.truths}
    attrs |= {"notes": "; ".join(result.notes)} if result.notes else {}
    return xr.Dataset(fields, coords, attrs)


def _stack(arrays: Sequence[Any], axis: int = -1) -> Any:
    """Stack arrays whose one axis differs in length, missing ends and arrays as NaN."""
    known = [array for array in arrays if array is not None]
    length = max(array.shape[axis] for array in known)
    out = []
    for array in arrays:
        if array is None:
            array = np.full_like(known[0], np.nan)
        width = [(0, 0)] * array.ndim
        width[axis] = (0, length - array.shape[axis])
        out.append(np.pad(array, width, constant_values=np.nan))
    return np.stack(out)


def rows(result: Verification) -> Iterator[dict[str, Any]]:
    """Every figure that is one number, as rows of the tidy table."""
    for forecast in result.forecasts:
        for name, figure in FIGURES.items():
            if name in _ARRAYS or not result.has(name, forecast):
                continue
            value, low, high = result.estimate(name, forecast)
            for index in np.ndindex(value.shape):
                if math.isfinite(value[index]):
                    at = dict(zip(figure.axes, index, strict=True))
                    numbers = (float(x[index]) for x in (value, low, high))
                    yield _row(result, forecast, name, at, *numbers)


def _row(
    result: Verification, forecast: str, name: str, at: dict[str, int], value: float, low: float,
    high: float,
) -> dict[str, Any]:  # fmt: skip
    channel = result.channels[at["channel"]] if "channel" in at else ENERGY_CHANNEL
    variable, level = _variable(channel)
    cells = (
        forecast, result.sizes[forecast], channel, variable, level,
        float(result.leads[at["lead"]]) / 3600.0, result.regions[at["region"]], name,
        result.events[at["event"]] if "event" in at else "", value, low, high, len(result.times),
    )  # fmt: skip
    return dict(zip(COLUMNS, cells, strict=True))


def _variable(channel: str) -> tuple[str, float | str]:
    from sciddiff.errors import InputError
    from weather.data.channels import parse_channel

    try:
        known = parse_channel(channel)
    except InputError:
        return channel, ""
    return known.variable, "" if known.level_hPa is None else known.level_hPa


def write_csv(result: Verification, path: Path) -> int:
    """Write the tidy table; returns the number of rows."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows(result):
            plain = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow(["" if plain[k] == "nan" else plain[k] for k in COLUMNS])
            count += 1
    return count


def summary_rows(
    result: Verification, leads: Sequence[int] | None = None, region: int = 0
) -> list[dict[str, Any]]:
    """Main figures by channel, forecast and lead, over one region, for people.

    Args:
        result: The scores.
        leads: Indices of leads; default about five, spread over all.
        region: Index of the region.
    """
    if leads is None:
        count = len(result.leads)
        leads = sorted({int(i) for i in np.linspace(0, count - 1, min(5, count)).round()})
    table = []
    for v, channel in enumerate((*result.channels, ENERGY_CHANNEL)):
        energy = channel == ENERGY_CHANNEL
        names = ("energy", "energy_skill", "energy_attainable") if energy else _SUMMARY
        for forecast in result.forecasts:
            known = [n for n in names if result.has(n, forecast)]
            found = {name: result.estimate(name, forecast) for name in known}
            for lead in leads:
                place = (lead, region) if energy else (lead, v, region)
                row: dict[str, Any] = {
                    "channel": channel, "forecast": forecast,
                    "lead_days": float(result.leads[lead]) / DAY,
                }  # fmt: skip
                for name, (value, low, high) in found.items():
                    if math.isfinite(value[place]):
                        row[name] = [float(x[place]) for x in (value, low, high)]
                table.append(row)
    return [row for row in table if len(row) > 3 or row["forecast"] == PERFECT]


def _csv_of(result: Verification) -> Callable[[Path], object]:
    return lambda path: write_csv(result, path)


def write_scores(result: Verification, folder: Path, plots: bool = True) -> list[Path]:
    """Write ``scores.nc``, ``scores.csv`` and the plots into a folder; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset, table = folder / "scores.nc", folder / "scores.csv"
    for path, write in ((dataset, to_dataset(result).to_netcdf), (table, _csv_of(result))):
        # Whole or not at all: an earlier file stays until the new one is complete.
        part = path.with_name(f".{path.name}.part")
        write(part)
        part.replace(path)
    if not plots:
        return [dataset, table]
    from weather.verification.plots import write_plots

    return [dataset, table, *write_plots(result, folder)]

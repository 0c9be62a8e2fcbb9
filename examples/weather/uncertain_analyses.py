"""Analyses that are as uncertain as those from which perturbed forecasts start, for calibration.

    python examples/weather/uncertain_analyses.py year.zarr --archive data/planet.zarr \\
        --model models/planet -o analyses.nc
    sciddiff forecast analyses.nc --start all --model models/planet --members 16 \\
        --calibration none --perturb lagged-difference --archive data/planet.zarr -o past.zarr
    sciddiff calibrate past.zarr year.zarr --attach models/planet -o calibration.json

A simulator's own states have no error, but members perturbed about an analysis are equally likely
truths only where the truth itself lies as far from the analysis as they do. So every initial state
is moved once by the law by which the members are moved later; the year as it was is the truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from sciddiff.weights import describe
from weather.data.store import Store
from weather.forecast.initial import InitialState
from weather.forecast.perturb import LaggedDifference
from weather.forecast.spec import ForecastSpec

APART = 1_000_000
"""Number of the draw: no member of a forecast has it."""

FIRST = 6
"""Place of the first initial time in the store."""


def uncertain(
    store: Store, spec: ForecastSpec, law: LaggedDifference, every: int, leads: int, seed: int = 77
) -> xr.Dataset:
    """The last states up to every so many days, each set perturbed by one draw.

    Args:
        store: A year or more that the model was not trained on.
        spec: Of the model.
        law: Of the perturbations.
        every: Steps from one initial time to the next, more than the frames of the model.
        leads: Steps of the forecasts, for which the store has to reach.
        seed: Of the draws.
    """
    rows, times, fields = store.select(spec.names), [], []
    for last in range(FIRST, len(store) - leads, every):
        at = slice(last + 1 - spec.frames, last + 1)
        frames = torch.from_numpy(np.array(store.read(at.start, at.stop)[:, rows]))
        moved = law(InitialState(store.times[last], frames), [APART], seed)[0]
        times += list(store.times[at])
        fields += list(moved.numpy())
    dims, area = ("time", "lat", "lon"), spec.area
    made = np.stack(fields)
    return xr.Dataset(
        {
            channel.name: (dims, made[:, c], {"units": channel.units})
            for c, channel in enumerate(spec.channels)
        },
        {"time": times, "lat": area.lat, "lon": area.lon},
    )


def main() -> None:
    """Read the store, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path, help="prepared store of what happened")
    parser.add_argument("--archive", type=Path, required=True, help="states of the perturbations")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--amplitude", type=float, default=0.05)
    parser.add_argument("--every", type=int, default=9, help="steps between initial times")
    parser.add_argument("--leads", type=int, default=10, help="steps of the forecasts")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("-o", "--out", type=Path, required=True, help="NetCDF file to write")
    args = parser.parse_args()
    spec = ForecastSpec.from_meta(describe(args.model))
    if args.every <= spec.frames:
        parser.error(f"--every {args.every}: must be more than {spec.frames}, its frames")
    law = LaggedDifference(spec, Store(args.archive), args.amplitude)
    found = uncertain(Store(args.store), spec, law, args.every, args.leads, args.seed)
    found.to_netcdf(args.out, engine="netcdf4")
    print(f"{len(found.time) // spec.frames} initial times in {args.out}")


if __name__ == "__main__":
    main()

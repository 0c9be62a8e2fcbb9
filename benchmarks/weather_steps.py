"""Error of one day's forecast by network calls, for models, samplers and students.

    python benchmarks/weather_steps.py PLANET/plasim_verify_control.nc --starts 4 --members 4

Every row is a model with its way of drawing, written ``MODEL[:CALLS[:SAMPLER]]``; what is left
out is what the model says it is best drawn with. Printed is the fair CRPS of z500, t850, u850 and
mslp, area mean, over that of the first row: the mean of the starts, which lie evenly in the file,
with a 95 % interval by Student's t. All draws share their noise, so that rows differ by the calls
alone. Rows are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from scipy.stats import t as student

from weather.data.times import label
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import InitialState, read_initial
from weather.forecast.solving import SamplingSettings
from weather.sphere.grids import Grid

CHANNELS = ("z500", "t850", "u850", "mslp")
ROWS = [
    "planet_diffusion:20", "planet_diffusion:10", "planet_diffusion:6",
    "planet_diffusion:4:midpoint", "planet_diffusion:2", "planet_diffusion:1", "planet_crps",
]  # fmt: skip


def scores(
    forecaster: Forecaster, initials: list[InitialState], truth: list[torch.Tensor], members: int
) -> np.ndarray:
    """Fair CRPS of the next day, ``[starts, channels]``."""
    spec = forecaster.spec
    weights = torch.from_numpy(Grid.parse(spec.grid).weights.copy()).float()
    found = []
    for initial, wanted in zip(initials, truth, strict=True):
        [drawn] = forecaster.rollout(initial.frames, initial.time, 1, range(members))
        x = drawn[:, [spec.names.index(name) for name in CHANNELS]]
        apart = (x[:, None] - x[None]).abs().sum((0, 1)) / (members * (members - 1))
        field = (x - wanted).abs().mean(0) - 0.5 * apart
        found.append((field.mean(-1) @ (weights / weights.sum())).numpy())
    return np.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("analyses", type=Path, help="daily fields that training has not seen")
    parser.add_argument("--rows", nargs="+", default=ROWS, metavar="MODEL[:CALLS[:SAMPLER]]")
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--members", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = xr.open_dataset(args.analyses)
    chosen = np.linspace(2, data.sizes["time"] - 2, args.starts).astype(int)
    spec = Forecaster(args.rows[0].split(":")[0]).spec
    dates = [label(data.time.values[k]) for k in chosen]
    initials = read_initial([args.analyses], spec, dates)
    truth = [
        torch.from_numpy(np.stack([
            data[name].isel(time=k + 1).transpose("lat", "lon").sortby("lat").values
            for name in CHANNELS
        ])).float()
        for k in chosen
    ]  # fmt: skip
    first = None
    for row in args.rows:
        begun = time.process_time()
        forecaster = _forecaster(row)
        found = scores(forecaster, initials, truth, args.members)
        seconds = (time.process_time() - begun) / (len(initials) * args.members)
        first = found if first is None else first
        ratio = (found / first).mean(1)
        channels = (found / first).mean(0).round(3).tolist()
        error = ratio.std(ddof=1) / np.sqrt(len(ratio))
        half = float(student.ppf(0.975, len(ratio) - 1) * error)
        print(json.dumps({
            "row": row, "calls": forecaster.calls, "cpu_seconds": round(seconds, 3),
            "ratio": round(float(ratio.mean()), 3), "half": round(half, 3),
            "channels": dict(zip(CHANNELS, channels, strict=True)),
        }), flush=True)  # fmt: skip


def _forecaster(row: str) -> Forecaster:
    """The model of a row with its way of drawing."""
    name, *rest = row.split(":")
    if not rest:
        return Forecaster(name)
    return Forecaster(name, sampling=SamplingSettings(int(rest[0]), *rest[1:2]))


if __name__ == "__main__":
    main()

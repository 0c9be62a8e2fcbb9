"""Error of one day's forecast by the number of network calls of the diffusion head.

    python benchmarks/weather_steps.py PLANET/plasim_verify_control.nc --starts 4 --members 4

The fair CRPS of z500, t850, u850 and mslp, area mean, over that of the most calls: the mean of the
starts, which lie evenly in the file, with a 95 % interval by Student's t. The one-step head stands
in the last row. All draws share their noise, so that rows differ by the calls alone. Rows are
printed as JSON.
"""

from __future__ import annotations

import argparse
import json
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
    parser.add_argument("--model", default="planet_diffusion", help="with a diffusion head")
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 2, 4, 8, 20])
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--members", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = xr.open_dataset(args.analyses)
    chosen = np.linspace(2, data.sizes["time"] - 2, args.starts).astype(int)
    forecaster = Forecaster(args.model)
    dates = [label(data.time.values[k]) for k in chosen]
    initials = read_initial([args.analyses], forecaster.spec, dates)
    truth = [
        torch.from_numpy(np.stack([
            data[name].isel(time=k + 1).transpose("lat", "lon").sortby("lat").values
            for name in CHANNELS
        ])).float()
        for k in chosen
    ]  # fmt: skip
    rows = {
        f"{calls} calls": scores(
            Forecaster(args.model, sampling=SamplingSettings(calls)),
            initials, truth, args.members,
        )
        for calls in sorted(args.calls)
    }  # fmt: skip
    most = next(reversed(rows.values()))
    rows["planet_crps, 1 call"] = scores(Forecaster("planet_crps"), initials, truth, args.members)
    for name, found in rows.items():
        ratio = (found / most).mean(1)
        error = ratio.std(ddof=1) / np.sqrt(len(ratio))
        half = float(student.ppf(0.975, len(ratio) - 1) * error)
        print(json.dumps({"row": name, "ratio": round(float(ratio.mean()), 3),
                          "half": round(half, 3)}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

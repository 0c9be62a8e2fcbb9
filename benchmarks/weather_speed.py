"""Simulated days per second of a forecast model, batched over members: the planet in real time.

    python benchmarks/weather_speed.py planet_crps                     # one core of the processor
    python benchmarks/weather_speed.py planet_crps --device cuda:0 --batches 64 256 --days 20

A day of one member counts once, so that eight members that are ten days on are 80 days. Starts
from the means of the training data, which cost what any other state costs; file reading and
writing are not counted. On the processor the time is that of the process (one thread), so that
other programs count little; on a device it is that of the clock, and every case is run in
bfloat16 too. The best of the repeats is taken, after one that is not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext

import cftime
import torch

from weather.forecast.forecaster import Forecaster

AIM = 1000.0
"""Simulated days per second that a GPU is to reach."""


def days_per_second(forecaster: Forecaster, members: int, days: int, repeats: int) -> float:
    """Days that all members together are stepped forward in a second."""
    spec, best = forecaster.spec, math.inf
    mean = torch.tensor(spec.mean, dtype=torch.float32)[:, None, None]
    state = mean.expand(spec.frames, -1, *spec.shape)
    start = cftime.datetime(1, 1, 1, calendar=spec.calendar)
    on_device = forecaster.device.type != "cpu"
    clock = time.perf_counter if on_device else time.process_time
    for repeat in range(repeats + 1):
        began = clock()
        for _ in forecaster.rollout(state, start, days, range(members)):
            pass  # every state is checked for numbers that are not finite, which waits for it
        if repeat:
            best = min(best, clock() - began)
    return members * days * spec.step_hours / 24.0 / best


def rows(
    name: str, device: torch.device, batches: list[int], days: int, repeats: int
) -> Iterator[dict[str, object]]:
    """One row a batch, and one in bfloat16 on a device that is no processor."""
    forecaster = Forecaster(name, device)
    kinds = ("float32",) if device.type == "cpu" else ("float32", "bfloat16")
    for members in batches:
        for kind in kinds:
            low = kind == "bfloat16"
            with torch.autocast(device.type, torch.bfloat16) if low else nullcontext():
                speed = days_per_second(forecaster, members, days, repeats)
            yield {
                "case": f"{name}, {members} members, {kind}", "days per second": round(speed, 1),
                "seconds a year and member": round(365.0 / speed, 3),
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="planet_crps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(args.device)
    for found in rows(args.model, device, args.batches, args.days, args.repeats):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

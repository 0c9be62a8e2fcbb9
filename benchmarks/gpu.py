"""A device against the processor: every case of `device_cases.py`, and the shipped models.

    python benchmarks/gpu.py                      # cuda:0
    python benchmarks/gpu.py --only weather       # simulated days per second alone
    python benchmarks/gpu.py --device cpu --quick # what it does, without a device

Prints one row a case: the largest difference from the processor, and milliseconds a step on both.
For the shipped models also bfloat16 (autocast) and `torch.compile`, and for the weather the
simulated days per second of an ensemble (`weather_speed.py`), of which a thousand are the aim.
Times are medians of repeated runs after one that is not counted; the device is waited for at the
end of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from device_cases import Case, density_cases, learning_cases, sampling_cases
from weather_speed import AIM, rows

import sciddiff
from sciddiff.drawing import draw
from sciddiff.grids import uniform

PARTS = ("cases", "backbone", "weather")
"""Parts of the benchmark, in their order."""


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a run."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def row(
    name: str, case: Case, device: torch.device, steps: int, repeats: int
) -> dict[str, object]:
    """One case on the device and on the processor."""
    cpu = torch.device("cpu")
    difference = float((case(device, steps) - case(cpu, steps)).abs().max())
    mine, theirs = (
        1e3 * seconds(lambda d=d: case(d, steps), d, repeats) / steps for d in (device, cpu)
    )
    return {"case": name, "difference": difference, "device ms": mine, "processor ms": theirs}


def model_rows(device: torch.device, steps: int, repeats: int) -> list[dict[str, object]]:
    """The backbone model: plain, in bfloat16 and compiled, one design and eight at once."""
    rows, wanted = [], {}
    for label in ("processor", "device", "bfloat16", "compiled"):
        place = torch.device("cpu") if label == "processor" else device
        model = sciddiff.load("lite", device=place)
        if label == "compiled":
            model.denoiser.net.compile(dynamic=True)
        drawing = replace(model.domain.drawing(), grid=uniform(steps))
        cast = torch.autocast(place.type, torch.bfloat16) if label == "bfloat16" else nullcontext()
        for count in (1, 8):
            (like,) = model.domain.templates(count, 1, {"length": 100})

            def run(model=model, like=like, drawing=drawing, cast=cast) -> torch.Tensor:  # noqa: ANN001
                with cast:
                    x = draw(model.denoiser, like, drawing, 3)
                return next(iter(x.values())).float().cpu()

            name = f"lite, {count} of 100 residues, {label}"
            found = run()
            wanted.setdefault(count, found)
            rows.append({
                "case": name, "difference": float((found - wanted[count]).abs().max()),
                "ms a step": 1e3 * seconds(run, place, repeats) / steps,
            })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0", help="the device to measure")
    parser.add_argument("--steps", type=int, default=20, help="steps of a sampler")
    parser.add_argument("--repeats", type=int, default=5, help="runs whose median is taken")
    parser.add_argument("--only", choices=PARTS, help="measure this part alone")
    parser.add_argument(
        "--quick", action="store_true", help="three cases, three steps, one run, two members"
    )
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; choose another with --device")
    cases = [*sampling_cases(), *learning_cases(), *density_cases()]
    steps, repeats = (3, 1) if args.quick else (args.steps, args.repeats)
    parts = [args.only] if args.only else list(PARTS)
    if "cases" in parts:
        for name, case in cases[:3] if args.quick else cases:
            print(json.dumps(row(name, case, device, steps, repeats)), flush=True)
    if "backbone" in parts and not args.quick:
        for found in model_rows(device, steps, repeats):
            print(json.dumps(found), flush=True)
    if "weather" in parts:
        members, days = ([2], 1) if args.quick else ([64, 256, 1024], 20)
        for found in rows("planet_crps", device, members, days, repeats):
            print(json.dumps({**found, "aim": AIM}), flush=True)


if __name__ == "__main__":
    main()

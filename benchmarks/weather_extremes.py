"""Probabilities of extremes by cloning and by guiding, against brute force with the same weights.

    python benchmarks/weather_extremes.py planet_crps control.nc --start 0001-10-08 -n 8000

Brute force runs `-n` members; their quantiles are the thresholds of p = 0.1, 0.01 and 0.001, and
the interval of each p is that of the count above it (Clopper and Pearson). Every method then has
`--members` of its own in `--repeats`, of other seeds. It should give a p within that interval, or
at least an interval of its own that meets it, or say that it cannot be trusted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from scipy.stats import beta

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from weather.extremes.index import IndexMeter, parse_index
from weather.extremes.probability import ExtremeSettings, Method, pilot_run, probability, quantile
from weather.extremes.simulation import ForecastProcess
from weather.forecast.forecaster import Forecaster
from weather.forecast.initial import read_initial


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("initial", type=Path)
    parser.add_argument("--start", help="initial time in the file")
    parser.add_argument("--index", default="mean(t850, 40:65,0:40, 2..3)")
    parser.add_argument("-n", type=int, default=8000, help="members of brute force")
    parser.add_argument("--members", type=int, default=500, help="of each estimate")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.01, 0.001],
                        help="probabilities whose thresholds are taken")  # fmt: skip
    parser.add_argument("--methods", nargs="+", default=["smc", "guide"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, help="rows as JSON lines")
    args = parser.parse_args()
    torch.set_num_threads(1)
    forecaster = Forecaster(args.model)
    starts = None if args.start is None else [args.start]
    (initial,) = read_initial([args.initial], forecaster.spec, starts)
    meter = IndexMeter(parse_index(args.index), forecaster.spec)
    simulation = ForecastProcess(
        forecaster, initial.frames, initial.time, meter, args.batch, None, lambda _: None
    )
    began = time.process_time()
    # Twice seeded: the brute force has no draw in common with the pilots of the methods.
    scores = pilot_run(simulation, args.n, args.seed + 1000).scores[-1]
    print(f"{args.index}: {args.n} members in {time.process_time() - began:.0f} s", flush=True)
    for p in args.shares:
        threshold = quantile(scores, 1 - p)
        above = int((scores >= threshold).sum())
        below = args.n - above
        bounds = beta.ppf([0.025, 0.975], [above, above + 1], [below + 1, below])
        low, high = float(bounds[0]), float(bounds[1])
        print(f"p {above / args.n:.2g} [{low:.2g}, {high:.2g}] at {threshold:.6g} {meter.units}",
              flush=True)  # fmt: skip
        for method in args.methods:
            _estimate(args, simulation, method, threshold, (low, high))


def _estimate(
    args: argparse.Namespace,
    simulation: ForecastProcess,
    method: Method,
    threshold: float,
    bounds: tuple[float, float],
) -> None:
    began = time.process_time()
    settings = ExtremeSettings(method, args.members, args.repeats, 64, args.seed)
    found = probability(simulation, threshold, settings).estimate
    low, high = bounds
    inside = low <= found.probability <= high
    meets = found.interval[0] <= high and low <= found.interval[1]
    row = {
        "method": method, "probability": found.probability, "interval": list(found.interval),
        "brute": [low, high], "inside": inside, "meets": meets, "lines": found.lines,
        "trusted": found.trusted, "repeats": list(found.repeats),
        "seconds": time.process_time() - began,
    }  # fmt: skip
    print(f"  {method:5s} {found.probability:.2g} [{found.interval[0]:.2g}, "
          f"{found.interval[1]:.2g}], {found.lines:.0f} lines, {row['seconds']:.0f} s: "
          f"{'inside' if inside else 'OUTSIDE'}, intervals {'meet' if meets else 'DO NOT MEET'}, "
          f"{'trusted' if found.trusted else 'IN DOUBT'}", flush=True)  # fmt: skip
    if args.out:
        with args.out.open("a") as handle:
            handle.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()

"""How often intervals of rare probabilities hold the truth, where it is known.

    python benchmarks/rare_coverage.py [--trials 60]

A normal AR(1) process that starts at 0; the event is that its mean over the last days of 3 or 10
reaches a threshold whose probability p is known. A pilot of 64 chooses the tilts, as in `sciddiff
extremes`, and ten repeats of N particles give an estimate and its interval. Each row tells the
error of the estimate over p, how often the interval holds p, how often Student's interval of the
repeats' mean (control) would, and both for the estimates that are trusted and those in doubt.
"""

from __future__ import annotations

import argparse
import math
from statistics import NormalDist

import torch
from scipy.stats import t as student

from sciddiff.rare_estimates import Estimate
from sciddiff.rare_events import Process, clone_particles, estimate
from sciddiff.streams import Streams
from weather.extremes.probability import Pilot

MEMORY, REPEATS = 0.7, 10
State = dict[str, torch.Tensor]


def process(days: int, first: int, seen: list[torch.Tensor] | None = None) -> Process[State]:
    """The process whose score is the mean from day `first` on, foretold by the present."""
    width = days - first + 1

    def start(streams: Streams) -> State:
        x = torch.zeros(len(streams.indices), dtype=torch.float64)
        return {"x": x, "sum": x.clone()}

    def step(state: State, number: int, streams: Streams) -> State:
        x = MEMORY * state["x"] + streams.normal(state["x"])
        return {"x": x, "sum": state["sum"] + (x if number + 1 >= first else 0.0)}

    def score(state: State, number: int) -> torch.Tensor:
        left = days - max(number, first - 1)
        found = (state["sum"] + left * state["x"]) / width
        if seen is not None:
            seen.append(found)
        return found

    return Process(days, start, step, score)


def deviation(days: int, first: int) -> float:
    """Of the score at the end."""
    return math.sqrt(sum(
        (sum(MEMORY ** (n - t) for n in range(max(first, t), days + 1)) / (days - first + 1)) ** 2
        for t in range(1, days + 1)
    ))  # fmt: skip


def estimates(days: int, first: int, p: float, size: int, trials: int) -> list[Estimate]:
    """One estimate for each trial."""
    threshold, found = NormalDist(0.0, deviation(days, first)).inv_cdf(1 - p), []
    for trial in range(trials):
        seen: list[torch.Tensor] = []
        clone_particles(process(days, first, seen), 64, 10**6 + trial, 0.0, resample_below=0.0)
        tilts = Pilot(torch.stack(seen)).tilts(threshold)
        one = estimate(process(days, first), threshold, size, trial, tilts, repeats=REPEATS)
        found.append(one)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    reach = float(student.ppf(0.975, REPEATS - 1)) / math.sqrt(REPEATS)
    tally = {True: [0, 0], False: [0, 0]}
    print("days      p    N  rms error  holds p  Student's  trusted  and holds")
    for days, first in ((3, 2), (10, 8)):
        for p in (1e-1, 1e-2, 1e-3):
            for size in (16, 40, 160):
                found = estimates(days, first, p, size, args.trials)
                square = sum((one.probability / p - 1) ** 2 for one in found) / len(found)
                error = math.sqrt(square)
                holds = [one.interval[0] <= p <= one.interval[1] for one in found]
                plain = 0
                for one in found:
                    scatter = float(torch.tensor(one.repeats, dtype=torch.float64).std())
                    plain += abs(one.probability - p) <= reach * scatter
                for one, held in zip(found, holds, strict=True):
                    tally[one.trusted][0] += held
                    tally[one.trusted][1] += 1
                trusted = [h for one, h in zip(found, holds, strict=True) if one.trusted]
                share = f"{sum(trusted) / len(trusted):.2f}" if trusted else "-"
                print(f"{days:4d} {p:6g} {size:4d} {error:10.2f} {sum(holds) / len(holds):8.2f} "
                      f"{plain / len(found):10.2f} {len(trusted) / len(found):8.2f} "
                      f"{share:>10s}", flush=True)  # fmt: skip
    for trusted, (held, count) in tally.items():
        print(f"{'trusted' if trusted else 'in doubt'}: {held} of {count} hold p")


if __name__ == "__main__":
    main()

"""The float32 IGSO(3) score of a million rotations, and of 128, computed or read from a table.

    python benchmarks/igso3_score.py [--sigma-max 1.65] [--repeats 30]

The table has 1000 standard deviations x 1000 angles (those of training programs have 1000 x 1000
to 1000 x 2000 and take minutes to fill) and is read two ways: linear interpolation in the angle,
which takes two gathers, and the nearest entry, which takes one. Both take the nearest standard
deviation. The table is filled with exact values, so its errors are those of reading. One thread.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sciddiff.manifolds import igso3

SIZE = 1000
PIECE = 65536  # the table is read in pieces that stay in the cache, as the score is computed


class Table:
    """Exact scores on a grid of standard deviations (geometric) and angles (uniform)."""

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        ratio = torch.linspace(0, math.log(sigma_max / sigma_min), SIZE, dtype=torch.float64)
        omega = torch.linspace(0, math.pi, SIZE, dtype=torch.float64)
        start = time.thread_time()
        self.values = igso3.score(omega, (sigma_min * ratio.exp())[:, None]).float()
        self.seconds = time.thread_time() - start
        self.sigma_min = sigma_min
        self.scale = (SIZE - 1) / math.log(sigma_max / sigma_min)

    def row(self, sigma: Tensor) -> Tensor:
        """Where the row of each sigma starts."""
        place = (sigma / self.sigma_min).log() * self.scale
        return place.round().long().clamp_(0, SIZE - 1) * SIZE

    def linear(self, omega: Tensor, row: Tensor) -> Tensor:
        """Interpolation in the angle."""
        place = omega * ((SIZE - 1) / math.pi)
        left = place.long().clamp_(max=SIZE - 2)
        first = left + row
        low, high = torch.take(self.values, first), torch.take(self.values, first + 1)
        return torch.lerp(low, high, place - left)

    def nearest(self, omega: Tensor, row: Tensor) -> Tensor:
        """The nearest angle."""
        left = (omega * ((SIZE - 1) / math.pi) + 0.5).long()
        return torch.take(self.values, left + row)

    def read(self, how: str, whole: bool, omega: Tensor, sigma: Tensor) -> Tensor:
        """Read all at once or in pieces."""
        function = getattr(self, how)
        row = self.row(sigma)
        if whole:
            return function(omega, row)
        step = PIECE // (omega.numel() // len(omega))
        return torch.cat(
            [function(omega[k : k + step], row[k : k + step]) for k in range(0, len(omega), step)]
        )


def milliseconds(functions: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Median processor time of each, taken in turns: a busy machine disturbs all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 2):
        for name, function in functions.items():
            start = time.thread_time()
            function()
            times[name].append(1e3 * (time.thread_time() - start))
    return {name: sorted(values[2:])[repeats // 2] for name, values in times.items()}


def main() -> None:
    """Print times, ratios and errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sigma-min", type=float, default=0.1)
    parser.add_argument("--sigma-max", type=float, default=1.65)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    table = Table(options.sigma_min, options.sigma_max)
    print(f"filling the table with the exact kernel: {table.seconds:.2f} s")
    for name, shape in (
        ("one sigma per 1000 rotations", (1000, 1000)),
        ("each its own", (10**6,)),
        ("each its own", (128,)),
    ):
        spread = options.sigma_max - options.sigma_min
        rows = (shape[0], *(1 for _ in shape[1:]))
        sigma = options.sigma_min + spread * torch.rand(rows, generator=generator)
        omega = math.pi * torch.rand(shape, generator=generator)
        functions = {
            "computed": partial(igso3.score, omega, sigma),
            "table, linear": partial(table.read, "linear", True, omega, sigma),
            "table, linear, in pieces": partial(table.read, "linear", False, omega, sigma),
            "table, nearest": partial(table.read, "nearest", True, omega, sigma),
            "table, nearest, in pieces": partial(table.read, "nearest", False, omega, sigma),
        }
        times = milliseconds(functions, options.repeats)
        exact = igso3.score(omega.double(), sigma.double())
        told = f"sigma in [{options.sigma_min}, {options.sigma_max}]"
        print(f"\n{omega.numel():,} rotations, {name}: {told}")
        for label, function in functions.items():
            error = float(((function() - exact).abs() * sigma).max())
            ratio = times[label] / times["computed"]
            print(
                f"  {label:28s} {times[label]:8.3f} ms   {ratio:5.2f} x"
                f"   max |error| sigma {error:.1e}"
            )


if __name__ == "__main__":
    main()

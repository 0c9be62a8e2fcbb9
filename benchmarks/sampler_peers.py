"""What a step costs outside the network, beside a loop by hand and beside azula.

The network multiplies the state by one half, so that all that is measured is the work around it::

    python benchmarks/sampler_peers.py [--steps 50] [--repeats 7]

azula (Rozet) is measured where it is installed; it draws from one global generator, where sciddiff
draws one stream a sample, independent of the batch. Processor time of one thread, best of the
repeats, all in one run: only ratios mean something.

Targets: a velocity network's step within 1.3 of a data network's, a stochastic step within 1.2 of
azula's.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import nn

from sciddiff.denoiser import Denoiser
from sciddiff.grids import uniform
from sciddiff.paths import GaussianPath
from sciddiff.samplers import Ancestral
from sciddiff.sampling import sample
from sciddiff.schedules import VP
from sciddiff.state import Batch

SHAPES = ((64, 2), (8, 80, 3), (64, 64), (16, 3, 32, 32))


class Half(nn.Module):
    """Half the state, whatever that is taken for."""

    def forward(self, x_t, t, batch):
        return {name: 0.5 * x for name, x in x_t.items()}


def by_azula(shape: tuple[int, ...], steps: int) -> Callable[[], object] | None:
    """DDPM of azula; None where it is not installed."""
    try:
        from azula.denoise import Denoiser as Base
        from azula.denoise import DiracPosterior
        from azula.noise import VPSchedule
        from azula.sample import DDPMSampler
    except ImportError:
        return None

    class Halved(Base):
        def __init__(self) -> None:
            super().__init__()
            self.schedule, self.some = VPSchedule(), nn.Parameter(torch.zeros(()))

        def forward(self, x_t, t, **kwargs):
            return DiracPosterior(mean=0.5 * x_t)

    sampler = DDPMSampler(Halved(), steps=steps, silent=True)
    return lambda: sampler(torch.randn(shape))


def by_hand(shape: tuple[int, ...], steps: int) -> Callable[[], object]:
    """Euler's rule for a velocity, as anyone writes it."""

    def run() -> torch.Tensor:
        x, h = torch.randn(shape), 1.0 / steps
        for _ in range(steps):
            x = x + h * (0.5 * x)
        return x

    return run


def ours(
    shape: tuple[int, ...], steps: int, parametrization: str, eta: float
) -> Callable[[], object]:
    """`sample` with one stream a sample."""
    path = GaussianPath(VP(), parametrization=parametrization)
    denoiser, like = Denoiser(Half(), {"x": path}), Batch({"x": torch.zeros(shape)})
    return lambda: sample(denoiser, like, Ancestral(eta), uniform(steps), seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for shape in SHAPES:
        runs = {
            "by hand": by_hand(shape, args.steps),
            "data": ours(shape, args.steps, "data", 0.0),
            "velocity": ours(shape, args.steps, "velocity", 0.0),
            "stochastic": ours(shape, args.steps, "data", 1.0),
            "azula, stochastic": by_azula(shape, args.steps),
        }
        best = dict.fromkeys(runs, math.inf)
        for _ in range(args.repeats):
            for name, run in runs.items():
                if run is not None:
                    start = time.process_time()
                    run()
                    best[name] = min(best[name], time.process_time() - start)
        told = "  ".join(
            f"{name} {1e6 * spent / args.steps:.0f}"
            for name, spent in best.items() if spent < math.inf
        )  # fmt: skip
        ratio = f"velocity / data {best['velocity'] / best['data']:.2f}"
        if best["azula, stochastic"] < math.inf:
            ratio += f"  stochastic / azula {best['stochastic'] / best['azula, stochastic']:.2f}"
        print(f"{shape!s:16} µs a step: {told}; {ratio}")


if __name__ == "__main__":
    main()

"""How much of the sampling time is spent outside the network.

Samples frames (translations and rotations of 100 residues) in 20 steps with a network that only
waits, and compares processor time outside the network with the time it waits::

    python benchmarks/sampler_overhead.py [--residues 100] [--steps 20] [--milliseconds 15]

Processor time, so that other programs on the machine do not count. The target is 3 %.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn

from sciddiff.denoiser import Denoiser
from sciddiff.grids import uniform
from sciddiff.manifolds import SO3, ZeroCenterOfMass
from sciddiff.paths import GaussianPath, GeodesicPath
from sciddiff.samplers import Ancestral, DPMSolverPP, EulerMaruyama, Heun, Sampler
from sciddiff.sampling import sample
from sciddiff.schedules import Linear
from sciddiff.state import Batch, Layout


class Waiting(nn.Module):
    """Predicts the state itself after a wait, and sums the processor time of its calls."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.inside = 0.0

    def forward(self, x_t, t, batch):
        start = time.process_time()
        while time.process_time() - start < self.seconds:
            pass
        self.inside += time.process_time() - start
        return dict(x_t)


def measure(sampler: Sampler, residues: int, steps: int, seconds: float, repeats: int) -> float:
    """Median share of the time outside the network."""
    net = Waiting(seconds)
    paths = {"trans": GaussianPath(Linear(), ZeroCenterOfMass()), "rots": GeodesicPath(SO3())}
    denoiser = Denoiser(net, paths)
    layout = Layout(1, mask=torch.ones(1, residues, dtype=torch.bool))
    like = Batch(
        {"trans": torch.zeros(1, residues, 3), "rots": torch.zeros(1, residues, 3, 3)},
        layouts={"trans": layout, "rots": layout},
    )
    shares = []
    for _ in range(repeats + 1):
        net.inside = 0.0
        start = time.process_time()
        sample(denoiser, like, sampler, uniform(steps), 0)
        total = time.process_time() - start
        shares.append(1.0 - net.inside / total)
    return statistics.median(shares[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--residues", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--milliseconds", type=float, default=15.0, help="of one network call")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for sampler in (
        Ancestral(0.0), Ancestral(1.0), Heun(), DPMSolverPP("2M"), DPMSolverPP("2S"),
        EulerMaruyama(), EulerMaruyama(curved_eta=0.0),
    ):  # fmt: skip
        share = measure(
            sampler, args.residues, args.steps, 1e-3 * args.milliseconds, args.repeats
        )
        print(f"{100 * share:6.2f} %  outside the network  {sampler}")


if __name__ == "__main__":
    main()

"""How much of the sampling time is spent outside the network.

Samples frames (translations and rotations of 100 residues) in 20 steps with a network that does
nothing, and compares the processor time with that of a network of 15 milliseconds a call::

    python benchmarks/sampler_overhead.py [--residues 100] [--steps 20] [--milliseconds 15]

Processor time, so that other programs on the machine do not count. The target is 3 %.
"""

from __future__ import annotations

import argparse
import math
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


class Instant(nn.Module):
    """Predicts the state itself."""

    def forward(self, x_t, t, batch):
        return dict(x_t)


def measure(sampler: Sampler, residues: int, steps: int, seconds: float, repeats: int) -> float:
    """Share of the time outside a network that takes ``seconds`` a call; best of ``repeats``."""
    paths = {"trans": GaussianPath(Linear(), ZeroCenterOfMass()), "rots": GeodesicPath(SO3())}
    denoiser = Denoiser(Instant(), paths)
    layout = Layout(1, mask=torch.ones(1, residues, dtype=torch.bool))
    like = Batch(
        {"trans": torch.zeros(1, residues, 3), "rots": torch.zeros(1, residues, 3, 3)},
        layouts={"trans": layout, "rots": layout},
    )
    outside, calls = math.inf, 1
    for _ in range(repeats + 1):
        start = time.process_time()
        calls = sample(denoiser, like, sampler, uniform(steps), 0).nfe
        outside = min(outside, time.process_time() - start)
    return outside / (outside + calls * seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--residues", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--milliseconds", type=float, default=15.0, help="of one network call")
    parser.add_argument("--repeats", type=int, default=50)
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

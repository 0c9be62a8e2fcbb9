"""What a training step costs beside the ten lines that it replaces.

Trains a small network on points of the plane, once by `sciddiff.training.train` and once by a
plain loop that does the same work (noise, prediction, loss, backward, clipping, fused Adam, two
averages of the weights), and prints the processor time of a step and its ratio::

    python benchmarks/training_overhead.py [--width 256] [--steps 400]

Processor time, so that other programs on the machine do not count. Both loops take turns and the
best of each counts. The target is a ratio of 1.15.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sciddiff.config import Experiment, OptimSettings, TrainerSettings
from sciddiff.domains import Domain
from sciddiff.objectives import Denoising
from sciddiff.paths import GaussianPath
from sciddiff.state import Batch
from sciddiff.training import train


class Net(nn.Module):
    """A multilayer perceptron over points and times."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )  # fmt: skip

    def forward(self, x_t, t, batch):
        return {"x": self.body(torch.cat([x_t["x"], t[:, None]], dim=-1))}


@dataclass
class Points(Domain):
    """The same batch of points for ever: reading data shall cost nothing here."""

    name = "points"
    batch: int = 256

    def path(self):
        return {"x": GaussianPath(parametrization="velocity")}

    def train_batches(self, epoch, seed, rank, world):
        draw = torch.Generator().manual_seed(0)
        points = Batch({"x": torch.randn(self.batch, 2, generator=draw)})
        return (points for _ in range(1000))

    def val_batches(self):
        return ()

    def like(self, request):
        return ()

    def write(self, batch, x, directory):
        return []

    def evaluate(self, directory, reference):
        return {}

    def objective(self):
        return Denoising()


def plain(width: int, steps: int) -> None:
    """The ten lines."""
    torch.manual_seed(0)
    net = Net(width)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    averages = [[p.detach().clone() for p in net.parameters()] for _ in range(2)]
    draw = torch.Generator().manual_seed(0)
    x1 = next(iter(Points().train_batches(0, 0, 0, 1))).x["x"]
    for _ in range(steps):
        x0 = torch.randn(x1.shape, generator=draw)
        t = torch.rand(len(x1), generator=draw)
        x_t = t[:, None] * x1 + (1 - t[:, None]) * x0
        loss = (net({"x": x_t}, t, None)["x"] - (x1 - x0)).square().mean()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        for average in averages:
            torch._foreach_lerp_(average, [p.detach() for p in net.parameters()], 0.01)


def ours(width: int, steps: int) -> None:
    """The same by `train`."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainerSettings(
            max_steps=steps, log_every=100, progress=False, accelerator="cpu"
        )
        train(
            Experiment(
                domain=Points(), net=Net(width), optim=OptimSettings(grad_clip=1.0),
                trainer=settings, out=str(Path(folder)),
            )
        )  # fmt: skip


def per_step(run, width: int, steps: int) -> float:
    """Seconds of processor time of a step, the start of a run taken off."""
    spent = []
    for count in (steps // 10, steps):
        start = time.process_time()
        run(width, count)
        spent.append(time.process_time() - start)
    return (spent[1] - spent[0]) / (steps - steps // 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    best = {"plain": math.inf, "train": math.inf}
    for _ in range(args.repeats):
        for name, run in (("plain", plain), ("train", ours)):
            best[name] = min(best[name], per_step(run, args.width, args.steps))
    for name, seconds in best.items():
        print(f"{1e6 * seconds:8.0f} µs  {name}")
    print(f"{best['train'] / best['plain']:8.2f}  ratio, width {args.width}")


if __name__ == "__main__":
    sys.exit(main())

"""Processor time of one network call on fields of 64 x 32 points, per member.

A step of an ensemble of B members is one call with a batch of B for the one-step head, and as many
calls as the sampler asks for with the diffusion head::

    python benchmarks/weather_nets.py [--grid gaussian-32x64] [--batches 1 8] [--repeats 10]

One thread; processor time, so that other programs on the machine count little; best of the
repeats.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from sciddiff.state import Batch
from sciddiff.streams import Streams, normal
from weather.nets.mesh import MeshTransformer
from weather.nets.sfno import SphericalFNO
from weather.nets.unet import SphericalUNet
from weather.sphere.grids import Grid


def inputs(grid: Grid, size: int):
    """Random fields with two frames of ten channels, and eight forcings."""
    streams = Streams.first(0, size)
    shapes = {"fields": (10,), "history": (2, 10), "forcing": (8,)}
    drawn = {
        name: normal(torch.empty(size, *shape, *grid.shape), streams)
        for name, shape in shapes.items()
    }
    x = {"fields": drawn.pop("fields")}
    return x, torch.full((size,), 0.5), Batch(x, drawn)


def milliseconds(net, grid: Grid, size: int, repeats: int) -> float:
    """Processor time of a call divided by the members in it; best of ``repeats``."""
    arguments = inputs(grid, size)
    best = math.inf
    with torch.inference_mode():
        for _ in range(repeats + 2):
            start = time.process_time()
            net(*arguments)
            best = min(best, time.process_time() - start)
    return 1e3 * best / size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", default="gaussian-32x64")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    grid = Grid.parse(args.grid)
    nets = {
        "SphericalUNet": SphericalUNet(),
        "SphericalFNO": SphericalFNO(grid=args.grid),
        "MeshTransformer": MeshTransformer(grid=args.grid),
    }
    print("network          parameters  " + "  ".join(f"batch {b:<3d}" for b in args.batches))
    for name, net in nets.items():
        times = [milliseconds(net.eval(), grid, b, args.repeats) for b in args.batches]
        count = sum(p.numel() for p in net.parameters())
        print(f"{name:16s} {count:10,d}  " + "  ".join(f"{ms:6.1f} ms" for ms in times))


if __name__ == "__main__":
    main()

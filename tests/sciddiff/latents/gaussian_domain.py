"""Points of six numbers from a normal law of rank three, and a linear codec of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciddiff import Batch, Domain, GaussianPath, ProductPath, State
from sciddiff.codecs import Codec, Encoding

SIZE, RANK = 6, 3
FACTOR = torch.randn(SIZE, RANK, generator=torch.Generator().manual_seed(1)).double()
MEAN = torch.linspace(-1.0, 2.0, SIZE).double()


def covariance(scale: float = 1.0) -> Tensor:
    """Of the data, `[6, 6]`, of rank 3."""
    return scale**2 * FACTOR @ FACTOR.T


class GaussianDomain(Domain):
    """Leaf `x`, `[B, 6]`; `scale` is the unit of the data."""

    name = "gaussian"

    def __init__(self, scale: float = 1.0, batches: int = 16, batch: int = 256) -> None:
        self.scale, self.batches, self.batch = scale, batches, batch

    def path(self) -> ProductPath:
        return ProductPath({"x": GaussianPath(parametrization="velocity")})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        return (self._draw([seed, epoch, k]) for k in range(self.batches)[rank::world])

    def val_batches(self) -> Iterable[Batch]:
        return [self._draw([2**31])]

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        n = int(request.get("n", 10))
        return [Batch({"x": torch.zeros(n, SIZE)}, ids=tuple(f"p{i}" for i in range(n)))]

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        path = directory / "points.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(x["x"].tolist())
        return [path]

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        points = np.loadtxt(directory / "points.csv", delimiter=",")
        return {"covariance": np.cov(points.T).tolist(), "mean": points.mean(0).tolist()}

    def provenance(self) -> dict[str, Any]:
        return {"unit": self.scale}

    def _draw(self, seed: list[int]) -> Batch:
        rng = np.random.default_rng(seed)
        z = torch.from_numpy(rng.standard_normal((self.batch, RANK)))
        points = self.scale * (z @ FACTOR.T + MEAN)
        return Batch({"x": points.float()}, ids=tuple(f"{seed}-{i}" for i in range(self.batch)))


class LinearCodec(Codec):
    """Linear maps to `latents` numbers and back, with one constant in either direction."""

    agrees_on = ("unit",)

    def __init__(self, latents: int = RANK, noisy: bool = True) -> None:
        super().__init__()
        self.latents = {"z": latents}
        self.down, self.up = nn.Linear(SIZE, latents), nn.Linear(latents, SIZE)
        self.log_variance = nn.Parameter(torch.full((latents,), -4.0)) if noisy else None

    def encode(self, batch: Batch) -> dict[str, Encoding]:
        mean = self.down(batch.x["x"])
        log = None if self.log_variance is None else self.log_variance.expand_as(mean)
        return {"z": Encoding(mean, log)}

    def decode(self, latents: State, batch: Batch) -> State:
        return {"x": self.up(latents["z"])}


class Net(nn.Module):
    """Perceptron of any one leaf and three functions of the time."""

    def __init__(self, leaf: str = "z", size: int = RANK, width: int = 64) -> None:
        super().__init__()
        self.leaf = leaf
        self.layers = nn.Sequential(
            nn.Linear(size + 3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, size),
        )  # fmt: skip

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        time = torch.stack([t, torch.cos(3 * t), torch.sin(3 * t)], dim=-1)
        return {self.leaf: self.layers(torch.cat([x_t[self.leaf], time], dim=-1))}

"""Points in the plane from two Gaussians of unequal weight: the smallest complete domain."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciddiff import Batch, Domain, GaussianPath, InputError, ProductPath, State

CENTRES = np.array([[-2.0, 0.0], [2.0, 1.0]])
WEIGHTS = np.array([0.7, 0.3])
SPREAD = 0.5


class MixtureDomain(Domain):
    """Leaf `point`, `[B, 2]`; `size` points are seen in an epoch, `batch` at a time."""

    name = "mixture"

    def __init__(self, size: int = 4096, batch: int = 256) -> None:
        self.size, self.batch = size, batch

    def path(self) -> ProductPath:
        return ProductPath({"point": GaussianPath(parametrization="velocity")})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        numbers = range(self.size // self.batch // world * world)[rank::world]
        return (self._draw(number, [seed, epoch, number]) for number in numbers)

    def val_batches(self) -> Iterable[Batch]:
        return (self._draw(number, [2**31, number]) for number in range(2))

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        n = int(request.get("n", 100))
        if n < 1:
            raise InputError(f"n: {n} is not positive; ask for at least one point")
        ids = tuple(f"point-{i}" for i in range(n))
        return [Batch({"point": torch.zeros(n, 2)}, ids=ids)]

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        path = directory / "points.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("id", "x", "y"), *self._rows(batch, x)])
        return [path]

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        points = np.loadtxt(directory / "points.csv", delimiter=",", skiprows=1, usecols=(1, 2))
        nearest = np.linalg.norm(points[:, None] - CENTRES, axis=-1).argmin(axis=1)
        groups = [points[nearest == k] for k in range(len(CENTRES))]
        return {
            "weights": [len(group) / len(points) for group in groups],
            "means": [group.mean(axis=0).tolist() for group in groups],
            "spreads": [float(group.std(axis=0).mean()) for group in groups],
        }

    def _rows(self, batch: Batch, x: State) -> list[tuple[Any, ...]]:
        return [(i, *p) for i, p in zip(batch.ids, x["point"].tolist(), strict=True)]

    def _draw(self, number: int, seed: list[int]) -> Batch:
        rng = np.random.default_rng(seed)
        centres = CENTRES[rng.choice(len(WEIGHTS), self.batch, p=WEIGHTS)]
        points = centres + SPREAD * rng.standard_normal((self.batch, 2))
        ids = tuple(f"{number}-{i}" for i in range(self.batch))
        return Batch({"point": torch.from_numpy(points).float()}, ids=ids)


class Net(nn.Module):
    """Perceptron of the point and three functions of the time."""

    def __init__(self, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, width), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )  # fmt: skip

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        time = torch.stack([t, torch.cos(3 * t), torch.sin(3 * t)], dim=-1)
        return {"point": self.layers(torch.cat([x_t["point"], time], dim=-1))}

"""A diffusion policy: plans of a point that walks round an obstacle, by either of two ways.

The state of the point is its place in the plane. It starts at the left, the goal is at the right,
and a round obstacle lies between. Experts pass above or below it, each half of the time. The leaf
`actions [B, 16, 2]` holds the next displacements; the condition `seen [B, 4]` the last two places.
A policy draws a plan, carries out its first half, looks again and draws another (Chi et al.,
*Diffusion Policy*, 2023). The mean of both ways leads into the obstacle: a policy has to choose.

    python examples/policy/policy_domain.py models/policy
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciddiff import Batch, Domain, Drawing, GaussianPath, InputError, Model, ProductPath, State
from sciddiff.drawing import draw
from sciddiff.grids import uniform
from sciddiff.samplers import Heun

HORIZON, CARRIED_OUT, STEPS = 16, 8, 48  # of a plan; of it before the next; of an episode
GOAL, RADIUS, REACHED = np.array([1.0, 0.0]), 0.35, 0.15
STEP = 2.4 / STEPS  # what a displacement is measured in


def expert(rng: np.random.Generator, count: int) -> np.ndarray:
    """Walks of experts `[count, STEPS + 1, 2]`, with some unrest."""
    start = np.stack([rng.uniform(-1.1, -0.9, count), rng.uniform(-0.2, 0.2, count)], 1)
    side = np.where(rng.random(count) < 0.5, 1.0, -1.0)
    top = np.stack([rng.uniform(-0.05, 0.05, count), side * rng.uniform(0.55, 0.7, count)], 1)
    # A parabola through start, top and goal, walked in equal shares of its parameter.
    s = np.linspace(0.0, 1.0, STEPS + 1)[None, :, None]
    start, top = start[:, None], top[:, None]
    walk = 2 * (s - 0.5) * (s - 1) * start + 4 * s * (1 - s) * top + 2 * s * (s - 0.5) * GOAL
    unrest = rng.normal(0.0, 0.004, walk.shape).cumsum(1) * np.sin(np.pi * s)
    return walk + unrest


class PolicyDomain(Domain):
    """Plans of experts: `size` windows of their walks an epoch, `batch` at a time."""

    name = "policy"

    def __init__(self, size: int = 16384, batch: int = 256) -> None:
        self.size, self.batch = size, batch

    def path(self) -> ProductPath:
        return ProductPath({"actions": GaussianPath(parametrization="velocity")})

    def drawing(self) -> Drawing:
        """Five steps of Heun's method suffice: plans are made while the point waits."""
        return Drawing(Heun(), uniform(5))

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        numbers = range(self.size // self.batch // world * world)[rank::world]
        return (self._windows([seed, epoch, number]) for number in numbers)

    def val_batches(self) -> Iterable[Batch]:
        return (self._windows([2**31, number]) for number in range(2))

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        x, y = (float(v) for v in str(request.get("at", "-1,0")).split(","))
        n = int(request.get("n", 16))
        if n < 1 or not np.isfinite([x, y]).all():
            raise InputError(f"n {n}, at {x},{y}: ask for at least one plan at a place, at=-1,0")
        return [templates(np.tile([x, y, x, y], (n, 1)))]

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        path = directory / "plans.csv"
        here = batch.cond["seen"][:, 2:].cpu().numpy()
        places = here[:, None] + STEP * x["actions"].cpu().numpy().cumsum(1)
        rows = [
            (name, k, *place)
            for name, plan in zip(batch.ids, places.tolist(), strict=True)
            for k, place in enumerate(plan)
        ]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("plan", "step", "x", "y"), *rows])
        return [path]

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        table = np.loadtxt(directory / "plans.csv", delimiter=",", skiprows=1, usecols=(1, 2, 3))
        plans = table[:, 1:].reshape(-1, HORIZON, 2)
        hit = (np.linalg.norm(plans, axis=-1) < RADIUS).any(1)
        return {"plans": len(plans), "above": float((plans[:, -1, 1] > 0).mean()),
                "into_the_obstacle": float(hit.mean())}  # fmt: skip

    def _windows(self, seed: list[int]) -> Batch:
        rng = np.random.default_rng(seed)
        walks = expert(rng, self.batch)
        walks = np.concatenate([walks, np.repeat(walks[:, -1:], HORIZON, 1)], 1)  # then they rest
        first = rng.integers(0, STEPS, self.batch)
        rows = np.arange(self.batch)
        steps = np.diff(walks, axis=1)[rows[:, None], first[:, None] + np.arange(HORIZON)]
        seen = np.concatenate([walks[rows, np.maximum(first - 1, 0)], walks[rows, first]], 1)
        x = {"actions": torch.from_numpy(steps / STEP).float()}
        return replace(templates(seen), x=x)


def templates(seen: np.ndarray) -> Batch:
    """What is asked for: a plan for each pair of places `[B, 4]`."""
    ids = tuple(f"plan-{i:04d}" for i in range(len(seen)))
    cond = {"seen": torch.from_numpy(np.asarray(seen)).float()}
    return Batch({"actions": torch.zeros(len(seen), HORIZON, 2)}, cond, ids=ids)


class PlanNetwork(nn.Module):
    """A perceptron of the plan, the places that were seen, and functions of the time."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        sizes = [2 * HORIZON + 4 + 3, width, width, width, 2 * HORIZON]
        layers: list[nn.Module] = []
        for a, b in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(a, b), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        clock = torch.stack([t, torch.cos(3 * t), torch.sin(3 * t)], dim=-1)
        seen = batch.cond["seen"]
        out = self.layers(torch.cat([x_t["actions"].flatten(1), seen, clock], dim=-1))
        return {"actions": out.view_as(x_t["actions"])}


def walk(model: Model, starts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, float]:
    """Walk with a policy: the places `[B, STEPS + 1, 2]`, and the seconds of a plan."""
    places, seconds = [starts, starts], []
    while len(places) < STEPS + 2:
        like = templates(np.concatenate(places[-2:], 1))
        began = time.perf_counter()
        # The noise of a plan depends on the walker and on how far it has come.
        plan = draw(model.denoiser, like, model.drawing, seed * STEPS + len(places))
        seconds.append(time.perf_counter() - began)
        for action in plan["actions"].numpy()[:, :CARRIED_OUT].swapaxes(0, 1):
            places.append(places[-1] + STEP * action)
    return np.stack(places[1 : STEPS + 2], 1), float(np.median(seconds))


def judge(walks: np.ndarray) -> dict[str, float]:
    """How many reach the goal and touch no obstacle, and by which way."""
    clear = (np.linalg.norm(walks, axis=-1) >= RADIUS).all(1)
    there = np.linalg.norm(walks[:, -1] - GOAL, axis=-1) <= REACHED
    above = walks[np.arange(len(walks)), np.abs(walks[:, :, 0]).argmin(1), 1] > 0
    return {"success": float((clear & there).mean()), "above": float(above.mean()),
            "touched": float((~clear).mean())}  # fmt: skip


def main() -> None:
    from sciddiff import load

    model = load(sys.argv[1], trust=["policy_domain"])
    rng = np.random.default_rng(1)
    starts = np.stack([rng.uniform(-1.1, -0.9, 200), rng.uniform(-0.2, 0.2, 200)], 1)
    walks, _ = walk(model, starts)
    _, seconds = walk(model, starts[:1])
    print(json.dumps({**judge(walks), "milliseconds_a_plan": round(1000 * seconds, 1)}))


if __name__ == "__main__":
    main()

"""Sampler: from noise to data along a grid of times, one step after another.

A sampler is a frozen dataclass of settings: it holds no state, no grid and no network. The one
loop over steps is `Sampler.__call__`; a sampler adds what happens between two times,
`Sampler.step`, written with two verbs of a `Walk`: *predict* (ask the network) and *move* (bring
every leaf to a later time, each by the rule of its own path; see `sciddiff.samplers.leaves`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.samplers.leaves import AffineLeaf, Fresh, GaussianLeaf, Stage, first_order, leaf_of
from sciddiff.state import Layout, State
from sciddiff.streams import Generator

__all__ = ["AfterStep", "DenoiseFn", "SampleOutput", "Sampler", "Walk", "first_order"]

DenoiseFn = Callable[[State, Tensor], dict[str, Prediction]]
"""``(x_t, t [B]) -> predictions``: a denoiser that knows its batch."""

AfterStep = Callable[[int, float, State, Stage], State]
"""``(steps done, time reached, state, stage the step began with) -> state to go on with``."""


@final
@dataclass(frozen=True)
class SampleOutput:
    """What a sampler returns.

    Attributes:
        x: The state at the last time of the grid.
        trajectory: The states at the times of the grid, the first and the last included; empty
            unless asked for.
        nfe: Network evaluations per sample.
    """

    x: State
    trajectory: tuple[State, ...]
    nfe: int


@final
class Walk:
    """One sampling run: the leaves, the times, the network and the random source.

    Args:
        denoise: The denoiser.
        path: One path per leaf.
        x: The state at the first time.
        grid: Increasing times, ``[n + 1]``.
        generator: Random source; None suffices for deterministic samplers.
        layouts: How the rows of each leaf are grouped; dense where left out.
    """

    def __init__(
        self,
        denoise: DenoiseFn,
        path: ProductPath,
        x: State,
        grid: Tensor,
        generator: Generator | None,
        layouts: Mapping[str, Layout],
    ) -> None:
        self.times = _checked(grid)
        self.leaves = {
            name: leaf_of(name, one, layouts.get(name) or Layout(x[name].shape[0]), generator)
            for name, one in path.paths.items()
        }
        self._denoise = denoise
        some = next(name for name in x if x[name].is_floating_point())
        self._like = x[some].new_empty(self.leaves[some].layout.size)
        self.affine = [leaf for leaf in self.leaves.values() if isinstance(leaf, AffineLeaf)]
        self.prepare(self.times)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.times) - 1

    def prepare(self, times: list[float]) -> None:
        """Evaluate all schedules at these times, at once."""
        for leaf in self.affine:
            leaf.prepare(times)

    def predict(self, x: State, t: float) -> Stage:
        """Ask the network about a state at a time."""
        return Stage(x, self._denoise(x, torch.full_like(self._like, t)), t)

    def move(
        self,
        *stages: Stage,
        s: float,
        weights: Callable[[AffineLeaf], tuple[float, ...]] | None = None,
        fresh: Fresh | None = None,
    ) -> State:
        """Bring every leaf from the time of the first stage to time ``s``.

        Args:
            stages: Where the step starts, then the other times whose predictions it uses.
            s: Where it ends.
            weights: From a leaf to one weight per stage, of sum 1; None: the first stage alone.
            fresh: Fresh noise; None for none.
        """
        weigh = weights or first_order(len(stages))
        return {name: leaf.move(stages, s, weigh, fresh) for name, leaf in self.leaves.items()}

    def transition(self, stage: Stage, s: float, eta: float) -> State:
        """Bring every leaf to time ``s`` by its path's own transition.

        Args:
            stage: Where the step starts.
            s: Where it ends.
            eta: Stochasticity in [0, 1].
        """
        return {name: leaf.transition(stage, s, eta) for name, leaf in self.leaves.items()}

    def log_snr(self, t: float) -> float:
        """Log-SNR of the leaf that names noise levels: the first Gaussian one, else the first.

        Infinite at the ends, and if no leaf has a signal and a noise level.
        """
        gaussian = (leaf for leaf in self.affine if isinstance(leaf, GaussianLeaf))
        leaf = next(gaussian, next(iter(self.affine), None))
        return math.inf if leaf is None else leaf.log_snr(t)

    def time_of(self, log_snr: float, fallback: float) -> float:
        """The time at which the first Gaussian leaf has this log-SNR; else ``fallback``."""
        for leaf in self.affine:
            if isinstance(leaf, GaussianLeaf):
                target = torch.tensor(log_snr, dtype=torch.float64)
                return float(leaf.path.schedule.inverse(target))
        return fallback


class Sampler(ABC):
    """A way to go from one time to the next, for every leaf of a state."""

    @abstractmethod
    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """Go from time ``walk.times[k]`` to the next.

        Args:
            walk: The run.
            k: Number of the step, from 0.
            x: The state at its beginning.
            previous: The stage the previous step began with; None in the first.

        Returns:
            The state at the end of the step and the stage it began with.
        """

    def __call__(
        self,
        denoise: DenoiseFn,
        path: ProductPath,
        x: State,
        grid: Tensor,
        generator: Generator | None = None,
        *,
        layouts: Mapping[str, Layout] | None = None,
        after: AfterStep | None = None,
        keep: bool = False,
    ) -> SampleOutput:
        """Carry a state along a grid of times.

        Most callers want `sciddiff.sampling.sample`, which also makes the first state, holds fixed
        rows and derives one random stream per sample.

        Args:
            denoise: ``(x_t, t [B]) -> predictions``.
            path: One path per leaf.
            x: The state at ``grid[0]``.
            grid: Increasing times in [0, 1], ``[n + 1]``.
            generator: Random source; deterministic samplers need none.
            layouts: How the rows of each leaf are grouped; dense where left out.
            after: Called at the end of each step; what it returns replaces the state.
            keep: Keep the trajectory.

        Raises:
            InputError: The grid is not increasing within [0, 1].
        """
        calls = 0

        def counted(x: State, t: Tensor) -> dict[str, Prediction]:
            nonlocal calls
            calls += 1
            return denoise(x, t)

        walk = Walk(counted, path, x, grid, generator, layouts or {})
        trajectory = [x] if keep else []
        stage: Stage | None = None
        for k in range(walk.steps):
            x, stage = self.step(walk, k, x, stage)
            if after is not None:
                x = after(k + 1, walk.times[k + 1], x, stage)
            if keep:
                trajectory.append(x)
        return SampleOutput(x, tuple(trajectory), calls)


def _checked(grid: Tensor) -> list[float]:
    times = grid.detach().to("cpu", torch.float64).tolist()
    if len(times) < 2 or any(t >= s for t, s in zip(times, times[1:], strict=False)):
        raise InputError("grid: times do not increase; give n + 1 of them from 0 (noise) to 1")
    if times[0] < 0.0 or times[-1] > 1.0:
        raise InputError(f"grid: times from {times[0]} to {times[-1]}; they must lie in [0, 1]")
    return times

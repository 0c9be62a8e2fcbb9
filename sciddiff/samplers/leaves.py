"""One leaf of a state under way: its path, its own time, and its levels looked up once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths.base import Path
from sciddiff.paths.move import NOISE_FREE, FreshNoise, LeafStage, Move, natural_share
from sciddiff.prediction import Prediction
from sciddiff.state import Layout, State
from sciddiff.streams import Generator

__all__ = ["Leaf", "NoiseRule", "Stage", "WeightRule", "first_order"]


@final
@dataclass(frozen=True)
class Stage:
    """What is known at one time of a step.

    Attributes:
        x: The state the network saw.
        predictions: What it said, one prediction per leaf.
        t: The time of the walk.
    """

    x: State
    predictions: dict[str, Prediction]
    t: float


@final
class Leaf:
    """One leaf of a walk.

    A walk has one time; a leaf that keeps its own follows it by the line through the leaf's times
    at the times of the grid. Every method takes times of the walk.

    Args:
        name: Its key in the state.
        path: Its path.
        layout: How its rows are grouped in samples.
        generator: Random source.
        grid: The times of the walk, and the leaf's own at these; None: they are the same.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        layout: Layout,
        generator: Generator | None,
        grid: tuple[list[float], list[float]] | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.layout = layout
        self.generator = generator
        self._grid = grid
        self._levels: dict[float, tuple[float, float]] = {}
        probe = path.levels(torch.tensor([self.time(0.0)], dtype=torch.float64))
        self.levelled = probe is not None

    @property
    def rests(self) -> bool:
        """Whether the leaf keeps one time from beginning to end."""
        return self._grid is not None and self._grid[1][0] == self._grid[1][-1]

    def time(self, t: float) -> float:
        """The leaf's own time at a time of the walk."""
        if self._grid is None:
            return t
        return float(np.interp(t, *self._grid))

    def prepare(self, times: Iterable[float]) -> None:
        """Evaluate the schedule at all times at once; steps then only look numbers up."""
        missing = [t for t in dict.fromkeys(times) if t not in self._levels]
        if not missing or not self.levelled:
            return
        own = torch.tensor([self.time(t) for t in missing], dtype=torch.float64)
        alpha, sigma = self.path.levels(own) or (own, own)
        pairs = zip(alpha.tolist(), sigma.tolist(), strict=True)
        self._levels.update(zip(missing, pairs, strict=True))

    def levels(self, t: float) -> tuple[float, float]:
        """``(alpha, sigma)`` at a time; ``(nan, nan)`` on a path without."""
        if not self.levelled:
            return math.nan, math.nan
        if t not in self._levels:
            self.prepare((t,))
        return self._levels[t]

    def log_snr(self, t: float) -> float:
        """``log(alpha / sigma)``, infinite at the ends."""
        alpha, sigma = self.levels(t)
        if alpha <= 0.0:
            return -math.inf
        return math.inf if self.clean(t) else math.log(alpha / sigma)

    def time_at(self, log_snr: float) -> float | None:
        """The time of the walk at which the leaf has a log-SNR; None if its path cannot tell."""
        own = self.path.time_at(log_snr)
        if own is None or self._grid is None:
            return own
        return float(np.interp(own, self._grid[1], self._grid[0]))

    def clean(self, t: float) -> bool:
        """Whether no noise is left at a time."""
        alpha, sigma = self.levels(t)
        return sigma <= NOISE_FREE * alpha

    def natural_share(self, t: float, s: float) -> float:
        """The share of the noise that can be replaced from ``t`` to ``s``; 1 without levels."""
        return natural_share(self.levels(t), self.levels(s)) if self.levelled else 1.0

    def move(
        self,
        stages: tuple[Stage, ...],
        s: float,
        weights: WeightRule,
        noise: NoiseRule | None,
    ) -> Tensor:
        """The leaf at time ``s``.

        Args:
            stages: Where the step starts, then the other times whose predictions it uses.
            s: Where it ends.
            weights: From a leaf to one weight per stage, of sum 1.
            noise: From a leaf to its fresh noise; None for none.
        """
        move = self.plan(stages, s, weights, noise)
        if move is None:  # it rests, or the first half of the step brought it there already
            return max(stages, key=lambda stage: stage.t).x[self.name]
        return self.path.step(move, self.generator, self.layout)

    def plan(
        self,
        stages: tuple[Stage, ...],
        s: float,
        weights: WeightRule,
        noise: NoiseRule | None,
    ) -> Move | None:
        """How the leaf moves to time ``s``; None if it is there already. See `move`."""
        if self._grid is not None and self.time(stages[0].t) == self.time(s):
            return None
        fresh = None if noise is None else noise(self)
        if self.levelled:
            known = tuple(self._known(stage) for stage in stages)
            return Move(known, self.time(s), weights(self), fresh, self.levels(s))
        latest = max(stages, key=lambda stage: stage.t)
        return None if latest.t >= s else Move((self._known(latest),), self.time(s), (1.0,), fresh)

    def _known(self, stage: Stage) -> LeafStage:
        name = self.name
        return LeafStage(
            stage.x[name], stage.predictions[name], self.time(stage.t), self.levels(stage.t)
        )

    def renoise(self, x: Tensor, t: float, earlier: float, scale: float) -> Tensor:
        """Go back to an ``earlier`` time by adding noise of ``scale`` times the due size.

        Raises:
            InputError: The path cannot.
        """
        start, end = self.levels(t), self.levels(earlier)
        try:
            return self.path.renoise(x, start, end, scale, self.generator, self.layout)
        except InputError as error:
            raise InputError(f"leaf {self.name!r}: {error}") from error


WeightRule = Callable[[Leaf], tuple[float, ...]]
"""From a leaf to one weight per stage, of sum 1."""

NoiseRule = Callable[[Leaf], FreshNoise]
"""From a leaf to the fresh noise of a step."""


def first_order(stages: int) -> WeightRule:
    """Weights that use the first stage alone."""
    weights = (1.0, *(0.0,) * (stages - 1))
    return lambda leaf: weights

"""Sampler: from noise to data along a grid of times, one step after another.

A sampler is a frozen dataclass of settings: it holds no state, no grid and no network. The one
loop over steps is `Sampler.__call__`; a sampler adds what happens between two times,
`Sampler.step`, written with two verbs of a `Walk`: *predict* (ask the network) and *move* (bring
every leaf to a later time, each by the `step` of its own path).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike
from sciddiff.leaf_times import Time
from sciddiff.paths.move import FreshNoise, Move
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.samplers.leaves import Leaf, NoiseRule, Stage, WeightRule, first_order
from sciddiff.state import Batch, Layout, State
from sciddiff.streams import Generator

__all__ = [
    "AfterStep", "DenoiseFn", "Grid", "SampleOutput", "Sampler", "Walk", "first_order", "times_of",
]  # fmt: skip

DenoiseFn = Callable[..., dict[str, Prediction]]
"""``(x, t) -> predictions``: a denoiser that knows its batch, at one time or one by leaf.
Samplers that follow flow maps call it as ``(x, t, until)``."""

Grid = Tensor | Mapping[str, Tensor]
"""Increasing times from noise to data, ``[n + 1]``, for all leaves or for each."""

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
        facts: What the sampler tells beside the state; see `Sampler.facts`.
    """

    x: State
    trajectory: tuple[State, ...]
    nfe: int
    facts: Mapping[str, Tensor] = field(default_factory=dict)


@final
class Walk:
    """One sampling run: the leaves, the times, the network and the random source.

    Args:
        denoise: The denoiser.
        path: One path per leaf.
        x: The state at the first time.
        grid: Increasing times, ``[n + 1]``, or such times for each leaf that keeps its own; these
            must not decrease, and in every step one of them must rise.
        generator: Random source; None suffices for deterministic samplers.
        layouts: How the rows of each leaf are grouped; dense where left out.
        cond: Conditions of the batch, for samplers that read some.
        regroup: Tells the denoiser that its samples are drawn anew; None if it keeps nothing of
            theirs.

    Attributes:
        kept: What a sampler keeps from one step of this run to the next.

    Raises:
        InputError: Times decrease, leave [0, 1], or are not given for every leaf.
    """

    def __init__(
        self,
        denoise: DenoiseFn,
        path: ProductPath,
        x: State,
        grid: Grid,
        generator: Generator | None,
        layouts: Mapping[str, Layout],
        cond: Mapping[str, Any] | None = None,
        regroup: Callable[[Tensor], None] | None = None,
    ) -> None:
        self._regroup = regroup
        self.cond: Mapping[str, Any] = cond or {}
        self.kept: dict[str, Any] = {}
        self.times, own = times_of(grid, path)
        self.leaves = {
            name: Leaf(
                name, one, layouts.get(name) or Layout(x[name].shape[0]), generator,
                None if own is None else (self.times, own[name]),
            )
            for name, one in path.paths.items()
        }  # fmt: skip
        self._denoise = denoise
        self._shared = own is None
        self.levelled = [leaf for leaf in self.leaves.values() if leaf.levelled]
        moving = [leaf for leaf in self.levelled if not leaf.rests]
        flat = (leaf for leaf in moving if leaf.path.flat)
        self._reference = next(flat, next(iter(moving), None))
        self.prepare(self.times)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.times) - 1

    def prepare(self, times: list[float]) -> None:
        """Evaluate all schedules at these times, at once."""
        for leaf in self.levelled:
            leaf.prepare(times)

    def predict(self, x: State, t: float, until: float | None = None) -> Stage:
        """Ask the network about a state at a time.

        Args:
            x: The state.
            t: Its time.
            until: For networks that predict up to a later time (flow maps): that time.
        """
        if until is None:
            return Stage(x, self._denoise(x, self._time(t)), t)
        return Stage(x, self._denoise(x, self._time(t), self._time(until)), t)

    def _time(self, t: float) -> Time:
        """What the leaves' clocks show at a time of the walk."""
        if self._shared:
            return t
        return {name: leaf.time(t) for name, leaf in self.leaves.items()}

    def move(
        self,
        *stages: Stage,
        s: float,
        weights: WeightRule | None = None,
        noise: NoiseRule | None = None,
    ) -> State:
        """Bring every leaf from the time of the first stage to time ``s``.

        Args:
            stages: Where the step starts, then the other times whose predictions it uses.
            s: Where it ends.
            weights: From a leaf to one weight per stage, of sum 1; None: the first stage alone.
            noise: From a leaf to its fresh noise; None for none.
        """
        weigh = weights or first_order(len(stages))
        return {name: leaf.move(stages, s, weigh, noise) for name, leaf in self.leaves.items()}

    def transition(self, stage: Stage, s: float, eta: float) -> State:
        """Bring every leaf to time ``s`` by one first-order step.

        Args:
            stage: Where the step starts.
            s: Where it ends.
            eta: Stochasticity in [0, 1].
        """
        return self.move(stage, s=s, noise=_replacing(stage, s, eta))

    def plan(self, stage: Stage, s: float, eta: float) -> dict[str, Move]:
        """How every leaf that does not rest moves in such a step; see `transition`."""
        noise, weights = _replacing(stage, s, eta), first_order(1)
        found = {n: leaf.plan((stage,), s, weights, noise) for n, leaf in self.leaves.items()}
        return {name: move for name, move in found.items() if move is not None}

    def select(self, x: State, stage: Stage, indices: Tensor) -> tuple[State, Stage]:
        """Go on from other samples of the batch than before, each from one of the same template.

        What samplers keep of a sample (``[B, ...]``), and what the denoiser does, goes with it.

        Args:
            x: The state.
            stage: The stage that the step began with.
            indices: The sample that each goes on from, int64 ``[B]``.
        """
        rows = {name: leaf.layout.select(indices)[1] for name, leaf in self.leaves.items()}
        size = len(indices)
        for name, value in self.kept.items():
            if isinstance(value, Tensor) and value.ndim and value.shape[0] == size:
                self.kept[name] = value[indices]
        if self._regroup is not None:
            self._regroup(indices)
        said = {name: one.select(indices) for name, one in stage.predictions.items()}
        before = {name: leaf[rows[name]] for name, leaf in stage.x.items()}
        now = {name: leaf[rows[name]] for name, leaf in x.items()}
        return now, Stage(before, said, stage.t)

    def log_snr(self, t: float) -> float:
        """Log-SNR of the leaf that names noise levels: the first flat one, else the first.

        Infinite at the ends, and if no leaf has a signal and a noise level.
        """
        return math.inf if self._reference is None else self._reference.log_snr(t)

    def time_at(self, log_snr: float, fallback: float) -> float:
        """The time at which that leaf has a log-SNR; ``fallback`` if its path cannot tell."""
        found = None if self._reference is None else self._reference.time_at(log_snr)
        return fallback if found is None else found


def _replacing(stage: Stage, s: float, eta: float) -> NoiseRule | None:
    """Fresh noise in place of a share ``eta`` of what a step from a stage to ``s`` can forget."""
    if eta <= 0.0:
        return None
    return lambda leaf: FreshNoise.replacing(eta * leaf.natural_share(stage.t, s), eta)


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

    def moves(self, walk: Walk, k: int, stage: Stage) -> dict[str, Move]:
        """The moves of a step, one call of the network each, whose laws paths may know.

        Args:
            walk: The run.
            k: Number of the step, from 0.
            stage: What the network says where the step starts.

        Raises:
            InputError: Its steps are not such moves.
        """
        raise InputError(
            f"{type(self).__name__}: the law of its steps is not known; use Ancestral with eta "
            "above 0, or FirstHitting or ConfidenceUnmask of tokens"
        )

    def times(self, grid: Grid, like: Batch) -> Grid:
        """The times that a run takes: those of the grid, unless the sampler knows better.

        Args:
            grid: The times that were asked for.
            like: Template of what is drawn.
        """
        return grid

    def facts(self, walk: Walk) -> dict[str, Tensor]:
        """What the sampler tells of a finished run beside the state, by name.

        Args:
            walk: The run.
        """
        return {}

    def template(self, denoiser: DenoiserLike, like: Batch) -> Batch:
        """What networks see of the batch; samplers that keep what networks computed add it.

        Args:
            denoiser: The denoiser that will be asked.
            like: Template of what is drawn.
        """
        return like

    def __call__(
        self,
        denoise: DenoiseFn,
        path: ProductPath,
        x: State,
        grid: Grid,
        generator: Generator | None = None,
        *,
        layouts: Mapping[str, Layout] | None = None,
        cond: Mapping[str, Any] | None = None,
        after: AfterStep | None = None,
        keep: bool = False,
    ) -> SampleOutput:
        """Carry a state along a grid of times.

        Most callers want `sciddiff.sampling.sample`, which also makes the first state, holds fixed
        rows and derives one random stream per sample.

        Args:
            denoise: ``(x_t, t) -> predictions``.
            path: One path per leaf.
            x: The state at ``grid[0]``.
            grid: Increasing times in [0, 1], ``[n + 1]``, or a mapping of such by leaf.
            generator: Random source; deterministic samplers need none.
            layouts: How the rows of each leaf are grouped; dense where left out.
            cond: Conditions of the batch, for samplers that read some.
            after: Called at the end of each step; what it returns replaces the state.
            keep: Keep the trajectory.

        Raises:
            InputError: The grid is not increasing within [0, 1].
        """
        calls = 0

        def counted(x: State, t: Time, until: Time | None = None) -> dict[str, Prediction]:
            nonlocal calls
            calls += 1
            return denoise(x, t) if until is None else denoise(x, t, until)

        regroup = getattr(denoise, "select", None)
        walk = Walk(counted, path, x, grid, generator, layouts or {}, cond, regroup)
        trajectory = [x] if keep else []
        stage: Stage | None = None
        for k in range(walk.steps):
            x, stage = self.step(walk, k, x, stage)
            if after is not None:
                x = after(k + 1, walk.times[k + 1], x, stage)
            if keep:
                trajectory.append(x)
        return SampleOutput(x, tuple(trajectory), calls, self.facts(walk))


def times_of(grid: Grid, path: ProductPath) -> tuple[list[float], dict[str, list[float]] | None]:
    """The times of a walk, and those of each leaf where they keep their own.

    A walk does not start before what the networks say determines the data (`Path.first_time`).
    The time of a walk whose leaves keep their own is the mean of theirs.

    Args:
        grid: Increasing times, ``[n + 1]``, or such times by leaf.
        path: One path per leaf.

    Raises:
        InputError: Times decrease, leave [0, 1], or are not given for every leaf.
    """
    if not isinstance(grid, Mapping):
        return _checked(grid, max(one.first_time for one in path.paths.values())), None
    if set(grid) != set(path.paths):
        raise InputError(
            f"grid: times of leaves {', '.join(grid) or 'none'}; "
            f"give them for each of {', '.join(path.paths)}"
        )
    own = {name: _floats(grid[name]) for name in path.paths}
    sizes = {len(times) for times in own.values()}
    if len(sizes) > 1:
        raise InputError("grid: leaves have different numbers of times; give each n + 1 of them")
    for name, times in own.items():
        if any(t > s for t, s in zip(times, times[1:], strict=False)):
            raise InputError(f"grid: the times of leaf {name!r} decrease")
        if times[0] < 0.0 or times[-1] > 1.0:
            raise InputError(f"grid: the times of leaf {name!r} leave [0, 1]")
        own[name] = [max(t, path[name].first_time) for t in times]
    mean = torch.tensor(list(own.values()), dtype=torch.float64).mean(0)
    return _checked(mean, 0.0), own


def _floats(grid: Tensor) -> list[float]:
    return grid.detach().to("cpu", torch.float64).tolist()


def _checked(grid: Tensor, first: float) -> list[float]:
    """The times of a grid, from ``first`` on."""
    times = _floats(grid)
    if len(times) < 2 or any(t >= s for t, s in zip(times, times[1:], strict=False)):
        raise InputError("grid: times do not increase; give n + 1 of them from 0 (noise) to 1")
    if times[0] < 0.0 or times[-1] > 1.0:
        raise InputError(f"grid: times from {times[0]} to {times[-1]}; they must lie in [0, 1]")
    if times[0] >= first:
        return times
    later = [t for t in times if t > first]
    if not later:
        raise InputError(f"grid: ends at {times[-1]}, where the path only begins ({first:g})")
    return [first, *later]

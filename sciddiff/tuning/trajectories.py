r"""Trajectories of a denoiser under a sampler, and the exact probabilities of their steps.

A sampler whose steps are moves of known law (`Sampler.moves`, `Path.step_law`) draws a Markov
chain :math:`\tau = (x_0, \ldots, x_K)`. What one denoiser draws, another can be asked about: the
ratio of their probabilities of a step, and the divergence of its laws, whose sum over steps is the
divergence of the trajectories,

.. math:: \mathrm{KL}(p\,\|\,q) = \mathbb E_p \sum_k \mathrm{KL}\bigl(p(x_{k+1} | x_k)\,\|\,
    q(x_{k+1} | x_k)\bigr) \;\ge\; \mathrm{KL}\text{ of the samples}.

A step in which nothing is drawn, such as the last one of a Gaussian leaf, does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.guidance import DenoiserLike
from sciddiff.guidance.base import Guided, ask, evaluation_mode, evaluations
from sciddiff.leaf_times import Time
from sciddiff.paths import ProductPath
from sciddiff.paths.laws import StepLaw
from sciddiff.prediction import Prediction
from sciddiff.samplers import Ancestral
from sciddiff.samplers.base import Grid, Sampler, Walk
from sciddiff.samplers.leaves import Stage
from sciddiff.sampling import sample
from sciddiff.state import Batch, State
from sciddiff.streams import Generator

__all__ = ["Trajectories", "draw_trajectories", "lawful", "log_probs", "path_divergence"]


@final
@dataclass(frozen=True, eq=False)
class Trajectories:
    """What a sampler drew, with all it passed.

    Attributes:
        like: The templates, one for each trajectory.
        states: The states at all times of the walk, the first and the last included.
        sampler: What drew them.
        grid: Its times, ``[K + 1]`` or such by leaf.
        path: One path per leaf.
        said: What the network said in every step; empty where that is no longer known.
    """

    like: Batch
    states: tuple[State, ...]
    sampler: Sampler
    grid: Grid
    path: ProductPath
    said: tuple[dict[str, Prediction], ...] = ()

    @property
    def x(self) -> State:
        """The samples."""
        return self.states[-1]

    @property
    def steps(self) -> int:
        """Number of steps K."""
        return len(self.states) - 1

    def walk(self, denoiser: DenoiserLike | None) -> Walk:
        """The run as another denoiser sees it, or with none that is asked anything."""

        def said(x: State, t: Time) -> dict[str, Prediction]:
            return {} if denoiser is None else ask(denoiser, x, t, self.like)

        layouts, cond = self.like.layouts, self.like.cond
        return Walk(said, self.path, self.states[0], self.grid, None, layouts, cond)

    def stage(self, walk: Walk, k: int) -> Stage:
        """What the denoiser of a walk says where step k starts; it may be differentiated."""
        return walk.predict(self.states[k], walk.times[k])

    def drawn(self, walk: Walk, k: int) -> Stage:
        """What was said where step k starts when it was drawn."""
        return Stage(self.states[k], self.said[k], walk.times[k])

    def laws(self, walk: Walk, k: int, stage: Stage) -> dict[str, StepLaw]:
        """The laws of step k of the leaves in which something is drawn.

        Raises:
            InputError: They are not known.
        """
        laws = {}
        for name, move in self.sampler.moves(walk, k, stage).items():
            leaf = walk.leaves[name]
            law = leaf.path.step_law(move, leaf.layout)
            if law is not None:
                laws[name] = law
        return laws

    def log_prob(self, laws: dict[str, StepLaw], k: int) -> Tensor:
        """Log-probability of step k by its laws, nats ``[B]``; see `StepLaw.log_prob`."""
        none = torch.zeros(self.like.size, device=self.like.device)
        return sum((law.log_prob(self.states[k + 1][n]) for n, law in laws.items()), none)

    def divergence(self, walk: Walk, k: int, stage: Stage, other: Stage) -> Tensor:
        """Divergence of step k, as one stage makes it, from what another makes of it ``[B]``."""
        moves = self.sampler.moves(walk, k, other)  # as the sampler uses what the other says
        total = torch.zeros(self.like.size, device=self.like.device)
        for name, law in self.laws(walk, k, stage).items():
            x = self.states[k + 1][name]
            total = total + law.divergence(moves[name].prediction, x)
        return total


def draw_trajectories(
    denoiser: DenoiserLike,
    like: Batch,
    sampler: Sampler,
    grid: Grid,
    seed: int | Generator,
    *,
    indices: Tensor | None = None,
) -> Trajectories:
    """Draw samples, and keep what they pass.

    Args:
        denoiser: The (guided) denoiser.
        like: Templates; fixed rows are held.
        sampler: One whose steps have known laws.
        grid: Times from 0 to 1.
        seed: Seed of the streams.
        indices: Global number of each sample.

    Raises:
        InputError: As `sciddiff.sampling.sample`.
    """
    recorded = _Recorded(denoiser)
    kept = sample(recorded, like, sampler, grid, seed, indices=indices, keep_trajectory=True)
    times = sampler.times(grid, like)
    return Trajectories(
        like, kept.trajectory, sampler, times, denoiser.path, tuple(recorded.said)
    )


@torch.no_grad()
def log_probs(trajectories: Trajectories) -> Tensor:
    """Log-probability of every step by what drew it ``[B, K]``; see `StepLaw.log_prob`."""
    walk = trajectories.walk(None)
    steps = range(trajectories.steps)
    laws = [trajectories.laws(walk, k, trajectories.drawn(walk, k)) for k in steps]
    return torch.stack([trajectories.log_prob(laws[k], k) for k in steps], 1)


@torch.no_grad()
def path_divergence(trajectories: Trajectories, reference: DenoiserLike) -> Tensor:
    """Divergence of every step, as it was drawn, from that of another denoiser ``[B, K]``, nats.

    The mean of the sums over steps is an estimate of the divergence of the trajectories.

    Args:
        trajectories: What was drawn.
        reference: What it is compared with.

    Raises:
        InputError: Laws of steps are not known.
    """
    with evaluation_mode(reference):
        walk = trajectories.walk(reference)
        found = [
            trajectories.divergence(
                walk, k, trajectories.drawn(walk, k), trajectories.stage(walk, k)
            )
            for k in range(trajectories.steps)
        ]
    return torch.stack(found, 1)


@final
class _Recorded(Guided):
    """A denoiser that keeps what it says."""

    def __init__(self, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self.said: list[dict[str, Prediction]] = []

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        said = ask(self.parts[0], x_t, t, batch, until)
        self.said.append(said)
        return said

    def evaluations(self, t: Time) -> int:
        return evaluations(self.parts[0], t)


def lawful(sampler: Sampler, denoiser: DenoiserLike) -> Sampler:
    """The sampler, if its steps are drawn by laws that may be known; else an ancestral one.

    Args:
        sampler: How a domain draws.
        denoiser: What is drawn from.
    """
    still = isinstance(sampler, Ancestral) and sampler.eta == 0.0
    flat = any(path.flat for path in denoiser.path.paths.values())
    unknown = type(sampler).moves is Sampler.moves
    return Ancestral(1.0) if unknown or (still and flat) else sampler

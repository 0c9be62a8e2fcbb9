r"""Steering: particles that drift to states of high reward, by sequential Monte Carlo.

The law :math:`p^*(x) \propto p(x)\,e^{\lambda R(x)}` of samples with a reward R is drawn from with
particles (Feynman-Kac steering; Singhal et al., 2025; Wu et al., *TDS*, 2023). Several particles
are sampled for every template. Now and then a particle is judged by the reward of data that its
prediction could mean, weights grow by the change of the tilt, and where few particles carry most
of the weight, all of the template are drawn anew. At the end the tilt is
:math:`\lambda R` of the finished data whatever it was on the way, so that

.. math:: \hat Z = \prod_k \frac1P \sum_p e^{\Delta_k^p}, \qquad
          \mathbb E\,\hat Z = \int p(x)\, e^{\lambda R(x)}\, dx

for every number of particles P, every potential and rule of resampling. A reward of 0 changes
nothing: the particles are the samples that `sciddiff.sampling.sample` draws.

Particles may also be *twisted* (`sciddiff.twisting`): steps are drawn towards higher rewards, and
weights make up for it, so that the estimate stays unbiased.

Particle p of sample i draws from the stream of part p of item i (`sciddiff.streams.index_of`):
the first particle has the noise of the sample itself. After resampling, particles share their
past and draw different futures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike
from sciddiff.rare_events import effective_sizes, systematic
from sciddiff.samplers import Ancestral
from sciddiff.samplers.base import Grid, SampleOutput, Sampler, Walk
from sciddiff.samplers.leaves import Stage
from sciddiff.sampling import sample
from sciddiff.state import Batch, State
from sciddiff.streams import Streams, index_of, uniform_per_sample
from sciddiff.twisting import bent_step, pull_of

__all__ = ["Potential", "Reward", "Steered", "Steering", "particles_of", "steer"]

Potential = Literal["diff", "max", "add"]
"""How the tilt on the way follows from rewards: the last one, the largest, or their sum."""


@final
@dataclass(frozen=True)
class Reward:
    """What samples should have much of.

    Attributes:
        of: ``(state, batch) -> [B]``: the reward of each sample; larger is better.
        finished_only: Whether it can judge finished data alone, not what is predicted on the way.
            Particles are then weighted once, at the end.
        differentiable: Whether its gradient by the state means anything; see `energy`.
    """

    of: Callable[[State, Batch], Tensor]
    finished_only: bool = False
    differentiable: bool = False

    def __call__(self, state: State, batch: Batch) -> Tensor:
        """Rewards, float64 on the CPU, ``[B]``.

        Raises:
            InputError: They are not one finite number for each sample.
        """
        values = self.of(state, batch)
        if values.shape != (batch.size,):
            raise InputError(
                f"reward: returned shape {tuple(values.shape)}; return one number for each "
                f"sample, [{batch.size}]"
            )
        values = values.detach().to("cpu", torch.float64)
        if not bool(values.isfinite().all()):
            raise InputError("reward: is not finite; return a large negative number for bad data")
        return values

    def energy(self, strength: float = 1.0) -> Callable[[State, Batch], Tensor]:
        """The negative reward times ``strength``, for `sciddiff.guidance.Energy`.

        Raises:
            InputError: The reward is not differentiable.
        """
        if not self.differentiable:
            raise InputError("reward: is not differentiable; steer by particles instead")
        return lambda state, batch: -strength * self.of(state, batch)


@final
@dataclass(frozen=True)
class Steered(Sampler):
    """Another sampler, with particles of a template drawn anew by their rewards.

    The samples of a batch are P particles of one template after the other; `steer` makes such a
    batch. Samplers that use former predictions keep them: they move with the particles.

    Attributes:
        sampler: How particles step.
        reward: What is wanted.
        particles: Particles of a template.
        strength: The inverse temperature, in nats for one unit of reward.
        every: Steps between two judgements.
        potential: See `Potential`; the law that is drawn from does not depend on it.
        resample_below: Resample when the effective number falls below this share; 0 never.
        twisted: Draw steps of flat leaves towards higher rewards (Wu et al., 2023); for rewards
            that are differentiable and an `Ancestral` sampler with eta above 0. A call takes about
            three times as long, as the network is differentiated.
    """

    sampler: Sampler
    reward: Reward
    particles: int = 8
    strength: float = 1.0
    every: int = 4
    potential: Potential = "diff"
    resample_below: float = 0.5
    twisted: bool = False

    def __post_init__(self) -> None:
        if self.particles < 1 or self.every < 1:
            raise InputError(
                f"Steered: {self.particles} particles every {self.every} steps; "
                "give at least one of each"
            )
        if not math.isfinite(self.strength):
            raise InputError(f"Steered.strength: {self.strength} is not a finite number")
        if not 0.0 <= self.resample_below <= 1.0:
            raise InputError(f"Steered.resample_below: {self.resample_below} is not in [0, 1]")
        if self.potential not in get_args(Potential):
            known = ", ".join(get_args(Potential))
            raise InputError(f"Steered.potential: {self.potential!r} is unknown; choose {known}")
        if self.twisted and not (isinstance(self.sampler, Ancestral) and self.sampler.eta > 0.0):
            raise InputError("Steered.twisted: needs the sampler Ancestral with eta above 0")
        if self.twisted and (self.reward.finished_only or not self.reward.differentiable):
            raise InputError(
                "Steered.twisted: needs a differentiable reward that judges predictions too"
            )

    def times(self, grid: Grid, like: Batch) -> Grid:
        """See `Sampler.times`."""
        return self.sampler.times(grid, like)

    def template(self, denoiser: DenoiserLike, like: Batch) -> Batch:
        """See `Sampler.template`."""
        return self.sampler.template(denoiser, like)

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        last = k + 1 == walk.steps
        weights = walk.kept.get("steering")
        if weights is None:
            weights = walk.kept["steering"] = _Weights(self, len(next(iter(x.values()))), walk)
        if self.twisted:
            x, stage = self._twisted_step(walk, k, x, weights)
        else:
            x, stage = self.sampler.step(walk, k, x, previous)
        if last:
            weights.judge(self.reward(x, weights.batch(x)), finished=True)
        elif not (self.twisted or self.reward.finished_only) and (k + 1) % self.every == 0:
            meant = {}
            for name, said in stage.predictions.items():
                layout = walk.leaves[name].layout
                meant[name] = layout.hold(said.realised(weights.source, layout), stage.x[name])
            weights.judge(self.reward(meant, weights.batch(meant)), finished=False)
            chosen = weights.chosen()
            if chosen is not None:
                x, stage = walk.select(x, stage, chosen)
        return x, stage

    def _twisted_step(
        self, walk: Walk, k: int, x: State, weights: _Weights
    ) -> tuple[State, Stage]:
        """A step towards higher rewards, which the weights make up for.

        Particles are judged where it starts, by the prediction whose gradient it follows.
        """

        def tilt(meant: State) -> Tensor:
            return self.strength * self.reward.of(meant, weights.batch(meant))

        stage, pull = pull_of(walk, k, x, tilt)
        if k % self.every == 0:
            meant = {name: said.data for name, said in stage.predictions.items()}
            weights.judge(self.reward(meant, weights.batch(meant)), finished=False)
            chosen = weights.chosen()
            if chosen is not None:
                rows = {name: walk.leaves[name].layout.select(chosen)[1] for name in pull}
                x, stage = walk.select(x, stage, chosen)
                pull = {name: pull[name][rows[name]] for name in pull}
        moved, ratio = bent_step(walk, self.sampler, k, x, stage, pull)
        weights.correct(ratio)
        return moved, stage

    def facts(self, walk: Walk) -> dict[str, Tensor]:
        """Beside what the other sampler tells: ``log_z [B]``, and of every particle its weight,
        its reward and its ancestor, ``[B, P]``.
        """
        weights: _Weights = walk.kept["steering"]
        return {**self.sampler.facts(walk), **weights.facts()}


class _Weights:
    """Weights of the particles of every template, on the CPU.

    Attributes:
        log: Log-weights since the last resampling ``[B, P]``.
        tilt: What of them would be taken away by a judgement of 0, ``[B, P]``.
        log_z: Log of the product of mean weights at resampling ``[B]``.
    """

    def __init__(self, settings: Steered, rows: int, walk: Walk) -> None:
        sizes = {leaf.layout.size for leaf in walk.leaves.values()}
        size, particles = (next(iter(sizes)) if sizes else rows), settings.particles
        if size % particles:
            raise InputError(
                f"Steered: {size} samples are not groups of {particles} particles; use steer"
            )
        self._settings, self._walk = settings, walk
        groups = size // particles
        self.log = torch.zeros(groups, particles, dtype=torch.float64)
        self.tilt, self._best = torch.zeros_like(self.log), torch.full_like(self.log, -math.inf)
        self.reward = torch.zeros_like(self.log)
        self.log_z = torch.zeros(groups, dtype=torch.float64)
        self.ancestors = torch.arange(particles).expand(groups, -1).clone()
        source = next(iter(walk.leaves.values())).generator
        named = isinstance(source, Streams)
        self.source = source.purpose("steering") if named else source

    def batch(self, state: State) -> Batch:
        """The batch that a reward sees."""
        layouts = {name: leaf.layout for name, leaf in self._walk.leaves.items()}
        return Batch(state, dict(self._walk.cond), layouts, self.log.numel())

    def judge(self, rewards: Tensor, finished: bool) -> None:
        """Let the weights follow new rewards ``[B P]``."""
        rewards, strength = rewards.reshape(self.log.shape), self._settings.strength
        self.reward, potential = rewards, self._settings.potential
        self._best = torch.maximum(self._best, strength * rewards)
        tilt = strength * rewards
        if not finished and potential == "max":
            tilt = self._best
        if not finished and potential == "add":
            tilt = self.tilt + tilt
        self.log, self.tilt = self.log + tilt - self.tilt, tilt

    def correct(self, ratio: Tensor) -> None:
        """Let the weights gain the log-ratios ``[B P]`` of true laws to those drawn from."""
        self.log = self.log + ratio.detach().to("cpu", torch.float64).reshape(self.log.shape)

    def chosen(self) -> Tensor | None:
        """Which particle each goes on from ``[B P]``; None if all go on from themselves."""
        particles = self.log.shape[1]
        sizes = effective_sizes(self.log)
        poor = sizes < self._settings.resample_below * particles
        # One number for each template, drawn whether or not it is needed.
        u = uniform_per_sample(self.log.numel(), self.source, torch.float64)
        if not bool(poor.any()):
            return None
        drawn = systematic(self.log.softmax(1), u.reshape(self.log.shape)[:, 0])
        stay = torch.arange(particles).expand_as(drawn)
        chosen = torch.where(poor[:, None], drawn, stay)
        mean = torch.logsumexp(self.log, 1) - math.log(particles)
        self.log_z = torch.where(poor, self.log_z + mean, self.log_z)
        self.log = torch.where(poor[:, None], 0.0, self.log)
        for name in ("tilt", "_best", "ancestors"):
            setattr(self, name, getattr(self, name).gather(1, chosen))
        return (chosen + particles * torch.arange(len(chosen))[:, None]).flatten()

    def facts(self) -> dict[str, Tensor]:
        mean = torch.logsumexp(self.log, 1) - math.log(self.log.shape[1])
        return {
            "log_z": self.log_z + mean,
            "weights": self.log.softmax(1),
            "rewards": self.reward,
            "ancestors": self.ancestors,
        }


@final
@dataclass(frozen=True, eq=False)
class Steering:
    """Steered samples.

    Attributes:
        x: One particle of each template, drawn by the weights: a sample of the tilted law, as
            nearly as the number of particles allows.
        particles: All particles, those of a template one after the other ``[B P, ...]``.
        weights: Their weights ``[B, P]``, of sum 1 for each template.
        rewards: Rewards of the finished particles ``[B, P]``.
        log_z: Log of the estimate of :math:`E\\,e^{\\lambda R}`, of each template ``[B]``.
        lines: How many of the first particles have descendants at the end ``[B]``.
        chosen: Which particle of each template `x` has ``[B]``.
        nfe: Network evaluations of a particle.
    """

    x: State
    particles: State
    weights: Tensor
    rewards: Tensor
    log_z: Tensor
    lines: Tensor
    chosen: Tensor
    nfe: int


def steer(
    denoiser: DenoiserLike,
    like: Batch,
    sampler: Steered,
    grid: Grid,
    seed: int,
    *,
    indices: Tensor | None = None,
    **options: Any,
) -> Steering:
    """Draw one sample for each template from the law that is tilted by a reward.

    Args:
        denoiser: The (guided) denoiser.
        like: Templates, B of them; see `sciddiff.sampling.sample`.
        sampler: How particles step, and the reward.
        grid: Times from 0 to 1, ``[n + 1]``.
        seed: Seed of the streams.
        indices: Global number of each template; default 0 to B - 1.
        options: Further arguments of `sciddiff.sampling.sample`; states in them have an entry
            for each particle, in the order of `particles_of`.

    Raises:
        InputError: As `sample`, and where a reward is not finite.
    """
    count, size = sampler.particles, like.size
    numbers = torch.arange(size) if indices is None else indices.cpu()
    spread, slots = particles_of(like, numbers, count)
    output: SampleOutput = sample(
        denoiser, spread, sampler, grid, seed, indices=slots, **options
    )
    facts = output.facts
    u = uniform_per_sample(size, Streams(seed, numbers).purpose("chosen"), torch.float64)
    heights = facts["weights"].cumsum(1)
    chosen = torch.searchsorted(heights, (u * heights[:, -1])[:, None])[:, 0].clamp(max=count - 1)
    whole = Batch(output.x, {}, spread.layouts, count * size)
    drawn = whole.select((chosen + count * torch.arange(size)).to(like.device))
    lines = torch.tensor([len(row.unique()) for row in facts["ancestors"]])
    return Steering(
        drawn.x, output.x, facts["weights"], facts["rewards"], facts["log_z"], lines, chosen,
        output.nfe,
    )  # fmt: skip


def particles_of(like: Batch, indices: Tensor, count: int) -> tuple[Batch, Tensor]:
    """Templates with several particles each, and the number of every particle's stream.

    Args:
        like: Templates, B of them.
        indices: Global number of each, int64 ``[B]``.
        count: Particles of each, P.

    Returns:
        The batch of ``B P`` particles, those of a template one after the other, and int64
        ``[B P]``. The first of a template has the template's own number.
    """
    each = torch.arange(like.size, device=like.device).repeat_interleave(count)
    slots = [index_of(int(i), p) for i in indices.tolist() for p in range(count)]
    return like.select(each), torch.tensor(slots)

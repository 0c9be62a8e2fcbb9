r"""Rare events: small probabilities of what a Markov simulator does, and how it comes about.

A `Process` starts N particles, moves them step by step, and gives each a *score*; the event is
that the score at the end reaches a threshold. Two estimators of :math:`p = P(A_T \ge a)`:

* `brute_force` counts. Its relative error is :math:`1/\sqrt{Np}`: the truth to check others by.
* `clone_particles` is sequential Monte Carlo with cloning. Particles carry weights
  :math:`\exp(V_t)`, :math:`V_t = k_t A_t`, which grow by :math:`\exp(V_t - V_{t-1})` in a step
  (Giardina, Kurchan, Lecomte & Tailleur, 2006; in climate: Ragone, Wouters & Bouchet, 2018). When
  few carry most of the weight, all are drawn anew in proportion to it. At the end

  .. math:: \hat p = \frac1N \sum_i W_i\, e^{-V_T^i}\, 1[A_T^i \ge a]

  is unbiased for every N, strength k and rule of resampling, because resampling keeps every
  weighted sum in expectation and the tilt is divided out. Only the variance depends on k; for a
  score that is nearly normal, `gaussian_strength` is near the best.

Steps may also be drawn from a *proposal* that steers, with the log-ratio of the true to the
proposed density as a further weight; without a tilt that goes the same way, do not resample:
it would undo the steering. `estimate` repeats runs independently, since particles of
one run depend on each other, and its interval comes from the scatter of the repeats.

All randomness is that of `Streams`: slot i of repeat r draws from its own stream, so results do
not depend on batches or devices. Clones share the past and draw different futures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Generic, TypeVar, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.streams import Streams, uniform_per_sample

__all__ = [
    "Estimate",
    "Particles",
    "Process",
    "brute_force",
    "clone_particles",
    "effective_size",
    "effective_sizes",
    "estimate",
    "gaussian_strength",
    "pick",
    "systematic",
    "wilson",
]

S = TypeVar("S")
_RESAMPLING = 0x9E3779B97F4A7C15  # the seed of resampling is another one than that of the steps


def pick(state: Any, indices: Tensor) -> Any:  # noqa: ANN401 - any nesting of tensors
    """Particles of a state: of tensors ``[N, ...]``, nested in dicts or sequences, or of anything
    with a method ``select`` (a `Batch`).

    Args:
        state: N particles.
        indices: Which to take, int64 ``[M]``.
    """
    if isinstance(state, Tensor):
        return state[indices.to(state.device)]
    if isinstance(state, dict):
        return {name: pick(value, indices) for name, value in state.items()}
    if isinstance(state, tuple | list):
        return type(state)(pick(value, indices) for value in state)
    return state.select(indices)


@final
@dataclass(frozen=True)
class Process(Generic[S]):
    """A Markov simulator of many particles at once.

    Attributes:
        steps: Number of steps T.
        start: ``start(streams)``: a particle for each stream.
        step: ``step(state, number, streams)``: the particles one step later; `number` from 0.
        score: ``score(state, number)``: the observable of each particle after `number` steps,
            ``[N]``; at ``number = steps`` it decides the event, before that it says how far a
            particle has come. What it needs of the past, the state carries.
        proposal: Like `step`, but from another law; returns the particles and the log-ratio of
            the true to the proposed density of each, ``[N]``. None: particles move by `step`.
        select: ``select(state, indices)``: copies of some of the particles.
    """

    steps: int
    start: Callable[[Streams], S]
    step: Callable[[S, int, Streams], S]
    score: Callable[[S, int], Tensor]
    proposal: Callable[[S, int, Streams], tuple[S, Tensor]] | None = None
    select: Callable[[S, Tensor], S] = pick


@final
@dataclass(frozen=True)
class Estimate:
    """A probability and how sure it is.

    Attributes:
        probability: The estimate of p.
        interval: Confidence interval.
        ess: Effective number of particles in the event: independent ones would number as many.
        trajectories: Particles simulated, over all repeats.
        repeats: The estimate of each independent repeat.
    """

    probability: float
    interval: tuple[float, float]
    ess: float
    trajectories: int
    repeats: tuple[float, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class Particles(Generic[S]):
    """The end of one run.

    Attributes:
        state: The particles.
        scores: Their scores, float64 ``[N]``.
        log_weights: Log of the weight of each against the law of the process, float64 ``[N]``: the
            mean of ``exp(log_weights) * f`` estimates the expectation of f without bias.
        parents: Row t: the slot, after t steps, whose particle each slot moves in the next one,
            int64 ``[T, N]``.
        sizes: Effective number of particles after each step, before resampling, ``[T]``.
    """

    state: S
    scores: Tensor
    log_weights: Tensor
    parents: Tensor
    sizes: Tensor

    def probability(self, threshold: float) -> float:
        """Unbiased estimate of the probability that the score reaches ``threshold``."""
        return float(torch.where(self.scores >= threshold, self.log_weights.exp(), 0.0).mean())

    def weights(self, threshold: float) -> Tensor:
        """Weights of the particles given the event, float64 ``[N]``, with sum 1 (or all 0)."""
        log = self.log_weights.masked_fill(self.scores < threshold, -math.inf)
        return torch.softmax(log, 0) if bool(log.isfinite().any()) else torch.zeros_like(log)

    def ancestors(self, number: int = 0) -> Tensor:
        """Slot that the ancestor of each particle had after `number` steps, int64 ``[N]``."""
        slots = torch.arange(len(self.scores))
        for parents in self.parents[number:].flip(0):
            slots = parents[slots]
        return slots

    def lines(self, threshold: float) -> int:
        """How many of the starting particles have descendants in the event."""
        return len(self.ancestors()[self.scores >= threshold].unique())


@torch.no_grad()
def clone_particles(
    process: Process[S],
    n: int,
    seed: int,
    strength: float | Sequence[float],
    *,
    resample_below: float = 0.5,
    repeat: int = 0,
) -> Particles[S]:
    """Run N particles, cloning those that come far and dropping those that do not.

    Args:
        process: The simulator.
        n: Number of particles.
        seed: Seed of all draws.
        strength: k of the tilt, in units of one over the score: one number, or one after each
            step. 0 clones nothing.
        resample_below: Resample when the effective number falls below this share of N; 0 never,
            1 always. The last step is never resampled after.
        repeat: Number of an independent repeat.

    Raises:
        InputError: No particles, wrong strengths, or a score that is not finite.
    """
    strengths = [strength] * process.steps if isinstance(strength, int | float) else [*strength]
    if n < 1 or process.steps < 1:
        raise InputError(f"particles: {n} over {process.steps} steps; give at least one of each")
    if len(strengths) != process.steps:
        raise InputError(
            f"strength: {len(strengths)} numbers for {process.steps} steps; give one a step"
        )
    streams = Streams(seed, repeat * n + torch.arange(n))
    fate = Streams((seed ^ _RESAMPLING) % 2**64, torch.tensor([repeat]))
    state, proposal = process.start(streams), process.proposal
    log_weights = torch.zeros(n, dtype=torch.float64)  # tilted, over the law of the process
    tilt, scores = torch.zeros_like(log_weights), torch.zeros_like(log_weights)
    parents, sizes = torch.arange(n).repeat(process.steps, 1), torch.zeros(process.steps)
    for number, k in enumerate(strengths):
        if proposal is None:
            state = process.step(state, number, streams)
        else:
            state, ratio = proposal(state, number, streams)
            log_weights = log_weights + ratio.detach().to("cpu", torch.float64)
        scores = _scores(process, state, number + 1, n)
        log_weights, tilt = log_weights + k * scores - tilt, k * scores
        sizes[number] = effective_size(log_weights)
        if sizes[number] < resample_below * n and number + 1 < process.steps:
            mean = torch.logsumexp(log_weights, 0) - math.log(n)
            chosen = systematic(torch.softmax(log_weights, 0), float(uniform_per_sample(1, fate)))
            state, tilt = process.select(state, chosen), tilt[chosen]
            log_weights = torch.full_like(log_weights, float(mean))
            parents[number + 1] = chosen
    return Particles(state, scores, log_weights - tilt, parents, sizes)


def estimate(
    process: Process[S],
    threshold: float,
    n: int,
    seed: int,
    strength: float | Sequence[float],
    *,
    repeats: int = 10,
    resample_below: float = 0.5,
    level: float = 0.95,
    keep: Callable[[Particles[S]], None] | None = None,
) -> Estimate:
    """The probability of an event from independent repeats of `clone_particles`.

    Args:
        process: The simulator.
        threshold: The score that makes the event.
        n: Particles of each repeat.
        seed: Seed of all draws.
        strength: See `clone_particles`.
        repeats: Independent repeats, 4 or more. The interval is that of Student's t for their
            mean, which assumes that they are many or not too skewed; where no particle reached
            the event, Wilson's of as many independent trajectories.
        resample_below: See `clone_particles`.
        level: Of the confidence interval.
        keep: Called with the particles of each repeat (for composites).

    Raises:
        InputError: Fewer than four repeats; otherwise as `clone_particles`.
    """
    if repeats < 4:
        raise InputError(f"repeats: {repeats}; an interval needs four or more")
    found, ess = [], 0.0
    for repeat in range(repeats):
        particles = clone_particles(
            process, n, seed, strength, resample_below=resample_below, repeat=repeat
        )
        found.append(particles.probability(threshold))
        event = particles.log_weights[particles.scores >= threshold]
        ess += effective_size(event)
        if keep is not None:
            keep(particles)
    values = torch.tensor(found, dtype=torch.float64)
    mean, error = float(values.mean()), float(values.std()) / math.sqrt(repeats)
    reach = _student(repeats - 1, level) * error
    interval = max(0.0, mean - reach), min(1.0, mean + reach)
    if mean == 0.0:
        interval = wilson(0, repeats * n, level)
    return Estimate(mean, interval, ess, repeats * n, tuple(found))


@torch.no_grad()
def brute_force(
    process: Process[Any],
    threshold: float,
    n: int,
    seed: int,
    *,
    batch: int = 0,
    level: float = 0.95,
) -> Estimate:
    """The probability of an event by counting, with Wilson's interval.

    Args:
        process: The simulator; its proposal is not used.
        threshold: The score that makes the event.
        n: Trajectories.
        seed: Seed of all draws.
        batch: Trajectories at a time; 0 for all. The result does not depend on it.
        level: Of the confidence interval.

    Raises:
        InputError: No trajectories, or a score that is not finite.
    """
    if n < 1:
        raise InputError(f"n: {n} trajectories; give at least one")
    hits = 0
    for numbers in torch.arange(n).split(batch or n):
        streams = Streams(seed, numbers)
        state = process.start(streams)
        for number in range(process.steps):
            state = process.step(state, number, streams)
        scores = _scores(process, state, process.steps, len(numbers))
        hits += int((scores >= threshold).sum())
    return Estimate(hits / n, wilson(hits, n, level), float(hits), n)


def wilson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a probability, from ``hits`` in ``n`` independent trials."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p, share = hits / n, z * z / n
    middle = (p + share / 2) / (1 + share)
    reach = z / (1 + share) * math.sqrt(p * (1 - p) / n + share / (4 * n))
    # At the ends the interval closes exactly, which rounding does not know.
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    return low, 1.0 if hits == n else min(1.0, middle + reach)


def systematic(weights: Tensor, u: float | Tensor) -> Tensor:
    """Systematic resampling: N copies, of which particle i has ``N w_i`` in expectation.

    Args:
        weights: Normalised, ``[..., N]``.
        u: One uniform number in [0, 1) for each group of particles, ``[...]``.

    Returns:
        Which particle each copy is of, int64 ``[..., N]``, increasing.
    """
    n = weights.shape[-1]
    shift = torch.as_tensor(u, dtype=torch.float64)[..., None]
    points = (torch.arange(n, dtype=torch.float64) + shift) / n
    heights = weights.to(torch.float64).cumsum(-1)
    heights = heights / heights[..., -1:]
    return torch.searchsorted(heights, points, right=True).clamp(max=n - 1)


def effective_size(log_weights: Tensor) -> float:
    """Kish's effective number ``(sum w)^2 / sum w^2`` of weighted particles; 0 for none."""
    return float(effective_sizes(log_weights))


def effective_sizes(log_weights: Tensor) -> Tensor:
    """`effective_size` along the last dimension, ``[..., N]`` to ``[...]``."""
    twice = 2.0 * torch.logsumexp(log_weights, -1) - torch.logsumexp(2.0 * log_weights, -1)
    return torch.where(log_weights.isfinite().any(-1), twice.exp(), 0.0)


def gaussian_strength(scores: Tensor, threshold: float) -> float:
    """The tilt ``(a - mean) / variance`` that moves a normal score's mean to the threshold.

    Args:
        scores: Scores of a pilot run without cloning, ``[M]``.
        threshold: a.

    Raises:
        InputError: The scores do not vary.
    """
    scores = scores.to(torch.float64)
    if len(scores) < 2 or float(scores.var()) == 0.0:
        raise InputError("scores: they do not vary; run more trajectories to choose a strength")
    return max(0.0, (threshold - float(scores.mean())) / float(scores.var()))


def _scores(process: Process[S], state: S, number: int, n: int) -> Tensor:
    scores = process.score(state, number).detach().to("cpu", torch.float64)
    if scores.shape != (n,):
        raise InputError(f"score: shape {tuple(scores.shape)} for {n} particles; return [{n}]")
    bad = (~scores.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise InputError(
            f"score: not finite after step {number} for particle {bad[0]} ({len(bad)} in all); "
            "check the simulator"
        )
    return scores


def _student(freedom: int, level: float) -> float:
    """Two-sided quantile of Student's t by its expansion about the normal one (1 % at 3)."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3

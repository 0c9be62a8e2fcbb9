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
it would undo the steering. Particles of one run depend on each other, and those that descend
from different starts hardly do: the sums of the *lines of descent* tell the variance within a run
(Chan & Lai, 2013). `estimate` repeats runs independently; its interval takes
the larger of that variance and of the scatter of the repeats, and is skewed as the estimate is
(`sciddiff.rare_estimates`). Where few lines lead to the event, it says that it is in doubt.

All randomness is that of `Streams`: slot i of repeat r draws from its own stream, so results do
not depend on batches or devices. Clones share the past and draw different futures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.rare_estimates import Estimate, counted, doubts, weighted, wilson
from sciddiff.streams import Streams, uniform_per_sample

__all__ = [
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

    def lines(self, threshold: float) -> Tensor:
        """What descends from each starting particle of the weights in the event, ``[N]``; their
        mean is `probability`."""
        weights = torch.where(self.scores >= threshold, self.log_weights.exp(), 0.0)
        return torch.zeros_like(weights).index_add(0, self.ancestors(), weights)

    def variance(self, threshold: float) -> float:
        """Variance of `probability` by this one run: that of a mean over lines of descent, which
        are nearly independent where resampling is systematic (Chan & Lai, 2013)."""
        lines = self.lines(threshold)
        return float(lines.var()) / len(lines) if len(lines) > 1 else 0.0


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
    log_error: float = 0.0,
) -> Estimate:
    """The probability of an event from independent repeats of `clone_particles`.

    Args:
        process: The simulator.
        threshold: The score that makes the event.
        n: Particles of each repeat.
        seed: Seed of all draws.
        strength: See `clone_particles`.
        repeats: Independent repeats, 4 or more.
        resample_below: See `clone_particles`.
        level: Of the confidence interval.
        keep: Called with the particles of each repeat (for composites).
        log_error: Standard error of ln p from elsewhere, which no particle knows of.

    Raises:
        InputError: Fewer than four repeats; otherwise as `clone_particles`.
    """
    if repeats < 4:
        raise InputError(f"repeats: {repeats}; an interval needs four or more")
    found, sums, ess, within = [], [], 0.0, 0.0
    for repeat in range(repeats):
        particles = clone_particles(
            process, n, seed, strength, resample_below=resample_below, repeat=repeat
        )
        found.append(particles.probability(threshold))
        sums.append(particles.lines(threshold))
        within += particles.variance(threshold) / repeats**2
        event = particles.log_weights[particles.scores >= threshold]
        ess += effective_size(event)
        if keep is not None:
            keep(particles)
    mean, among = sum(found) / repeats, float(torch.tensor(found).double().var()) / repeats
    interval = wilson(0, repeats * n, level)
    if mean > 0.0:
        heaviest = float(torch.cat(sums).max()) / (repeats * n)
        variance = max(within, among) + (mean * log_error) ** 2
        interval = weighted(min(mean, 1.0), variance, heaviest, level)
    if mean > 0.5:  # the weights of those outside of the event are not seen by their sums
        low, high = wilson(min(mean, 1.0) * repeats * n, repeats * n, level)
        interval = min(interval[0], low), max(interval[1], high)
    lines = effective_size(torch.cat(sums).log())
    why = doubts(lines, log_error)
    return Estimate(mean, interval, ess, repeats * n, tuple(found), lines, why)


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
    return counted(hits, n, level)


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

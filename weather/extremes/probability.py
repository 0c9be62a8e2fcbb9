r"""The probability of an extreme, by counting, by cloning, or by steering.

- ``mc`` counts among members: the truth, at 1 / (N p) relative variance;
- ``smc`` clones members that come far (`sciddiff.rare_events.clone_particles`);
- ``guide`` shifts the noise of the one-step head along the gradient of the index, with exact
  weights (`weather.extremes.simulation`), and clones by the weights that come of it.

A pilot ensemble chooses the tilts: the strength k that brings a normal index to the threshold, and
after step n the part of it that the score then foretells, its regression coefficient

.. math:: k_n = k\,\frac{\mathrm{cov}(A_T, A_n)}{\mathrm{var}(A_n)} .

All three are unbiased for any tilt, so that a poor pilot costs sharpness and not truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final, get_args

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.rare_events import (
    Estimate,
    Particles,
    Process,
    brute_force,
    clone_particles,
    estimate,
    gaussian_strength,
)
from weather.extremes.simulation import ForecastProcess, State

__all__ = ["ExtremeSettings", "Method", "Outcome", "Pilot", "pilot_run", "probability", "quantile"]

Method = Literal["mc", "smc", "guide"]
_PILOT_SEED = 0x51C0FFEE


@final
@dataclass(frozen=True)
class ExtremeSettings:
    """Settings of the method that estimates the probability.

    Attributes:
        method: ``mc``, ``smc`` or ``guide``.
        members: Members in all, shared among the repeats.
        repeats: Independent repeats of ``smc`` and ``guide``; their scatter is the interval.
        pilot: Members of the pilot ensemble.
        seed: Of all draws.
        keep: Extreme members remembered for composites.
    """

    method: Method = "mc"
    members: int = 1000
    repeats: int = 10
    pilot: int = 64
    seed: int = 0
    keep: int = 50

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"--method {self.method}: choose from {', '.join(get_args(Method))}")
        if self.method != "mc" and self.members < 2 * self.repeats:
            raise InputError(
                f"--members {self.members}: too few for {self.repeats} repeats; give more"
            )


@final
@dataclass(frozen=True, eq=False)
class Pilot:
    """The result of a small ensemble that is sampled without tilting or cloning.

    Attributes:
        scores: The score after each step, float64 ``[T, M]``.
    """

    scores: Tensor

    def tilts(self, threshold: float) -> list[float]:
        """Return the strength of the tilt after each step.

        Args:
            threshold: The score that makes the event.

        Raises:
            InputError: The scores do not vary.
        """
        last = self.scores[-1]
        k, centred = gaussian_strength(last, threshold), last - last.mean()
        found = []
        for scores in self.scores:
            variance = float(scores.var())
            shared = float(((scores - scores.mean()) * centred).sum()) / (len(last) - 1)
            share = shared / variance if variance > 1e-12 * max(float(last.var()), 1e-300) else 0
            found.append(k * min(max(share, 0.0), 1.0))
        return found


@final
@dataclass(eq=False)
class Outcome:
    """The estimate of the probability and how it was obtained.

    Attributes:
        estimate: The probability, its interval and effective size.
        threshold: The score that made the event.
        scores: Scores of all members, float64 ``[N]``.
        slots: Numbers that the noise of the remembered extreme members had at the start and
            after each step, int64 ``[T + 1, K]``.
        weights: Their weights, of sum 1, ``[K]``.
        shifts: The tilt their noise had at each step; empty for none.
    """

    estimate: Estimate
    threshold: float
    scores: Tensor
    slots: Tensor
    weights: Tensor
    shifts: list[float] = field(default_factory=list)


def pilot_run(simulation: ForecastProcess, size: int, seed: int) -> Pilot:
    """Run a plain ensemble whose random numbers are not those of the estimate.

    Args:
        simulation: The forecast.
        size: Members.
        seed: Seed of the estimate.
    """
    rows: list[list[Tensor]] = []
    process = simulation.process()

    def score(state: State, number: int) -> Tensor:
        found = process.score(state, number)
        rows.append([found])
        return found

    watched = Process(process.steps, process.start, process.step, score)
    clone_particles(watched, size, (seed ^ _PILOT_SEED) % 2**63, 0.0, resample_below=0.0)
    return Pilot(torch.stack([row[0] for row in rows]))


def probability(
    simulation: ForecastProcess,
    threshold: float,
    settings: ExtremeSettings,
    pilot: Pilot | None = None,
) -> Outcome:
    """Estimate the probability that the score reaches a threshold.

    Args:
        simulation: The forecast.
        threshold: In units of the score.
        settings: How.
        pilot: Chooses the tilts; made if need be.

    Raises:
        InputError: The method does not fit the model.
    """
    if settings.method == "mc":
        return _counted(simulation, threshold, settings)
    pilot = pilot or pilot_run(simulation, settings.pilot, settings.seed)
    tilts = pilot.tilts(threshold)
    shifts = tilts if settings.method == "guide" else []
    process = simulation.process(shifts or None)
    size = settings.members // settings.repeats
    scores: list[Tensor] = []
    slots: list[Tensor] = []
    weights: list[Tensor] = []

    def keep(particles: Particles[State]) -> None:
        repeat = len(scores)
        scores.append(particles.scores)
        hits = (particles.scores >= threshold).nonzero().flatten()
        paths = [particles.ancestors(n)[hits] for n in range(process.steps + 1)]
        slots.append(torch.stack(paths) + repeat * size)
        weights.append(particles.log_weights[hits])

    found = estimate(
        process, threshold, size, settings.seed, tilts, repeats=settings.repeats, keep=keep
    )
    log_weights = torch.cat(weights)
    chosen = _heaviest(log_weights, settings.keep)
    return Outcome(
        found,
        threshold,
        torch.cat(scores),
        torch.cat(slots, 1)[:, chosen],
        torch.softmax(log_weights[chosen], 0),
        list(shifts),
    )


def _counted(simulation: ForecastProcess, threshold: float, settings: ExtremeSettings) -> Outcome:
    process, rows = simulation.process(), []

    def score(state: State, number: int) -> Tensor:
        found = process.score(state, number)
        rows.append(found)
        return found

    watched = Process(process.steps, process.start, process.step, score)
    found = brute_force(
        watched, threshold, settings.members, settings.seed, batch=simulation.batch
    )
    scores = torch.cat(rows)
    hits = (scores >= threshold).nonzero().flatten()[: settings.keep]
    slots = hits.expand(process.steps + 1, len(hits))
    weights = torch.full((len(hits),), 1.0 / max(len(hits), 1), dtype=torch.float64)
    return Outcome(found, threshold, scores, slots, weights)


def _heaviest(log_weights: Tensor, most: int) -> Tensor:
    """The members that carry most of the weight."""
    return torch.argsort(log_weights, descending=True)[:most]


def quantile(scores: Sequence[float] | Tensor, share: float) -> float:
    """Return the score that a given share of the scores does not reach.

    Raises:
        InputError: The share is not in (0, 1).
    """
    if not 0.0 < share < 1.0:
        raise InputError(f"--threshold: quantile {share:g} is not between 0 and 1; write q0.99")
    return float(torch.quantile(torch.as_tensor(scores, dtype=torch.float64), share))

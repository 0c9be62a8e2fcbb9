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
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Literal, final, get_args

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.rare_estimates import Estimate, counted
from sciddiff.rare_events import Particles, estimate, gaussian_strength
from sciddiff.streams import Streams
from weather.calibration.members import Calibration
from weather.extremes.calibrated import CalibratedPoints, error_of_mean, scores_of
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
        calibrated: What a calibrated forecast shows, about the mean of these members; None: what
            the model makes.
        error: Standard error that this mean leaves in the scores of extreme members.
    """

    scores: Tensor
    calibrated: CalibratedPoints | None = None
    error: float = 0.0

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

    def log_error(self, threshold: float) -> float:
        r"""Return the standard error of :math:`\ln p` that `error` makes, for a normal score.

        Args:
            threshold: The score that makes the event.
        """
        last = self.scores[-1]
        deviation = float(last.std())
        if not self.error > 0.0 or deviation == 0.0:
            return 0.0
        z = (threshold - float(last.mean())) / deviation
        law = NormalDist()
        # Beyond eight deviations the ratio is that of its series, and not of two zeros.
        hazard = law.pdf(z) / law.cdf(-z) if z < 8.0 else z + 1.0 / z
        return hazard * self.error / deviation


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


def pilot_run(
    simulation: ForecastProcess, size: int, seed: int, calibration: Calibration | None = None
) -> Pilot:
    """Run a plain ensemble whose random numbers are not those of the estimate.

    Args:
        simulation: The forecast.
        size: Members.
        seed: Seed of the estimate.
        calibration: Of the forecast; it must know the index's channel.
    """
    meter, spec = simulation.meter, simulation.forecaster.spec
    points = _points(simulation, torch.arange(size), (seed ^ _PILOT_SEED) % 2**63)
    if calibration is None:
        return Pilot(scores_of(meter, points))
    calibrated = CalibratedPoints.about(points.mean(1), calibration, spec, meter)
    error = error_of_mean(meter, points, calibration, spec)
    return Pilot(scores_of(meter, points, calibrated), calibrated, error)


def _points(simulation: ForecastProcess, members: Tensor, seed: int) -> Tensor:
    """What plain members show at the points of the index after each step, ``[T, M, P]``."""
    process, streams, rows = simulation.process(), Streams(seed, members), []
    with torch.no_grad():
        state = process.start(streams)
        for number in range(process.steps):
            state = process.step(state, number, streams)
            fields = state["history"][:, -1]
            simulation.forecaster.check(fields, number + 1, members.tolist())
            rows.append(simulation.plain(fields).cpu())
    return torch.stack(rows)


def probability(
    simulation: ForecastProcess,
    threshold: float,
    settings: ExtremeSettings,
    pilot: Pilot | None = None,
    calibration: Calibration | None = None,
) -> Outcome:
    """Estimate the probability that the score reaches a threshold.

    Args:
        simulation: The forecast.
        threshold: In units of the score.
        settings: How.
        pilot: Chooses the tilts, and gives the mean about which members are calibrated; made if
            need be.
        calibration: Of the forecast; it must know the index's channel. Those who are counted are
            calibrated about the mean of all of them, as a forecast of as many members is.

    Raises:
        InputError: The method does not fit the model.
    """
    if settings.method == "mc":
        return _counted(simulation, threshold, settings, calibration)
    pilot = pilot or pilot_run(simulation, settings.pilot, settings.seed, calibration)
    simulation = replace(simulation, calibrated=pilot.calibrated)
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
        process, threshold, size, settings.seed, tilts, repeats=settings.repeats, keep=keep,
        log_error=pilot.log_error(threshold),
    )  # fmt: skip
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


def _counted(
    simulation: ForecastProcess,
    threshold: float,
    settings: ExtremeSettings,
    calibration: Calibration | None,
) -> Outcome:
    meter, scores = simulation.meter, []
    parts = torch.arange(settings.members).split(simulation.batch)
    if calibration is None:
        for members in parts:
            scores.append(scores_of(meter, _points(simulation, members, settings.seed))[-1])
    else:
        points = torch.cat([_points(simulation, rows, settings.seed) for rows in parts], 1)
        spec = simulation.forecaster.spec
        calibrated = CalibratedPoints.about(points.mean(1), calibration, spec, meter)
        scores.append(scores_of(meter, points, calibrated)[-1])
    found = torch.cat(scores)
    hits = (found >= threshold).nonzero().flatten()
    estimate = counted(len(hits), settings.members)
    kept = hits[: settings.keep]
    slots = kept.expand(meter.steps + 1, len(kept))
    weights = torch.full((len(kept),), 1.0 / max(len(kept), 1), dtype=torch.float64)
    return Outcome(estimate, threshold, found, slots, weights)


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

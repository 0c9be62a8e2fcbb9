"""Move: one step of one leaf, as a sampler asks for it and a path carries it out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciddiff.prediction import Prediction

__all__ = ["NOISE_FREE", "FreshNoise", "LeafStage", "Move", "natural_share"]

NOISE_FREE = 1e-6
"""Ratio sigma / alpha below which no noise is left: cos(pi / 2) is not exactly 0."""


@final
@dataclass(frozen=True, eq=False)
class LeafStage:
    """What is known of a leaf at one time of a step.

    Attributes:
        x: The state, as the network saw it.
        prediction: What the network said about it.
        t: The time of the leaf.
        levels: Signal and noise level at that time; ``(nan, nan)`` on a path without.
    """

    x: Tensor
    prediction: Prediction
    t: float
    levels: tuple[float, float] = (math.nan, math.nan)


@final
@dataclass(frozen=True)
class FreshNoise:
    """Fresh noise of one step.

    Attributes:
        eta: Stochasticity in [0, 1] relative to what the path can forget in this step: all that a
            path without levels needs to know.
        keep: Factor of the predicted noise, ``sqrt(1 - tau)`` if a share ``tau`` is replaced.
        add: Factor of the fresh noise, ``sqrt(tau)``.
        scale: Standard deviation of the fresh noise; below 1 lowers the temperature.
        curved: Factor of the share ``add^2`` on curved leaves; 0: they take no fresh noise.
    """

    eta: float = 1.0
    keep: float = 1.0
    add: float = 0.0
    scale: float = 1.0
    curved: float = 1.0

    @classmethod
    def replacing(
        cls, share: float, eta: float = 1.0, scale: float = 1.0, curved: float = 1.0
    ) -> FreshNoise:
        """Fresh noise in place of a ``share`` in [0, 1] of the predicted noise."""
        return cls(eta, math.sqrt(1.0 - share), math.sqrt(share), scale, curved)


@final
@dataclass(frozen=True, eq=False)
class Move:
    r"""One step of one leaf, as a sampler asks for it.

    With a signal level :math:`\alpha` and a noise level :math:`\sigma` the exact solution between
    two times, were the predicted data :math:`D` constant, is linear in the state and in the data
    (Song et al., *DDIM*, 2021, eq. 12; Lu et al., *DPM-Solver++*, 2022, eq. 9 and 14)::

        x_s = k x_t + (alpha_s - k alpha_t) D + sigma_s add z,     k = keep sigma_s / sigma_t

    Every solver is this one move with ``D`` a weighted sum of data predicted at several times: a
    solver *is* its weights. Rates of the schedule are never needed, straight trajectories are
    followed exactly, and the ends ``alpha = 0`` and ``sigma = 0`` are regular.

    Attributes:
        stages: Where the step starts, then the other times whose predictions it uses.
        s: Where it ends.
        weights: One for each stage, of sum 1.
        noise: Fresh noise; None for none.
        end: Signal and noise level at ``s``; ``(nan, nan)`` on a path without.
    """

    stages: tuple[LeafStage, ...]
    s: float
    weights: tuple[float, ...] = (1.0,)
    noise: FreshNoise | None = None
    end: tuple[float, float] = (math.nan, math.nan)

    @property
    def x(self) -> Tensor:
        """The state where the step starts."""
        return self.stages[0].x

    @property
    def t(self) -> float:
        """The time where the step starts."""
        return self.stages[0].t

    @property
    def prediction(self) -> Prediction:
        """What the network said where the step starts."""
        return self.stages[0].prediction

    @property
    def eta(self) -> float:
        """Stochasticity in [0, 1]; 0 without fresh noise."""
        return 0.0 if self.noise is None else self.noise.eta

    @property
    def clean(self) -> bool:
        """Whether no noise is left where the step ends."""
        alpha, sigma = self.end
        return sigma <= NOISE_FREE * alpha

    @property
    def keep(self) -> float:
        """``k`` of the formula."""
        if self.clean:
            return 0.0
        kept = 1.0 if self.noise is None else self.noise.keep
        return kept * self.end[1] / self.stages[0].levels[1]

    @property
    def gain(self) -> float:
        """``alpha_s - k alpha_t``."""
        return self.end[0] - self.keep * self.stages[0].levels[0]

    @property
    def added(self) -> float:
        """Standard deviation of the fresh noise at the end of the step."""
        if self.noise is None or self.clean:
            return 0.0
        return self.noise.scale * self.noise.add * self.end[1]

    @property
    def terms(self) -> list[tuple[float, LeafStage]]:
        """The stages that count, with their weights."""
        pairs = zip(self.weights, self.stages, strict=True)
        return [(weight, stage) for weight, stage in pairs if weight != 0.0]

    @property
    def latest(self) -> LeafStage:
        """The stage of the latest time."""
        return max(self.stages, key=lambda stage: stage.t)


def natural_share(start: tuple[float, float], end: tuple[float, float]) -> float:
    """The share of the noise that a step with ``eta = 1`` replaces.

    Args:
        start: Signal and noise level where the step starts.
        end: Those where it ends.
    """
    whole = end[0] * start[1]
    ratio = start[0] * end[1] / whole if whole > 0.0 else 0.0
    return min(max(1.0 - ratio**2, 0.0), 1.0)

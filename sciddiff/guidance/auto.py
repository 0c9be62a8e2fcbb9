"""Autoguidance: away from a worse version of the same network (Karras et al., 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, evaluations
from sciddiff.guidance.combine import combine, strength
from sciddiff.prediction import Prediction
from sciddiff.state import Batch, State

__all__ = ["AutoGuidance"]


@final
@dataclass(frozen=True)
class AutoGuidance(Guidance):
    """Away from the errors that a weaker network makes more of.

    ``P = P_weak + weight (P - P_weak)``: **1 means no guidance**; published
    presets are 1.7 to 2.9.

    Attributes:
        weak: A smaller, less trained or more averaged denoiser for the same data and path.
        weight: Strength; 1 costs nothing, any other value one evaluation of ``weak``.
        interval: Guide at times in ``[low, high]`` only.
    """

    weak: DenoiserLike
    weight: float
    interval: tuple[float, float] = (0.0, 1.0)

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""
        return _AutoGuidance(self, denoiser)


@final
class _AutoGuidance(Guided):
    def __init__(self, settings: AutoGuidance, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser, settings.weak)
        self._settings = settings

    def __call__(self, x_t: State, t: Tensor, batch: Batch) -> dict[str, Prediction]:
        strong, weak = self.parts
        predictions = strong(x_t, t, batch)
        weight = self._strength(t)
        if bool((weight == 1.0).all()):
            return predictions
        worse = weak(x_t, t, batch)
        return combine(x_t, [(1.0 - weight, worse), (weight, predictions)])

    def _strength(self, t: Tensor) -> Tensor:
        return strength(self._settings.weight, self._settings.interval, t, idle=1.0)

    def evaluations(self, t: Tensor) -> int:
        strong, weak = self.parts
        idle = bool((self._strength(t) == 1.0).all())
        return evaluations(strong, t) + (0 if idle else evaluations(weak, t))

"""Autoguidance: away from a worse version of the same network (Karras et al., 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, ask, evaluations
from sciddiff.guidance.combine import Strength, combine
from sciddiff.leaf_times import Time
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

    def __post_init__(self) -> None:
        Strength(self.weight, self.interval, idle=1.0).check("AutoGuidance")

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""
        return _AutoGuidance(self, denoiser)


@final
class _AutoGuidance(Guided):
    def __init__(self, settings: AutoGuidance, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser, settings.weak)
        self._strength = Strength(settings.weight, settings.interval, idle=1.0)

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        strong, weak = self.parts
        predictions = ask(strong, x_t, t, batch, until)
        if not self._strength.acts(t):
            return predictions
        worse = ask(weak, x_t, t, batch, until)
        return combine(x_t, t, self._strength, worse, predictions)

    def evaluations(self, t: Time) -> int:
        strong, weak = self.parts
        more = evaluations(weak, t) if self._strength.acts(t) else 0
        return evaluations(strong, t) + more

"""Several guidances on one denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided

__all__ = ["Compose"]


@final
@dataclass(frozen=True)
class Compose(Guidance):
    """Apply guidances one on the other: the first to the denoiser, the next to the result.

    ``Compose((ClassifierFree(...), Energy(...)))`` takes the energy of the data that
    classifier-free guidance predicts.

    Attributes:
        parts: The guidances, innermost first.
    """

    parts: tuple[Guidance, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("Compose.parts: empty; give at least one guidance")

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under all of them."""
        guided = self.parts[0](denoiser)
        for part in self.parts[1:]:
            guided = part(guided)
        return guided

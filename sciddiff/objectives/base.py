"""Objective: how a denoiser learns from a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

from sciddiff.denoiser import Denoiser
from sciddiff.state import Batch
from sciddiff.streams import Generator

__all__ = ["LossOutput", "Objective"]


@final
@dataclass(frozen=True, eq=False)
class LossOutput:
    """What an objective returns.

    Attributes:
        loss: To be minimised, a scalar with a gradient.
        metrics: Detached scalars by name, for logs.
        per_sample: The loss of each sample, detached ``[B]``; its mean is ``loss``.
    """

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    per_sample: Tensor | None = None


class Objective(ABC):
    """What is minimised.

    Attributes:
        needs_teacher: Whether training must give an averaged copy of the denoiser as ``teacher``.
    """

    needs_teacher = False

    def memory(self) -> dict[str, Any]:
        """What an exact continuation of a run needs to know of its past; tensors, plain values."""
        return {}

    def recall(self, memory: Mapping[str, Any]) -> None:  # noqa: B027 - most have no memory
        """Take over what `memory` returned when the run was saved."""

    @abstractmethod
    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on a batch.

        Args:
            denoiser: What learns.
            batch: Data.
            generator: Random source; nothing else is random.
            teacher: An averaged copy of ``denoiser`` without gradients, for objectives that learn
                from one; None for the others.
        """

"""Classifier-free guidance (Ho & Salimans, 2022), in an interval (Kynkäänniemi et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, ask, evaluations
from sciddiff.guidance.combine import Strength, combine
from sciddiff.leaf_times import Time
from sciddiff.prediction import Prediction
from sciddiff.state import Batch, State

__all__ = ["ClassifierFree"]


@final
@dataclass(frozen=True)
class ClassifierFree(Guidance):
    """Away from what the network predicts without its condition.

    ``P = P_null + weight (P_cond - P_null)``: **1 means no guidance**, 0 no condition. (Others
    write ``1 + w`` with 0 for none.)

    Attributes:
        weight: Strength; 1 costs nothing, any other value one more evaluation.
        null: The conditions that say "none": entries of ``batch.cond`` by name. A tensor replaces
            the entry, a number fills it, None removes it.
        interval: Guide at times in ``[low, high]`` only; outside, one evaluation.
    """

    weight: float
    null: Mapping[str, Tensor | float | None]
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not self.null:
            raise InputError("ClassifierFree.null: empty; name the conditions to leave out")
        Strength(self.weight, self.interval, idle=1.0).check("ClassifierFree")

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""
        return _ClassifierFree(self, denoiser)

    def without(self, batch: Batch) -> Batch:
        """The batch without the condition.

        Raises:
            InputError: The batch has no such condition.
        """
        cond: dict[str, Any] = dict(batch.cond)
        for name, value in self.null.items():
            if name not in cond:
                raise InputError(
                    f"ClassifierFree.null: no condition {name!r}; "
                    f"the batch has: {', '.join(sorted(cond)) or 'none'}"
                )
            if value is None:
                del cond[name]
            elif isinstance(value, Tensor):
                cond[name] = value.to(cond[name]).expand_as(cond[name])
            else:
                cond[name] = torch.full_like(cond[name], value)
        return replace(batch, cond=cond)


@final
class _ClassifierFree(Guided):
    def __init__(self, settings: ClassifierFree, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self._settings = settings
        self._strength = Strength(settings.weight, settings.interval, idle=1.0)

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        (denoiser,) = self.parts
        conditional = ask(denoiser, x_t, t, batch, until)
        if not self._strength.acts(t):
            return conditional
        free = ask(denoiser, x_t, t, self._settings.without(batch), until)
        return combine(x_t, t, self._strength, free, conditional)

    def evaluations(self, t: Time) -> int:
        once = evaluations(self.parts[0], t)
        return 2 * once if self._strength.acts(t) else once

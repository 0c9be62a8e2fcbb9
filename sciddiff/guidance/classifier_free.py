"""Classifier-free guidance (Ho & Salimans, 2022), in an interval (Kynkäänniemi et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, evaluations
from sciddiff.guidance.combine import combine, strength
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
        if not self.interval[0] <= self.interval[1]:
            raise InputError(f"ClassifierFree.interval: {self.interval} is empty")

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
        return Batch(batch.x, cond, batch.layouts, batch.size, batch.ids)


@final
class _ClassifierFree(Guided):
    def __init__(self, settings: ClassifierFree, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self._settings = settings

    def __call__(self, x_t: State, t: Tensor, batch: Batch) -> dict[str, Prediction]:
        (denoiser,) = self.parts
        conditional = denoiser(x_t, t, batch)
        weight = self._strength(t)
        if bool((weight == 1.0).all()):
            return conditional
        free = denoiser(x_t, t, self._settings.without(batch))
        return combine(x_t, [(1.0 - weight, free), (weight, conditional)])

    def _strength(self, t: Tensor) -> Tensor:
        return strength(self._settings.weight, self._settings.interval, t, idle=1.0)

    def evaluations(self, t: Tensor) -> int:
        once = evaluations(self.parts[0], t)
        return once if bool((self._strength(t) == 1.0).all()) else 2 * once

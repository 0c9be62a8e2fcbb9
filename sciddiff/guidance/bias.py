"""Bias: a number added to each log-probability of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, ask, evaluations
from sciddiff.leaf_times import Time
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import Batch, State

__all__ = ["FORBIDDEN", "Bias"]

FORBIDDEN = -1e9
"""The bias of a symbol that must not be drawn: its probability is then exactly 0."""


@final
@dataclass(frozen=True)
class Bias(Guidance):
    """Add a bias from the batch to the log-probabilities of tokens.

    The bias of tied rows is added up, so that what one of them forbids is forbidden to all. Put
    this guidance last: others would weigh the bias too.

    Attributes:
        biases: For each leaf, the name of the condition that holds its bias in nats,
            ``[B, N, V]`` or ``[B, 1, V]``; `FORBIDDEN` rules a symbol out.
    """

    biases: dict[str, str] = field(default_factory=dict)

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""
        return _Biased(self, denoiser)


@final
class _Biased(Guided):
    def __init__(self, settings: Bias, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self._settings = settings

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        said = ask(self.parts[0], x_t, t, batch, until)
        changed = dict(said)
        for leaf, key in self._settings.biases.items():
            if key not in batch.cond:
                raise InputError(f"Bias: the batch has no condition {key!r}")
            prediction, ties = said[leaf], batch.layouts[leaf].ties
            value = prediction.coordinates
            bias = torch.as_tensor(batch.cond[key], dtype=value.dtype, device=value.device)
            if ties is not None:
                bias = ties.add(bias.expand(value.shape)).clamp(min=FORBIDDEN)
            changed[leaf] = prediction.with_coordinates(value + bias, x_t[leaf])
        return Predictions.beside(said, changed)

    def evaluations(self, t: Time) -> int:
        return evaluations(self.parts[0], t)

"""Weighted combinations of predictions, in an interval of times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime, Time, time_of
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import State

__all__ = ["Strength", "combine"]


@final
@dataclass(frozen=True)
class Strength:
    """A weight at times inside an interval, and another outside.

    Attributes:
        weight: Inside.
        interval: First and last time, both included.
        idle: Outside: the value that changes nothing.
    """

    weight: float
    interval: tuple[float, float]
    idle: float

    def at(self, t: LeafTime) -> float | Tensor:
        """The weight at a time of one leaf; ``[B]`` for times ``[B]``."""
        first, last = self.interval
        if isinstance(t, Tensor):
            inside = (t >= first) & (t <= last)
            return torch.where(inside, self.weight, self.idle).to(t.dtype)
        return self.weight if first <= t <= last else self.idle

    def acts(self, t: Time) -> bool:
        """Whether the weight is another than ``idle`` for any sample and leaf.

        Asks the device only for times that it alone knows, and an interval that leaves some out.
        """
        if self.weight == self.idle:
            return False
        if self.interval[0] <= 0.0 and self.interval[1] >= 1.0:
            return True
        if isinstance(t, Mapping):
            return any(self.acts(own) for own in t.values())
        acting = self.at(t) != self.idle
        return bool(acting.any()) if isinstance(acting, Tensor) else acting

    def check(self, owner: str) -> None:
        """Refuse an empty interval, and a weight that is no number.

        Raises:
            InputError: The message begins with ``owner``.
        """
        if not self.interval[0] <= self.interval[1]:
            raise InputError(
                f"{owner}.interval: {self.interval} is empty; give the earlier time first"
            )
        if self.weight != self.weight:
            raise InputError(f"{owner}.weight: is not a number; give a finite weight")


def combine(
    x_t: State,
    t: Time,
    strength: Strength,
    base: Mapping[str, Prediction],
    wanted: Mapping[str, Prediction],
) -> Predictions:
    """``base + weight (wanted - base)`` of predictions for one state.

    Args:
        x_t: The state both are about.
        t: Its time.
        strength: The weight; 1 returns ``wanted``.
        base: What to go away from.
        wanted: What to go towards. Its raw outputs of no leaf are kept.
    """
    result = {}
    for name, model in wanted.items():
        weight = strength.at(time_of(t, name))
        away, towards = base[name].coordinates, model.coordinates
        value = model.spread(1.0 - weight, away) * away + model.spread(weight, towards) * towards
        result[name] = model.with_coordinates(value, x_t[name])
    return Predictions.beside(wanted, result)

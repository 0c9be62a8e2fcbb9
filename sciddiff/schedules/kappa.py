"""Progress along the geodesic of a geodesic path."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.schedules.base import precise, require, value_and_rate

__all__ = ["ExponentialKappa", "Kappa", "LinearKappa"]


class Kappa(ABC):
    r"""Progress along a geodesic, :math:`\kappa(0) = 0` to :math:`\kappa(1) = 1`, increasing."""

    @abstractmethod
    def value(self, t: Tensor) -> Tensor:
        """Progress at ``t [...]``; differentiable."""

    def __call__(self, t: Tensor) -> Tensor:
        """Progress at ``t [...]``, float64 ``[...]``."""
        return self.value(precise(t))

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Progress and its time derivative at ``t [...]``, float64 ``[...]`` each."""
        return value_and_rate(self.value, precise(t))

    def at(self, t: float) -> tuple[float, float]:
        """Progress and its time derivative at one time, as plain numbers."""
        value, rate = self.rate(torch.tensor(t, dtype=torch.float64))
        return float(value), float(rate)


@final
@dataclass(frozen=True)
class LinearKappa(Kappa):
    r""":math:`\kappa = t`: constant speed."""

    def value(self, t: Tensor) -> Tensor:
        return t

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kappa.rate`."""
        t = precise(t)
        return t, torch.ones_like(t)

    def at(self, t: float) -> tuple[float, float]:
        """See `Kappa.at`."""
        return t, 1.0


@final
@dataclass(frozen=True)
class ExponentialKappa(Kappa):
    r""":math:`\kappa = (1 - e^{-ct}) / (1 - e^{-c})`: settles early.

    The relative speed :math:`\dot\kappa/(1-\kappa)` is c but for the normalisation, which lets the
    path end exactly in the data (FrameFlow, Yim et al., 2023, uses it for rotations at inference,
    with c = 10 and no normalisation).

    Attributes:
        rate_constant: c.
    """

    rate_constant: float = 10.0

    def __post_init__(self) -> None:
        require(
            self.rate_constant > 0,
            "ExponentialKappa.rate_constant",
            self.rate_constant,
            "positive",
        )

    def value(self, t: Tensor) -> Tensor:
        return torch.expm1(-self.rate_constant * t) / math.expm1(-self.rate_constant)

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kappa.rate`."""
        t, c = precise(t), self.rate_constant
        return self.value(t), torch.exp(-c * t) * (-c / math.expm1(-c))

    def at(self, t: float) -> tuple[float, float]:
        """See `Kappa.at`."""
        c, whole = self.rate_constant, math.expm1(-self.rate_constant)
        return math.expm1(-c * t) / whole, -c * math.exp(-c * t) / whole

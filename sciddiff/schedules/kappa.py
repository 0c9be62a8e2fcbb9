"""Progress from noise to data: along a geodesic, or the share of tokens that are known."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.schedules.base import precise, require, value_and_rate

__all__ = ["CosineKappa", "ExponentialKappa", "Kappa", "LinearKappa", "PowerKappa"]


class Kappa(ABC):
    r"""Progress, :math:`\kappa(0) = 0` to :math:`\kappa(1) = 1`, increasing."""

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


@final
@dataclass(frozen=True)
class CosineKappa(Kappa):
    r""":math:`\kappa = 1 - \cos(\pi t/2)`: slow at first (Chang et al., *MaskGIT*, 2022)."""

    def value(self, t: Tensor) -> Tensor:
        # The sine of the complement is exactly 0 at t = 1, where the rounded cosine is not.
        return 1.0 - torch.sin(0.5 * math.pi * (1.0 - t))

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kappa.rate`."""
        t = precise(t)
        return self.value(t), 0.5 * math.pi * torch.sin(0.5 * math.pi * t)

    def at(self, t: float) -> tuple[float, float]:
        """See `Kappa.at`."""
        quarter = 0.5 * math.pi
        return 1.0 - math.sin(quarter * (1.0 - t)), quarter * math.sin(quarter * t)


@final
@dataclass(frozen=True)
class PowerKappa(Kappa):
    r""":math:`\kappa = t^p`.

    Attributes:
        power: p, positive.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        require(self.power > 0, "PowerKappa.power", self.power, "positive")

    def value(self, t: Tensor) -> Tensor:
        return t**self.power

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kappa.rate`."""
        t = precise(t)
        return self.value(t), self.power * t ** (self.power - 1.0)

    def at(self, t: float) -> tuple[float, float]:
        """See `Kappa.at`."""
        return t**self.power, self.power * t ** (self.power - 1.0)

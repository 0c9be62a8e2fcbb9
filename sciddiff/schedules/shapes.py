"""The schedules that ship."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.schedules.base import ClosedForm, T, precise, require

__all__ = ["EDM", "VE", "VP", "Cosine", "Linear", "Logarithmic", "Polynomial"]


@final
@dataclass(frozen=True)
class Linear(ClosedForm):
    r""":math:`\alpha = t,\ \sigma = 1 - t` (rectified flow, flow matching)."""

    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        return t, 1.0 - t

    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        return 1.0, -1.0

    def inverse(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(precise(log_snr))


@final
@dataclass(frozen=True)
class Cosine(ClosedForm):
    r""":math:`\alpha = \sin(\pi t/2),\ \sigma = \sigma_d\cos(\pi t/2)`.

    Attributes:
        sigma_data: Scale of the noise; with the data's standard deviation it is TrigFlow (Lu &
            Song, 2024).
    """

    sigma_data: float = 1.0

    def __post_init__(self) -> None:
        require(self.sigma_data > 0, "Cosine.sigma_data", self.sigma_data, "positive")

    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        # The sine of the complement is exactly 0 at t = 1, where the rounded cosine is not.
        quarter = 0.5 * math.pi
        return f.sin(quarter * t), self.sigma_data * f.sin(quarter * (1.0 - t))

    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        quarter = 0.5 * math.pi
        return quarter / self.sigma_data * sigma, -quarter * self.sigma_data * alpha

    def inverse(self, log_snr: Tensor) -> Tensor:
        return torch.atan(self.sigma_data * torch.exp(precise(log_snr))) * (2.0 / math.pi)


@final
@dataclass(frozen=True)
class VP(ClosedForm):
    r"""Variance preserving (Song et al., 2021), with noise-time :math:`\tau = 1 - t`.

    .. math:: \log\alpha = -\tfrac14\tau^2(\beta_1-\beta_0) - \tfrac12\tau\beta_0,\quad
        \sigma^2 = 1 - \alpha^2

    The rate of sigma is infinite at t = 1.

    Attributes:
        beta_min: :math:`\beta_0`, at the data.
        beta_max: :math:`\beta_1`, at the noise.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        require(self.beta_min > 0, "VP.beta_min", self.beta_min, "positive")
        require(self.beta_max >= self.beta_min, "VP.beta_max", self.beta_max, ">= beta_min")

    def _log_alpha(self, t: T) -> T:
        tau = 1.0 - t
        return -0.25 * tau**2 * (self.beta_max - self.beta_min) - 0.5 * tau * self.beta_min

    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        log_alpha = self._log_alpha(t)
        return f.exp(log_alpha), f.sqrt(-f.expm1(2.0 * log_alpha))

    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        beta = self.beta_min + (1.0 - t) * (self.beta_max - self.beta_min)
        # sigma sigma' = -alpha alpha', since their squares add up to 1.
        return 0.5 * beta * alpha, -0.5 * beta * alpha**2 / sigma

    def inverse(self, log_snr: Tensor) -> Tensor:
        # log alpha = -softplus(-2 lambda) / 2, then the quadratic in tau, in the stable form.
        drop = torch.nn.functional.softplus(-2.0 * precise(log_snr))
        slope = self.beta_max - self.beta_min
        root = torch.sqrt(self.beta_min**2 + 2.0 * slope * drop)
        tau = torch.where(drop.isinf(), math.inf, 2.0 * drop / (self.beta_min + root))
        return (1.0 - tau).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class VE(ClosedForm):
    r"""Variance exploding: :math:`\alpha = 1`, sigma geometric (Song et al., 2021).

    The path ends at ``sigma_min``, not 0: the last step to the data is the prediction's ``data``.

    Attributes:
        sigma_min: Noise at t = 1.
        sigma_max: Noise at t = 0.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        require(self.sigma_min > 0, "VE.sigma_min", self.sigma_min, "positive")
        require(self.sigma_max > self.sigma_min, "VE.sigma_max", self.sigma_max, "> sigma_min")

    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        return 1.0, self.sigma_max * f.exp(t * math.log(self.sigma_min / self.sigma_max))

    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        return 0.0, math.log(self.sigma_min / self.sigma_max) * sigma

    def inverse(self, log_snr: Tensor) -> Tensor:
        span = math.log(self.sigma_max / self.sigma_min)
        return ((precise(log_snr) + math.log(self.sigma_max)) / span).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class EDM(ClosedForm):
    r"""Karras et al. (2022): :math:`\alpha = 1`, sigma linear in its power :math:`1/\rho`.

    .. math:: \sigma = (\sigma_{max}^{1/\rho} + t(\sigma_{min}^{1/\rho} -
        \sigma_{max}^{1/\rho}))^\rho

    The path ends at ``sigma_min``, not 0: the last step to the data is the prediction's ``data``.

    Attributes:
        sigma_min: Noise at t = 1.
        sigma_max: Noise at t = 0.
        rho: Exponent; larger spends more of [0, 1] near the data.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        require(self.sigma_min > 0, "EDM.sigma_min", self.sigma_min, "positive")
        require(self.sigma_max > self.sigma_min, "EDM.sigma_max", self.sigma_max, "> sigma_min")
        require(self.rho > 0, "EDM.rho", self.rho, "positive")

    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return 1.0, ((1.0 - t) * top + t * bottom) ** self.rho

    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return 0.0, self.rho * (bottom - top) * ((1.0 - t) * top + t * bottom) ** (self.rho - 1.0)

    def inverse(self, log_snr: Tensor) -> Tensor:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        power = torch.exp(-precise(log_snr) / self.rho)
        return ((top - power) / (top - bottom)).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class Logarithmic(ClosedForm):
    r"""Variance exploding, sigma logarithmic in time: that of FrameDiff's rotations.

    .. math:: \alpha = 1, \quad \sigma = \log(t e^{\sigma_{min}} + (1 - t) e^{\sigma_{max}})

    Attributes:
        sigma_min: Noise at t = 1.
        sigma_max: Noise at t = 0.
    """

    sigma_min: float = 0.1
    sigma_max: float = 1.5

    def __post_init__(self) -> None:
        require(self.sigma_min > 0, "Logarithmic.sigma_min", self.sigma_min, "positive")
        require(
            self.sigma_max > self.sigma_min, "Logarithmic.sigma_max", self.sigma_max, "> sigma_min"
        )

    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        top, bottom = math.exp(self.sigma_max), math.exp(self.sigma_min)
        return 1.0, f.log(t * bottom + (1.0 - t) * top)

    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        # sigma' = (e^sigma)' e^-sigma
        return 0.0, (math.exp(self.sigma_min) - math.exp(self.sigma_max)) * f.exp(-sigma)

    def inverse(self, log_snr: Tensor) -> Tensor:
        top, bottom = math.exp(self.sigma_max), math.exp(self.sigma_min)
        level = torch.exp(torch.exp(-precise(log_snr)))
        return ((top - level) / (top - bottom)).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class Polynomial(ClosedForm):
    r""":math:`\alpha = t^n,\ \sigma = 1 - t^n`.

    Attributes:
        degree: n; 1 is the linear schedule, larger stays longer near the noise.
    """

    degree: float = 2.0

    def __post_init__(self) -> None:
        require(self.degree > 0, "Polynomial.degree", self.degree, "positive")

    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        alpha = t**self.degree
        return alpha, 1.0 - alpha

    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        rate = self.degree * t ** (self.degree - 1.0)
        return rate, -rate

    def inverse(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(precise(log_snr)) ** (1.0 / self.degree)

r"""Schedules: how much data and how much noise a Gaussian path holds at time t.

.. math:: x_t = \alpha(t)\,x_1 + \sigma(t)\,x_0, \qquad t: 0 \text{ (noise)} \to 1 \text{ (data)}

:math:`\alpha` does not decrease, :math:`\sigma` does not increase, and their ratio grows strictly:
:math:`D = \dot\alpha\sigma - \alpha\dot\sigma > 0`. Derivatives come from forward-mode automatic
differentiation of the two functions, never from hand-written formulas. The log-SNR is
:math:`\lambda(t) = \log(\alpha/\sigma)`; `Schedule.inverse` returns the time from it, in double
precision.

Coefficients of a batch are a few numbers, so everything here is computed in float64 and the result
has that type; callers round once, when they meet the state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from sciddiff.errors import InputError

__all__ = [
    "EDM",
    "VE",
    "VP",
    "Coefficients",
    "Cosine",
    "ExponentialKappa",
    "Kappa",
    "Linear",
    "LinearKappa",
    "Logarithmic",
    "Polynomial",
    "Schedule",
]

_BISECTIONS = 64


class Coefficients(NamedTuple):
    """Values and time derivatives of a schedule, each float64 ``[B]``."""

    alpha: Tensor
    sigma: Tensor
    alpha_rate: Tensor
    sigma_rate: Tensor

    @property
    def wronskian(self) -> Tensor:
        r""":math:`D = \dot\alpha\sigma - \alpha\dot\sigma`, positive inside (0, 1)."""
        return self.alpha_rate * self.sigma - self.alpha * self.sigma_rate


class Schedule(ABC):
    """The two functions of time that define a Gaussian path."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Scale of the data at ``t [...]``; differentiable."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Scale of the noise at ``t [...]``; differentiable."""

    def log_snr(self, t: Tensor) -> Tensor:
        r""":math:`\lambda = \log(\alpha/\sigma)`, float64 ``[...]``; infinite where one is 0."""
        t = _precise(t)
        return torch.log(self.alpha(t)) - torch.log(self.sigma(t))

    def inverse(self, log_snr: Tensor) -> Tensor:
        """The time with a given log-SNR, float64 ``[...]``; clamped to [0, 1].

        By bisection to the last bit; schedules with a closed form override it.

        Args:
            log_snr: ``[...]``, may be infinite.
        """
        target = _precise(log_snr)
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.log_snr(middle) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return torch.where(target == math.inf, 1.0, torch.where(target == -math.inf, 0.0, high))

    def rates(self, t: Tensor) -> Coefficients:
        """Values and derivatives at ``t [...]``, float64 ``[...]`` each."""
        t = _precise(t)
        alpha, alpha_rate = _value_and_rate(self.alpha, t)
        sigma, sigma_rate = _value_and_rate(self.sigma, t)
        return Coefficients(alpha, sigma, alpha_rate, sigma_rate)

    def values(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``alpha, sigma`` at ``t [...]``, float64 ``[...]`` each."""
        t = _precise(t)
        return self.alpha(t), self.sigma(t)


@final
@dataclass(frozen=True)
class Linear(Schedule):
    r""":math:`\alpha = t,\ \sigma = 1 - t` (rectified flow, flow matching)."""

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return 1.0 - t

    def inverse(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(_precise(log_snr))


@final
@dataclass(frozen=True)
class Cosine(Schedule):
    r""":math:`\alpha = \sin(\pi t/2),\ \sigma = \sigma_d\cos(\pi t/2)`.

    Attributes:
        sigma_data: Scale of the noise; with the data's standard deviation it is TrigFlow (Lu &
            Song, 2024).
    """

    sigma_data: float = 1.0

    def __post_init__(self) -> None:
        _require(self.sigma_data > 0, "Cosine.sigma_data", self.sigma_data, "positive")

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sin(0.5 * math.pi * t)

    def sigma(self, t: Tensor) -> Tensor:
        # The sine of the complement is exactly 0 at t = 1, where the rounded cosine is not.
        return self.sigma_data * torch.sin(0.5 * math.pi * (1.0 - t))

    def inverse(self, log_snr: Tensor) -> Tensor:
        return torch.atan(self.sigma_data * torch.exp(_precise(log_snr))) * (2.0 / math.pi)


@final
@dataclass(frozen=True)
class VP(Schedule):
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
        _require(self.beta_min > 0, "VP.beta_min", self.beta_min, "positive")
        _require(self.beta_max >= self.beta_min, "VP.beta_max", self.beta_max, ">= beta_min")

    def _log_alpha(self, t: Tensor) -> Tensor:
        tau = 1.0 - t
        return -0.25 * tau**2 * (self.beta_max - self.beta_min) - 0.5 * tau * self.beta_min

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self._log_alpha(t))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(2.0 * self._log_alpha(t)))

    def inverse(self, log_snr: Tensor) -> Tensor:
        # log alpha = -softplus(-2 lambda) / 2, then the quadratic in tau, in the stable form.
        drop = torch.nn.functional.softplus(-2.0 * _precise(log_snr))
        slope = self.beta_max - self.beta_min
        root = torch.sqrt(self.beta_min**2 + 2.0 * slope * drop)
        tau = torch.where(drop.isinf(), math.inf, 2.0 * drop / (self.beta_min + root))
        return (1.0 - tau).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class VE(Schedule):
    r"""Variance exploding: :math:`\alpha = 1`, sigma geometric (Song et al., 2021).

    The path ends at ``sigma_min``, not 0: the last step to the data is the prediction's ``data``.

    Attributes:
        sigma_min: Noise at t = 1.
        sigma_max: Noise at t = 0.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        _require(self.sigma_min > 0, "VE.sigma_min", self.sigma_min, "positive")
        _require(self.sigma_max > self.sigma_min, "VE.sigma_max", self.sigma_max, "> sigma_min")

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_max * torch.exp(t * math.log(self.sigma_min / self.sigma_max))

    def inverse(self, log_snr: Tensor) -> Tensor:
        span = math.log(self.sigma_max / self.sigma_min)
        return ((_precise(log_snr) + math.log(self.sigma_max)) / span).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class EDM(Schedule):
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
        _require(self.sigma_min > 0, "EDM.sigma_min", self.sigma_min, "positive")
        _require(self.sigma_max > self.sigma_min, "EDM.sigma_max", self.sigma_max, "> sigma_min")
        _require(self.rho > 0, "EDM.rho", self.rho, "positive")

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return ((1.0 - t) * top + t * bottom) ** self.rho

    def inverse(self, log_snr: Tensor) -> Tensor:
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        power = torch.exp(-_precise(log_snr) / self.rho)
        return ((top - power) / (top - bottom)).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class Logarithmic(Schedule):
    r"""Variance exploding, sigma logarithmic in time: that of FrameDiff's rotations.

    .. math:: \alpha = 1, \quad \sigma = \log(t e^{\sigma_{min}} + (1 - t) e^{\sigma_{max}})

    Attributes:
        sigma_min: Noise at t = 1.
        sigma_max: Noise at t = 0.
    """

    sigma_min: float = 0.1
    sigma_max: float = 1.5

    def __post_init__(self) -> None:
        _require(self.sigma_min > 0, "Logarithmic.sigma_min", self.sigma_min, "positive")
        _require(
            self.sigma_max > self.sigma_min, "Logarithmic.sigma_max", self.sigma_max, "> sigma_min"
        )

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.log(t * math.exp(self.sigma_min) + (1.0 - t) * math.exp(self.sigma_max))

    def inverse(self, log_snr: Tensor) -> Tensor:
        top, bottom = math.exp(self.sigma_max), math.exp(self.sigma_min)
        level = torch.exp(torch.exp(-_precise(log_snr)))
        return ((top - level) / (top - bottom)).clamp(0.0, 1.0)


@final
@dataclass(frozen=True)
class Polynomial(Schedule):
    r""":math:`\alpha = t^n,\ \sigma = 1 - t^n`.

    Attributes:
        degree: n; 1 is the linear schedule, larger stays longer near the noise.
    """

    degree: float = 2.0

    def __post_init__(self) -> None:
        _require(self.degree > 0, "Polynomial.degree", self.degree, "positive")

    def alpha(self, t: Tensor) -> Tensor:
        return t**self.degree

    def sigma(self, t: Tensor) -> Tensor:
        return 1.0 - t**self.degree

    def inverse(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(_precise(log_snr)) ** (1.0 / self.degree)


class Kappa(ABC):
    r"""Progress along a geodesic, :math:`\kappa(0) = 0` to :math:`\kappa(1) = 1`, increasing."""

    @abstractmethod
    def value(self, t: Tensor) -> Tensor:
        """Progress at ``t [...]``; differentiable."""

    def __call__(self, t: Tensor) -> Tensor:
        """Progress at ``t [...]``, float64 ``[...]``."""
        return self.value(_precise(t))

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Progress and its time derivative at ``t [...]``, float64 ``[...]`` each."""
        return _value_and_rate(self.value, _precise(t))


@final
@dataclass(frozen=True)
class LinearKappa(Kappa):
    r""":math:`\kappa = t`: constant speed."""

    def value(self, t: Tensor) -> Tensor:
        return t


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
        _require(
            self.rate_constant > 0,
            "ExponentialKappa.rate_constant",
            self.rate_constant,
            "positive",
        )

    def value(self, t: Tensor) -> Tensor:
        return torch.expm1(-self.rate_constant * t) / math.expm1(-self.rate_constant)


def _precise(t: Tensor) -> Tensor:
    """Double precision, where the device has it."""
    return t if t.device.type == "mps" else t.to(torch.float64)


def _value_and_rate(function: Callable[[Tensor], Tensor], t: Tensor) -> tuple[Tensor, Tensor]:
    value, rate = torch.func.jvp(function, (t,), (torch.ones_like(t),))[:2]
    return value, rate


def _require(condition: bool, name: str, value: float, what: str) -> None:
    if not condition:
        raise InputError(f"{name}: {value} is not {what}")

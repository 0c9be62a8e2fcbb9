"""What a schedule is, and its rates by formula or by differentiation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from sciddiff.errors import InputError

__all__ = ["ClosedForm", "Coefficients", "Schedule", "precise", "require", "value_and_rate"]

_BISECTIONS = 64

T = TypeVar("T", float, Tensor)


class Coefficients(NamedTuple, Generic[T]):
    """Values and time derivatives of a schedule: float64 ``[...]`` each, or plain numbers."""

    alpha: T
    sigma: T
    alpha_rate: T
    sigma_rate: T

    @property
    def wronskian(self) -> T:
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
        t = precise(t)
        return torch.log(self.alpha(t)) - torch.log(self.sigma(t))

    def inverse(self, log_snr: Tensor) -> Tensor:
        """The time with a given log-SNR, float64 ``[...]``; clamped to [0, 1].

        By bisection to the last bit; schedules with a closed form override it.

        Args:
            log_snr: ``[...]``, may be infinite.
        """
        target = precise(log_snr)
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.log_snr(middle) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return torch.where(target == math.inf, 1.0, torch.where(target == -math.inf, 0.0, high))

    def rates(self, t: Tensor) -> Coefficients[Tensor]:
        """Values and derivatives at ``t [...]``, float64 ``[...]`` each."""
        t = precise(t)
        alpha, alpha_rate = value_and_rate(self.alpha, t)
        sigma, sigma_rate = value_and_rate(self.sigma, t)
        return Coefficients(alpha, sigma, alpha_rate, sigma_rate)

    def at(self, t: float) -> Coefficients[float]:
        """Values and derivatives at one time, as plain numbers.

        >>> from sciddiff.schedules import Linear
        >>> Linear().at(0.25)
        Coefficients(alpha=0.25, sigma=0.75, alpha_rate=1.0, sigma_rate=-1.0)
        """
        rates = self.rates(torch.tensor(t, dtype=torch.float64))
        return Coefficients(*(float(value) for value in rates))

    def values(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``alpha, sigma`` at ``t [...]``, float64 ``[...]`` each."""
        t = precise(t)
        return self.alpha(t), self.sigma(t)


class ClosedForm(Schedule):
    """A schedule whose rates are known: one formula for tensors and for plain numbers."""

    @abstractmethod
    def levels(self, t: T, f: ModuleType) -> tuple[Any, Any]:
        """``alpha, sigma`` at ``t``.

        Args:
            t: A number or a tensor.
            f: Where exp, log, sin and so on are found: `math` for a number, `torch` for a tensor.
        """

    @abstractmethod
    def slopes(self, t: T, alpha: T, sigma: T, f: ModuleType) -> tuple[Any, Any]:
        """Time derivatives of ``alpha`` and ``sigma``, from their values; see `levels`."""

    def alpha(self, t: Tensor) -> Tensor:
        """See `Schedule.alpha`."""
        return _filled(self.levels(t, torch)[0], t)

    def sigma(self, t: Tensor) -> Tensor:
        """See `Schedule.sigma`."""
        return _filled(self.levels(t, torch)[1], t)

    def values(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Schedule.values`."""
        t = precise(t)
        alpha, sigma = self.levels(t, torch)
        return _filled(alpha, t), _filled(sigma, t)

    def rates(self, t: Tensor) -> Coefficients[Tensor]:
        """See `Schedule.rates`."""
        t = precise(t)
        alpha, sigma = self.values(t)
        first, second = self.slopes(t, alpha, sigma, torch)
        return Coefficients(alpha, sigma, _filled(first, t), _filled(second, t))

    def at(self, t: float) -> Coefficients[float]:
        """See `Schedule.at`."""
        try:
            alpha, sigma = self.levels(t, math)
            return Coefficients(alpha, sigma, *self.slopes(t, alpha, sigma, math))
        except (ZeroDivisionError, ValueError):  # an infinite rate at an end: tensors have one
            return super().at(t)


def precise(t: Tensor) -> Tensor:
    """Double precision, where the device has it (Apple's has not)."""
    return t if t.device.type == "mps" else t.to(torch.float64)


def value_and_rate(function: Callable[[Tensor], Tensor], t: Tensor) -> tuple[Tensor, Tensor]:
    """A function of time and its derivative, by forward-mode automatic differentiation."""
    value, rate = torch.func.jvp(function, (t,), (torch.ones_like(t),))[:2]
    return value, rate


def _filled(value: Tensor | float, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full_like(like, value)


def require(condition: bool, name: str, value: float, what: str) -> None:
    """Refuse a setting.

    Raises:
        InputError: The condition does not hold.
    """
    if not condition:
        raise InputError(f"{name}: {value} is not {what}")

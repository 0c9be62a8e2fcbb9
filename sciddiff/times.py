"""Times: the laws of training time.

A law is its quantile function, so that draws can be stratified: `draw` puts one uniform number in
each of B equal cells, all shifted alike (low discrepancy, the default), and maps them. A batch
then covers all noise levels, which removes most of the variance that random times add to a loss.
Which sample of a batch gets which cell is random.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.schedules import EDM, Schedule
from sciddiff.streams import Generator, uniform_per_sample

__all__ = [
    "BetaMixture",
    "KarrasQuantile",
    "LogNormalSigma",
    "LogitNormal",
    "TimeLaw",
    "Uniform",
    "draw",
]


class TimeLaw(ABC):
    """A law of training time on [0, 1]."""

    @abstractmethod
    def quantile(self, u: Tensor) -> Tensor:
        """Times whose cumulative probability is ``u [...]`` in [0, 1), float64 ``[...]``."""


def draw(
    law: TimeLaw,
    size: int,
    generator: Generator | None,
    low_discrepancy: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one time per sample.

    Args:
        law: The law.
        size: Number of samples, B.
        generator: Random source.
        low_discrepancy: Stratify over the batch; otherwise times are independent.
        dtype: Type of the result.
        device: Device of the result.

    Returns:
        Times in [0, 1], ``[B]``.
    """
    u = uniform_per_sample(size, generator, torch.float64, device)
    if low_discrepancy:
        order = torch.argsort(uniform_per_sample(size, generator, torch.float64, device))
        u = (order + u[:1]) / size
    return law.quantile(u).clamp(0.0, 1.0).to(dtype)


@final
@dataclass(frozen=True)
class Uniform(TimeLaw):
    """Uniform on an interval.

    Attributes:
        low: Smallest time.
        high: Largest time.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 1.0:
            raise InputError(f"Uniform: [{self.low}, {self.high}] is no interval in [0, 1]")

    def quantile(self, u: Tensor) -> Tensor:
        u = u.double()
        return u if (self.low, self.high) == (0.0, 1.0) else self.low + (self.high - self.low) * u


_TABLE = 4096


@final
@dataclass(frozen=True)
class BetaMixture(TimeLaw):
    """A share of uniform times, and a Beta law for the rest.

    The default is that of Proteina (Geffner et al., 2025), which leans to the data. The quantile
    function is the interpolated inverse of a table of 4,096 cells of the cumulative law, right to
    about 1e-6.

    Attributes:
        a: First parameter of the Beta law, at least 1/2.
        b: Second parameter, at least 1/2.
        uniform: Share of uniform times.
    """

    a: float = 1.9
    b: float = 1.0
    uniform: float = 0.02

    def __post_init__(self) -> None:
        if min(self.a, self.b) < 0.5:
            raise InputError(f"BetaMixture: a = {self.a}, b = {self.b}; both must be at least 0.5")
        if not 0.0 <= self.uniform <= 1.0:
            raise InputError(f"BetaMixture.uniform: {self.uniform} is not in [0, 1]")

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Angles and cumulative probabilities, float64 ``[4097]`` each."""
        # With t = sin^2(angle) the density is bounded for parameters from 1/2 on.
        angle = torch.linspace(0.0, 0.5 * math.pi, 2 * _TABLE + 1, dtype=torch.float64)
        density = angle.sin() ** (2 * self.a - 1) * angle.cos().clamp(min=0) ** (2 * self.b - 1)
        cells = density[0:-1:2] + 4 * density[1::2] + density[2::2]
        beta = torch.nn.functional.pad(cells.cumsum(0), (1, 0))
        flat = angle[::2].sin() ** 2
        return angle[::2], (1 - self.uniform) * beta / beta[-1] + self.uniform * flat

    def quantile(self, u: Tensor) -> Tensor:
        angle, cumulative = (column.to(u.device) for column in self._table)
        u = u.double()
        cell = torch.searchsorted(cumulative, u, right=True).clamp(1, _TABLE)
        low, high = cumulative[cell - 1], cumulative[cell]
        fraction = ((u - low) / (high - low).clamp(min=1e-300)).clamp(0.0, 1.0)
        return torch.lerp(angle[cell - 1], angle[cell], fraction).sin() ** 2


@final
@dataclass(frozen=True)
class LogitNormal(TimeLaw):
    """``logit t`` is normal (Esser et al., 2024).

    Papers with time running from data to noise state the mean with the other sign: the -0.4 of
    MeanFlow is 0.4 here.

    Attributes:
        mean: Mean of the logit.
        std: Standard deviation of the logit.
    """

    mean: float = 0.0
    std: float = 1.0

    def quantile(self, u: Tensor) -> Tensor:
        return torch.sigmoid(self.mean + self.std * _normal_quantile(u))


@final
@dataclass(frozen=True)
class LogNormalSigma(TimeLaw):
    """The logarithm of sigma / alpha is normal (Karras et al., 2022; EDM2 has a mean of -0.4).

    Attributes:
        schedule: Schedule that turns noise levels into times.
        mean: Mean of ``log(sigma / alpha)``.
        std: Its standard deviation.
    """

    schedule: Schedule = field(default_factory=EDM)
    mean: float = -1.2
    std: float = 1.2

    def quantile(self, u: Tensor) -> Tensor:
        return self.schedule.inverse(self.std * _normal_quantile(u) - self.mean)


@final
@dataclass(frozen=True)
class KarrasQuantile(TimeLaw):
    """Noise levels sigma / alpha uniform in their power 1 / rho (GenCast, Price et al., 2024).

    Attributes:
        schedule: Schedule that turns noise levels into times.
        sigma_min: Smallest noise level.
        sigma_max: Largest noise level.
        rho: Exponent.
    """

    schedule: Schedule = field(default_factory=EDM)
    sigma_min: float = 0.02
    sigma_max: float = 88.0
    rho: float = 7.0

    def quantile(self, u: Tensor) -> Tensor:
        levels = EDM(self.sigma_min, self.sigma_max, self.rho).sigma(u.double())
        return self.schedule.inverse(-levels.log())


def _normal_quantile(u: Tensor) -> Tensor:
    return torch.special.ndtri(u.double().clamp(1e-12, 1.0 - 1e-12))

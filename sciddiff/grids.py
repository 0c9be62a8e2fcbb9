"""Grids: the times at which a sampler looks, from 0 (noise) to 1 (data).

Every function returns float64 ``[steps + 1]``, strictly increasing, with ends exactly 0 and 1. The
number of steps is free: a network trained at all times samples with any grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.schedules import EDM, Schedule
from sciddiff.times import TimeLaw

__all__ = ["compact", "karras", "log", "power", "quantile", "uniform", "uniform_log_snr"]


def uniform(steps: int) -> Tensor:
    """Equal steps.

    Args:
        steps: Number of steps, at least 1.
    """
    _check(steps)
    return torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)


def power(steps: int, exponent: float = 2.0) -> Tensor:
    """``(i / n)^p``: above 1, small steps near the noise; below 1, near the data.

    Args:
        steps: Number of steps, n.
        exponent: p, positive.
    """
    if exponent <= 0:
        raise InputError(f"grid exponent: {exponent} is not positive")
    return uniform(steps) ** exponent


def log(steps: int, decades: float = 2.0) -> Tensor:
    """``(1 - 10^(-p i / n)) / (1 - 10^-p)``: steps shrink p decades towards the data (Proteina).

    Args:
        steps: Number of steps, n.
        decades: p, positive.
    """
    if decades <= 0:
        raise InputError(f"grid decades: {decades} is not positive")
    scale = -decades * math.log(10.0)
    return _closed(torch.expm1(scale * uniform(steps)) / math.expm1(scale))


def compact(steps: int) -> Tensor:
    """Steps for leaves on compact manifolds whose data are concentrated: `log` over 0.7 decades.

    On a geodesic path the noise is uniform, and trajectories are straight until it is about as
    narrow as the data; there steps must be short, and not so long before that trajectories jump
    over data they should have met. An angle of deviation 0.1 with the exact network comes out 0.1
    within 2 % in 10 steps of the midpoint rule, where 20 equal steps of first order give 0.074;
    deviations from 0.05 to 0.5 come out within 2 % in 20.

    Use a deterministic sampler of second order, such as `sciddiff.samplers.Midpoint`. Fresh noise
    on curved leaves does not keep their law, however short the steps are.

    Args:
        steps: Number of steps.
    """
    return log(steps, 0.7)


def karras(
    steps: int,
    schedule: Schedule,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    inside: bool = False,
) -> Tensor:
    """Noise levels sigma / alpha equally spaced in their power 1 / rho (Karras et al., 2022).

    The first and last time are 0 and 1 whatever the schedule's levels there; on a schedule that
    ends in noise (EDM, VE), use its own ``sigma_min`` and ``sigma_max``.

    Args:
        steps: Number of steps.
        schedule: Schedule that turns noise levels into times.
        sigma_min: Level of the last time but for the end at 1.
        sigma_max: Level of the first time but for the end at 0.
        rho: Exponent.
        inside: Whether both levels have times of their own, between 0 and 1; else these are 0 and
            1. It needs three steps.

    Raises:
        InputError: Fewer than three steps have both levels inside.

    >>> from sciddiff.schedules import Linear
    >>> karras(3, Linear(), 0.25, 3.0, inside=True)
    tensor([0.0000, 0.2500, 0.8000, 1.0000], dtype=torch.float64)
    """
    if inside and steps < 3:
        raise InputError(f"karras: {steps} steps cannot have both levels inside; take 3 or more")
    levels = EDM(sigma_min, sigma_max, rho).sigma(uniform(steps - 2 if inside else steps))
    times = schedule.inverse(-levels.log())
    if not inside:
        return _closed(times)
    return torch.cat([times.new_zeros(1), times, times.new_ones(1)])


def uniform_log_snr(
    steps: int, schedule: Schedule, low: float | None = None, high: float | None = None
) -> Tensor:
    """Equal steps of ``log(alpha / sigma)`` (Lu et al., 2022).

    Args:
        steps: Number of steps.
        schedule: Schedule that turns log-SNR into times.
        low: Log-SNR at the beginning; default that at t = 0.001.
        high: Log-SNR at the end; default that at t = 0.999.
    """
    ends = schedule.log_snr(torch.tensor([1e-3, 1.0 - 1e-3], dtype=torch.float64))
    low = float(ends[0]) if low is None else low
    high = float(ends[1]) if high is None else high
    return _closed(schedule.inverse(low + (high - low) * uniform(steps)))


def quantile(steps: int, law: TimeLaw) -> Tensor:
    """Quantiles of a law: as many times wherever training had as many.

    Args:
        steps: Number of steps.
        law: A law of training time.
    """
    return _closed(law.quantile(uniform(steps)))


def _closed(times: Tensor) -> Tensor:
    """Put the ends at 0 and 1."""
    times = times.clone()
    times[0], times[-1] = 0.0, 1.0
    if bool((times.diff() <= 0).any()):
        raise InputError(
            "grid: times do not increase; use fewer steps, or noise levels that the schedule has"
        )
    return times


def _check(steps: int) -> None:
    if steps < 1:
        raise InputError(f"steps: {steps}; at least 1 is needed")

r"""Estimates of small probabilities: their intervals, and when they are in doubt.

The interval of a count is Wilson's. An estimate :math:`\hat p = \sum_e w_e` by weights is skewed:
most of its terms are 0 and few are large, and an interval that is symmetric about it holds the
truth too rarely. `weighted` is that of Fay and Feuer (1997): the sum is thought of as a scaled
Poisson number, its bounds are quantiles of gamma laws of the estimate's mean and variance, and the
upper one has one more term as heavy as the heaviest that was seen. With equal weights it is the
exact interval of a Poisson number (Garwood 1936).

References:
    Fay & Feuer, *Confidence intervals for directly standardized rates: a method based on the gamma
    distribution*, Statistics in Medicine 16 (1997), 791.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import final

import torch

__all__ = ["Estimate", "counted", "doubts", "gamma_quantile", "weighted", "wilson"]

_FEWEST_LINES = 10.0
_LARGEST_ERROR = 0.25
_HALVINGS = 100


@final
@dataclass(frozen=True)
class Estimate:
    """A probability and how sure it is.

    Attributes:
        probability: The estimate of p.
        interval: Confidence interval.
        ess: Effective number of particles in the event: independent ones would number as many.
        trajectories: Particles simulated, over all repeats.
        repeats: The estimate of each independent repeat.
        lines: Effective number of lines of descent that lead to the event, over all repeats.
        doubts: Why it cannot be trusted, in words; empty where nothing is known against it.
    """

    probability: float
    interval: tuple[float, float]
    ess: float
    trajectories: int
    repeats: tuple[float, ...] = ()
    lines: float = 0.0
    doubts: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether nothing is known against the estimate and its interval."""
        return not self.doubts


def wilson(hits: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a probability, from ``hits`` in ``n`` independent trials."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p, share = hits / n, z * z / n
    middle = (p + share / 2) / (1 + share)
    reach = z / (1 + share) * math.sqrt(p * (1 - p) / n + share / (4 * n))
    # At the ends the interval closes exactly, which rounding does not know.
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    return low, 1.0 if hits == n else min(1.0, middle + reach)


def weighted(
    p: float, variance: float, heaviest: float, level: float = 0.95
) -> tuple[float, float]:
    """Fay and Feuer's interval for a probability that was estimated by weights.

    Args:
        p: The estimate, above 0.
        variance: Of the estimate.
        heaviest: The largest of the independent terms that p is the sum of.
        level: Of the interval.

    Returns:
        Its bounds, within 0 and 1.
    """
    if not variance > 0.0:
        return p, min(1.0, p + heaviest)
    tail = 0.5 * (1.0 - level)
    low = gamma_quantile(tail, p, variance)
    high = gamma_quantile(1.0 - tail, p + heaviest, variance + heaviest**2)
    return low, min(1.0, high)


def gamma_quantile(share: float, mean: float, variance: float) -> float:
    """The quantile of a gamma law, by bisection in its logarithm.

    Args:
        share: Of the law below it, in (0, 1).
        mean: Of the law, above 0.
        variance: Above 0.
    """
    shape, scale = mean**2 / variance, variance / mean
    # Below e**-100 of the mean, and beyond this many deviations above it, nothing is asked for.
    low, high = math.log(mean) - 100.0, math.log(mean + 100.0 * math.sqrt(variance))
    a = torch.tensor(shape, dtype=torch.float64)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        x = torch.tensor(math.exp(middle) / scale, dtype=torch.float64)
        if float(torch.special.gammainc(a, x)) < share:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def doubts(lines: float, log_error: float = 0.0) -> tuple[str, ...]:
    """Why an estimate by weights cannot be trusted, in words.

    Args:
        lines: Effective number of its independent terms.
        log_error: Standard error of ln p that they do not know of.
    """
    found = []
    if lines < _FEWEST_LINES:
        found.append(
            f"only {lines:.1f} effective lines of descent lead to the event, and "
            f"{_FEWEST_LINES:g} are needed"
        )
    if log_error > _LARGEST_ERROR:
        found.append(f"what it is measured about leaves p uncertain by {log_error:.0%}")
    return tuple(found)


def counted(hits: int, n: int, level: float = 0.95) -> Estimate:
    """The estimate of a probability by ``hits`` among ``n`` independent trajectories."""
    return Estimate(hits / n, wilson(hits, n, level), float(hits), n, lines=float(hits))

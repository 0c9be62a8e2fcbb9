"""Points that are spread evenly over a sphere."""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt

import torch
from torch import Tensor

__all__ = ["spread_points"]


@lru_cache(maxsize=8)
def spread_points(count: int) -> Tensor:
    """Points along a spiral over the unit sphere, each of an equal area `[count, 3]`, float64.

    From one to the next the spiral turns by the golden angle (Fibonacci's lattice: Swinbank &
    Purser, Q. J. R. Meteorol. Soc. 132 (2006) 1769).

    >>> points = spread_points(1000)
    >>> float((points.norm(dim=-1) - 1).abs().max()) < 1e-12, float(points.mean(0).norm()) < 1e-3
    (True, True)

    Args:
        count: how many.
    """
    k = torch.arange(count, dtype=torch.float64)
    z = 1.0 - 2.0 * (k + 0.5) / count
    ring, angle = (1.0 - z * z).sqrt(), pi * (3.0 - sqrt(5.0)) * k
    return torch.stack([ring * angle.cos(), ring * angle.sin(), z], dim=1)

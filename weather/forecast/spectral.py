"""The part of a score that sees scales: coefficients of spherical harmonics, degree by degree."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

__all__ = ["SpectralCoefficients"]

#: Least scale of a degree, as a share of the channel's largest: what a model of the data's own
#: truncation leaves beyond it is rounding, not weather.
FLOOR = 0.1


@final
class SpectralCoefficients:
    """A transform for `ScoreTerm`: coefficients in units of their usual size, all degrees alike.

    A score by grid points is ruled by the scales that hold most of the variance. Here every degree
    counts as much, whatever its power and its number of orders: from the global mean (degree 0) to
    the shortest waves, whose power one-step models otherwise lose.

    Args:
        sample: Residuals of training, ``[n, C, H, W]``, whose root-mean-square coefficients by
            channel and degree are the units.
        grid: Their grid.
        weights: Weight of each channel, ``[C]``; None: all alike.
    """

    def __init__(self, sample: Tensor, grid: Grid, weights: Tensor | None = None) -> None:
        self.harmonics = SphericalHarmonics(grid)
        size = self.harmonics.lmax + 1
        orders = torch.arange(1, size + 1, dtype=sample.dtype)  # of degree l: m from 0 to l
        power = self.harmonics.analysis(sample).abs().square().sum(-1).mean(0) / orders
        scale = power.sqrt()  # [C, L]
        scale = torch.maximum(scale, FLOOR * scale.amax(1, keepdim=True))
        if weights is not None:
            scale = scale * (weights.mean() / weights)[:, None]
        # A score averages over the square [L, M], of which degree l fills l + 1 entries.
        self.gain = (size / (scale * orders))[:, :, None]

    def __call__(self, fields: Tensor) -> Tensor:
        """Complex coefficients in those units, ``[n, C, L, M]``, of fields ``[n, C, H, W]``."""
        return self.harmonics.analysis(fields) * self.gain.to(fields)

"""The part of a score that sees scales: spherical harmonics, degree by degree, for the globe, and
cosines, band by band, for a limited area.

A score point by point does not see whether errors hang together in space. Members may then have
the right spread at every point and too little of it in the large scales, which grow.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

__all__ = ["CosineCoefficients", "SpectralCoefficients"]

#: Least scale of a degree or band, as a share of the channel's largest: what a model of the data's
#: own truncation leaves beyond it is rounding, not weather.
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
            scale = _weighted(scale, weights)
        # A score averages over the square [L, M], of which degree l fills l + 1 entries.
        self.gain = (size / (scale * orders))[:, :, None]

    def __call__(self, fields: Tensor) -> Tensor:
        """Complex coefficients in those units, ``[n, C, L, M]``, of fields ``[n, C, H, W]``."""
        return self.harmonics.analysis(fields) * self.gain.to(fields)


@final
class CosineCoefficients:
    """The same for a limited area: the discrete cosine transform, which needs no periodic fields.

    The wave with m half periods over the H rows and n over the W columns has the wavenumber
    ``sqrt((m / H)^2 + (n / W)^2)``; bands are ``1 / min(H, W)`` wide, the mean alone being the
    first (Denis, Cote & Laprise 2002, Mon. Weather Rev. 130, 1812).

    Args:
        sample: Residuals of training, ``[n, C, H, W]``, whose root-mean-square coefficients by
            channel and band are the units.
        weights: Weight of each channel, ``[C]``; None: all alike.
    """

    def __init__(self, sample: Tensor, weights: Tensor | None = None) -> None:
        height, width = sample.shape[-2:]
        self._rows, self._columns = _cosines(height), _cosines(width)
        m, n = (torch.arange(size).double() / size for size in (height, width))
        number = (m[:, None].square() + n.square()).sqrt() * min(height, width)
        band = number.floor().long()
        band[number == 0] = -1
        self.band = band + 1  # [H, W]: 0 is the mean
        power = self._transform(sample).square().mean(0).flatten(1)  # [C, H W]
        count = torch.bincount(self.band.flatten()).to(power)
        total = torch.zeros(len(power), len(count), dtype=power.dtype)
        scale = (total.index_add(1, self.band.flatten(), power) / count).sqrt()
        scale = torch.maximum(scale, FLOOR * scale.amax(1, keepdim=True))
        if weights is not None:
            scale = _weighted(scale, weights)
        # A score averages over all coefficients, of which a band fills its own.
        share = height * width / (len(count) * count * scale)
        self.gain = share[:, self.band]

    def __call__(self, fields: Tensor) -> Tensor:
        """Coefficients in those units, ``[n, C, H, W]``, of fields ``[n, C, H, W]``."""
        return self._transform(fields) * self.gain.to(fields)

    def _transform(self, fields: Tensor) -> Tensor:
        return self._rows.to(fields) @ fields @ self._columns.to(fields).mT


def _weighted(scale: Tensor, weights: Tensor) -> Tensor:
    """Units `[C, L]` of channels by weight `[C]`: those of weight 0 are not scored."""
    column = weights[:, None]
    return torch.where(column > 0, scale * (weights.mean() / column), torch.inf)


def _cosines(size: int) -> Tensor:
    """The orthonormal cosine transform (type II), ``[size, size]``."""
    number, place = torch.arange(size).double()[:, None], torch.arange(size).double() + 0.5
    waves = (math.pi / size * number * place).cos() * math.sqrt(2.0 / size)
    waves[0] /= math.sqrt(2.0)
    return waves

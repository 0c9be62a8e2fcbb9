r"""Gaussian noise on the sphere: isotropic, of a chosen spectrum, and exactly invertible.

With :math:`Y` the harmonics up to lmax on the N points of the grid and :math:`w` the quadrature
weights of mean 1, white noise z becomes

.. math::

    x = G_s\,(w/N)^{-1/2} z, \qquad G_h f = Y \,\mathrm{diag}(h_l)\, Y^\dagger_w f
        + h_\perp \,(f - Y Y^\dagger_w f),

where :math:`Y^\dagger_w` is analysis by the quadrature, under which :math:`Y` is orthonormal. So
:math:`G_s^{-1} = G_{1/s}` to rounding, the covariance is :math:`G_{s^2} N/w`, and the part in the
band has covariance :math:`\sum_l s_l^2 (2l+1) P_l(\cos\gamma)`: a function of the angle
:math:`\gamma` alone, with the same variance at every latitude. What the harmonics cannot express,
:math:`N - (l_{\max}+1)^2` dimensions of the grid, gets a small standard deviation of its own, so
that the law has full rank and a density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.noise import NoiseLaw
from sciddiff.state import Layout
from sciddiff.streams import Generator
from weather.sphere.grids import Grid
from weather.sphere.harmonics import SphericalHarmonics

__all__ = ["Spectrum", "SphericalNoise", "ornstein_uhlenbeck"]

Spectrum = Literal["white", "equal_power", "power_law"]


@final
@dataclass(frozen=True)
class SphericalNoise(NoiseLaw):
    r"""Isotropic noise of mean variance 1 on a leaf ``[B, ..., H, W]``; channels are independent.

    The variance of every coefficient of degree l is proportional to :math:`(2l+1)^{-\alpha}`:
    ``white`` is :math:`\alpha = 0`; ``equal_power`` is :math:`\alpha = 1`, the same power in every
    l (GenCast, Price et al. 2024, arXiv 2312.15796); ``power_law`` takes ``alpha``.

    Attributes:
        grid: The grid, or its name.
        spectrum: How power falls with total wavenumber.
        alpha: Exponent of ``power_law``.
        lmax: Largest degree; default, and at most, `Grid.band_limit`.
        rest: Standard deviation (root of the area mean) of the part no harmonic expresses, in
            (0, 1). Its variance is not isotropic (in a row of weight w it is 1/w to 2/w times its
            mean, most at the poles), so keep it small.
        power: Power of each degree, ``[L]``, up to a factor, instead of a named spectrum.

    Raises:
        InputError: A field is out of range.
    """

    grid: Grid | str
    spectrum: Spectrum = "equal_power"
    alpha: float = 1.0
    lmax: int | None = None
    rest: float = 0.03
    power: Sequence[float] | None = None
    harmonics: SphericalHarmonics = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        grid = Grid.parse(self.grid) if isinstance(self.grid, str) else self.grid
        lmax = grid.band_limit if self.lmax is None else self.lmax
        if not 0 <= lmax <= grid.band_limit:
            raise InputError(
                f"SphericalNoise.lmax: {lmax} on {grid}; choose from 0 to {grid.band_limit}"
            )
        if not 0.0 < self.rest < 1.0:
            raise InputError(f"SphericalNoise.rest: {self.rest}; choose a value in (0, 1)")
        object.__setattr__(self, "harmonics", SphericalHarmonics(grid, lmax))
        power = self._power(lmax)
        if power.shape != (lmax + 1,) or not (np.isfinite(power) & (power > 0)).all():
            raise InputError(
                f"SphericalNoise.power: {lmax + 1} positive finite numbers are needed, one for "
                "each degree from 0 to lmax"
            )
        band = math.sqrt(1.0 - self.rest**2) * np.sqrt(
            power / power.sum() / (2.0 * np.arange(lmax + 1) + 1.0)
        )
        outside = grid.height * grid.width - (lmax + 1) ** 2
        object.__setattr__(self, "_band", torch.from_numpy(band))
        object.__setattr__(self, "_outside", self.rest / math.sqrt(outside))

    def _power(self, lmax: int) -> np.ndarray:
        if self.power is not None:
            return np.asarray(self.power, dtype=np.float64)
        exponents = {"white": 0.0, "equal_power": 1.0, "power_law": self.alpha}
        if self.spectrum not in exponents:
            raise InputError(
                f"SphericalNoise.spectrum: {self.spectrum!r} is unknown; "
                f"choose from {', '.join(exponents)}"
            )
        return (2.0 * np.arange(lmax + 1) + 1.0) ** (1.0 - exponents[self.spectrum])

    @property
    def deviations(self) -> tuple[Tensor, float]:
        """The standard deviations of a coefficient: of degree l, ``[L]``, and outside the band."""
        return self._band, self._outside  # type: ignore[attr-defined]

    def _apply(self, x: Tensor, exponent: int) -> Tensor:
        """``G_h x`` with ``h = s**exponent``."""
        band, outside = self.deviations
        harmonics = self.harmonics
        gain = (band**exponent - outside**exponent).to(x)
        in_band = harmonics.synthesis(harmonics.analysis(x) * gain[:, None])
        return in_band + x * outside**exponent

    def _area(self, x: Tensor) -> Tensor:
        """Part of the sphere of each row, summing to 1 over all points, ``[H, 1]``."""
        grid = self.harmonics.grid
        share = torch.as_tensor(grid.weights / (grid.height * grid.width))
        return share.to(x)[:, None]

    def color(self, z: Tensor, layout: Layout | None = None) -> Tensor:
        return self._apply(z * self._area(z).rsqrt(), 1)

    def whiten(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return self._apply(x, -1) * self._area(x).sqrt()

    def covariance(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return self._apply(x / self._area(x), 2)

    def precision(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return self._apply(x, -2) * self._area(x)

    def log_det(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        grid = self.harmonics.grid
        band, outside = self.deviations
        count = 2.0 * np.arange(len(band)) + 1.0
        share = np.log(grid.weights / (grid.height * grid.width)).sum() * grid.width
        one = float((band.log().numpy() * count).sum()) - 0.5 * share
        one += (grid.height * grid.width - count.sum()) * math.log(outside)
        return like.new_full((like.shape[0],), one * math.prod(like.shape[1:-2]))


def ornstein_uhlenbeck(
    law: NoiseLaw,
    previous: Tensor,
    phi: float | Tensor,
    generator: Generator | None,
    layout: Layout | None = None,
) -> Tensor:
    r"""Draw the next state of a stationary noise correlated in time.

    :math:`x_{n+1} = \varphi x_n + \sqrt{1 - \varphi^2}\,\xi`, with :math:`\xi` of the law, keeps
    the law; :math:`\varphi = e^{-\Delta t / \tau}` for a correlation time :math:`\tau`.

    Args:
        law: The stationary law, of which the first state is drawn.
        previous: ``[B, C, H, W]``.
        phi: Correlation of successive states in [0, 1], broadcastable against ``previous``.
        generator: Random source.
        layout: Grouping of the rows.

    Raises:
        InputError: ``phi`` is outside [0, 1].
    """
    factor = torch.as_tensor(phi, dtype=previous.dtype, device=previous.device)
    if not bool(((factor >= 0) & (factor <= 1)).all()):
        raise InputError("phi: a correlation between 0 and 1 is needed")
    fresh = law.sample(previous, generator, layout)
    return factor * previous + (1.0 - factor**2).sqrt() * fresh

r"""Wrapped normal: the heat kernel of the circle, exact and without tables.

Brownian motion run for :math:`\sigma^2 = \int g^2 dt` from 0 has on angles :math:`[-\pi, \pi)` the
density, per radian,

.. math::
    p(x; \sigma) = \frac{1}{\sqrt{2\pi}\,\sigma}
                   \sum_{k \in \mathbb Z} e^{-(x - 2\pi k)^2/2\sigma^2}
                 = \frac{1}{2\pi} \Bigl(1 + 2 \sum_{n \ge 1} e^{-n^2\sigma^2/2} \cos nx\Bigr).

Images are summed up to :math:`\sigma = 1.5` and waves above, each to rounding. The images are
taken in pairs that mirror each other, about 0 for :math:`|x| \le 2` and about :math:`\pi` beyond,
so that the score keeps its digits where it vanishes.

``sigma`` broadcasts against ``x``. All is computed in float64 and rounded to the type of ``x``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.manifolds.quadrature import gauss_legendre
from sciddiff.manifolds.torus import wrap

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

__all__ = ["log_density", "sample", "score", "score_norm"]

_SWITCH = 1.5  # images below this sigma, waves above
_FAR = 2.0
_PAIRS = 3
_WAVES = 6
_TAIL = 10.0
_PI_LOW = 1.2246467991473532e-16  # pi minus its float64


def _fold(x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """``|x|`` wrapped to ``[0, pi]``, ``sigma`` and the sign of ``x``, in float64."""
    wide = torch.as_tensor(sigma, dtype=torch.float64, device=x.device)
    angle, wide = torch.broadcast_tensors(wrap(x.double()), wide)
    sign = torch.where(angle < 0, -1.0, 1.0).to(angle)  # never 0, so that the slope at 0 is right
    return angle * sign, wide, sign


def _pairs(x: Tensor, sigma: Tensor, centre: float) -> tuple[Tensor, Tensor]:
    """Images in pairs that mirror each other about 0 or pi, relative to the nearest image.

    A pair lies at distances ``c - x`` and ``c + x`` from ``x >= 0``, the angle to the centre.

    Returns:
        ``sum_c exp((c x - c^2 / 2 - offset) / sigma^2) (1 + exp(-2 c x / sigma^2))`` over all
        pairs (about 0, but the image at 0 itself), with ``offset = centre x - centre^2 / 2`` so
        that nothing overflows; and the same with the derivative of ``2 cosh(c x / sigma^2)``.
    """
    scale = 1.0 / sigma**2
    value, slope = torch.zeros_like(x), torch.zeros_like(x)
    for j in range(1, _PAIRS + 1):
        c = 2.0 * math.pi * j - centre
        height = torch.exp(scale * ((c - centre) * x - 0.5 * (c * c - centre**2)))
        # The odd part of the pair, from expm1: near the centre the two images nearly cancel in it.
        mirror = torch.expm1(-2.0 * c * scale * x)
        value = value + height * (2.0 + mirror)
        slope = slope - c * scale * height * mirror
    return value, slope


def _waves(x: Tensor, u: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """``2 pi p - 1`` and its derivative; sines beyond `_FAR` are taken of ``u = pi - x``."""
    far = x > _FAR
    arc = torch.where(far, u, x)
    value, slope = torch.zeros_like(x), torch.zeros_like(x)
    for n in range(_WAVES, 0, -1):
        weight = 2.0 * torch.exp(-0.5 * (n * sigma) ** 2)
        sine = torch.sin(n * arc)
        value = value + weight * torch.cos(n * x)
        slope = slope - n * weight * (torch.where(far, -sine, sine) if n % 2 == 0 else sine)
    return value, slope


def _log_density(x: Tensor, sigma: Tensor) -> Tensor:
    """Of angles in ``[0, pi]``, float64."""
    small = sigma.clamp(max=_SWITCH)
    # Relative to the image at 0, whose logarithm is exact: far in the tail nothing underflows.
    near, _ = _pairs(x, small, 0.0)
    images = torch.log1p(near) - 0.5 * (x / small) ** 2 - torch.log(small)
    images = images - 0.5 * math.log(2.0 * math.pi)
    value, _ = _waves(x, (math.pi - x) + _PI_LOW, sigma.clamp(min=_SWITCH))
    waves = torch.log1p(value) - math.log(2.0 * math.pi)
    return torch.where(sigma <= _SWITCH, images, waves)


def _score(x: Tensor, sigma: Tensor) -> Tensor:
    """Of angles in ``[0, pi]``, float64."""
    # The score is 0 at 0 and at pi. Expanded about the nearer of the two it keeps its digits at
    # both; what a `where` does not choose is clamped to where it is finite, for the gradients.
    u = (math.pi - x) + _PI_LOW
    small = sigma.clamp(max=_SWITCH)
    inner = x.clamp(max=_FAR)
    value, slope = _pairs(inner, small, 0.0)
    near = slope / (1.0 + value) - inner / small**2
    outer = u.clamp(max=math.pi - _FAR)
    value, slope = _pairs(outer, small, math.pi)
    far = outer / small**2 - slope / value
    value, slope = _waves(x, u, sigma.clamp(min=_SWITCH))
    images = torch.where(x <= _FAR, near, far)
    return torch.where(sigma <= _SWITCH, images, slope / (1.0 + value))


def log_density(x: Tensor, sigma: Tensor | float) -> Tensor:
    """Log-density of angles, in nats per radian.

    Args:
        x: Angles in radians, ``[...]``; wrapped first.
        sigma: Standard deviation in radians, broadcastable against ``x``.

    Returns:
        ``[...]``; add ``log(2 pi)`` for the density with respect to the uniform law.
    """
    angle, wide, _ = _fold(x, sigma)
    return _log_density(angle, wide).to(x.dtype)


def score(x: Tensor, sigma: Tensor | float) -> Tensor:
    """Derivative of `log_density` in ``x``, ``[...]``; it points to 0 the shorter way.

    Args:
        x: Angles in radians, ``[...]``; wrapped first.
        sigma: Standard deviation in radians, broadcastable against ``x``.
    """
    angle, wide, sign = _fold(x, sigma)
    return (sign * _score(angle, wide)).to(x.dtype)


def score_norm(sigma: Tensor) -> Tensor:
    """Expected square of the score, ``[...] -> [...]``; near ``1 / sigma^2`` if small."""
    scale = sigma.double()
    upper = (_TAIL * scale).clamp(max=math.pi)
    nodes, weights = gauss_legendre(128, sigma.device)
    x, wide = upper.unsqueeze(-1) * nodes, scale.unsqueeze(-1).expand(*scale.shape, 128)
    values = torch.exp(_log_density(x, wide)) * _score(x, wide) ** 2
    return (2.0 * upper * (values @ weights)).to(sigma.dtype)


def sample(
    sigma: Tensor | float,
    like: Tensor,
    generator: Generator | None = None,
    layout: Layout | None = None,
) -> Tensor:
    """Draw angles in ``[-pi, pi)``: a normal number, wrapped.

    Args:
        sigma: Standard deviation in radians, broadcastable against ``like``.
        like: Gives shape, dtype and device, ``[...]``.
        generator: Random source.
        layout: How the rows are grouped in samples.
    """
    return wrap(sigma * streams.normal(like, generator, layout)).to(like.dtype)

r"""Sphere: unit vectors of :math:`\mathbb{R}^d` with the angle metric.

.. math::
    \exp_x(v) = \cos|v|\,x + \frac{\sin|v|}{|v|} v, \qquad
    \log_x(y) = \frac{\theta}{\sin\theta}\,(y - \cos\theta\,x),
    \quad \cos\theta = \langle x, y\rangle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.manifolds.base import Manifold

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

__all__ = ["Sphere"]

# asin(s) / s in s^2, exact to 1e-19 for s^2 < 1e-3.
_ARCSINE = (1.0, 1 / 6, 3 / 40, 5 / 112, 35 / 1152, 63 / 2816)
# sin(n) / n in n^2, exact to 1e-17 for n^2 < 1e-2.
_SINE = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    result = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


def _normalize(x: Tensor) -> Tensor:
    return x / _dot(x, x).sqrt()


def _any_normal(x: Tensor) -> Tensor:
    """Some unit vector orthogonal to ``x [..., d]``: the axis least along it, made orthogonal."""
    axis = torch.zeros_like(x).scatter_(-1, x.detach().abs().argmin(-1, keepdim=True), 1.0)
    return _normalize(axis - _dot(axis, x) * x)


@final
class Sphere(Manifold):
    """Unit vectors ``[..., d]``; tangents are ambient vectors ``[..., d]`` orthogonal to them.

    Args:
        ambient_dim: The ``d`` of the vectors: 3 for the surface of the Earth.

    Raises:
        InputError: ``ambient_dim`` below 2.

    >>> east, north = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    >>> round(float(Sphere().dist(east, north)), 4)
    1.5708
    """

    event_ndim: ClassVar[int] = 1
    tangent_ndim: ClassVar[int] = 1
    compact: ClassVar[bool] = True

    def __init__(self, ambient_dim: int = 3) -> None:
        if ambient_dim < 2:
            raise InputError(f"ambient_dim: {ambient_dim} is too small; a sphere needs 2 or more")
        self.ambient_dim = ambient_dim

    @property
    def tangent_dim(self) -> int:
        """One less than the ambient dimension."""
        return self.ambient_dim - 1

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """Walk along the great circle: two ``[..., d]`` -> ``[..., d]``."""
        square = _dot(v, v)
        small = square < 1e-2
        length = square.masked_fill(small, 1.0).sqrt()
        series = square.masked_fill(~small, 0.0)
        sine = torch.where(small, _polynomial(_SINE, series), torch.sin(length) / length)
        half = _polynomial(_SINE, 0.25 * series)
        cosine = torch.where(small, 1.0 - 0.5 * series * half**2, torch.cos(length))
        return _normalize(cosine * x + sine * v)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Shortest way from ``x`` to ``y``, two ``[..., d]`` -> ``[..., d]``.

        Antipodes have no shortest way; for these some tangent of length pi is returned.
        """
        cosine = _dot(x, y)
        chord = torch.where(cosine < 0, y + x, y - x)  # the shorter: its part along x is small
        normal = chord - _dot(x, chord) * x
        square = _dot(normal, normal)
        small = square < 1e-3
        sine = square.masked_fill(small, 1.0).sqrt()
        series = _polynomial(_ARCSINE, square.masked_fill(~small, 0.0))
        ratio = torch.where(small, series, torch.atan2(sine, cosine) / sine)
        return torch.where(small & (cosine < 0), self._log_far(x, normal, square), ratio * normal)

    def _log_far(self, x: Tensor, normal: Tensor, square: Tensor) -> Tensor:
        """`log` near the antipode, where the way turns from one side to the other."""
        antipode = square <= torch.finfo(x.dtype).tiny
        sine = square.masked_fill(antipode, 1.0).sqrt()
        direction = torch.where(antipode, _any_normal(x), normal / sine)
        return (torch.pi - torch.asin(sine.clamp(max=0.1)).masked_fill(antipode, 0.0)) * direction

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Angle in ``[0, pi]``, two ``[..., d]`` -> ``[...]``; exact near 0 and pi (Kahan)."""
        return 2.0 * torch.atan2(self.norm(x - y), self.norm(x + y))

    def project(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Normalise, ``[..., d] -> [..., d]``."""
        return _normalize(x)

    def project_tangent(self, x: Tensor, v: Tensor, layout: Layout | None = None) -> Tensor:
        """Remove the part of ``v [..., d]`` along ``x [..., d]``."""
        return v - _dot(x, v) * x

    def uniform(
        self, like: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Uniform unit vectors: standard normal vectors, normalised, in the shape of ``like``."""
        return _normalize(streams.normal(like, generator, layout))

    def randn_tangent(
        self, x: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Standard normal noise in the plane orthogonal to ``x [..., d]``."""
        return self.project_tangent(x, streams.normal(x, generator, layout))

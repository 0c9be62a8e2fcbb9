"""Flat spaces: all of it, and the part whose samples are centred at the origin.

``ZeroCenterOfMass`` is the quotient of point clouds by translations, represented by the clouds
with zero mean over the rows of each sample. Densities on it, and noise in it, have ``d`` degrees
of freedom per sample fewer than the clouds they are written as.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from torch import Tensor

from sciddiff import streams
from sciddiff.manifolds.base import Manifold

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

__all__ = ["Euclidean", "ZeroCenterOfMass"]


@final
class Euclidean(Manifold):
    """The real line, once per element of a tensor of any shape.

    >>> import torch
    >>> Euclidean().dist(torch.tensor([0.0]), torch.tensor([3.0]))
    tensor([3.])
    """

    event_ndim: ClassVar[int] = 0
    tangent_ndim: ClassVar[int] = 0
    compact: ClassVar[bool] = False

    @property
    def tangent_dim(self) -> int:
        """One per element."""
        return 1

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """``x + v``."""
        return x + v

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """``y - x``."""
        return y - x

    def project(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """The identity."""
        return x

    def project_tangent(self, x: Tensor, v: Tensor, layout: Layout | None = None) -> Tensor:
        """The identity."""
        return v

    def uniform(
        self, like: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Not defined.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a flat space has no uniform law; use prior(), a standard normal")

    def randn_tangent(
        self, x: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Standard normal noise in the shape of ``x``."""
        return streams.normal(x, generator, layout)


def _centered(x: Tensor, layout: Layout | None) -> Tensor:
    """Subtract the mean over rows: of each sample of the layout, else over dimension -2.

    Padding becomes zero.
    """
    if layout is None:
        return x - x.mean(dim=-2, keepdim=True)
    return layout.zero_padding(x - layout.mean(x))


@final
class ZeroCenterOfMass(Manifold):
    """Point clouds with zero mean over the rows of each sample.

    Leaves are dense ``[B, N, d]`` or, with a layout that has an index, ragged ``[sum N, d]``.
    Without a layout the mean is over dimension -2.

    >>> import torch
    >>> ZeroCenterOfMass().project(torch.tensor([[[1.0], [3.0]]])).flatten()
    tensor([-1.,  1.])
    """

    event_ndim: ClassVar[int] = 0
    tangent_ndim: ClassVar[int] = 0
    compact: ClassVar[bool] = False
    couples_rows: ClassVar[bool] = True

    @property
    def tangent_dim(self) -> int:
        """One per element, less one per sample and coordinate over the whole cloud."""
        return 1

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """``x + v``; centred if both are."""
        return x + v

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """``y - x``; centred if both are."""
        return y - x

    def project(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Subtract each sample's mean, ``[B, N, d]`` or ragged ``[sum N, d]``."""
        return _centered(x, layout)

    def project_tangent(self, x: Tensor, v: Tensor, layout: Layout | None = None) -> Tensor:
        """Subtract each sample's mean of ``v``."""
        return _centered(v, layout)

    def uniform(
        self, like: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Not defined.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a flat space has no uniform law; use prior(), a centred normal")

    def randn_tangent(
        self, x: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Standard normal noise in the centred subspace, in the shape of ``x``."""
        return _centered(streams.normal(x, generator, layout), layout)

"""Manifold: the space one leaf of a state lives in.

A manifold is a set of points with, at each point, a flat space of directions (the tangent space).
Four maps are all that paths and samplers need::

    exp(x, v)     the point reached from x by walking along v for one unit of time
    log(x, y)     the shortest v with exp(x, v) = y
    dist(x, y)    the length of log(x, y)
    project(x)    the manifold's point nearest to (or, after rounding errors, meant by) x

Conventions: a point takes the last ``event_ndim`` dimensions of a tensor and a tangent vector the
last ``tangent_ndim``; all leading dimensions are batch. Norms are such that a step
``exp(x, sqrt(dt) * randn_tangent(x))`` is Brownian motion with generator one half the Laplacian.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

__all__ = ["Manifold"]


class Manifold(ABC):
    """A Riemannian manifold with closed-form geodesics.

    Attributes:
        event_ndim: Trailing dimensions that form one point (SO(3): 2, sphere: 1, torus: 0).
        tangent_ndim: Trailing dimensions that form one tangent vector (SO(3): 1, torus: 0).
        compact: Whether the uniform law of `uniform` exists.
        couples_rows: Whether `project` of one row depends on the other rows of its sample.
    """

    event_ndim: ClassVar[int]
    tangent_ndim: ClassVar[int]
    compact: ClassVar[bool]
    couples_rows: ClassVar[bool] = False

    @property
    @abstractmethod
    def tangent_dim(self) -> int:
        """Degrees of freedom of one point."""

    @abstractmethod
    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """Walk from ``x`` along the geodesic with initial velocity ``v`` for unit time."""

    @abstractmethod
    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """The shortest tangent vector at ``x`` whose geodesic ends in ``y``."""

    @abstractmethod
    def project(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Return ``x`` to the manifold; the identity on its points up to rounding."""

    @abstractmethod
    def project_tangent(self, x: Tensor, v: Tensor, layout: Layout | None = None) -> Tensor:
        """Orthogonal projection of ``v`` on the tangent space at ``x``."""

    @abstractmethod
    def uniform(
        self, like: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Draw from the uniform law (normalised volume), in the shape of ``like``.

        Raises:
            TypeError: The manifold is not compact.
        """

    @abstractmethod
    def randn_tangent(
        self, x: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Draw a standard normal tangent vector at every point of ``x``."""

    def zero_tangent(self, x: Tensor) -> Tensor:
        """A zero tangent vector at every point of ``x``, ``[..., *tangent]``."""
        return x.new_zeros(x.shape[: x.ndim - self.event_ndim + self.tangent_ndim])

    def inner(self, u: Tensor, v: Tensor) -> Tensor:
        """Riemannian inner product of two tangent vectors at one point.

        Args:
            u: Tangent vectors, ``[..., *tangent]``.
            v: Tangent vectors, ``[..., *tangent]``.

        Returns:
            ``[...]``, the trailing ``tangent_ndim`` dimensions summed.
        """
        product = u * v
        if self.tangent_ndim == 0:
            return product
        return product.sum(dim=tuple(range(-self.tangent_ndim, 0)))

    def norm(self, v: Tensor) -> Tensor:
        """Length of a tangent vector, ``[..., *tangent] -> [...]``; gradient 0 at 0."""
        square = self.inner(v, v)
        zero = square == 0
        return square.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, one number per point ``[...]``."""
        return self.norm(self.log(x, y))

    def geodesic(self, x: Tensor, y: Tensor, fraction: Tensor | float) -> Tensor:
        """The point a ``fraction`` of the way from ``x`` to ``y``.

        Args:
            x: Points, ``[..., *event]``.
            y: Points, ``[..., *event]``.
            fraction: Broadcastable against a tangent vector of ``x``.
        """
        return self.exp(x, fraction * self.log(x, y))

    def toward(self, x: Tensor, targets: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The point ``exp(x, sum of weight times log(x, target))``.

        Args:
            x: Points, ``[..., *event]``.
            targets: Points, each in the shape of ``x``.
            weights: One for each target.
        """
        terms = [w * self.log(x, y) for w, y in zip(weights, targets, strict=True)]
        return self.exp(x, sum(terms[1:], terms[0]))

    @property
    def slowest_eigenvalue(self) -> float:
        """Eigenvalue e of the Laplacian on the slowest mode of a compact manifold.

        Brownian motion for the variance v takes that mode down by ``exp(-e v / 2)``. It is d on
        the d-sphere, and 1 on the circle and on products of circles.
        """
        return float(self.tangent_dim)

    @property
    def reach(self) -> float:
        """How far a geodesic is followed: just short of the cut locus.

        Every compact manifold here has injectivity radius pi.
        """
        return 0.999 * math.pi if self.compact else math.inf

    def detour(
        self,
        x: Tensor,
        y: Tensor,
        stretch: Tensor | float,
        scale: Tensor | float,
        fraction: Tensor | float,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """The way back from a random point beyond ``y``.

        The geodesic from ``x`` to ``y`` is prolonged to ``stretch`` times its length, at most to
        `reach`; from there goes one isotropic random step; the result lies a ``fraction`` of the
        way from ``x`` to where that ends.

        Args:
            x: Points, ``[..., *event]``.
            y: Points, ``[..., *event]``.
            stretch: Factor of the distance, broadcastable against a tangent vector of ``x``.
            scale: Size of the random step, as for ``stretch``.
            fraction: As for ``stretch``.
            generator: Random source.
            layout: How the rows are grouped in samples.
        """
        out = stretch * self.log(x, y)
        length = self.norm(out)
        length = length.reshape(*length.shape, *(1,) * (out.ndim - length.ndim))
        end = self.exp(x, out * (self.reach / length).clamp(max=1.0))
        end = self.exp(end, scale * self.randn_tangent(end, generator, layout))
        return self.geodesic(x, end, fraction)

    def prior(
        self, like: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """The manifold's own noise: uniform where that exists, else standard normal.

        Args:
            like: Gives shape, dtype and device, ``[..., *event]``.
            generator: Random source.
            layout: How the rows are grouped in samples.
        """
        if self.compact:
            return self.uniform(like, generator, layout)
        return self.randn_tangent(like, generator, layout)

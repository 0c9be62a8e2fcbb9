"""Heat kernels by manifold: what a `BrownianPath` needs to know of its manifold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.manifolds import igso3, wrapped_normal
from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.so3 import SO3
from sciddiff.manifolds.torus import Torus
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["HeatKernel", "RotationKernel", "TorusKernel", "heat_kernel"]


class HeatKernel(ABC):
    """Brownian motion, generator one half the Laplacian, after variance ``sigma^2``.

    On a group the kernel is a function of the displacement v alone, with ``x_t = exp(x1, v)``; its
    gradient lies along v, so that it has the same components at both ends of the geodesic.
    """

    dimension: int
    """Degrees of freedom of a point."""

    @abstractmethod
    def sample(
        self, like: Tensor, sigma: Tensor, generator: Generator | None, layout: Layout | None
    ) -> Tensor:
        """Draw displacements in the shape of the tangent vector ``like``.

        Args:
            like: ``[..., *tangent]``.
            sigma: One per point, broadcastable against ``[...]``.
            generator: Random source.
            layout: How the rows are grouped in samples.
        """

    @abstractmethod
    def score(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Gradient of the log-density at ``exp(x1, v)``, a tangent vector there."""

    @abstractmethod
    def score_norm(self, sigma: Tensor) -> Tensor:
        """Expected squared norm of the score, in the shape of ``sigma``."""


@final
class RotationKernel(HeatKernel):
    """IGSO(3)."""

    dimension = 3

    def sample(
        self, like: Tensor, sigma: Tensor, generator: Generator | None, layout: Layout | None
    ) -> Tensor:
        return igso3.sample(sigma, like, generator, layout)

    def score(self, v: Tensor, sigma: Tensor) -> Tensor:
        return igso3.score_vector(v, sigma)

    def score_norm(self, sigma: Tensor) -> Tensor:
        return igso3.score_norm(sigma)


@final
class TorusKernel(HeatKernel):
    """The wrapped normal law."""

    dimension = 1

    def sample(
        self, like: Tensor, sigma: Tensor, generator: Generator | None, layout: Layout | None
    ) -> Tensor:
        return wrapped_normal.sample(sigma, like, generator, layout)

    def score(self, v: Tensor, sigma: Tensor) -> Tensor:
        return wrapped_normal.score(v, sigma)

    def score_norm(self, sigma: Tensor) -> Tensor:
        return wrapped_normal.score_norm(sigma)


def heat_kernel(manifold: Manifold) -> HeatKernel:
    """The heat kernel of a manifold.

    Raises:
        InputError: None is known in closed form.
    """
    if isinstance(manifold, SO3):
        return RotationKernel()
    if isinstance(manifold, Torus):
        return TorusKernel()
    raise InputError(
        f"BrownianPath.manifold: no heat kernel for {type(manifold).__name__}; "
        "use SO3 or Torus, or GeodesicPath"
    )

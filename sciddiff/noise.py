r"""Noise laws: the Gaussian :math:`\mathcal N(0, \Sigma)` that a path starts from.

With :math:`\Sigma = LL^\top`, a law knows how to colour white noise, :math:`Lz`, and to undo it
exactly, :math:`L^{-1}x`; densities and scores follow.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["Correlated", "NoiseLaw", "White"]


class NoiseLaw(ABC):
    """A centred Gaussian law on a leaf, independent between samples."""

    @abstractmethod
    def color(self, z: Tensor, layout: Layout | None = None) -> Tensor:
        """``L z``: white noise to noise of this law, in the shape of the leaf."""

    @abstractmethod
    def whiten(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """``L^-1 x``: the exact inverse of `color`."""

    @abstractmethod
    def covariance(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """``Sigma x``."""

    @abstractmethod
    def precision(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """``Sigma^-1 x``."""

    @abstractmethod
    def log_det(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        """``log |det L|`` of each sample, ``[B]``."""

    def sample(
        self, like: Tensor, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """Draw noise in the shape, type and device of ``like``."""
        return self.color(streams.normal(like, generator, layout), layout)

    def log_prob(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Log-density of each sample in nats, ``[B]``."""
        layout = layout or Layout(x.shape[0])
        square = layout.sum_per_sample(self.whiten(x, layout) ** 2)
        dimension = layout.count(x)
        return -0.5 * (square + dimension * math.log(2 * math.pi)) - self.log_det(x, layout)


@final
@dataclass(frozen=True)
class White(NoiseLaw):
    """Independent standard normal entries."""

    def color(self, z: Tensor, layout: Layout | None = None) -> Tensor:
        return z

    def whiten(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return x

    def covariance(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return x

    def precision(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return x

    def log_det(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        size = like.shape[0] if layout is None else layout.size
        return like.new_zeros(size)


@final
@dataclass(frozen=True, eq=False)
class Correlated(NoiseLaw):
    """Noise correlated along one dimension of a dense leaf.

    Attributes:
        factor: L, lower triangular with a positive diagonal, ``[n, n]``.
        dim: The dimension of size n; 1 correlates rows, -1 channels.

    Raises:
        InputError: ``factor`` is not a Cholesky factor.
    """

    factor: Tensor
    dim: int = -1

    def __post_init__(self) -> None:
        factor = self.factor
        if factor.ndim != 2 or factor.shape[0] != factor.shape[1]:
            raise InputError(f"Correlated.factor: shape {tuple(factor.shape)}; expected [n, n]")
        if bool((factor.triu(1) != 0).any()) or bool((factor.diagonal() <= 0).any()):
            raise InputError(
                "Correlated.factor: not lower triangular with a positive diagonal; "
                "pass torch.linalg.cholesky(covariance)"
            )

    @classmethod
    def from_covariance(cls, covariance: Tensor, dim: int = -1) -> Correlated:
        """The law with a given covariance ``[n, n]``, positive definite."""
        return cls(torch.linalg.cholesky(covariance), dim)

    def _apply(self, x: Tensor, solve: bool, transpose: bool) -> Tensor:
        if x.shape[self.dim] != self.factor.shape[0]:
            raise InputError(
                f"Correlated.factor: size {self.factor.shape[0]}; "
                f"dimension {self.dim} of the leaf has {x.shape[self.dim]}"
            )
        factor = self.factor.to(x)
        columns = x.movedim(self.dim, 0)
        flat = columns.reshape(columns.shape[0], -1)
        matrix = factor.mT if transpose else factor
        if solve:
            flat = torch.linalg.solve_triangular(matrix, flat, upper=transpose)
        else:
            flat = matrix @ flat
        return flat.reshape(columns.shape).movedim(0, self.dim)

    def color(self, z: Tensor, layout: Layout | None = None) -> Tensor:
        return self._apply(z, solve=False, transpose=False)

    def whiten(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return self._apply(x, solve=True, transpose=False)

    def covariance(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return self.color(self._apply(x, solve=False, transpose=True))

    def precision(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        return self._apply(self.whiten(x), solve=True, transpose=True)

    def log_det(self, like: Tensor, layout: Layout | None = None) -> Tensor:
        copies = math.prod(like.shape[1:]) // self.factor.shape[0]
        total = self.factor.diagonal().double().log().sum() * copies
        return total.to(like).expand(like.shape[0])

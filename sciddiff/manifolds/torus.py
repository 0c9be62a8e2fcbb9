"""Torus: angles in ``[-pi, pi)``, one circle per element of a tensor.

The shortest way from ``x`` to ``y`` is ``wrap(y - x)``; half a turn away, where both ways are as
short, it is ``-pi``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.manifolds.base import Manifold

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

__all__ = ["Torus", "wrap"]


def wrap(x: Tensor) -> Tensor:
    """Bring angles into ``[-pi, pi)``, any shape; slope one everywhere.

    Angles already inside are returned to the last bit, which ``remainder(x + pi, 2 pi) - pi`` does
    not do: that form rounds small angles to multiples of the spacing of floats near pi.
    """
    turn = 2.0 * math.pi
    x = x - turn * torch.round(x.detach() / turn)
    x = torch.where(x >= math.pi, x - turn, x)
    return torch.where(x < -math.pi, x + turn, x)


@final
class Torus(Manifold):
    """The circle with circumference 2 pi, once per element of a tensor of any shape.

    >>> turn = Torus().log(torch.tensor(3.0), torch.tensor(-3.0))  # the short way, across pi
    >>> round(float(turn), 4)
    0.2832
    """

    event_ndim: ClassVar[int] = 0
    tangent_ndim: ClassVar[int] = 0
    compact: ClassVar[bool] = True

    @property
    def tangent_dim(self) -> int:
        """One per element."""
        return 1

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """``wrap(x + v)``."""
        return wrap(x + v)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """``wrap(y - x)``."""
        return wrap(y - x)

    def project(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """``wrap(x)``."""
        return wrap(x)

    def project_tangent(self, x: Tensor, v: Tensor, layout: Layout | None = None) -> Tensor:
        """The identity."""
        return v

    def uniform(
        self, like: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Angles uniform in ``[-pi, pi)``, in the shape of ``like``."""
        return wrap((2.0 * math.pi) * streams.uniform(like, generator, layout) - math.pi)

    def randn_tangent(
        self, x: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Standard normal noise in the shape of ``x``."""
        return streams.normal(x, generator, layout)

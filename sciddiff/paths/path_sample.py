"""PathSample: a leaf on its way from noise to data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

__all__ = ["PathSample"]


@final
@dataclass(frozen=True, eq=False)
class PathSample:
    """A leaf on its way.

    Attributes:
        x_t: State at time t, ``[B, ...]`` or ragged ``[rows, ...]``.
        x0: Where it came from: noise, of the same shape.
        x1: Where it goes: data, of the same shape.
        t: Times, ``[B]``.
    """

    x_t: Tensor
    x0: Tensor
    x1: Tensor
    t: Tensor

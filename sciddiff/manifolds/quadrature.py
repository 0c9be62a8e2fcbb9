r"""Gauss-Legendre quadrature, :math:`\int_0^1 f(x)\,dx \approx \sum_i w_i f(x_i)`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["gauss_legendre"]


@lru_cache(maxsize=8)
def _rule(n: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def gauss_legendre(n: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Nodes and weights on ``[0, 1]``, exact for polynomials of degree below ``2 n``.

    Args:
        n: Number of nodes.
        device: Where the tensors go.

    Returns:
        Nodes ``[n]`` and weights ``[n]`` in float64.
    """
    nodes, weights = _rule(n)
    return torch.tensor(nodes, device=device), torch.tensor(weights, device=device)

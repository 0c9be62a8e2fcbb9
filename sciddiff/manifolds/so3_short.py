r"""SO(3) without derivatives, in as few tensor operations as there can be.

A step of a sampler touches a few hundred rotations. On a graphics processor an operation on so few
numbers costs its launch, whatever it computes; so entries that are alike are made together, by
index and sign, instead of one after the other. There is no matrix product in the conversions:
where TensorFloat-32 is allowed for products, they would keep three digits.

Quaternions are ``[..., 4]``, real part first. Values are those of `sciddiff.manifolds.so3` to
rounding at every angle; derivatives would not be finite at 0 and :math:`\pi`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["detour", "from_vector", "of_matrix", "product", "to_matrix", "to_vector", "unit"]

# Entry (i, j) of 4 q q^T is linear in the matrix r: places in r.flatten() and signs of its terms,
# and a constant on the diagonal. None: no third term.
_TERMS: tuple[tuple[int, int, int | None, int, int, int], ...] = (
    (0, 4, 8, 1, 1, 1), (7, 5, None, 1, -1, 0), (2, 6, None, 1, -1, 0), (3, 1, None, 1, -1, 0),
    (7, 5, None, 1, -1, 0), (0, 4, 8, 1, -1, -1), (1, 3, None, 1, 1, 0), (2, 6, None, 1, 1, 0),
    (2, 6, None, 1, -1, 0), (1, 3, None, 1, 1, 0), (0, 4, 8, -1, 1, -1), (5, 7, None, 1, 1, 0),
    (3, 1, None, 1, -1, 0), (2, 6, None, 1, 1, 0), (5, 7, None, 1, 1, 0), (0, 4, 8, -1, -1, 1),
)  # fmt: skip

# Entry of the matrix from two products of two entries of q each: places and signs; on the diagonal
# 1 is added.
_PRODUCTS: tuple[tuple[int, int, int, int, int, int], ...] = (
    (2, 2, -1, 3, 3, -1), (1, 2, 1, 0, 3, -1), (1, 3, 1, 0, 2, 1),
    (1, 2, 1, 0, 3, 1), (1, 1, -1, 3, 3, -1), (2, 3, 1, 0, 1, -1),
    (1, 3, 1, 0, 2, -1), (2, 3, 1, 0, 1, 1), (1, 1, -1, 2, 2, -1),
)  # fmt: skip

# Row k of Hamilton's product p q: which entry of q each entry of p meets, and the sign.
_MEETS = ((0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0))
_SIGNS = ((1, -1, -1, -1), (1, 1, 1, -1), (1, -1, 1, 1), (1, 1, -1, 1))


@lru_cache(maxsize=8)
def _of_matrix(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Places ``[48]``, signs ``[3, 16]`` and constants ``[16]`` of `_TERMS`."""
    places = [[row[k] or 0 for row in _TERMS] for k in range(3)]
    signs = [[float(row[k]) for row in _TERMS] for k in range(3, 6)]
    constant = torch.eye(4, dtype=dtype, device=device).flatten()
    place = torch.tensor(places, device=device).flatten()
    return place, torch.tensor(signs, dtype=dtype, device=device), constant


@lru_cache(maxsize=8)
def _to_matrix(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Places of both factors ``[18]``, twice the signs ``[2, 9]`` and constants ``[9]``."""
    first = [row[k] for k in (0, 3) for row in _PRODUCTS]
    second = [row[k] for k in (1, 4) for row in _PRODUCTS]
    signs = [[2.0 * row[k] for row in _PRODUCTS] for k in (2, 5)]
    constant = torch.eye(3, dtype=dtype, device=device).flatten()
    places = torch.tensor([first, second], device=device)
    return places[0], places[1], torch.tensor(signs, dtype=dtype, device=device), constant


@lru_cache(maxsize=8)
def _of_product(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places ``[16]`` and signs ``[4, 4]`` of Hamilton's product."""
    places = torch.tensor(_MEETS, device=device).flatten()
    return places, torch.tensor(_SIGNS, dtype=dtype, device=device)


def unit(q: Tensor) -> Tensor:
    """A quaternion of any length but zero, divided by its length, ``[..., 4]``."""
    return q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)


def from_vector(v: Tensor) -> Tensor:
    """Unit quaternion of ``Exp(v)``, ``[..., 3] -> [..., 4]``.

    ``sin(theta / 2) / theta`` is a cardinal sine, which is exact at 0.
    """
    half = 0.5 * v
    angle = torch.linalg.vector_norm(half, dim=-1, keepdim=True)
    return torch.cat([torch.cos(angle), torch.sinc(angle / math.pi) * half], dim=-1)


def to_vector(q: Tensor) -> Tensor:
    """Rotation vector of a unit quaternion with real part >= 0, ``[..., 4] -> [..., 3]``."""
    u = q[..., 1:]
    # The quotient of atan2 and sine keeps its digits down to the smallest sine: no series is due.
    sine = torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp_min(1e-30)
    return torch.atan2(sine, q[..., :1]) / sine * (2.0 * u)


def to_matrix(q: Tensor) -> Tensor:
    """Rotation matrix of a unit quaternion, ``[..., 4] -> [..., 3, 3]``."""
    first, second, signs, constant = _to_matrix(q.dtype, q.device)
    products = q.index_select(-1, first) * q.index_select(-1, second)
    entries = (products.unflatten(-1, (2, 9)) * signs).sum(-2) + constant
    return entries.unflatten(-1, (3, 3))


def of_matrix(r: Tensor) -> Tensor:
    """Unit quaternion with real part >= 0 of a matrix on or near the group; see Shepperd (1978).

    Args:
        r: ``[..., 3, 3]``.

    Returns:
        ``[..., 4]``.
    """
    places, signs, constant = _of_matrix(r.dtype, r.device)
    terms = r.flatten(-2).index_select(-1, places).unflatten(-1, (3, 16))
    rows = ((terms * signs).sum(-2) + constant).unflatten(-1, (4, 4))
    # The row of 4 q q^T with the largest diagonal is 4 q_k q, with no cancellation.
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    length = torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return row / torch.copysign(length, row[..., :1])


def product(p: Tensor, q: Tensor) -> Tensor:
    """Hamilton's product: the rotation ``q``, then ``p``; two ``[..., 4]`` -> ``[..., 4]``."""
    places, signs = _of_product(q.dtype, q.device)
    turned = q.index_select(-1, places).unflatten(-1, (4, 4)) * signs
    return (p.unsqueeze(-2) * turned).sum(-1)


def detour(
    x: Tensor,
    y: Tensor,
    stretch: Tensor | float,
    reach: float,
    step: Tensor,
    fraction: Tensor | float,
) -> Tensor:
    """See `sciddiff.manifolds.base.Manifold.detour`; all of it in the frame of ``x``.

    Args:
        x: Where it starts and, a ``fraction`` of the way on, ends: matrices ``[..., 3, 3]``.
        y: Matrices, ``[..., 3, 3]``.
        stretch: Factor of the way to ``y``, broadcastable against ``[..., 3]``.
        reach: Longest way out, in radians.
        step: The random step from there, ``[..., 3]``.
        fraction: As for ``stretch``.
    """
    out = stretch * to_vector(of_matrix(x.mT @ y))
    length = torch.linalg.vector_norm(out, dim=-1, keepdim=True)
    end = product(from_vector(out * (reach / length).clamp_max(1.0)), from_vector(step))
    end = end * torch.copysign(torch.ones_like(end[..., :1]), end[..., :1])
    return x @ to_matrix(from_vector(fraction * to_vector(end)))

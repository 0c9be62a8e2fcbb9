r"""SO(3) without derivatives, in as few tensor operations as there can be.

A step of a sampler touches a few hundred rotations. An operation on so few numbers costs what
calling it costs (on a graphics processor: its launch), whatever it computes. Entries that are
alike are therefore made together, by index and sign, instead of one after the other. The
conversions contain no matrix product, because where TensorFloat-32 is allowed it would keep three
digits.

Components come first, so that entries that are alike lie side by side: matrices ``[9, n]``,
quaternions ``[4, n]``, vectors ``[3, n]``; `components` and `to_rows` convert. A quaternion
:math:`q = (w, u)` may have any sign and any length but zero, unless a function asks for a unit:
the rotation depends on the ratio of :math:`u` and :math:`w` alone. Values are those of
`sciddiff.manifolds.so3` to rounding at every angle; derivatives would not be finite at 0 and
:math:`\pi`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = [
    "components",
    "from_vector",
    "of_matrix",
    "power",
    "product",
    "to_matrix",
    "to_rows",
    "to_vector",
    "unit",
]

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
    """Places ``[48]``, signs ``[3, 16, 1]`` and constants ``[16, 1]`` of `_TERMS`."""
    places = [[row[k] or 0 for row in _TERMS] for k in range(3)]
    signs = [[[float(row[k] or 0)] for row in _TERMS] for k in range(3, 6)]
    constant = torch.eye(4, dtype=dtype, device=device).reshape(16, 1)
    place = torch.tensor(places, device=device).flatten()
    return place, torch.tensor(signs, dtype=dtype, device=device), constant


@lru_cache(maxsize=8)
def _to_matrix(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Places of both factors ``[18]``, twice the signs ``[2, 9, 1]`` and constants ``[9, 1]``."""
    first = [row[k] for k in (0, 3) for row in _PRODUCTS]
    second = [row[k] for k in (1, 4) for row in _PRODUCTS]
    signs = [[[2.0 * row[k]] for row in _PRODUCTS] for k in (2, 5)]
    constant = torch.eye(3, dtype=dtype, device=device).reshape(9, 1)
    places = torch.tensor([first, second], device=device)
    return places[0], places[1], torch.tensor(signs, dtype=dtype, device=device), constant


@lru_cache(maxsize=8)
def _of_product(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places ``[16]`` and signs ``[4, 4, 1]`` of Hamilton's product."""
    places = torch.tensor(_MEETS, device=device).flatten()
    return places, torch.tensor(_SIGNS, dtype=dtype, device=device).unsqueeze(-1)


def components(x: Tensor, event_ndim: int) -> Tensor:
    """Vectors ``[..., d]`` or, with ``event_ndim`` 2, matrices ``[..., 3, 3]`` as ``[d, n]``."""
    width = x.shape[-1] if event_ndim == 1 else 9
    return x.reshape(-1, width).mT.contiguous()


def to_rows(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `components`: ``[d, n]`` to ``shape``."""
    return x.mT.reshape(shape)


def _length(v: Tensor) -> Tensor:
    """Lengths ``[1, n]`` of vectors ``[d, n]``."""
    # A tenth of the time that `torch.linalg.vector_norm` takes across rows on the processor.
    return (v * v).sum(0, keepdim=True).sqrt()


def unit(q: Tensor) -> Tensor:
    """The unit quaternion of a quaternion, with real part >= 0, ``[4, n]``."""
    length = _length(q)
    return q / torch.copysign(length, q[:1])


def from_vector(v: Tensor) -> Tensor:
    """Unit quaternion of ``Exp(v)``, ``[3, n] -> [4, n]``.

    ``sin(theta / 2) / theta`` is a cardinal sine, which is exact at 0.
    """
    half = 0.5 * v
    angle = _length(half)
    return torch.cat([torch.cos(angle), torch.sinc(angle / math.pi) * half])


def _half_angle(q: Tensor) -> tuple[Tensor, Tensor]:
    """Half the angle about the axis ``u``, in ``[-pi / 2, pi / 2]``, and the length of ``u``.

    Where w < 0 the angle is negative: that is the rotation of ``-q``, which is the same.
    """
    # Quotients by this length keep their digits down to the smallest one: no series is needed.
    length = _length(q[1:]).clamp_min(torch.finfo(q.dtype).tiny)
    # The inverse tangent keeps its digits at 0 and at pi, where the inverse cosine loses half.
    return torch.atan(length / q[:1]), length


def to_vector(q: Tensor) -> Tensor:
    """Rotation vector of a quaternion, of length at most pi, ``[4, n] -> [3, n]``."""
    half, length = _half_angle(q)
    return q[1:] * (2.0 * half / length)


def power(q: Tensor, fraction: Tensor | float, limit: float = math.inf) -> Tensor:
    """Unit quaternion of ``fraction [n]`` times the rotation of a quaternion, ``[4, n]``.

    Args:
        q: ``[4, n]``.
        fraction: Factor of the angle.
        limit: Largest angle of the result in radians.
    """
    half, length = _half_angle(q)
    half = half * fraction
    if limit < math.inf:
        half = half.clamp(-0.5 * limit, 0.5 * limit)
    return torch.cat([half.cos(), q[1:] * (half.sin() / length)])


def to_matrix(q: Tensor) -> Tensor:
    """Rotation matrix of a unit quaternion, ``[4, n] -> [9, n]``."""
    first, second, signs, constant = _to_matrix(q.dtype, q.device)
    products = q.index_select(0, first) * q.index_select(0, second)
    return (products.view(2, 9, -1) * signs).sum(0) + constant


def of_matrix(r: Tensor) -> Tensor:
    """Quaternion, of length 2 to 4, of a matrix on or near the group; see Shepperd (1978).

    Args:
        r: ``[9, n]``.

    Returns:
        ``[4, n]``.
    """
    places, signs, constant = _of_matrix(r.dtype, r.device)
    terms = r.index_select(0, places).view(3, 16, -1)
    multiples = (terms * signs).sum(0) + constant
    # The rows of 4 q q^T are 4 q_k q. The largest of its diagonal, 4 q_k^2, is at least 1, so that
    # its row has lost no digits.
    # (`max` finds it in a tenth of the time that `argmax` takes across rows on the processor.)
    best = multiples[::5].max(0).indices
    return multiples.view(4, 4, -1).gather(0, best.expand(1, 4, -1)).squeeze(0)


def product(p: Tensor, q: Tensor) -> Tensor:
    """Hamilton's product: the rotation ``q``, then ``p``; two ``[4, n]`` -> ``[4, n]``."""
    places, signs = _of_product(q.dtype, q.device)
    turned = q.index_select(0, places).view(4, 4, -1) * signs
    return (p * turned).sum(1)

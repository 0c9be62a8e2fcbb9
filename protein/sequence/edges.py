"""What is computed on every edge, with derivatives written out by hand.

There are k edges a residue, so this is where the time goes, and moving edges through memory costs
as much as multiplying them. Written out, nothing is copied, expanded or kept twice: a step of
learning takes half as long as with the derivatives that torch composes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class _Joined(torch.autograd.Function):
    """`relu(own + other[rows] + part)`."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, other: Tensor, part: Tensor, rows: Tensor) -> Tensor:
        first = _first(own, other, part, rows)
        ctx.save_for_backward(first, rows)
        return first

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, rows = ctx.saved_tensors
        inner = _where_positive(grad.contiguous(), first)
        return inner.sum(1), _scattered(inner, rows), inner, None


class _Heard(torch.autograd.Function):
    """The sum over edges of `relu(weight relu(own + other[rows] + part))`."""

    @staticmethod
    def forward(
        ctx: Any,
        own: Tensor,
        other: Tensor,
        part: Tensor,
        weight: Tensor,
        rows: Tensor,
        linked: Tensor | None,
    ) -> Tensor:
        first = _first(own, other, part, rows)
        second = functional.linear(first, weight).relu_()
        ctx.save_for_backward(first, second, weight, rows, linked)
        return (second if linked is None else second * linked[..., None]).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, second, weight, rows, linked = ctx.saved_tensors
        r, k, c = first.shape
        wide = grad[:, None].expand(r, k, c)
        wide = wide.contiguous() if linked is None else wide * linked[..., None]
        inner = _where_positive(wide, second).view(r * k, c)
        d_weight = inner.T @ first.view(r * k, c)
        outer = _where_positive((inner @ weight).view(r, k, c), first)
        return outer.sum(1), _scattered(outer, rows), outer, d_weight, None, None


def joined(own: Tensor, other: Tensor, part: Tensor, rows: Tensor) -> Tensor:
    """`relu(own + other[rows] + part)` on every edge `[R, k, c]`.

    Args:
        own: the residue's part `[R, c]`.
        other: the part of each residue as a neighbour `[R, c]`.
        part: the edge's part `[R, k, c]`.
        rows: row of each neighbour, int64 `[R * k]`.
    """
    return _Joined.apply(own, other, part, rows)


def heard(
    own: Tensor,
    other: Tensor,
    part: Tensor,
    weight: Tensor,
    rows: Tensor,
    linked: Tensor | None = None,
) -> Tensor:
    """The sum over edges of `relu(weight joined(...))`, `[R, c]`.

    Args:
        own: as for `joined`, and `other`, `part` and `rows` too.
        other: see there.
        part: see there.
        weight: `[c, c]`.
        rows: see there.
        linked: 1 for edges that count and 0 for others `[R, k]`; None: all count.
    """
    return _Heard.apply(own, other, part, weight, rows, linked)


def _first(own: Tensor, other: Tensor, part: Tensor, rows: Tensor) -> Tensor:
    return other.index_select(0, rows).view(part.shape).add_(part).add_(own[:, None]).relu_()


def _where_positive(grad: Tensor, value: Tensor) -> Tensor:
    """The derivative of a rectified value."""
    return torch.ops.aten.threshold_backward(grad, value, 0)


def _scattered(edges: Tensor, rows: Tensor) -> Tensor:
    """Edges added up where their neighbours are `[R, c]`."""
    r, _, c = edges.shape
    return edges.new_zeros(r, c).index_add_(0, rows, edges.view(-1, c))

r"""Chains in contact: how far a body has to move along a line until it just touches another.

Let :math:`a` be the offset from a point of one chain to a point of the other, and let moving the
body by :math:`s` change it by :math:`s\,b`. The pair is closer than :math:`d` for :math:`s`
between the roots of :math:`|a|^2 + 2 s\,a\cdot b + s^2 |b|^2 = d^2`. The largest upper root over
all pairs is the place of outermost contact: there nothing overlaps, further in something does.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOUCH = 0.42
"""Distance of the nearest two CA atoms of chains in contact, nm; clashes are below 0.36."""

CLASH = 3.6
"""CA atoms of two chains that are closer than this clash, Å."""


def outermost_contact(a: Tensor, b: Tensor, touch: float, real: Tensor | None = None) -> Tensor:
    """How far to move so that the nearest pair is at the distance of contact, from outside.

    Args:
        a: offsets of the pairs before the move `[B, pairs, 3]`.
        b: what a move by one changes in them, `[B, pairs, 3]` or broadcastable.
        touch: distance of contact.
        real: pairs that count `[B, pairs]`.

    Returns:
        The move `[B]`; 0 where no pair would ever touch.
    """
    square = (b * b).sum(-1).expand(a.shape[:-1])
    along = (a * b).sum(-1)
    discriminant = along.square() - square * ((a * a).sum(-1) - touch**2)
    meets = (discriminant > 0) & (square > 1e-8)
    if real is not None:
        meets &= real
    root = (discriminant.clamp_min(0.0).sqrt() - along) / square.clamp_min(1e-8)
    far = torch.where(meets, root, float("-inf")).amax(-1)
    return torch.where(meets.any(-1), far, 0.0)


def clashes(chains: list[Tensor]) -> int:
    """Pairs of CA atoms of different chains that are closer than `CLASH`.

    Args:
        chains: CA positions of each chain `[L, 3]`, Å.
    """
    total = 0
    for i, one in enumerate(chains):
        for other in chains[i + 1 :]:
            total += int((torch.cdist(one.double(), other.double()) < CLASH).sum())
    return total

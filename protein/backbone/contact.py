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

ROOM = 0.6
"""Distance to which copies that share their place with a motif are pushed apart, nm."""

_SPREAD = 3.0  # residues

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


def pushed_apart(
    positions: Tensor, elements: Tensor, free: Tensor, distance: float = ROOM, rounds: int = 12
) -> Tensor:
    """A unit whose free residues are pushed away from the unit's copies.

    Every residue that is closer than `distance` to residues of copies is pushed by half of what is
    missing, away from them. A push is spread along the chain by a Gaussian of `_SPREAD` residues,
    so that the chain bends as a whole, and it is nothing at residues that are held. This is
    repeated, and what does not overlap stays bit for bit as it is.

    Args:
        positions: CA positions of the unit, nm `[B, N, 3]`.
        elements: rotations that make the copies, the identity left out, `[k, 3, 3]`.
        free: residues that may move `[B, N]`.
        distance: of CA atoms of two copies, nm.
        rounds: repetitions.
    """
    n = positions.shape[1]
    place = torch.arange(n, device=positions.device, dtype=positions.dtype)
    spread = torch.exp(-0.5 * ((place[:, None] - place) / _SPREAD).square())
    spread = spread / spread.amax()
    moves = free[..., None].to(positions.dtype)
    for _ in range(rounds):
        images = torch.einsum("gij,bnj->bgni", elements, positions)
        offsets = positions[:, None, :, None] - images[:, :, None]  # [B, k, N, N, 3]
        far = offsets.norm(dim=-1).clamp_min(1e-4)
        weight = (distance - far).clamp_min(0.0) * free[:, None, None] / far
        push = 0.5 * (weight[..., None] * offsets).sum((1, 3)) * moves
        count = (weight > 0).sum((1, 3)).clamp_min(1)[..., None]
        positions = positions + torch.matmul(spread, push / count.sqrt()) * moves
    return positions

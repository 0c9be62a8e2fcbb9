"""What a residue sees of its neighbours: numbers that no rigid motion changes.

Every residue has the frame of its N, CA and C. An edge to a neighbour carries the distances
between the CA and between the virtual CB atoms, where the neighbour's atoms lie in the residue's
own frame, where the residue lies in the neighbour's, and how one frame is turned against the
other: 59 numbers, where ProteinMPNN (Dauparas et al. 2022, doi 10.1126/science.add2187) takes 400.
A mirror image changes them, since the frames stay right-handed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from protein.structures.frames import beta_carbons, frames_from_backbone, oxygen_positions

RADIAL = 16
"""Radial functions a distance is written in."""

EDGE = 2 * RADIAL + 15 + 3 + 9
"""Numbers of an edge."""

NODE = 12
"""Numbers of a residue: its N, C, O and virtual CB in its own frame."""

FARTHEST = 32
"""Residues along the chain from which on all are equally far."""

OFFSETS = 2 * FARTHEST + 2
"""Classes of places along the chain: offsets from -32 to 32, and another chain."""

_NEAREST, _LAST, _WIDTH = 2.0, 20.0, 1.2
_SCALE = 0.1


class Geometry(NamedTuple):
    """A batch of backbones as residues and edges.

    Attributes:
        nodes: features of each residue `[B, N, 12]`.
        edges: features of each edge `[B, N, k, 59]`.
        offsets: place of the neighbour along the chain, a class `[B, N, k]`.
        neighbours: row of each neighbour in its sample, int64 `[B, N, k]`; a residue's own row
            where there is none.
        linked: whether there is a neighbour `[B, N, k]`.
    """

    nodes: Tensor
    edges: Tensor
    offsets: Tensor
    neighbours: Tensor
    linked: Tensor


def geometry(
    atoms: Tensor, mask: Tensor, chain: Tensor, index: Tensor, count: int
) -> Geometry:
    """Neighbours of every residue and the features of residues and edges.

    Args:
        atoms: N, CA, C, O `[B, N, 4, 3]`, Å; NaN for a missing atom. A missing O is rebuilt; a
            residue that lacks another atom has no frame and is no one's neighbour.
        mask: rows that are residues `[B, N]`.
        chain: chain of every residue `[B, N]`.
        index: place along its chain `[B, N]`.
        count: nearest neighbours, k; fewer where a sample has no more rows.
    """
    placed = mask & atoms[..., :3, :].isfinite().all(-1).all(-1)
    atoms = torch.where(placed[..., None, None], atoms, torch.zeros_like(atoms))
    joined = (index[:, 1:] == index[:, :-1] + 1) & (chain[:, 1:] == chain[:, :-1])
    joined = torch.nn.functional.pad(joined & placed[:, 1:] & placed[:, :-1], (0, 1))
    oxygen, built = atoms[..., 3, :], oxygen_positions(atoms, joined)
    oxygen = torch.where(oxygen.isfinite().all(-1, keepdim=True), oxygen, built)
    beta = beta_carbons(atoms)
    rotations, alpha = frames_from_backbone(atoms)
    neighbours, linked = _nearest(alpha, placed, count)
    # N, CA, C, O and CB, and the axes of the frame, of every residue: gathered at once.
    five = torch.cat([atoms[..., :3, :], oxygen[..., None, :], beta[..., None, :]], dim=-2)
    theirs = _gather(torch.cat([five.flatten(-2), rotations.flatten(-2)], dim=-1), neighbours)
    apart = theirs[..., :15].unflatten(-1, (5, 3)) - alpha[:, :, None, None, :]
    turned = theirs[..., 15:].unflatten(-1, (3, 3))
    local = _into(apart, rotations[:, :, None])
    back = -_into(apart[..., 1:2, :], turned)
    relative = rotations[:, :, None].mT @ turned
    across = theirs[..., 12:15] - beta[:, :, None]
    edges = torch.cat(
        [
            _radial(apart[..., 1, :].norm(dim=-1)),
            _radial(across.norm(dim=-1)),
            _SCALE * local.flatten(-2),
            _SCALE * back.flatten(-2),
            relative.flatten(-2),
        ],
        dim=-1,
    )
    own = five[..., [0, 2, 3, 4], :] - alpha[..., None, :]
    nodes = _into(own, rotations).flatten(-2) * placed[..., None]
    return Geometry(
        nodes,
        edges * linked[..., None],
        _offsets(chain, index, neighbours),
        neighbours,
        linked,
    )


def _nearest(alpha: Tensor, placed: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rows of the nearest CA atoms `[B, N, k]`, the residue itself left out, and which exist."""
    n = alpha.shape[1]
    pairs = placed[:, None, :] & placed[:, :, None]
    pairs = pairs & ~torch.eye(n, dtype=torch.bool, device=alpha.device)
    # Differences, not products: products would lose the order of near neighbours far from 0.
    apart = (alpha[:, :, None] - alpha[:, None, :]).square().sum(-1)
    apart = torch.where(pairs, apart, torch.inf)
    values, neighbours = apart.topk(min(count, n), dim=-1, largest=False)
    linked = values.isfinite()
    own = torch.arange(n, device=alpha.device)[None, :, None]
    return torch.where(linked, neighbours, own), linked


def _gather(values: Tensor, neighbours: Tensor) -> Tensor:
    """`values [B, N, c]` of the neighbours `[B, N, k, c]`."""
    return values.flatten(0, 1).index_select(0, flat(neighbours)).unflatten(0, neighbours.shape)


def flat(neighbours: Tensor) -> Tensor:
    """Rows of neighbours among the rows of all samples end to end, `[B * N * k]`."""
    b, n, _ = neighbours.shape
    first = n * torch.arange(b, device=neighbours.device)
    return (neighbours + first[:, None, None]).flatten()


def _into(vectors: Tensor, rotations: Tensor) -> Tensor:
    """Vectors `[..., m, 3]` in the frames `[..., 3, 3]` whose axes are columns."""
    return vectors @ rotations


def _radial(distance: Tensor) -> Tensor:
    """A distance (Å) `[...]` in Gaussians about 16 centres `[..., 16]`."""
    centres = torch.linspace(_NEAREST, _LAST, RADIAL, device=distance.device).to(distance)
    return torch.exp(-0.5 * ((distance[..., None] - centres) / _WIDTH).square())


def _offsets(chain: Tensor, index: Tensor, neighbours: Tensor) -> Tensor:
    rows = neighbours.flatten(1)
    there = index.gather(1, rows).view_as(neighbours) - index[:, :, None]
    same = chain.gather(1, rows).view_as(neighbours) == chain[:, :, None]
    near = there.clamp(-FARTHEST, FARTHEST) + FARTHEST
    return torch.where(same, near, torch.full_like(near, OFFSETS - 1))

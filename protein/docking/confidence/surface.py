"""Solvent-accessible surface of a ligand, and how much of it the receptor covers.

Points are spread evenly over the sphere of each atom (Shrake and Rupley, J. Mol. Biol. 79 (1973)
351), a water's radius of 1.4 Å outside its own.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi

import torch
from torch import Tensor

from protein.structures.distances import distances

POINTS = 48
"""Points on the sphere of an atom."""

_WATER = 1.4
# Bondi's radii of the types, in their order, Å.
_RADII = (1.7, 1.7, *[1.55] * 4, *[1.52] * 4, 1.8, 1.8, 1.47, 1.75, 1.85, 1.98, 2.1, 1.2)
# An atom can be covered by no more neighbours than this.
_NEIGHBOURS = 24


def buried_surface(
    coords: Tensor, types: Tensor, receptor_coords: Tensor, receptor_types: Tensor
) -> tuple[Tensor, Tensor]:
    """Surface of each ligand atom that the receptor covers, and that it has alone.

    Args:
        coords: poses `[K, N, 3]`, Å.
        types: energy types of the ligand's atoms `[N]`.
        receptor_coords: `[M, 3]`, Å.
        receptor_types: `[M]`.

    Returns:
        Both `[K, N]`, Å².
    """
    table = torch.tensor(_RADII, dtype=coords.dtype) + _WATER
    mine, theirs = table[types], table[receptor_types]
    points = coords.unsqueeze(-2) + mine[:, None, None] * _sphere(POINTS).to(coords)
    own = torch.eye(len(types), dtype=torch.bool)
    hidden = _inside(points, coords, coords, mine, mine, own)
    covered = _inside(points, coords, receptor_coords.expand(len(coords), -1, -1), mine, theirs)
    area = 4.0 * pi * mine.square()
    return (~hidden & covered).to(coords).mean(-1) * area, (~hidden).to(coords).mean(-1) * area


def _inside(
    points: Tensor, centres: Tensor, others: Tensor, mine: Tensor, theirs: Tensor,
    left_out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Which points `[K, N, S]` lie within the spheres of other atoms `[K, M, 3]`."""
    most = min(_NEIGHBOURS, others.shape[1])
    if most == 0:
        return torch.zeros(points.shape[:-1], dtype=torch.bool)
    gap = distances(centres, others) - theirs  # the smaller, the more of the atom it can cover
    if left_out is not None:
        gap = gap.masked_fill(left_out, float("inf"))
    least, which = gap.topk(most, dim=-1, largest=False)
    poses = torch.arange(len(points))[:, None, None]
    near = others[poses, which]  # [K, N, most, 3]
    radius = theirs[which].masked_fill(least >= mine[:, None], 0.0)
    squared = (points.unsqueeze(-2) - near.unsqueeze(-3)).square().sum(-1)
    return (squared < (radius.square() - 1e-4).unsqueeze(-2)).any(-1)


@lru_cache(maxsize=2)
def _sphere(count: int) -> Tensor:
    """Points that are spread evenly over the unit sphere along a spiral `[count, 3]`."""
    place = torch.arange(count, dtype=torch.float64) + 0.5
    polar = torch.arccos(1 - 2 * place / count)
    turn = pi * (1 + 5**0.5) * place
    rim = torch.sin(polar)
    return torch.stack([torch.cos(turn) * rim, torch.sin(turn) * rim, torch.cos(polar)], dim=-1)

"""Padding of latitude-longitude fields across the seams of the grid.

Longitude is a circle.  A step over a pole arrives on the opposite meridian: the row beyond the
first is the first row again, turned by half a circle, and there east and north point the other
way, so that both components of a vector change sign.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sciddiff.errors import InputError

__all__ = ["pad_area", "pad_sphere"]


def pad_area(x: Tensor, width: int = 1, around: bool = False) -> Tensor:
    """Pad a field on a limited area: each edge is repeated outwards.

    Args:
        x: Field, `[B, C, H, W]`.
        width: Rows and columns to add on each side.
        around: The longitudes go round the globe, and continue on the other side.

    Returns:
        `[B, C, H + 2 width, W + 2 width]`.
    """
    if around:
        x = torch.cat([x[..., -width:], x, x[..., :width]], -1)
        return functional.pad(x, (0, 0, width, width), mode="replicate")
    return functional.pad(x, (width, width, width, width), mode="replicate")


def pad_sphere(
    x: Tensor, width: int = 1, signs: Tensor | None = None, poles: bool = False
) -> Tensor:
    """Pad a field on a global grid by its own neighbours on the sphere.

    Args:
        x: Field, latitudes from one pole to the other, longitudes full circle, `[B, C, H, W]`.
        width: Rows and columns to add on each side.
        signs: -1 for channels that are vector components, +1 for the others, `[C]`; default +1.
        poles: Whether the first and last row lie at the poles; they are then not repeated.

    Returns:
        `[B, C, H + 2 width, W + 2 width]`.

    Raises:
        InputError: The number of longitudes is odd, so that no meridian is opposite another, or
            the grid has fewer rows or columns than are added.
    """
    half, odd = divmod(x.shape[-1], 2)
    if odd:
        raise InputError(f"grid: {x.shape[-1]} longitudes; an even number is needed")
    skip, rows = int(poles), x.shape[-2]
    if width > min(rows - skip, x.shape[-1]):
        raise InputError(
            f"grid: {rows}x{x.shape[-1]}; a padding of {width} needs as many rows and columns"
        )
    before = x[..., skip : skip + width, :].flip(-2).roll(half, -1)
    after = x[..., rows - skip - width : rows - skip, :].flip(-2).roll(half, -1)
    if signs is not None:
        turn = signs.to(x).view(-1, 1, 1)
        before, after = before * turn, after * turn
    x = torch.cat([before, x, after], -2)
    return torch.cat([x[..., -width:], x, x[..., :width]], -1)

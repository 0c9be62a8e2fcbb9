"""How far backbone torsions lie from the favoured Ramachandran region, as a loss that can be
differentiated.

The favoured region is that of the natives of the training split: the smallest set of ten-degree
cells of the smoothed (phi, psi) histogram that holds 95 % of the residues
(`protein.backbone.metrics.distribution.density_level`; 96 % of the residues lie in whole cells).
Inside it the distance is zero, so the loss says nothing about which secondary structure to form.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

_CELLS = 36

_REGION = """
#...............................####
#.............................######
#...........................########
#........................###########
#...............######..############
#.............#########.############
#...........##########...###########
#...........##########....##########
##..........##########..############
##.........##########..#############
#..........#########....############
#..........########.........########
..........########...........#######
...........######............#####..
...........#####..............##....
....................................
....................................
....................................
....................................
....................................
....................................
....................................
....................#####...........
...................######...........
.................#######............
................#######.............
................#####...............
...............#####................
................###.................
....................................
....................................
....................................
....................................
....................................
....................................
....................................
"""
"""Rows are phi and columns psi, ten degrees each from -180°; # is favoured."""


def distance_to_favoured(phi: Tensor, psi: Tensor) -> Tensor:
    """Distance on the torus of (phi, psi) to the favoured region, in radians.

    The distances of the corners of the cells are interpolated bilinearly, so that the value is
    continuous and periodic and its slope is about 1 outside the region.

    Args:
        phi: torsions in radians `[...]`.
        psi: torsions in radians `[...]`.

    Returns:
        Distances `[...]`; 0 well inside the region.

    >>> degrees = torch.tensor([[-63.0, -43.0], [-120.0, 130.0], [0.0, 0.0]])
    >>> away = distance_to_favoured(*torch.deg2rad(degrees).T)
    >>> [round(float(d), 1) for d in away]
    [0.0, 0.0, 0.6]
    """
    table = _corner_distances().to(phi)
    at = [(angle + math.pi) * (_CELLS / (2.0 * math.pi)) for angle in (phi, psi)]
    low = [x.detach().floor() for x in at]
    (u, v), (i, j) = [x - b for x, b in zip(at, low, strict=True)], [b.long() for b in low]
    total = torch.zeros_like(phi)
    for di, wi in ((0, 1.0 - u), (1, u)):
        for dj, wj in ((0, 1.0 - v), (1, v)):
            total = total + wi * wj * table[(i + di) % _CELLS, (j + dj) % _CELLS]
    return total


@cache
def _corner_distances() -> Tensor:
    """Distance in radians of every corner of the cells to the nearest favoured cell `[36, 36]`."""
    region = torch.tensor([[c == "#" for c in row] for row in _REGION.split()])
    corner = torch.arange(_CELLS, dtype=torch.float64)
    centres = region.nonzero().double() + 0.5
    apart = []
    for axis in (0, 1):
        gap = (corner[:, None] - centres[None, :, axis]).abs()
        gap = torch.minimum(gap, _CELLS - gap)
        apart.append((gap - 0.5).clamp_min(0.0))  # to the nearer side of the cell
    squares = apart[0][:, None].square() + apart[1][None, :].square()
    return squares.amin(-1).sqrt() * (2.0 * math.pi / _CELLS)

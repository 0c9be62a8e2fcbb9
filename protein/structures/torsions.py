"""Backbone torsions φ, ψ, ω, in torch or numpy, vectorised over chains.

The dihedral of four points is IUPAC's: 0 when cis, positive when, looking along the middle
bond, the far bond is turned clockwise from the near one. φ(i) = C(i−1) N CA C,
ψ(i) = N CA C N(i+1), ω(i) = CA C N(i+1) CA(i+1). Undefined ends are NaN.
"""

from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def dihedral(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Torsion of four points about the bond b–c.

    Args:
        a: first point `[..., 3]`, and likewise ``b``, ``c`` and ``d``.

    Returns:
        Angles in (−π, π] `[...]`, rad; gradients are finite unless three points are collinear.
    """
    axis = c - b
    n1 = torch.linalg.cross(b - a, axis)
    n2 = torch.linalg.cross(axis, d - c)
    sine = (torch.linalg.cross(n1, n2) * axis).sum(-1) / axis.norm(dim=-1).clamp_min(1e-8)
    return torch.atan2(sine, (n1 * n2).sum(-1))


def bond_angle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Angle at b between a and c, rad, by atan2 so that it is accurate near 0 and π.

    Args:
        a: first point `[..., 3]`, and likewise ``b`` and ``c``.
    """
    u, v = a - b, c - b
    return torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1))


@overload
def backbone_torsions(coords: Tensor, bonded: Tensor | None = None) -> Tensor: ...
@overload
def backbone_torsions(
    coords: NDArray[np.floating], bonded: NDArray[np.bool_] | None = None
) -> NDArray[np.floating]: ...
def backbone_torsions(
    coords: Tensor | NDArray[np.floating], bonded: Tensor | NDArray[np.bool_] | None = None
) -> Tensor | NDArray[np.floating]:
    """φ, ψ and ω of every residue.

    Args:
        coords: N, CA, C (more are ignored) `[..., L, >=3, 3]`, Å; torch or numpy.
        bonded: true where residue i+1 continues the chain of residue i `[..., L]`, bool; by
            default all but the last.

    Returns:
        φ, ψ, ω `[..., L, 3]`, rad, same kind of array; NaN where a neighbour is missing.
        ω(i) is that of the bond from residue i to i+1.
    """
    if not isinstance(coords, Tensor):
        joined = None if bonded is None else torch.as_tensor(np.asarray(bonded))
        return backbone_torsions(torch.from_numpy(np.ascontiguousarray(coords)), joined).numpy()
    n, ca, c = coords[..., 0, :], coords[..., 1, :], coords[..., 2, :]
    here = coords[..., :-1, :, :]
    n_next, ca_next = n[..., 1:, :], ca[..., 1:, :]
    phi = dihedral(here[..., 2, :], n_next, ca_next, c[..., 1:, :])
    psi = dihedral(here[..., 0, :], here[..., 1, :], here[..., 2, :], n_next)
    omega = dihedral(here[..., 1, :], here[..., 2, :], n_next, ca_next)
    steps = torch.stack((phi, psi, omega), dim=-1)
    if bonded is not None:
        joined = torch.as_tensor(bonded, device=coords.device)[..., :-1, None]
        steps = torch.where(joined, steps, torch.full_like(steps, torch.nan))
    gap = torch.full_like(coords[..., :1, 0, :1], torch.nan)
    return torch.cat(
        (
            torch.cat((gap, steps[..., 0:1]), dim=-2),
            torch.cat((steps[..., 1:], gap.expand(*gap.shape[:-1], 2)), dim=-2),
        ),
        dim=-1,
    )

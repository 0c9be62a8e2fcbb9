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

from protein.structures import geometry_constants as geo


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


def backbone_from_torsions(torsions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Chain of ideal geometry with the given φ, ψ, ω: the inverse of ``backbone_torsions``.

    Atoms are placed one after another from the three before (NeRF, Parsons et al. 2005), N to C.

    Args:
        torsions: φ, ψ, ω `[L, 3]`, rad; φ of the first and ψ, ω of the last residue are not used,
            except that ψ of the last places its O; NaN counts as the alpha helix.

    Returns:
        N, CA, C, O `[L, 4, 3]`, Å, first CA at the origin.
    """
    from protein.structures.frames import oxygen_positions

    helix = np.radians([-57.0, -47.0, 180.0])
    angles = np.where(np.isnan(torsions), helix, torsions).astype(np.float64)
    atoms = [np.asarray(x, dtype=np.float64) for x in (geo.LOCAL_N, geo.LOCAL_CA, geo.LOCAL_C)]
    for (_, psi, omega), (phi, _, _) in zip(angles[:-1], angles[1:], strict=True):
        atoms.append(extend(atoms, geo.C_N, geo.CA_C_N, psi))
        atoms.append(extend(atoms, geo.N_CA, geo.C_N_CA, omega))
        atoms.append(extend(atoms, geo.CA_C, geo.N_CA_C, phi))
    ncac = np.stack(atoms).reshape(-1, 3, 3)
    oxygen = oxygen_positions(torch.from_numpy(ncac)).numpy()
    # The last residue has no next N: its O stands at ψ + 180° by its own ψ.
    oxygen[-1] = extend(atoms, geo.C_O, geo.CA_C_O, angles[-1, 1] + np.pi)
    return np.concatenate((ncac, oxygen[:, None]), axis=1)


def extend(
    atoms: list[NDArray[np.float64]], length: float, angle: float, torsion: float
) -> NDArray[np.float64]:
    """Next atom at a bond length, bond angle and torsion from the last three.

    Args:
        atoms: positions `[3]`, at least three.
        length: of the bond to the last, Å.
        angle: at the last, rad.
        torsion: about the bond between the last two, rad.
    """
    a, b, c = atoms[-3:]
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    in_plane = np.cross(normal, axis)
    turn = np.cos(torsion) * in_plane + np.sin(torsion) * normal
    return c + length * (-np.cos(angle) * axis + np.sin(angle) * turn)

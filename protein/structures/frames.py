"""Residue frames: N, CA, C, O coordinates to rigid frames and back.

A residue is the rigid frame ``(R, CA)`` of AlphaFold 2 (supplement, algorithm 21): with
``v1 = C − CA`` and ``v2 = N − CA``, Gram–Schmidt gives ``e1 = v1/|v1|``,
``e2 = (v2 − e1 (e1·v2))/|…|``, ``e3 = e1 × e2`` and ``R = [e1 e2 e3]`` (columns), so that
``x = R x_local + CA``. Back from frames, N, CA and C take ideal geometry and the
carbonyl O is put in the plane of CA, C and the next residue's N (a flat peptide), on the far
side of that N.
"""

import torch
from torch import Tensor

from protein.structures import geometry_constants as geo
from protein.structures.distances import distances

_TINY = 1e-8


def _unit(vector: Tensor) -> Tensor:
    """Normalise the last axis; the zero vector maps to zero with a finite gradient."""
    square = (vector * vector).sum(-1, keepdim=True)
    return vector * torch.rsqrt(square.clamp_min(_TINY**2))


def frames_from_backbone(coords: Tensor) -> tuple[Tensor, Tensor]:
    """Rigid frame of each residue from its N, CA and C atoms.

    Args:
        coords: atoms N, CA, C (and O, ignored) `[..., L, 4 or 3, 3]`, Å.

    Returns:
        Rotations `[..., L, 3, 3]` (columns are the frame axes) and CA positions `[..., L, 3]`.
    """
    n, ca, c = coords[..., 0, :], coords[..., 1, :], coords[..., 2, :]
    e1 = _unit(c - ca)
    v2 = n - ca
    e2 = _unit(v2 - e1 * (e1 * v2).sum(-1, keepdim=True))
    e3 = torch.linalg.cross(e1, e2)
    return torch.stack((e1, e2, e3), dim=-1), ca


def backbone_from_frames(
    rotations: Tensor,
    translations: Tensor,
    psi: Tensor | None = None,
    bonded: Tensor | None = None,
) -> Tensor:
    """Backbone atoms of ideal geometry from residue frames.

    O of residue i lies in the plane of CA(i), C(i) and N(i+1), opposite to that N. A residue
    without successor takes the psi of the residue before it, which keeps the secondary
    structure going; a lone residue takes the alpha-helical psi.

    Args:
        rotations: frame axes in columns `[..., L, 3, 3]`.
        translations: CA positions `[..., L, 3]`, Å.
        psi: torsion N–CA–C–N(+1) `[..., L]`, rad; when given it alone places every O.
        bonded: true where residue i+1 continues the chain of residue i `[..., L]`, bool;
            pass it for padded batches and several chains. By default all but the last.

    Returns:
        N, CA, C, O `[..., L, 4, 3]`, Å.
    """
    local = translations.new_tensor([geo.LOCAL_N, geo.LOCAL_CA, geo.LOCAL_C])
    ncac = torch.einsum("...ij,aj->...ai", rotations, local) + translations[..., None, :]
    if psi is None:
        direction = _psi_from_next_n(rotations, ncac, bonded)
    else:
        direction = torch.stack((psi.cos(), psi.sin()), dim=-1)
    o = _oxygen_from_direction(rotations, ncac[..., 2, :], direction)
    return torch.cat((ncac, o[..., None, :]), dim=-2)


def oxygen_positions(ncac: Tensor, bonded: Tensor | None = None) -> Tensor:
    """Carbonyl O of each residue from observed N, CA and C, by the rule of this module.

    Args:
        ncac: atoms N, CA, C (more are ignored) `[..., L, >=3, 3]`, Å.
        bonded: true where residue i+1 continues the chain of residue i `[..., L]`, bool.

    Returns:
        O positions `[..., L, 3]`, Å.
    """
    rotations, _ = frames_from_backbone(ncac)
    direction = _psi_from_next_n(rotations, ncac, bonded)
    return _oxygen_from_direction(rotations, ncac[..., 2, :], direction)


def beta_carbons(ncac: Tensor) -> Tensor:
    """Idealised CB of every residue (L chirality) from N, CA, C.

    Args:
        ncac: atoms N, CA, C (more are ignored) `[..., L, >=3, 3]`, Å.

    Returns:
        CB positions `[..., L, 3]`, Å.
    """
    n, ca, c = ncac[..., 0, :], ncac[..., 1, :], ncac[..., 2, :]
    b, d = ca - n, c - ca
    a = torch.linalg.cross(b, d)
    ka, kb, kc = geo.CB_IN_BOND_BASIS
    return ka * a + kb * b + kc * d + ca


def neighbour_counts(ncac: Tensor) -> Tensor:
    """How deep each residue is buried: CA atoms of others within 10 Å of its virtual CB `[L]`.

    Args:
        ncac: atoms N, CA, C (more are ignored) `[L, >=3, 3]`, Å.
    """
    return (distances(beta_carbons(ncac), ncac[:, 1]) < 10.0).sum(-1) - 1


def _oxygen_from_direction(rotations: Tensor, c: Tensor, direction: Tensor) -> Tensor:
    """O at torsion psi + 180° about CA–C; direction is (cos psi, sin psi) `[..., L, 2]`."""
    angle = torch.tensor(geo.CA_C_O, dtype=c.dtype, device=c.device)
    # C lies on +x of the frame, so the bond angle at C fixes x and psi turns the yz part.
    along = (-geo.C_O * angle.cos()).expand(direction.shape[:-1])
    across = -geo.C_O * angle.sin() * direction
    offset = torch.cat((along[..., None], across), dim=-1)
    return c + torch.einsum("...ij,...j->...i", rotations, offset)


def _psi_from_next_n(rotations: Tensor, ncac: Tensor, bonded: Tensor | None) -> Tensor:
    """(cos psi, sin psi) `[..., L, 2]`, with the rule for residues without successor."""
    length = ncac.shape[-3]
    if bonded is None:
        bonded = torch.ones(ncac.shape[:-2], dtype=torch.bool, device=ncac.device)
    bonded = bonded.clone()
    bonded[..., length - 1 :] = False
    next_n = torch.roll(ncac[..., 0, :], shifts=-1, dims=-2)
    local = torch.einsum("...ji,...j->...i", rotations, next_n - ncac[..., 2, :])
    default = ncac.new_tensor([geo.DEFAULT_PSI]).squeeze(0)
    default = torch.stack((default.cos(), default.sin())).expand(*bonded.shape, 2)
    measured = _unit(local[..., 1:])
    # N on the axis CA–C leaves psi undefined: use the default instead of a zero direction.
    defined = bonded & (local[..., 1:].norm(dim=-1) > 1e-4)
    measured = torch.where(defined[..., None], measured, default)
    before = torch.roll(measured, shifts=1, dims=-2)
    has_before = torch.roll(bonded, shifts=1, dims=-1)
    has_before[..., :1] = False
    carried = torch.where(has_before[..., None], before, default)
    return torch.where(bonded[..., None], measured, carried)

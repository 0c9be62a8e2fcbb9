"""Geometry losses of predicted backbones: what the flow-matching loss alone learns too slowly.

Every term is a value per sample and does not change under rigid motions:

``neighbours``
    Frame-aligned point error (Jumper et al. 2021, algorithm 28) of CA positions of residue pairs
    that are close in the data, clamped; the frames make it sensitive to handedness, which
    distances are not.
``junctions``
    The atoms N, CA, C of residues i+1 ... i+3 seen from residue i. It pins down the peptide bond,
    its angles, its planarity and the local torsions, and keeps chains unbroken when the data set
    is small.
``distances``
    Local CA distances of any sign (FrameDiff, Yim et al. 2023, eq. 12), weighted to contacts.
``overlaps``
    CA atoms of residues three or more apart that come closer than 4 Å, which natives never do.
``contacts``
    Backbone atoms N, CA, C, O of residues two or more apart that come closer than their radii
    allow (`protein.backbone.metrics.geometry.atom_overlaps` counts these).
``torsions``
    The distance of (phi, psi) from the favoured Ramachandran region.

The last three do not compare with the data: they are zero wherever natives are. A prediction made
through much noise is an average of many structures, and averages overlap and have torsions that no
protein has; these terms pull it to a structure that could exist.

All terms are switched on late in the path (t > `start`), where the data can be seen through the
noise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from protein.backbone.favoured import distance_to_favoured
from protein.backbone.metrics.geometry import closest_approach
from protein.structures.frames import backbone_from_frames
from protein.structures.geometry_constants import LOCAL_C, LOCAL_CA, LOCAL_N
from protein.structures.torsions import dihedral

_CLAMP = 1.0  # nm
_REACH = 1.0  # nm, width of the weight on neighbouring pairs
_BOND_SCALE = 0.02  # nm
_CLOSEST, _CLOSE_SCALE = 0.40, 0.1  # nm
_ATOM_SCALE = 0.5  # Å
_MARGIN = 0.1  # Å that atoms are kept apart beyond what counts as an overlap
_REACHING = 7.5  # Å between CA atoms beyond which no backbone atoms overlap
_ANGSTROM = 10.0  # per nm


def geometry_losses(
    predicted: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    t: Tensor,
    mask: Tensor,
    residue_index: Tensor,
    start: float = 0.25,
) -> dict[str, Tensor]:
    """Geometry losses of a batch of predicted frames.

    Args:
        predicted: `translations [B, N, 3]` (nm) and `rotations [B, N, 3, 3]` of the predicted
            data.
        target: the same leaves of the data.
        t: times `[B]`.
        mask: real residues `[B, N]`.
        residue_index: numbers along the chain `[B, N]`; residues are bonded where they differ by
            1, and those of different chains differ by more than 3.
        start: time before which the losses are off.

    Returns:
        `neighbours`, `junctions`, `distances`, `overlaps`, `contacts` and `torsions`, each `[B]`,
        dimensionless.
    """
    on = (t > start).to(mask.device, torch.float32)
    x, r = predicted["translations"].float(), predicted["rotations"].float()
    y, q = target["translations"].float(), target["rotations"].float()
    pair = mask[:, :, None] & mask[:, None, :]
    dy = y[:, None] - y[:, :, None]
    d_true = dy.square().sum(-1).clamp_min(1e-8).sqrt()
    weight = torch.exp(-(d_true / _REACH).square()) * pair
    weight = weight / weight.sum((1, 2), keepdim=True).clamp_min(1e-6)
    dx = x[:, None] - x[:, :, None]
    seen = torch.matmul(dx, r) - torch.matmul(dy, q)
    error = (seen.square().sum(-1) + 1e-6).sqrt().clamp_max(_CLAMP)
    neighbours = (error * weight).sum((1, 2))
    d_pred = (dx.square().sum(-1) + 1e-8).sqrt()
    distances = ((d_pred - d_true).square().clamp_max(_CLAMP) * weight).sum((1, 2))
    junctions = _junctions(x, r, y, q, mask, residue_index)
    bonded = torch.zeros_like(mask)
    bonded[:, :-1] = mask[:, 1:] & mask[:, :-1] & (residue_index.diff(dim=1) == 1)
    atoms = backbone_from_frames(r, x * _ANGSTROM, bonded=bonded)
    return {
        "neighbours": on * neighbours,
        "junctions": on * junctions,
        "distances": on * distances,
        "overlaps": on * _overlaps(d_pred, pair, residue_index),
        "contacts": on * _contacts(atoms, d_pred.detach() * _ANGSTROM, pair, residue_index),
        "torsions": on * _torsions(atoms, bonded),
    }


def _overlaps(distances: Tensor, pair: Tensor, index: Tensor) -> Tensor:
    """Squared depth of overlaps per residue, in units of `_CLOSE_SCALE`, `[B]`."""
    far = (index[:, None, :] - index[:, :, None]).abs() > 2
    depth = (_CLOSEST - distances).clamp_min(0.0) / _CLOSE_SCALE
    count = pair.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1)
    return (depth.square() * (pair & far)).sum((1, 2)) / count


def _contacts(atoms: Tensor, distances: Tensor, pair: Tensor, index: Tensor) -> Tensor:
    """Softened squared depth of overlaps of backbone atoms per residue, in units of
    `_ATOM_SCALE`, `[B]`.

    Args:
        atoms: N, CA, C, O `[B, N, 4, 3]`, Å.
        distances: between CA atoms `[B, N, N]`, Å.
        pair: pairs of real residues `[B, N, N]`.
        index: numbers along the chain `[B, N]`.
    """
    apart = (index[:, None, :] - index[:, :, None]).abs() > 1
    near = (pair & apart & (distances < _REACHING)).triu(1)
    b, i, j = near.nonzero(as_tuple=True)
    gap = (atoms[b, i][:, :, None] - atoms[b, j][:, None]).square().sum(-1)
    gap = (gap + 1e-6).sqrt()
    depth = (closest_approach().to(gap) + _MARGIN - gap).clamp_min(0.0) / _ATOM_SCALE
    # Squares of small overlaps; deep ones, as of chains that lie in each other, pull no harder.
    soft = 2.0 * ((1.0 + depth.square()).sqrt() - 1.0)
    total = atoms.new_zeros(atoms.shape[0]).index_add(0, b, soft.sum((1, 2)))
    return total / pair.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1)


def _torsions(atoms: Tensor, bonded: Tensor) -> Tensor:
    """Mean distance of (phi, psi) from the favoured region, radians, `[B]`.

    Args:
        atoms: N, CA, C, O `[B, N, 4, 3]`, Å.
        bonded: residue i is bonded to i + 1 `[B, N]`.
    """
    n, ca, c, _ = atoms.unbind(2)
    phi = dihedral(c[:, :-2], n[:, 1:-1], ca[:, 1:-1], c[:, 1:-1])
    psi = dihedral(n[:, 1:-1], ca[:, 1:-1], c[:, 1:-1], n[:, 2:])
    both = (bonded[:, :-2] & bonded[:, 1:-1]).to(phi)
    return (distance_to_favoured(phi, psi) * both).sum(1) / both.sum(1).clamp_min(1.0)


def _junctions(x: Tensor, r: Tensor, y: Tensor, q: Tensor, mask: Tensor, index: Tensor) -> Tensor:
    """Error of the next residues' atoms in each residue's frame, in units of `_BOND_SCALE`,
    `[B]`.
    """
    local = x.new_tensor([LOCAL_N, LOCAL_CA, LOCAL_C]) * 0.1
    total = x.new_zeros(x.shape[0])
    for apart in (1, 2, 3):
        near, far = slice(None, -apart), slice(apart, None)
        linked = mask[:, near] & mask[:, far] & (index[:, far] - index[:, near] == apart)
        seen = _seen(x, r, near, far, local) - _seen(y, q, near, far, local)
        size = (seen.square().sum(-1) / (apart * _BOND_SCALE) ** 2 + 1e-4).sqrt()
        per_sample = (size.mean(-1) * linked).sum(1) / linked.sum(1).clamp_min(1)
        total = total + per_sample
    return total


def _seen(x: Tensor, r: Tensor, near: slice, far: slice, local: Tensor) -> Tensor:
    """Atoms of residues `far` in the frames of residues `near`: `[B, n, 3 atoms, 3]`."""
    atoms = torch.matmul(local, r[:, far].transpose(-1, -2)) + x[:, far, None]
    return torch.matmul(atoms - x[:, near, None], r[:, near])

"""What a residue sees of side chains as they are at present: numbers that no rigid motion changes.

Half a turn of a symmetric end does not change them either. The atoms of its two sides enter by
their mean and by products of the components of their difference, in which its sign cancels, and
distances are added up over atoms of one kind.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from protein.sidechains.geometry import ATOMS, ELEMENTS, build, tables
from protein.sidechains.internal import MOST_ATOMS
from protein.sidechains.samples import NEAR_ATOMS
from protein.sidechains.templates import OTHER
from protein.structures.frames import beta_carbons, frames_from_backbone
from protein.structures.geometry_constants import ATOM_NAMES

__all__ = ["OWN", "PAIR", "STATIC_AROUND", "Seen", "Side", "around", "own", "pairs", "side"]

_CENTRES = (2.6, 3.2, 3.8, 4.5, 5.5, 7.0)
_WIDTHS = (0.4, 0.4, 0.45, 0.6, 0.8, 1.2)
_KIND = {"C": 0, "S": 0, "N": 1, "O": 2}
_KINDS = 3
_SCALE, _LIFT_SCALE, _COUNT_SCALE = 0.1, 0.5, 0.2
_LIFTS = 5
_REACH = 12.0

SHAPE = 3 * MOST_ATOMS + _LIFTS
"""Numbers of the places of the atoms of a side chain in a frame."""

PAIR = SHAPE + len(_CENTRES) * _KINDS * _KINDS
"""Numbers of an edge."""

OWN = SHAPE + len(_CENTRES) * _KINDS * (_KINDS + 1)
"""Numbers of a residue."""

STATIC_AROUND = 3 + len(_CENTRES) + OTHER + 1
"""Numbers of an atom around, as a residue sees it."""


class Side(NamedTuple):
    """Side chains of a batch at present.

    Attributes:
        atoms: all fourteen places `[B, N, 14, 3]`, Å; places without an atom hold CA.
        kinds: kind of the atom of each place, one-hot `[B, N, 14, 3]`; zeros where there is none.
        means: places of the side chain, the two sides of a symmetric end at their mean
            `[B, N, 10, 3]`.
        across: from one side of a symmetric end to the other `[B, N, 3]`; else zeros.
        rotations: frames of the residues `[B, N, 3, 3]`.
    """

    atoms: Tensor
    kinds: Tensor
    means: Tensor
    across: Tensor
    rotations: Tensor


class Seen(NamedTuple):
    """The atoms around that residues see.

    Attributes:
        static: features of each atom by residue `[B, N, 8, 15]`.
        near: the atoms themselves `[B, N, 8, 3]`, Å.
        kinds: their kinds, one-hot `[B, N, 8, 4]`; zeros where there is no atom.
    """

    static: Tensor
    near: Tensor
    kinds: Tensor


def side(backbone: Tensor, residues: Tensor, chi: Tensor, shown: Tensor) -> Side:
    """Side chains of ideal geometry.

    Args:
        backbone: N, CA, C, O `[B, N, 4, 3]`, Å, finite.
        residues: tokens `[B, N]`.
        chi: torsions `[B, N, 4]`, rad.
        shown: residues whose side chains are seen `[B, N]`, bool; others have none.
    """
    table = tables()
    rotations, alpha = frames_from_backbone(backbone)
    own = build(backbone, residues, chi)
    atoms = torch.cat([backbone, own], dim=-2)
    there = table.present.to(residues.device)[residues]
    there = there & torch.cat(
        [there.new_ones(*shown.shape, len(ATOM_NAMES)),
         shown[..., None].expand(*shown.shape, MOST_ATOMS)], dim=-1
    )  # fmt: skip
    atoms = torch.where(there[..., None], atoms, alpha[..., None, :])
    kind = torch.tensor([_KIND[e] for e in ELEMENTS], device=residues.device)
    kinds = torch.nn.functional.one_hot(
        kind[table.elements.to(residues.device)[residues]], _KINDS
    ).to(backbone)
    swaps = table.swaps.to(residues.device)[residues]
    other = atoms.gather(-2, swaps[..., None].expand(*swaps.shape, 3))
    means = 0.5 * (atoms + other)[..., len(ATOM_NAMES) :, :]
    # All pairs of a symmetric end lie along one line: the sum of the second halves is its own.
    place = torch.arange(ATOMS, device=residues.device)
    across = ((atoms - other) * (swaps > place)[..., None]).sum(-2)
    return Side(atoms, kinds * there[..., None], means, across, rotations)


def around(backbone: Tensor, positions: Tensor, elements: Tensor) -> Seen | None:
    """The nearest atoms around of every residue; None where there are no atoms at all.

    Args:
        backbone: N, CA, C, O `[B, N, 4, 3]`, Å, finite.
        positions: of the atoms `[B, M, 3]`, Å.
        elements: theirs `[B, M]`; -1: no atom.
    """
    if positions.shape[1] == 0:
        return None
    rotations, alpha = frames_from_backbone(backbone)
    beta = beta_carbons(backbone)
    apart = (beta[:, :, None] - positions[:, None]).square().sum(-1)
    apart = torch.where((elements >= 0)[:, None], apart, torch.inf)
    values, rows = apart.topk(NEAR_ATOMS, dim=-1, largest=False)
    linked = values < _REACH**2
    flat = rows.flatten(1)
    near = positions.gather(1, flat[..., None].expand(*flat.shape, 3)).view(*rows.shape, 3)
    kind = elements.gather(1, flat).view_as(rows).clamp(min=0)
    near = torch.where(linked[..., None], near, alpha[:, :, None])
    weight = linked[..., None].to(backbone)
    local = (near - alpha[:, :, None]) @ rotations
    distance = torch.where(linked, values, torch.zeros_like(values)).sqrt()
    which = torch.nn.functional.one_hot(kind, OTHER + 1).to(backbone)
    static = torch.cat([_SCALE * local, torch.stack(_radial(0.6 * distance), -1), which], dim=-1)
    coarse = torch.tensor([*(_KIND[e] for e in ELEMENTS), _KINDS], device=kind.device)
    kinds = torch.nn.functional.one_hot(coarse[kind], _KINDS + 1).to(backbone)
    return Seen(static * weight, near, kinds * weight)


def own(seen: Side, near: Seen | None) -> Tensor:
    """What a residue sees of its own side chain, and of the atoms around it `[B, N, OWN]`.

    Args:
        seen: the side chains.
        near: the atoms around, or None.
    """
    alpha = seen.atoms[..., 1, :]
    shape = _shape(
        (seen.means - alpha[..., None, :]) @ seen.rotations,
        (seen.across[..., None, :] @ seen.rotations)[..., 0, :],
    )
    first = len(ATOM_NAMES)
    if near is None:
        counts = shape.new_zeros(*shape.shape[:-1], OWN - SHAPE)
    else:
        mine = seen.atoms[..., first:, :] - alpha[..., None, :]
        distance = _distances(mine, near.near - alpha[..., None, :])
        counts = torch.cat(
            [
                (seen.kinds[..., first:, :].mT @ level @ near.kinds).flatten(-2)
                for level in _radial(distance)
            ],
            dim=-1,
        )
    return torch.cat([shape, _COUNT_SCALE * counts], dim=-1)


def pairs(seen: Side, neighbours: Tensor, rows: Tensor) -> Tensor:
    """What a residue sees of the side chains of its neighbours, `[B, N, k, PAIR]`.

    Args:
        seen: the side chains.
        neighbours: row of each neighbour in its sample `[B, N, k]`.
        rows: the same among the rows of all samples end to end `[B * N * k]`.
    """
    b, n, k = neighbours.shape
    first = len(ATOM_NAMES)
    parts = [seen.atoms.flatten(-2), seen.means.flatten(-2), seen.across, seen.kinds.flatten(-2)]
    theirs = torch.cat(parts, dim=-1).flatten(0, 1).index_select(0, rows).view(b * n, k, -1)
    atoms, means, across, kinds = theirs.split([p.shape[-1] for p in parts], dim=-1)
    alpha, rotations = seen.atoms[..., 1, :].flatten(0, 1), seen.rotations.flatten(0, 1)
    places = means.reshape(b * n, k * MOST_ATOMS, 3) - alpha[:, None]
    shape = _shape((places @ rotations).view(b * n, k, MOST_ATOMS, 3), across @ rotations)
    mine = seen.atoms.flatten(0, 1)[:, first:] - alpha[:, None]
    distance = _distances(mine, atoms.reshape(b * n, k * ATOMS, 3) - alpha[:, None])
    own_kinds = seen.kinds.flatten(0, 1)[:, first:].mT.contiguous()
    kinds = kinds.reshape(b * n, 1, k, ATOMS, _KINDS)
    counts = []
    for level in _radial(distance):
        # By kind of the own atom first, [R, 3, k, 14], then by kind of the neighbour's.
        summed = (own_kinds @ level).view(b * n, _KINDS, k, 1, ATOMS)
        counts.append((summed @ kinds).squeeze(-2).transpose(1, 2).flatten(-2))
    return torch.cat([shape, _COUNT_SCALE * torch.cat(counts, dim=-1)], dim=-1).view(b, n, k, PAIR)


def _shape(places: Tensor, across: Tensor) -> Tensor:
    """Places in a frame `[..., 10, 3]` and a difference but for its sign `[..., 3]`."""
    x, y, z = across.unbind(-1)
    lifts = torch.stack([x * y, y * z, z * x, x * x - y * y, z * z], dim=-1)
    scaled = lifts / across.square().sum(-1, keepdim=True).clamp(min=1e-6)
    return torch.cat([_SCALE * places.flatten(-2), _LIFT_SCALE * scaled], dim=-1)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Distances between points `[..., m, 3]` and `[..., n, 3]` near the origin: `[..., m, n]`."""
    square = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :]
    return (square - 2.0 * a @ b.mT).clamp(min=1e-4).sqrt()


def _radial(distance: Tensor) -> list[Tensor]:
    """A distance (Å) in Gaussians about six centres."""
    return [
        torch.exp((distance - centre).square() * (-0.5 / width**2))
        for centre, width in zip(_CENTRES, _WIDTHS, strict=True)
    ]

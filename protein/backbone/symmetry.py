r"""Symmetric assemblies: point groups, and a network that sees all copies of one unit.

An assembly of the point group :math:`G \subset SO(3)` is one unit and its images: copy g has the
frames :math:`(g R_i,\; g\,x_i)`, with all axes through the origin. An SE(3)-equivariant network
maps symmetric assemblies to symmetric assemblies. So only the unit is sampled, every step's
assembly is made from it, and it is symmetric exactly, whatever noise the sampler adds (the
symmetric generation of RFdiffusion, Watson et al. 2023).

Copies lie end to end: row ``g N + i`` of an assembly is residue i of copy g. Positions are in nm;
`point_groups` has the axes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn

from protein.backbone.contact import TOUCH, outermost_contact, pushed_apart
from protein.backbone.data import NM
from protein.backbone.interface_fit import (
    FIT_AT_A_CALL,
    FIT_AT_END,
    NATIVE,
    Placement,
    fitted,
    interface_energy,
)
from protein.backbone.network import ROTATIONS, TRANSLATIONS
from protein.backbone.point_groups import CHAIN_IDS, SEEN, PointGroup, images_of
from protein.structures.distances import distances
from protein.structures.filters import expected_radius
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout, State

__all__ = [
    "SymmetricNetwork",
    "assembly_numbering",
    "fit_copies",
    "symmetrise",
    "to_contact",
    "touching",
]

_BALL = (5.0 / 3.0) ** 0.5  # radius of a ball over its radius of gyration
_APART = 0.65  # nm between the nearest CA atoms of copies beyond which they are drawn together


def symmetrise(
    positions: Tensor, rotations: Tensor, group: PointGroup, copies: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The assembly that its first copy generates, for instance after adding noise to all of them.

    Args:
        positions: origins of an assembly `[B, n N, 3]`.
        rotations: its frames `[B, n N, 3, 3]`.
        group: its symmetry.
        copies: which element made each row, `[n N]`, every copy's rows in the same order; copies
            end to end by default.

    Returns:
        Origins and frames of the same shapes and row order, symmetric exactly.

    Raises:
        InputError: the rows are not as many for every copy.
    """
    n, rows = len(group), positions.shape[1]
    if copies is None:
        copies = torch.arange(rows) // max(rows // n, 1)
    order = torch.argsort(copies.to("cpu"), stable=True)
    counts = torch.bincount(copies.to("cpu"), minlength=n)
    if len(counts) != n or (counts != counts[0]).any():
        raise InputError(
            f"symmetrise: {rows} residues are not {n} equal copies of {group.name}; "
            "give every copy the same residues"
        )
    first = order[: rows // n].to(positions.device)
    whole = group.replicate(positions[:, first], rotations[:, first])
    back = torch.argsort(order).to(positions.device)
    return whole[0][:, back], whole[1][:, back]


def assembly_numbering(group: PointGroup) -> tuple[str, ...]:
    """Chain identifiers of the copies: A, B, C, ...; residue numbers are the unit's."""
    return tuple(CHAIN_IDS[: len(group)])


@final
class SymmetricNetwork(nn.Module):
    """A network of whole assemblies, called with the unit and answering for the unit.

    The unit's copies are made from it at every call, and the network sees them as further chains.
    Of an assembly larger than `residues` it sees the unit and the copies nearest to it, as many
    as fit and two in all at least: pairs grow with the square of what it sees.

    Args:
        net: a backbone network, `net(x_t, t, batch) -> State`.
        group: the symmetry.
        residues: the most residues of an assembly that the network sees.
        contact: move what the network answers, as a whole, until the copies touch and none
            overlap; of a unit with fixed rows the other rows are pushed out of the copies.
    """

    def __init__(
        self, net: nn.Module, group: PointGroup, residues: int = SEEN, contact: bool = False
    ) -> None:
        super().__init__()
        self.net, self.group, self.residues = net, group, residues
        self.contact = contact and len(group) > 1

    def forward(
        self, x_t: State, t: Tensor, batch: Batch, until: Tensor | None = None
    ) -> State:
        """Raw output for the unit.

        Args:
            x_t: the unit: `translations [B, N, 3]` in nm, axes through the origin, and
                `rotations [B, N, 3, 3]`.
            t: times `[B]`.
            batch: layouts and conditions of the unit.
            until: times `[B]` up to which a flow map predicts.
        """
        n = x_t[TRANSLATIONS].shape[1]
        elements = self._elements(x_t[TRANSLATIONS], batch.layouts[TRANSLATIONS].mask)
        told = {} if until is None else {"until": until}
        out = self.net(_whole(x_t, elements), t, _whole_batch(batch, elements), **told)
        unit = {name: leaf[:, :n] for name, leaf in out.items()}
        if not self.contact:
            return unit
        layout, positions = batch.layouts[TRANSLATIONS], unit[TRANSLATIONS]
        shift = to_contact(self.group, positions, layout.mask)
        if layout.fixed is None:
            near = {**unit, TRANSLATIONS: positions + shift[:, None]}
            return _met(self.group, near, layout.mask)
        held = layout.fixed.any(1)[:, None, None]
        rotations = self.group.rotations[1:].to(positions)
        free = layout.free(positions)
        assert free is not None, "a layout with fixed rows knows which are free"
        bent = pushed_apart(positions, rotations, free[..., 0])
        return {**unit, TRANSLATIONS: torch.where(held, bent, positions + shift[:, None])}

    def _elements(self, positions: Tensor, mask: Tensor | None) -> Tensor:
        """The elements whose copies are seen, the identity first `[B, k, 3, 3]`."""
        b, n, _ = positions.shape
        rotations = self.group.rotations.to(positions)
        seen = min(len(self.group), max(2, self.residues // max(n, 1)))
        if seen == len(self.group):
            return rotations.expand(b, -1, 3, 3)
        mean = Layout(b, mask=mask).mean(positions)[:, 0]
        apart = (torch.einsum("gij,bj->bgi", rotations, mean) - mean[:, None]).norm(dim=-1)
        apart[:, 0] = -1.0
        nearest = apart.argsort(dim=1, stable=True)[:, :seen]
        return rotations[nearest]


def to_contact(group: PointGroup, positions: Tensor, mask: Tensor | None = None) -> Tensor:
    """How the unit has to move for its copies to touch without overlap `[B, 3]`.

    About one axis it moves along the line from the axis to its middle; of groups with several
    axes it is brought to the direction that has most room (`PointGroup.roomiest`) and moves
    along that. A unit whose copies neither overlap nor are apart stays where it is on it.

    Args:
        group: the symmetry, of at least two elements.
        positions: the unit's CA positions, nm `[B, N, 3]`.
        mask: real residues `[B, N]`.
    """
    b, n, _ = positions.shape
    rotations = group.rotations[1:].to(positions)
    still = group.fixed_space.to(positions)
    mean = Layout(b, mask=mask).mean(positions)[:, 0]
    if float(still.abs().max()) > 0.5:
        outward = torch.nn.functional.normalize(mean - mean @ still, dim=-1)
        aside = torch.zeros_like(mean)
    else:
        outward = group.roomiest.to(positions).expand(b, 3)
        aside = (mean * outward).sum(-1, keepdim=True) * outward - mean
    positions = positions + aside[:, None]
    images = torch.einsum("gij,bnj->bgni", rotations, positions)
    a = positions[:, None, :, None] - images[:, :, None]  # [B, g, N, N, 3]
    change = outward[:, None] - torch.einsum("gij,bj->bgi", rotations, outward)
    change = change[:, :, None, None].expand(a.shape)
    real = positions.new_ones(b, n, dtype=torch.bool) if mask is None else mask
    pairs = (real[:, None, :, None] & real[:, None, None, :]).expand(a.shape[:-1])
    nearest = torch.where(pairs, a.norm(dim=-1), float("inf")).flatten(1).amin(1)
    out = outermost_contact(a.flatten(1, 3), change.flatten(1, 3), TOUCH, pairs.flatten(1))
    moves = (nearest < TOUCH) | (nearest > _APART)
    return aside + torch.where(moves, out, 0.0)[:, None] * outward


def fit_copies(
    group: PointGroup, positions: Tensor, mask: Tensor | None = None, rounds: int = FIT_AT_END
) -> Placement:
    """How a unit turns and moves as a whole so that its copies meet over an area.

    Args:
        group: the symmetry, of at least two elements.
        positions: the unit's CA positions, nm `[B, N, 3]`, its copies in contact.
        mask: real residues `[B, N]`.
        rounds: see `protein.backbone.interface_fit.fitted`.
    """
    b, n, _ = positions.shape
    real = positions.new_ones(b, n, dtype=torch.bool) if mask is None else mask
    rotations = group.rotations[1:].to(positions)
    pairs = (real[:, None, :, None] & real[:, None, None, :]).expand(b, len(rotations), n, n)
    wanted = NATIVE * real.sum(1).to(positions)

    def energy(x: Tensor) -> Tensor:
        images = torch.einsum("gij,bnj->bgni", rotations, x)
        return interface_energy(distances(x[:, None], images), pairs, wanted)

    return fitted(positions, real, energy, rounds)


def _met(group: PointGroup, unit: State, mask: Tensor | None) -> State:
    """A unit, brought to meet its copies over an area."""
    placed = fit_copies(group, unit[TRANSLATIONS], mask, FIT_AT_A_CALL)
    return {
        **unit,
        TRANSLATIONS: placed(unit[TRANSLATIONS]),
        ROTATIONS: torch.matmul(placed.turn[:, None], unit[ROTATIONS]),
    }


def touching(group: PointGroup, direction: Tensor, length: int) -> float:
    """How far from the origin units touch if they are balls of the size of such chains, nm.

    Args:
        group: the symmetry.
        direction: where the unit lies, of unit length `[3]`.
        length: residues of the unit.
    """
    images = (group.rotations @ direction.double() - direction).norm(dim=-1)
    nearest = float(images[1:].min()) if len(group) > 1 else 2.0
    return 2.0 * _BALL * NM * float(expected_radius(length)) / max(nearest, 1e-6)


def _whole(unit: State, elements: Tensor) -> State:
    """A state of the unit as a state of the assembly."""
    positions, rotations = images_of(elements, unit[TRANSLATIONS], unit[ROTATIONS])
    return {TRANSLATIONS: positions, ROTATIONS: rotations}


def _whole_batch(batch: Batch, elements: Tensor) -> Batch:
    """Layouts and conditions of the assembly; every copy has chains of its own."""
    copies = elements.shape[1]
    layouts = {
        name: Layout(
            layout.size,
            mask=None if layout.mask is None else layout.mask.repeat(1, copies),
            fixed=None if layout.fixed is None else layout.fixed.repeat(1, copies),
        )
        for name, layout in batch.layouts.items()
    }
    cond: dict[str, Any] = dict(batch.cond)
    unit = batch.x[TRANSLATIONS]
    b, n = unit.shape[:2]
    index = cond.get("residue_index")
    if index is None:
        index = torch.arange(n, device=unit.device).expand(b, n)
    chain = cond.get("chain_index")
    if chain is None:
        chain = torch.zeros_like(index)
    chains = int(chain.max()) + 1
    copy = torch.arange(copies, device=unit.device).repeat_interleave(n)
    cond["residue_index"] = index.repeat(1, copies)
    cond["chain_index"] = chain.repeat(1, copies) + chains * copy
    seen = cond.get("self_condition")
    if seen is not None:
        cond["self_condition"] = _whole(seen, elements)
    return replace(batch, x=_whole(batch.x, elements), cond=cond, layouts=layouts)

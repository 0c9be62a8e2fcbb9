r"""Chains that meet over an area: a body turned and moved, as a whole, to a native-like interface.

Two bodies that just touch meet at one pair of residues. Natives meet over an area: a residue has a
third of a contact with the other side on average. The energy of a placement with distances
:math:`d_{ij}` of CA atoms between the body and its surroundings is

.. math:: E = \Bigl(1 - \frac{c}{c_0}\Bigr)_+^2 + \Bigl(\frac{c}{c_0} - m\Bigr)_+^2
              + \frac{K}{c_0} \sum_{ij} \Bigl(\frac{(d_0 - d_{ij})_+}{d_0}\Bigr)^2,
          \qquad c = \sum_{ij} \operatorname{sigmoid} \frac{d_c - d_{ij}}{w},

with :math:`c_0` contacts wanted. The first term draws the body in until it has as many contacts
as natives, the second loosens it where it has more than m times as many, and the third keeps CA
atoms apart. The body moves down the gradient by turns about its middle and shifts, with a step
of its own for every sample that grows where the energy falls and is halved, and the move undone,
where it rises. Its shape does not change, and nothing of this was learned by the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sciddiff.manifolds.so3 import exp_map

__all__ = ["FIT_AT_A_CALL", "FIT_AT_END", "NATIVE", "Placement", "contacts_of",
           "fitted", "interface_energy"]

NATIVE = 0.33
"""Contacts with the other side that a residue of natives has: of 190 bound complexes."""

_MOST = 1.25
"""Times the wanted contacts from which on a body is loosened."""

_CONTACT, _WIDTH = 0.77, 0.04
"""Where a pair counts as half a contact and how sharply, nm: nearly all of a contact at 0.7."""

_KEPT, _STIFF = 0.5, 40.0
"""Distance below which CA atoms of two chains repel each other, nm, and how much."""

FIT_AT_A_CALL, FIT_AT_END = 8, 60
"""Rounds after a call of the network, and of a finished design."""

_FIRST_STEP, _GROWTH = 0.05, 1.3
"""Length of the first step, nm, and how much longer a step is after one that went down."""


class Placement(NamedTuple):
    """How a body was moved: ``x -> turn (x - middle) + middle + shift``.

    Attributes:
        turn: rotations `[B, 3, 3]`.
        middle: what they turn about, nm `[B, 1, 3]`.
        shift: nm `[B, 1, 3]`.
    """

    turn: Tensor
    middle: Tensor
    shift: Tensor

    def __call__(self, positions: Tensor) -> Tensor:
        """Positions `[B, N, 3]` moved."""
        turned = torch.matmul(positions - self.middle, self.turn.transpose(-1, -2))
        return turned + self.middle + self.shift


def interface_energy(gaps: Tensor, pairs: Tensor, wanted: Tensor) -> Tensor:
    """The energy of a placement, see the module; dimensionless, `[B]`.

    Args:
        gaps: distances of CA atoms of the body to those around it, nm `[B, ...]`.
        pairs: which of them count, of the same shape.
        wanted: contacts that the body should have `[B]`.
    """
    contacts = contacts_of(gaps, pairs)
    deep = torch.where(pairs, ((_KEPT - gaps) / _KEPT).clamp_min(0.0).square(), 0.0)
    share = contacts.flatten(1).sum(1) / wanted
    off = (1.0 - share).clamp_min(0.0) + (share - _MOST).clamp_min(0.0)
    return off.square() + _STIFF / wanted * deep.flatten(1).sum(1)


def contacts_of(gaps: Tensor, pairs: Tensor) -> Tensor:
    """How much of a contact each pair is, 0 to 1; shapes as for `interface_energy`."""
    return torch.where(pairs, torch.sigmoid((_CONTACT - gaps) / _WIDTH), 0.0)


def fitted(
    positions: Tensor, real: Tensor, energy: Callable[[Tensor], Tensor], rounds: int
) -> Placement:
    """The placement to which a body goes down the gradient of an energy.

    Args:
        positions: CA positions of the body, nm `[B, N, 3]`.
        real: its residues `[B, N]`.
        energy: of positions like these, `[B]`; it must be differentiable.
        rounds: evaluations of the energy.
    """
    weight = real.to(positions)[..., None]
    count = weight.sum(1, keepdim=True).clamp_min(1.0)
    middle = (positions * weight).sum(1, keepdim=True) / count
    arms = ((positions - middle) * weight).square().sum((1, 2), keepdim=True) / count
    # A turn by one over the radius moves the body's outside by about one: shifts and turns are
    # then of the same length, and one step serves for both.
    radius = arms.sqrt().clamp_min(0.1)
    best = Placement(
        torch.eye(3).to(positions).expand(len(positions), 3, 3),
        middle,
        torch.zeros_like(middle),
    )
    tried, step = best, torch.full_like(radius, _FIRST_STEP)
    lowest = torch.full_like(radius, float("inf"))
    down = torch.zeros(len(positions), 1, 6).to(positions)
    for _ in range(rounds):
        found, slope = _slope(positions, radius, tried, energy)
        better = found[:, None, None] < lowest
        lowest = torch.where(better, found[:, None, None], lowest)
        best = Placement(
            torch.where(better, tried.turn, best.turn),
            middle,
            torch.where(better, tried.shift, best.shift),
        )
        length = slope.norm(dim=-1, keepdim=True)
        down = torch.where(better, -slope / length.clamp_min(1e-12), down)
        step = torch.where(better, step * _GROWTH, step * 0.5)
        move = down * step
        turn = exp_map(move[:, 0, :3] / radius[:, 0])
        tried = Placement(torch.matmul(turn, best.turn), middle, best.shift + move[..., 3:])
    return best


def _slope(
    positions: Tensor, radius: Tensor, placed: Placement, energy: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Energy `[B]` at a placement, and its slope by turns (times the radius) and shifts
    `[B, 1, 6]`.
    """
    with torch.enable_grad():
        x = placed(positions.detach()).requires_grad_()
        found = energy(x)
        (force,) = torch.autograd.grad(found.sum(), x)
    arm = x.detach() - placed.middle - placed.shift
    torque = torch.linalg.cross(arm, force).sum(1, keepdim=True) / radius
    return found.detach(), torch.cat([torque, force.sum(1, keepdim=True)], dim=-1)

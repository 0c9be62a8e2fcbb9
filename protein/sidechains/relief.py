r"""Relief of clashes: torsions give way a little, and stay in their rotamers.

.. math:: E(\delta) = w \sum_{ab} \max(0, d_{ab} - |x_a - x_b|)^2
          + \sum_i \frac{\delta_i^2}{2 \sigma^2}, \qquad |\delta_i| \le 20^\circ,

with the overlaps of `protein.sidechains.contacts` and :math:`\sigma` = 8 degrees, about the spread
of angles within a rotamer. It is minimised by a fixed number of steps of Adam (Kingma & Ba 2015).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from protein.sidechains.contacts import Contacts
from protein.sidechains.geometry import build

__all__ = ["FARTHEST", "relieved"]

FARTHEST = math.radians(20.0)
"""How far a torsion may turn, rad."""

_SPREAD = math.radians(8.0)
_STEPS = 60
_RATE = math.radians(1.0)
_BETAS = (0.9, 0.99)


def relieved(
    contacts: Contacts,
    backbone: Tensor,
    tokens: Tensor,
    chi: Tensor,
    sides: Tensor,
    free: Tensor,
    weight: float,
) -> Tensor:
    """Torsions with fewer overlaps.

    Args:
        contacts: of the template.
        backbone: N, CA, C, O `[L, 4, 3]`, Å.
        tokens: residues `[L]`.
        chi: torsions `[L, 4]`, rad.
        sides: side chains `[L, 10, 3]`, Å; those of residues that are not free stay as they are.
        free: torsions that may turn `[L, 4]`, bool.
        weight: nats for an overlap of 1 Å².

    Returns:
        Torsions `[L, 4]`; the given ones where nothing overlaps.
    """
    turned = torch.zeros_like(chi)
    mean, square = torch.zeros_like(chi), torch.zeros_like(chi)
    moving = free.any(-1)[:, None, None]
    for step in range(1, _STEPS + 1):
        given = turned.detach().requires_grad_()
        made = torch.where(moving, build(backbone, tokens, chi + given), sides)
        found = contacts.overlaps(made[:, None])
        overlap = (found.own.sum() + found.between.sum()).double()
        if step == 1 and float(overlap.detach()) == 0.0:
            return chi
        energy = weight * overlap + 0.5 * (given / _SPREAD).square().sum()
        [slope] = torch.autograd.grad(energy, given)
        slope = torch.where(free, slope, torch.zeros_like(slope))
        mean = _BETAS[0] * mean + (1.0 - _BETAS[0]) * slope
        square = _BETAS[1] * square + (1.0 - _BETAS[1]) * slope.square()
        size = (square / (1.0 - _BETAS[1] ** step)).sqrt() + 1e-6
        turned = turned - _RATE * mean / (1.0 - _BETAS[0] ** step) / size
        turned = turned.clamp(-FARTHEST, FARTHEST)
    return chi + turned.detach()

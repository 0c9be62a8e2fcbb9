"""What designs can be steered towards: rewards of backbones, named on the command line.

A wish is a list of names with weights, ``strand=20,contacts=2`` (see `sciddiff.rewards`). The
reward of a design is the weighted sum, in nats: a weight of 20 makes a design whose share of
strand is larger by 0.1 more likely, by a factor of e², than it is without steering.

Rewards judge predictions on the way as well as finished designs, so that they look at CA atoms
alone: strands and helices by the distances of Labesse et al. (*P-SEA*, 1997).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from protein.backbone.contact import CLASH
from protein.backbone.data import NM
from protein.backbone.network import TRANSLATIONS
from sciddiff.rewards import RewardTerms
from sciddiff.state import Batch, State
from sciddiff.steering import Reward

__all__ = ["REWARDS", "TERMS", "reward_of"]

_STRAND = ((2, 6.7, 0.6), (3, 9.9, 0.9), (4, 12.4, 1.1))  # P-SEA: separation, Å, tolerance
_HELIX = ((2, 5.5, 0.5), (3, 5.3, 0.5), (4, 6.4, 0.6))
_CONTACT, _FAR = 8.0, 12  # Å between CA atoms; residues along the chain


def strand(ca: Tensor, real: Tensor) -> Tensor:
    """Share of residues in strands `[B]`; CA atoms `[B, N, 3]` in Å, real residues `[B, N]`."""
    return _share(ca, real, _STRAND)


def helix(ca: Tensor, real: Tensor) -> Tensor:
    """Share of residues in helices `[B]`."""
    return _share(ca, real, _HELIX)


def compact(ca: Tensor, real: Tensor) -> Tensor:
    """Minus the radius of gyration over that of native chains of the same length `[B]`."""
    count = real.sum(1).clamp_min(1).to(ca.dtype)
    weight = real[..., None].to(ca.dtype)
    mean = (ca * weight).sum(1, keepdim=True) / count[:, None, None]
    radius = (((ca - mean) * weight).square().sum((1, 2)) / count).sqrt()
    return -radius / (2.2 * count**0.38)


def contacts(ca: Tensor, real: Tensor) -> Tensor:
    """Contacts of a residue with others 12 or more along the chain, CA atoms within 8 Å `[B]`."""
    near = _pairs(ca, real, _FAR) < _CONTACT
    return near.sum((1, 2)).to(ca.dtype) / real.sum(1).clamp_min(1)


def apart(ca: Tensor, real: Tensor) -> Tensor:
    """Minus the pairs of CA atoms, three or more along the chain, below 3.6 Å a residue `[B]`."""
    close = _pairs(ca, real, 3) < CLASH
    return -close.sum((1, 2)).to(ca.dtype) / real.sum(1).clamp_min(1)


REWARDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "strand": strand, "helix": helix, "compact": compact, "contacts": contacts, "apart": apart,
}  # fmt: skip
"""Rewards by name: from CA atoms `[B, N, 3]` in Å and real residues `[B, N]` to `[B]`."""


def _shown(state: State, batch: Batch) -> tuple[Tensor, Tensor]:
    """CA atoms `[B, N, 3]` in Å and the mask of real residues `[B, N]`."""
    ca = state[TRANSLATIONS] / NM
    mask = batch.layouts[TRANSLATIONS].mask
    real = torch.ones(ca.shape[:2], dtype=torch.bool) if mask is None else mask
    return ca, real.to(ca.device)


TERMS = RewardTerms(_shown, REWARDS, weight=10.0)
"""What a wish may name, such as `strand=20,contacts=2`; without a weight it is 10."""


def reward_of(reward: Reward, file: Path) -> float:
    """The reward of a finished design, of its first chain.

    Args:
        reward: see `TERMS`.
        file: the design, mmCIF or PDB.
    """
    from protein.structures.read import read_structure

    ca = torch.from_numpy(read_structure(file).chains[0].ca)[None]
    return float(reward({TRANSLATIONS: NM * ca}, Batch({TRANSLATIONS: NM * ca})))


def _pairs(ca: Tensor, real: Tensor, least: int) -> Tensor:
    """Distances of CA atoms at least so many residues apart, infinite elsewhere `[B, N, N]`."""
    row = torch.arange(ca.shape[1], device=ca.device)
    far = (row[:, None] - row).abs() >= least
    pairs = real[:, :, None] & real[:, None] & far
    return torch.cdist(ca, ca).masked_fill(~pairs, math.inf)


def _share(ca: Tensor, real: Tensor, pattern: Sequence[tuple[int, float, float]]) -> Tensor:
    """Share of residues in stretches whose CA distances fit a pattern."""
    n, reach = ca.shape[1], max(step for step, _, _ in pattern)
    if n <= reach:
        return ca.new_zeros(len(ca))
    fits = torch.ones(len(ca), n - reach, dtype=torch.bool, device=ca.device)
    for step, length, tolerance in pattern:
        apart = (ca[:, step:] - ca[:, :-step]).norm(dim=-1)[:, : n - reach]
        fits = fits & ((apart - length).abs() <= tolerance)
    fits = fits & real[:, reach:]
    within = torch.zeros(len(ca), n, dtype=torch.bool, device=ca.device)
    for step in range(reach + 1):  # all residues of a stretch that fits belong to it
        within[:, step : n - reach + step] |= fits
    return (within & real).sum(1).to(ca.dtype) / real.sum(1).clamp_min(1)

"""Which atoms of side chains come too close to others, by candidates of every residue.

Two atoms are too close where their spheres overlap by more than 0.4 Å; nitrogen and oxygen may
come to 2.4 Å, as in `protein.backbone.metrics.geometry`. Atoms of one residue, atoms three bonds
or less apart across a peptide bond, and the sulphurs of two cysteines are no contacts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
import torch
from torch import Tensor

from protein.backbone.metrics.geometry import OVERLAP, POLAR_CONTACT, RADII
from protein.sequence.alphabet import LETTERS
from protein.sidechains.geometry import ELEMENTS, tables
from protein.sidechains.internal import MOST_ATOMS
from protein.sidechains.templates import OTHER, Template
from protein.structures.distances import distances
from protein.structures.geometry_constants import ATOM_NAMES

__all__ = ["Contacts", "Overlaps"]

_FIRST = len(ATOM_NAMES)
# How far from CA the atoms of a residue can lie, Å.
_REACH = {"A": 1.6, "C": 2.9, "D": 3.8, "E": 5.0, "F": 5.2, "G": 0.1, "H": 4.8, "I": 4.0, "K": 6.4,
          "L": 4.0, "M": 5.4, "N": 3.8, "P": 3.8, "Q": 5.0, "R": 7.4, "S": 2.5, "T": 2.6, "V": 2.6,
          "W": 6.8, "Y": 6.5}  # fmt: skip
_BACKBONE_REACH = 2.6
_FARTHEST = 3.3
_AT_ONCE = 2_000_000  # distances computed at once


@final
@dataclass(frozen=True, eq=False)
class Overlaps:
    """Overlaps of n candidates of every residue.

    Attributes:
        own: of each candidate with backbones and atoms around `[L, n]`: depth, Å², and number.
        pairs: residues i < j whose side chains may touch `[P, 2]`.
        between: of each candidate of i with each of j `[P, n, n]`.
        own_count: pairs of atoms of `own` that are too close `[L, n]`.
        between_count: of `between` `[P, n, n]`.
    """

    own: Tensor
    pairs: Tensor
    between: Tensor
    own_count: Tensor
    between_count: Tensor

    def count(self, choice: Tensor) -> Tensor:
        """Pairs of atoms that are too close, by residue `[L]`, a pair of residues at both.

        Args:
            choice: candidate of every residue `[L]`.
        """
        rows = torch.arange(len(choice))
        i, j = self.pairs.unbind(-1)
        here = self.between_count[torch.arange(len(i)), choice[i], choice[j]]
        found = self.own_count[rows, choice].clone()
        return found.index_add(0, i, here).index_add(0, j, here)

    def total(self, choice: Tensor) -> int:
        """Pairs of atoms that are too close in all.

        Args:
            choice: candidate of every residue `[L]`.
        """
        i, j = self.pairs.unbind(-1)
        between = self.between_count[torch.arange(len(i)), choice[i], choice[j]].sum()
        own = self.own_count[torch.arange(len(choice)), choice].sum()
        return int(own + between)


@final
class Contacts:
    """The pairs of residues of a template that can touch.

    Args:
        template: the structure; residues without a side chain to place stay empty.
    """

    def __init__(self, template: Template) -> None:
        self.template = template
        table, tokens = tables(), torch.from_numpy(template.tokens)
        there = table.present[tokens] & ~torch.from_numpy(template.unknown)[:, None]
        there[:, :_FIRST] = torch.from_numpy(np.isfinite(template.atoms[:, :_FIRST]).all(-1))
        self._there = there
        self._elements = table.elements[tokens]
        self._backbone = torch.from_numpy(np.nan_to_num(template.atoms[:, :_FIRST]))
        self._sulphur = (tokens == LETTERS.index("C"))[:, None] & (self._elements == 3)
        reach = torch.tensor([_REACH[letter] for letter in LETTERS])[tokens]
        apart = distances(self._backbone[:, 1], self._backbone[:, 1])
        near = apart < reach[:, None] + reach + _FARTHEST
        self.pairs = torch.nonzero(near.triu(1))
        near = apart < reach[:, None] + _BACKBONE_REACH + _FARTHEST
        near.fill_diagonal_(False)
        self._to_backbone = torch.nonzero(near)
        self._around = torch.from_numpy(template.around)
        self._around_elements = torch.from_numpy(template.around_elements)
        self._to_around = torch.zeros(0, 2, dtype=torch.int64)
        if len(self._around):
            far = distances(self._backbone[:, 1], self._around)
            self._to_around = torch.nonzero(far < reach[:, None] + _FARTHEST)

    def overlaps(self, sides: Tensor) -> Overlaps:
        """Overlaps of candidates.

        Args:
            sides: side chains of each candidate `[L, n, 10, 3]`, Å.
        """
        n = sides.shape[1]
        sides = sides.to(torch.float32)
        own, own_count = sides.new_zeros(2, len(sides), n).unbind(0)
        for rows in self._chunks(self._to_backbone, n * _FIRST):
            i, j = rows.unbind(-1)
            limit = self._limits(i, j)[:, _FIRST:, :_FIRST] - self._bonded(i, j)
            depth, count = _too_close(sides[i], self._backbone[j][:, None], limit[:, None])
            own, own_count = own.index_add(0, i, depth), own_count.index_add(0, i, count)
        for rows in self._chunks(self._to_around, n):
            i, j = rows.unbind(-1)
            limit = self._limits_around(i, j)
            depth, count = _too_close(sides[i], self._around[j][:, None, None], limit[:, None])
            own, own_count = own.index_add(0, i, depth), own_count.index_add(0, i, count)
        found = [
            self._between(sides, rows) for rows in self._chunks(self.pairs, n * n * MOST_ATOMS)
        ]
        empty = sides.new_zeros(0, n, n)
        between = torch.cat([depth for depth, _ in found] or [empty])
        between_count = torch.cat([count for _, count in found] or [empty])
        return Overlaps(own, self.pairs, between, own_count.long(), between_count.long())

    def _between(self, sides: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        i, j = rows.unbind(-1)
        limit = self._limits(i, j)[:, _FIRST:, _FIRST:]
        bridge = self._sulphur[i][:, _FIRST:, None] & self._sulphur[j][:, None, _FIRST:]
        limit = torch.where(bridge, 0.0, limit)
        return _too_close(sides[i][:, :, None], sides[j][:, None], limit[:, None, None])

    def _limits(self, i: Tensor, j: Tensor) -> Tensor:
        """Distances below which atoms of two residues are too close `[P, 14, 14]`, Å; 0: never."""
        limit = _closest()[self._elements[i][:, :, None], self._elements[j][:, None, :]]
        both = self._there[i][:, :, None] & self._there[j][:, None, :]
        return torch.where(both, limit, 0.0)

    def _limits_around(self, i: Tensor, j: Tensor) -> Tensor:
        limit = _closest()[self._elements[i], self._around_elements[j][:, None]]
        return torch.where(self._there[i], limit, 0.0)[:, _FIRST:, None]

    def _bonded(self, i: Tensor, j: Tensor) -> Tensor:
        """What is taken off limits `[P, 10, 4]`: all of it where atoms are joined by few bonds."""
        t = self.template
        chain, index = torch.from_numpy(t.chain), torch.from_numpy(t.index)
        same = chain[i] == chain[j]
        after, before = same & (index[j] == index[i] + 1), same & (index[j] == index[i] - 1)
        proline = (torch.from_numpy(t.tokens) == LETTERS.index("P"))[i]
        off = torch.zeros(len(i), MOST_ATOMS, _FIRST)
        # CB is three bonds from N of the next residue and from C of the one before; the ring of
        # proline hangs on the nitrogen itself.
        off[after, 0, 0] = _FARTHEST + 1.0
        off[before, 0, 2] = _FARTHEST + 1.0
        off[before & proline, :, :] = _FARTHEST + 1.0
        return off

    @staticmethod
    def _chunks(rows: Tensor, width: int) -> tuple[Tensor, ...]:
        return rows.split(max(1, _AT_ONCE // (width * MOST_ATOMS))) if len(rows) else ()


def _too_close(one: Tensor, two: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squared depths and number of pairs too close, over the last two dimensions.

    Args:
        one: atoms `[..., a, 3]`, Å.
        two: atoms `[..., b, 3]`, Å.
        limit: distances `[..., a, b]`, Å.
    """
    apart = (one[..., :, None, :] - two[..., None, :, :]).square().sum(-1).clamp(min=1e-8).sqrt()
    depth = (limit - apart).clamp(min=0.0)
    return depth.square().sum((-1, -2)), (depth > 0.0).float().sum((-1, -2))


@cache
def _closest() -> Tensor:
    """Distance below which two elements are too close `[5, 5]`, Å; other elements never are."""
    radii = torch.tensor([RADII[element] for element in ELEMENTS])
    limit = radii[:, None] + radii - OVERLAP
    polar = torch.tensor([element in "NO" for element in ELEMENTS])
    limit = torch.where(polar[:, None] & polar, POLAR_CONTACT, limit)
    padded = torch.zeros(OTHER + 1, OTHER + 1)
    padded[:OTHER, :OTHER] = limit
    return padded

"""How near packed side chains come to known ones: torsions, and distances of their atoms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protein.sidechains.geometry import tables, torsions
from protein.sidechains.templates import Template
from protein.structures.frames import neighbour_counts
from protein.structures.geometry_constants import ATOM_NAMES
from sciddiff.manifolds.torus import wrap

__all__ = ["CORE", "SURFACE", "Comparison", "compare", "figures"]

CORE = 20
"""Residues with so many CA atoms within 10 Å of their CB lie in the core."""

SURFACE = 12
"""Residues with fewer lie at the surface."""

_BEYOND_CB = len(ATOM_NAMES) + 1


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """Side chains of R residues beside the known ones.

    Attributes:
        rows: which residues of the structure they are `[R]`.
        tokens: their types `[R]`.
        errors: of each torsion `[R, 4]`, degrees; NaN where a residue has none. That of a
            symmetric end is the one of the nearer name.
        squares: sum of squared distances of the atoms beyond CB `[R]`, Å².
        atoms: how many these are `[R]`.
        depth: CA atoms within 10 Å of CB `[R]`.
    """

    rows: NDArray[np.int64]
    tokens: NDArray[np.int64]
    errors: NDArray[np.float64]
    squares: NDArray[np.float64]
    atoms: NDArray[np.int64]
    depth: NDArray[np.int64]

    def right(self, degrees: float, count: int) -> NDArray[np.bool_]:
        """Whether the first torsions are all within a bound `[R]`.

        Args:
            degrees: the bound.
            count: how many torsions; those that a residue lacks are within.
        """
        errors = np.nan_to_num(self.errors[:, :count], nan=0.0)
        return np.max(errors, axis=-1, initial=0.0) <= degrees

    def select(self, which: NDArray[np.bool_]) -> Comparison:
        """Some of the residues `[R]`."""
        return Comparison(*(values[which] for values in vars(self).values()))


def compare(
    template: Template, sides: NDArray[np.floating], which: NDArray[np.bool_] | None = None
) -> Comparison:
    """Compare side chains with those of the template.

    Args:
        template: the structure with its own side chains.
        sides: atoms of side chains `[L, 10, 3]`, Å.
        which: residues to compare `[L]`; default all that are complete and have a torsion.
    """
    table, tokens = tables(), torch.from_numpy(template.tokens)
    has = table.chi[tokens]
    rows = template.complete & has[:, 0].numpy()
    rows = np.flatnonzero(rows if which is None else rows & which)
    own = torch.from_numpy(np.nan_to_num(template.atoms[rows])).double()
    backbone = own[:, : len(ATOM_NAMES)]
    made = torch.cat([backbone, torch.from_numpy(sides[rows]).double()], dim=1)
    kinds = tokens[rows]
    period = table.periods[kinds]
    error = wrap(period * (torsions(made, kinds) - torsions(own, kinds))).abs() / period
    error = torch.where(has[rows], error * (180.0 / math.pi), torch.nan)
    swaps = table.swaps[kinds][..., None].expand(-1, -1, 3)
    there = table.present[kinds][:, _BEYOND_CB:]
    squares = [
        ((made - other).square().sum(-1)[:, _BEYOND_CB:] * there).sum(-1)
        for other in (own, own.gather(1, swaps))
    ]
    depth = neighbour_counts(torch.from_numpy(np.nan_to_num(template.atoms[:, :4])))
    return Comparison(
        rows,
        template.tokens[rows],
        error.numpy(),
        torch.minimum(*squares).numpy(),
        there.sum(-1).numpy(),
        depth.numpy()[rows],
    )


def figures(parts: Sequence[Comparison]) -> dict[str, float]:
    """Figures over the residues of several structures; NaN where there are none.

    Returns:
        ``residues``; ``chi1_20`` and ``chi1_40``, shares of residues whose first torsion is within
        20 and 40 degrees; ``chi12_20`` and ``chi12_40``, of residues with two torsions or more,
        both; ``rmsd`` of the atoms beyond CB, Å.
    """
    if not parts:
        return {"residues": 0}
    tokens = np.concatenate([part.tokens for part in parts])
    two = tables().chi.numpy()[tokens, 1]
    found: dict[str, float] = {"residues": len(tokens)}
    for degrees in (20, 40):
        first = np.concatenate([part.right(degrees, 1) for part in parts])
        both = np.concatenate([part.right(degrees, 2) for part in parts])[two]
        found[f"chi1_{degrees}"] = float(first.mean()) if len(first) else math.nan
        found[f"chi12_{degrees}"] = float(both.mean()) if len(both) else math.nan
    atoms = sum(int(part.atoms.sum()) for part in parts)
    square = sum(float(part.squares.sum()) for part in parts)
    found["rmsd"] = math.sqrt(square / atoms) if atoms else math.nan
    return found

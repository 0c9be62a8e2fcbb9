"""How drawn types and side chains stand beside those of the structures they were drawn for.

Torsions are compared among residues whose type is right, since others have no true value.
Composition, rotamers and clashes are those of all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS
from protein.sidechains.contacts import Contacts
from protein.sidechains.geometry import tables, torsions
from protein.sidechains.measure import compare
from protein.sidechains.templates import Template
from protein.structures.geometry_constants import ATOM_NAMES
from sciddiff.manifolds.torus import wrap

__all__ = ["Recovery"]

_NEAR = 20.0
_WELLS = (-60.0, 60.0, 180.0)


@final
@dataclass(frozen=True, eq=False)
class Recovery:
    """Counts of S structures; a figure is a sum of parts over a sum of wholes.

    Attributes:
        parts: by figure, what counts of each structure `[S]`.
        wholes: by figure, what there is of it `[S]`.
        drawn: residues of each type that were drawn `[S, 20]`.
        native: and those of the structures `[S, 20]`.
    """

    parts: Mapping[str, NDArray[np.float64]]
    wholes: Mapping[str, NDArray[np.float64]]
    drawn: NDArray[np.float64]
    native: NDArray[np.float64]

    @classmethod
    def of(cls, pairs: Iterable[tuple[Template, Template]]) -> Recovery:
        """Compare structures with what was drawn for them.

        Args:
            pairs: a structure, and the same backbone with drawn types and side chains.
        """
        rows = [(native, drawn, _counts(native, drawn)) for native, drawn in pairs]
        names = list(rows[0][2]) if rows else []
        columns = {name: np.array([one[name] for _, _, one in rows], float) for name in names}
        return cls(
            {name: column[:, 0] for name, column in columns.items()},
            {name: column[:, 1] for name, column in columns.items()},
            np.array([_types(drawn, native) for native, drawn, _ in rows], float),
            np.array([_types(native, native) for native, _, _ in rows], float),
        )

    def select(self, rows: NDArray[np.int64]) -> Recovery:
        """Some of the structures, repeats allowed."""
        return Recovery(
            {name: part[rows] for name, part in self.parts.items()},
            {name: whole[rows] for name, whole in self.wholes.items()},
            self.drawn[rows],
            self.native[rows],
        )

    def figures(self) -> dict[str, Any]:
        """Figures over all structures; NaN where nothing counts.

        Returns:
            ``structures``, ``residues``; ``recovery``, the share of right types; ``chi1_20`` and
            ``chi12_20``, shares of residues of the right type with one torsion or two whose first
            or first two are within 20 degrees; ``staggered``, the share of first torsions within
            20 degrees of -60, 60 or 180 (a third of random ones); ``clashes``, pairs of atoms too
            close for 100 side chains; ``composition``, the divergence of the drawn composition
            from the native one, nats.
        """
        found: dict[str, Any] = {
            "structures": len(self.drawn), "residues": int(self.native.sum())
        }  # fmt: skip
        for name, part in self.parts.items():
            whole = self.wholes[name].sum()
            found[name] = float(part.sum() / whole) if whole else math.nan
        if "clashes" in found:
            found["clashes"] *= 100.0
        p, q = (counts.sum(0) for counts in (self.drawn, self.native))
        there = p > 0
        p, q = p / max(p.sum(), 1.0), (q + 1e-9) / max(q.sum(), 1e-9)
        found["composition"] = max(0.0, float((p[there] * np.log(p[there] / q[there])).sum()))
        return found


def _counts(native: Template, drawn: Template) -> dict[str, tuple[float, float]]:
    """Part and whole of every figure of one structure."""
    known = ~native.unknown
    right = known & (native.tokens == drawn.tokens)
    sides = np.nan_to_num(drawn.atoms[:, len(ATOM_NAMES) :])
    table = tables()
    beside = compare(native, sides, right & table.chi.numpy()[native.tokens, 0])
    two = table.chi.numpy()[beside.tokens, 1]
    both = beside.right(_NEAR, 2)[two]
    first, has = _first_torsions(drawn)
    away = np.stack(
        [np.abs(wrap(first - math.radians(well)).numpy()) for well in _WELLS], axis=-1
    ).min(-1)
    overlaps = Contacts(drawn).overlaps(torch.from_numpy(sides)[:, None])
    pairs = overlaps.total(torch.zeros(len(drawn), dtype=torch.int64))
    return {
        "recovery": (right.sum(), known.sum()),
        "chi1_20": (beside.right(_NEAR, 1).sum(), len(beside.rows)),
        "chi12_20": (both.sum(), len(both)),
        "staggered": (((away <= math.radians(_NEAR)) & has).sum(), has.sum()),
        "clashes": (pairs, has.sum()),
    }


def _first_torsions(template: Template) -> tuple[torch.Tensor, NDArray[np.bool_]]:
    """First torsion of every residue `[L]`, rad, and which have one; proline's ring does not."""
    tokens = torch.from_numpy(template.tokens)
    has = tables().chi.numpy()[template.tokens, 0] & template.complete
    has &= template.tokens != LETTERS.index("P")
    atoms = torch.from_numpy(np.nan_to_num(template.atoms)).double()
    return torsions(atoms, tokens)[:, 0], has


def _types(template: Template, native: Template) -> NDArray[np.int64]:
    """Residues of each type `[20]`, where the native one is known."""
    return np.bincount(template.tokens[~native.unknown], minlength=len(LETTERS))

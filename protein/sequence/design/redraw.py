"""Sequences that are drawn again until they look like natives, a few times at most.

Sequences of generated backbones have runs of equal residues, or too much of one amino acid, more
often than natives do, and most of them only just. Where the composition is balanced, a sequence
beyond what 97.5 % of natives keep (`quality`) is drawn again, with the largest share of an amino
acid limited more, and the draw that comes closest is kept. Its record says how often it was drawn
again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import MASK
from protein.sequence.design.engine import SequenceDesigner
from protein.sequence.design.quality import quality_of

__all__ = ["TRIES", "draw_native_like"]

TRIES = 4
"""Times that a sequence is drawn again at most."""


def draw_native_like(
    designer: SequenceDesigner, indices: Sequence[int], temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences by their numbers, as `Designer.draw`: each depends on seed and number alone.

    Args:
        designer: the structure.
        indices: their numbers, from 0.
        temperature: of the draws.

    Returns:
        Tokens `[n, L]`, and how often each was drawn again `[n]`.
    """
    plan, found = designer.plan, designer.draw(indices, temperature)
    tries = np.zeros(len(indices), dtype=np.int64)
    if not plan.balanced:
        return found, tries

    def excess(sequence: NDArray[np.int64]) -> float:
        known = np.where(plan.designed | plan.held, sequence, MASK)
        return quality_of(plan.pieces(known, whole=True), plan.designed).excess

    left = np.array([excess(one) for one in found])
    for again in range(1, TRIES + 1):
        rows = np.flatnonzero(left > 0.0)
        if not len(rows):
            break
        tries[rows] = again
        drawn = designer.draw([indices[row] for row in rows.tolist()], temperature, again)
        over = np.array([excess(one) for one in drawn])
        better = over < left[rows]
        found[rows[better]], left[rows[better]] = drawn[better], over[better]
    return found, tries

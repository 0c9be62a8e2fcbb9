"""Secondary structure as states, and its summaries.

`states_of` numbers the classes of `protein.structures.secondary` (pydssp).
`ca_secondary_structure` needs CA atoms alone: a rule on torsions and distances after P-SEA
(Labesse et al. 1997), a hundred times cheaper, used only to index large sets of folds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics.geometry import Array, ca_torsions
from protein.structures.secondary import secondary_structure

COIL, HELIX, STRAND = 0, 1, 2
LETTERS = "CHE"
"""Letters of coil, helix and strand, indexed by state."""


def states_of(coords: Array) -> NDArray[np.int64]:
    """Coil 0, helix 1 or strand 2 of every residue `[L]`.

    Args:
        coords: `[L, 4, 3]`, Å.

    Raises:
        MissingExtra: pydssp is not installed.
    """
    # Coincident atoms make pydssp divide by zero; such residues come out as coil.
    with np.errstate(divide="ignore", invalid="ignore"):
        letters = secondary_structure(coords)
    return np.array([LETTERS.index(letter.upper()) for letter in letters], dtype=np.int64)


def as_string(states: NDArray[np.integer]) -> str:
    """Secondary structure as letters C, H, E."""
    return "".join(LETTERS[state] for state in states)


def segments(states: NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """Runs of equal state as (state, first, last + 1), in chain order."""
    if len(states) == 0:
        return []
    edges = np.flatnonzero(np.diff(states)) + 1
    starts, ends = np.r_[0, edges], np.r_[edges, len(states)]
    return [(int(states[a]), int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def ca_secondary_structure(ca: Array) -> NDArray[np.int64]:
    """Approximate coil 0, helix 1 or strand 2 from CA atoms `[L]`.

    Helix: CA(i)–CA(i+3) near 5.0 Å with a torsion near +50°. Strand: CA(i)–CA(i+2) near 6.4 Å
    with a torsion near ±180°. Runs shorter than four (helix) or three (strand) become coil.

    Args:
        ca: CA positions `[L, 3]`, Å.
    """
    states = np.zeros(len(ca), dtype=np.int64)
    if len(ca) < 5:
        return states
    turn = ca_torsions(ca)
    third = np.linalg.norm(ca[3:] - ca[:-3], axis=-1)
    helix = (np.abs(turn - 50.0) < 25.0) & (np.abs(third - 5.2) < 0.9)
    strand = (np.abs(np.abs(turn) - 180.0) < 55.0) & (third > 8.8)
    for state, hit in ((STRAND, strand), (HELIX, helix)):
        for shift in range(4):
            inside = slice(shift, len(ca) - 3 + shift)
            states[inside] = np.where(hit, state, states[inside])
    for state, first, last in segments(states):
        if last - first < (4 if state == HELIX else 3):
            states[first:last] = COIL
    return states

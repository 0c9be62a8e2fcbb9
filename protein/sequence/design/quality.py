"""What is wrong with a sequence at a glance: runs, one amino acid too often, little variety."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protein.sequence.alphabet import LETTERS

__all__ = ["COMMONEST", "ENTROPY", "LEAST", "NATIVE_ENTROPY", "NATIVE_RUN", "NATIVE_SHARE", "RUN",
           "Quality", "composition_entropy", "quality_of"]  # fmt: skip

RUN = 6
"""Equal residues in a row, or more, are remarkable; natives rarely have six."""

COMMONEST = 0.25
"""Share of one amino acid above which a sequence is remarkable."""

ENTROPY = 2.5
"""Entropy of the composition, nats, below which a sequence is remarkable; natives have 2.8."""

NATIVE_RUN, NATIVE_SHARE, NATIVE_ENTROPY = 4, 0.193, 2.50
"""Longest run, share of the commonest amino acid, and entropy of the composition (nats) that
97.5 % of natives keep: 1,501 chains of 60 to 128 residues of the PDB; 94.7 % keep all three."""

LEAST = 40
"""Designed residues below which shares and entropies say little."""

NATIVE_SHARES = np.array([
    0.0816, 0.0134, 0.0586, 0.0692, 0.0407, 0.0700, 0.0236, 0.0599, 0.0585, 0.0964,
    0.0214, 0.0417, 0.0436, 0.0367, 0.0519, 0.0595, 0.0529, 0.0726, 0.0130, 0.0346,
])  # fmt: skip
"""Shares of the amino acids, by token, among 1,473,604 residues of 10,000 chains of the PDB."""


@final
@dataclass(frozen=True)
class Quality:
    """Figures of the designed residues of a sequence.

    Attributes:
        longest_run: equal residues in a row, at most.
        run_of: their letter.
        commonest: the commonest amino acid.
        commonest_share: its share.
        cysteines: number of Cys.
        entropy: of the composition, nats.
        warnings: what is remarkable, each a few words.
        excess: how far beyond what 97.5 % of natives keep, as shares of these limits, added up; 0
            if all are kept, or too few residues are designed to tell.
    """

    longest_run: int
    run_of: str
    commonest: str
    commonest_share: float
    cysteines: int
    entropy: float
    warnings: tuple[str, ...]
    excess: float

    @property
    def native_like(self) -> bool:
        """Whether run, share and entropy are what 97.5 % of natives have."""
        return self.excess == 0.0


def quality_of(pieces: Sequence[str], designed: NDArray[np.bool_]) -> Quality:
    """Figures of a sequence.

    Args:
        pieces: letters of every chain, all residues.
        designed: which residues were designed `[L]`, over all chains.

    >>> quality_of(["AAKKKKKKKL"], np.ones(10, dtype=bool)).warnings
    ('7 K in a row',)
    """
    text = "".join(pieces)
    longest, run_of, at = 0, "", 0
    for piece in pieces:
        for letter, group in groupby(piece):
            size = len(list(group))
            drawn = designed[at : at + size].any()
            at += size
            if drawn and size > longest and letter != "X":
                longest, run_of = size, letter
    drawn = np.array(list(text))[designed]
    counts = np.array([(drawn == letter).sum() for letter in LETTERS])
    total = max(int(counts.sum()), 1)
    top = int(counts.argmax())
    share, spread = counts[top] / total, composition_entropy(np.repeat(np.arange(20), counts))
    warnings = []
    if longest >= RUN:
        warnings.append(f"{longest} {run_of} in a row")
    if total >= LEAST and share > COMMONEST:
        warnings.append(f"{100.0 * share:.0f} % {LETTERS[top]}")
    if total >= LEAST and spread < ENTROPY:
        warnings.append(f"entropy {spread:.2f} nats")
    cysteines = int(counts[LETTERS.index("C")])
    excess = max(longest / NATIVE_RUN - 1.0, 0.0)
    if total >= LEAST:
        excess += max(share / NATIVE_SHARE - 1.0, 0.0) + max(1.0 - spread / NATIVE_ENTROPY, 0.0)
    return Quality(
        longest, run_of, LETTERS[top], float(share), cysteines, spread, tuple(warnings),
        float(excess),
    )  # fmt: skip


def composition_entropy(found: ArrayLike) -> float:
    """Entropy of the shares of the amino acids among tokens `[n]`, nats.

    >>> round(composition_entropy([0, 0, 1, 1]), 4)
    0.6931
    """
    counts = np.bincount(np.asarray(found, dtype=np.int64), minlength=len(LETTERS))
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum()) + 0.0

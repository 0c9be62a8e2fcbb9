"""What is told of drawn sequences: composition, repeats, and how many differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from protein.sequence.alphabet import LETTERS, tokens
from protein.sequence.design import quality
from protein.sequence.design.quality import NATIVE_SHARES

NATIVE = dict(zip(LETTERS, NATIVE_SHARES.tolist(), strict=True))
"""Shares of the amino acids among natural domains, by letter."""


def longest_run(sequence: str) -> int:
    """Length of the longest run of one residue.

    >>> longest_run("ACCCD")
    3
    """
    return max((len(list(run)) for _, run in groupby(sequence)), default=0)


def commonest(sequence: str) -> tuple[str, float]:
    """The commonest residue and its share.

    >>> commonest("ACCCDD")
    ('C', 0.5)
    """
    letter = max(sorted(set(sequence)), key=sequence.count)
    return letter, sequence.count(letter) / len(sequence)


def composition_entropy(sequences: Sequence[str]) -> float:
    """Entropy of the composition of all residues, nats; natives have about 2.89."""
    found, unknown = tokens("".join(sequences))
    return quality.composition_entropy(found[~unknown])


def measure(sequences: Sequence[str]) -> dict[str, Any]:
    """Number, lengths, composition, runs and distinct share of sequences."""
    text = "".join(sequences)
    return {
        "count": len(sequences),
        "residues": len(text),
        "distinct": len(set(sequences)) / len(sequences),
        "entropy": composition_entropy(sequences),
        "longest_run": max(longest_run(s) for s in sequences),
        "median_run": float(np.median([longest_run(s) for s in sequences])),
        "above_quarter": float(np.mean([commonest(s)[1] > 0.25 for s in sequences])),
        "shares": {letter: text.count(letter) / len(text) for letter in LETTERS},
    }

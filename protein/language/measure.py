"""What is told of drawn sequences: composition, repeats, and how many differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from protein.sequence.alphabet import LETTERS

NATIVE = dict(
    A=0.0816, C=0.0134, D=0.0586, E=0.0692, F=0.0407, G=0.0700, H=0.0236, I=0.0599, K=0.0585,
    L=0.0964, M=0.0214, N=0.0417, P=0.0436, Q=0.0367, R=0.0519, S=0.0595, T=0.0529, V=0.0726,
    W=0.0130, Y=0.0346,
)  # fmt: skip
"""Shares of the amino acids among compact domains of the Protein Data Bank (10,039 chains of one
cluster each at 40 % identity, 40 to 256 residues)."""


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
    text = "".join(sequences)
    shares = np.array([text.count(letter) for letter in LETTERS], dtype=float) / len(text)
    shares = shares[shares > 0.0]
    return float(-(shares * np.log(shares)).sum())


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

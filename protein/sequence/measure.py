"""What is told of sequences: composition, repeats, and how many differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from protein.sequence.alphabet import LETTERS, tokens
from protein.sequence.design import quality
from protein.sequence.design.quality import NATIVE_SHARES
from protein.sequence.fasta import read_fasta, read_fastas
from sciddiff.errors import InputError

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


def sequence_rows(files: Iterable[Path]) -> list[dict[str, Any]]:
    """What is told of each sequence of some FASTA files, in the order of their names."""
    rows = []
    for file in sorted(files):
        try:
            found = read_fasta(file)
        except InputError as error:
            raise InputError(f"{error}; or remove it, and run the command again") from error
        for name, sequence in found:
            letter, share = commonest(sequence)
            rows.append({
                "name": name, "length": len(sequence), "longest_run": longest_run(sequence),
                "commonest": letter, "commonest_share": round(share, 4),
                "cysteines": sequence.count("C"), "sequence": sequence,
            })  # fmt: skip
    return rows


def measure_folders(directory: Path, reference: Path | None = None) -> dict[str, Any]:
    """What `measure` says of the FASTA files of a folder, beside those of a reference.

    Raises:
        InputError: no sequences, or a file that cannot be read.
    """
    found = {"sequences": directory} | ({} if reference is None else {"reference": reference})
    return {name: measure(read_fastas(path)) for name, path in found.items()}

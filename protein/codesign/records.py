"""Sequences to fold, read from a FASTA file and checked before anything is begun."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import final

from protein.backbone.request import LONGEST, SHORTEST
from protein.sequence.alphabet import LETTERS
from protein.sequence.fasta import check_protein, fasta_records
from sciddiff.errors import InputError

UNKNOWN = "XBZJUO"
"""Letters of residues that are not one of the twenty: ambiguous, or of two rare amino acids."""


@final
@dataclass(frozen=True)
class FoldRecord:
    """One protein to fold.

    Attributes:
        name: its header.
        chains: letters of each chain, upper-case; X for residues that are not known.
    """

    name: str
    chains: tuple[str, ...]

    @property
    def sequence(self) -> str:
        """The letters of all chains, end to end."""
        return "".join(self.chains)


def fold_records(path: str | os.PathLike[str]) -> tuple[list[FoldRecord], list[str]]:
    """Proteins of a FASTA file, chains separated by ``:`` or ``/``.

    Args:
        path: the file.

    Returns:
        The proteins, and sentences on what is odd about them.

    Raises:
        InputError: no such file, an empty or repeated record, DNA, signs that are no residues, or
            a length that cannot be folded.
    """
    records, notes = [], []
    for found in fasta_records(path):
        text = "".join(found.chains)
        check_protein(found, LETTERS + UNKNOWN)
        if not SHORTEST <= len(text) <= LONGEST:
            raise InputError(
                f"{found.where} has {len(text)} residues; {SHORTEST} to {LONGEST} can be folded"
            )
        if set(text) <= set(UNKNOWN):
            raise InputError(f"{found.where} has no known residue; give a sequence")
        chains = tuple("".join("X" if c in UNKNOWN else c for c in part) for part in found.chains)
        hidden = "".join(chains).count("X")
        if hidden:
            notes.append(
                f"{found.header[:60] or f'record {found.number}'}: {hidden} of {len(text)} "
                "residues are none of the twenty amino acids; they are folded as unknown ones"
            )
        records.append(FoldRecord(found.header, chains))
    return records, notes

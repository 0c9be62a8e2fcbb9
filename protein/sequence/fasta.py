"""FASTA files of protein sequences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sciddiff.errors import InputError, reading

SEPARATORS = "/:"
"""Signs between chains: `/` as ProteinMPNN writes, `:` as ColabFold and Boltz read."""


@final
@dataclass(frozen=True)
class FastaRecord:
    """One record of a file.

    Attributes:
        number: its place, from 1.
        header: what stands behind `>`.
        chains: upper-case letters of each chain.
        file: where it was read.
    """

    number: int
    header: str
    chains: tuple[str, ...]
    file: str = ""

    @property
    def where(self) -> str:
        """The record, for messages."""
        return f"{self.file}: record {self.number} ({self.header[:60] or 'no name'})"


def fasta_records(path: str | os.PathLike[str]) -> Iterator[FastaRecord]:
    """Records of a file, in its order, one after the other.

    Raises:
        InputError: absent, unreadable, text before the first header, no record, a record without
            residues, or a header that an earlier record has.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file; give a FASTA file")
    with reading(file, "a FASTA file"):
        lines = file.read_text(encoding="utf-8").splitlines()
    seen: dict[str, int] = {}
    for number, (header, text) in enumerate(_texts(file, lines), start=1):
        for sign in SEPARATORS[1:]:
            text = text.replace(sign, SEPARATORS[0])
        chains = tuple(part for part in text.split(SEPARATORS[0]) if part)
        record = FastaRecord(number, header, chains, str(file))
        if not chains:
            raise InputError(f"{record.where} has no residues; remove it")
        if header in seen:
            raise InputError(f"{record.where} has the header of record {seen[header]}; rename one")
        seen[header] = number
        yield record
    if not seen:
        raise InputError(f"{file}: holds no record; begin each with > and a name")


def read_fasta(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Headers and sequences of a file, in its order; separators of chains are left out.

    Raises:
        InputError: as `fasta_records`.
    """
    return [(record.header, "".join(record.chains)) for record in fasta_records(path)]


def _texts(file: Path, lines: list[str]) -> Iterator[tuple[str, str]]:
    """Header and text of every record; spaces and the stop sign are left out."""
    header: str | None = None
    parts: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith(">"):
            if header is not None:
                yield header, "".join(parts)
            header, parts = text[1:].strip(), []
        elif text and header is None:
            raise InputError(f"{file}: line {number} stands before the first header; begin with >")
        elif text:
            parts.append(text.replace(" ", "").replace("*", "").upper())
    if header is not None:
        yield header, "".join(parts)

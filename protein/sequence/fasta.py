"""FASTA files of protein sequences."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sciddiff.errors import InputError
from sciddiff.files import read_text

SEPARATORS = "/:"
"""Signs between chains: `/` as ProteinMPNN writes, `:` as ColabFold and Boltz read."""

_NUCLEOTIDES = frozenset("ACGTUN")
_LONG_ENOUGH = 20  # letters from which on a record of nucleotides alone is taken for DNA or RNA
_FEWEST = 3  # different ones, since proteins of two amino acids are designed


@final
@dataclass(frozen=True)
class FastaRecord:
    """One record of a file.

    Attributes:
        number: its place, from 1.
        header: what stands behind `>`, with blanks in place of control characters.
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
    """Records of a file, gzip or not, in its order, one after the other.

    Raises:
        InputError: absent, unreadable, text before the first header, no record, a record without
            residues or with a stop sign before its end, or a header that an earlier record has.
    """
    file = Path(path)
    lines = re.split(r"\r\n|\r|\n", read_text(file, "a FASTA file"))
    seen: dict[str, int] = {}
    for number, (header, text) in enumerate(_texts(file, lines), start=1):
        parts = re.split(f"[{SEPARATORS}]", text)
        # A stop sign ends a translated chain.
        chains = tuple(part.removesuffix("*") for part in parts if part not in ("", "*"))
        record = FastaRecord(number, header, chains, str(file))
        if not chains:
            raise InputError(f"{record.where} has no residues; remove it")
        if any("*" in chain for chain in chains):
            raise InputError(
                f"{record.where} has a stop sign (*) before its end; give what is translated up "
                "to it, or another reading frame"
            )
        if header in seen:
            raise InputError(f"{record.where} has the header of record {seen[header]}; rename one")
        seen[header] = number
        yield record
    if not seen:
        raise InputError(f"{file}: holds no record; begin each with > and a name")


def check_protein(record: FastaRecord, allowed: Iterable[str]) -> None:
    """Refuse nucleotides, and signs that are no residues.

    Args:
        record: the record.
        allowed: letters of residues.

    Raises:
        InputError: it is long and of the letters of DNA or RNA alone, or has another sign.
    """
    found = set("".join(record.chains))
    long = sum(map(len, record.chains)) >= _LONG_ENOUGH
    if long and found <= _NUCLEOTIDES and len(found) >= _FEWEST:
        raise InputError(f"{record.where} looks like DNA or RNA; translate it to amino acids")
    odd = sorted(found - set(allowed))
    if odd:
        raise InputError(
            f"{record.where} holds {odd[0]!r}, which is no amino acid; remove gaps and other signs"
        )


def read_fasta(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Headers and sequences of a file, in its order; separators of chains are left out.

    Raises:
        InputError: as `fasta_records`.
    """
    return [(record.header, "".join(record.chains)) for record in fasta_records(path)]


def read_fastas(path: Path) -> list[str]:
    """Sequences of a FASTA file, or of all in a folder (`.fasta`, `.fa`), by name and place.

    Raises:
        InputError: no sequences, or as `fasta_records`.
    """
    files = [path] if path.is_file() else sorted(
        p for p in path.rglob("*") if p.suffix.lower() in (".fasta", ".fa")
    )  # fmt: skip
    found = [sequence for file in files for _, sequence in read_fasta(file)]
    if not found:
        raise InputError(f"{path}: no sequences; give a folder of .fasta files")
    return found


def _texts(file: Path, lines: list[str]) -> Iterator[tuple[str, str]]:
    """Header and text of every record; spaces are left out."""
    header: str | None = None
    parts: list[str] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith(">"):
            if header is not None:
                yield header, "".join(parts)
            header, parts = _one_line(text[1:]), []
        elif text and header is None:
            raise InputError(f"{file}: line {number} stands before the first header; begin with >")
        elif text:
            parts.append("".join(text.split()).upper())
    if header is not None:
        yield header, "".join(parts)


def _one_line(text: str) -> str:
    """A header with blanks in place of control characters, so that it is safe to print."""
    return "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text).strip()

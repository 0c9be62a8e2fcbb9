"""FASTA files of protein sequences."""

from __future__ import annotations

import os
from pathlib import Path

from sciddiff.errors import InputError, reading

SEPARATORS = "/:"
"""Signs between chains: `/` as ProteinMPNN writes, `:` as ColabFold and Boltz read."""


def read_fasta(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Headers and sequences of a file, in its order; separators of chains are left out.

    Raises:
        InputError: absent, unreadable, text before the first header, or a record without residues.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file; give a FASTA file")
    with reading(file, "a FASTA file"):
        lines = file.read_text(encoding="utf-8").splitlines()
    records: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith(">"):
            records.append((text[1:].strip(), []))
        elif text and not records:
            raise InputError(f"{file}: line {number} stands before the first header; begin with >")
        elif text:
            records[-1][1].append(text)
    dropped = str.maketrans("", "", SEPARATORS + "*")
    found = [(name, "".join(parts).translate(dropped).upper()) for name, parts in records]
    for name, sequence in found:
        if not sequence:
            raise InputError(f"{file}: record {name or '(no name)'} has no residues; remove it")
    return found

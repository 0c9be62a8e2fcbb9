"""What `fold` makes: structures for sequences."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from protein.backbone.designs import Numbering
from protein.backbone.modes.base import Item, Mode
from protein.backbone.request import design_name
from protein.codesign.records import FoldRecord, fold_records
from protein.codesign.request import fold_templates
from sciddiff.cli.options import MOST
from sciddiff.errors import InputError


@final
class Folding(Mode):
    """Structures for given sequences.

    Args:
        file: FASTA file.
        each: structures of each sequence.
    """

    def __init__(self, file: Path, each: int) -> None:
        self.records, notes = fold_records(file)
        self.each = each
        self.inputs = (file,)
        self.notes = tuple((str(file), note) for note in notes)
        self.request = {"mode": "fold"}
        if self.number > MOST:
            raise InputError(
                f"--each {each}: {self.number:,} structures in all, and {MOST:,} are the most; "
                "ask for fewer, or split the file"
            )
        for record in self.records:
            if len(record.chains) > len(string.ascii_uppercase):
                raise InputError(
                    f"{file}: {record.name} has {len(record.chains)} chains; "
                    f"{len(string.ascii_uppercase)} can be folded together"
                )

    @property
    def number(self) -> int:
        """Structures in all."""
        return self.each * len(self.records)

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches of like length."""
        for batch in fold_templates(self.records, indices):
            chosen = [self.record(i) for i in batch.cond["index"].tolist()]
            yield Item(batch, tuple(_numbering(record) for record in chosen))

    def record(self, index: int) -> FoldRecord:
        """The protein that a design is a structure of."""
        return self.records[index % len(self.records)]

    def sizes(self, index: int) -> tuple[int, int]:
        """Residues of the longest chain, and of all."""
        record = self.record(index)
        return max(len(chain) for chain in record.chains), len(record.sequence)

    def describe(self) -> str:
        """Which file is a structure of which sequence."""
        lines = []
        for i in range(self.number):
            record = self.record(i)
            lines.append(f"{design_name(i)}  {len(record.sequence)} residues  {record.name}")
        return "\n".join(lines)

    def facts(self, index: int) -> dict[str, Any]:
        """The header of the sequence."""
        return {"record": self.record(index).name}


def _numbering(record: FoldRecord) -> Numbering:
    """Chains A, B, ..., each numbered from 1."""
    names = zip(string.ascii_uppercase, record.chains, strict=False)
    ids = tuple(letter for letter, chain in names for _ in chain)
    numbers = tuple(k for chain in record.chains for k in range(1, len(chain) + 1))
    return Numbering(ids, numbers, record.sequence, np.zeros(len(ids), dtype=bool))

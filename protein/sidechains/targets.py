"""The structures that are packed: files, other sequences for them, and what is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.residues import Residues
from protein.sequence.fasta import FastaRecord, fasta_records
from protein.sidechains.templates import Template, template_of
from protein.structures.chain import Structure
from protein.structures.parse import STRUCTURE_SUFFIXES
from protein.structures.prepare import find_structures
from protein.structures.read import read_structure
from sciddiff.errors import InputError
from sciddiff.names import Names, stem_of

__all__ = ["Found", "Target", "find_targets"]


@final
@dataclass(frozen=True, eq=False)
class Target:
    """One structure to pack.

    Attributes:
        name: stem of its files.
        source: the file.
        structure: its chains and what lies around them.
        sequence: one-letter amino acids of all chains end to end, as they are packed.
        template: the same as arrays.
        fixed: residues that are held `[L]`, bool.
        labels: residues as people name them.
        notes: what the reader says.
    """

    name: str
    source: str
    structure: Structure
    sequence: str
    template: Template
    fixed: NDArray[np.bool_]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


@final
@dataclass
class Found:
    """Structures to pack, and what could not be used.

    Attributes:
        targets: by the order in which they were given.
        left_out: reasons by file.
    """

    targets: list[Target] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def find_targets(
    sources: Sequence[Path], fix: str = "", fasta: Path | None = None, model: int = 0
) -> Found:
    """Read structures.

    Args:
        sources: files, and folders of them; an unreadable file of a folder is left out.
        fix: residues whose side chains are held, as in ``A10-20,B35``.
        fasta: sequences to put on a structure, in place of its own: all chains, separated by ``/``
            or ``:``.
        model: which model of each file, from 0.

    Raises:
        InputError: a file that cannot be read, a residue that is not there or cannot be held, or a
            sequence that does not fit.
    """
    found, names = Found(), Names()
    for source in sources:
        for file in find_structures(source) if source.is_dir() else [source]:
            try:
                structure = read_structure(file, model, side_chains=True)
            except InputError as error:
                if not source.is_dir():
                    raise
                found.left_out[str(file)] = str(error).removeprefix(f"{file}: ")
                continue
            suffix = [s for s in STRUCTURE_SUFFIXES if file.name.lower().endswith(s)]
            stem = file.name[: -len(max(suffix, key=len))] if suffix else file.stem
            name = stem_of(names.unique(stem, "structure"))
            found.targets += _targets_of(structure, name, file, fix, fasta, names)
    return found


def _targets_of(
    structure: Structure, name: str, file: Path, fix: str, fasta: Path | None, names: Names
) -> Iterator[Target]:
    """The structure with its own sequence, or with each of the FASTA file."""
    residues = Residues(structure.chains, str(file))
    own = "".join(chain.sequence for chain in structure.chains)
    held = np.zeros(len(own), dtype=bool)
    if fix:
        held[residues.rows(fix, "--fix")] = True
    variants = [(name, own)]
    if fasta is not None:
        variants = [
            (stem_of(names.unique(f"{name}_{_word(record)}", name)), _fitted(record, structure))
            for record in fasta_records(fasta)
        ]
    for stem, sequence in variants:
        template = template_of(structure, sequence, stem)
        wrong = np.flatnonzero(held & ~template.complete)
        if len(wrong):
            row = int(wrong[0])
            why = (
                "has another type in the sequence" if sequence[row] != own[row] else "lacks atoms"
            )
            raise InputError(
                f"{file}: --fix {fix}: residue {residues.labels[row]} {why}, so its side chain "
                "cannot be held; leave it out"
            )
        yield Target(
            stem, str(file), structure, sequence, template, held, residues.labels, structure.notes
        )


def _word(record: FastaRecord) -> str:
    words = record.header.replace(",", " ").split()
    return words[0] if words else f"sequence{record.number}"


def _fitted(record: FastaRecord, structure: Structure) -> str:
    """The sequence of a record, one letter for every residue of the structure."""
    text = "".join(record.chains)
    wrong = sorted(set(text) - set(LETTERS + "X"))
    if wrong:
        raise InputError(
            f"{record.where}: {wrong[0]!r} is no amino acid; use letters of {LETTERS}"
        )
    lengths = [len(chain) for chain in structure.chains]
    if len(text) != sum(lengths) or (
        len(record.chains) > 1 and [len(part) for part in record.chains] != lengths
    ):
        has = " and ".join(f"{chain.chain_id} of {len(chain)}" for chain in structure.chains)
        raise InputError(
            f"{record.where}: chains of {', '.join(str(len(part)) for part in record.chains)} "
            f"residues; {structure.source} has {has}"
        )
    return text

"""From FASTA files to a sequence archive: checked, without duplicates, clustered and split."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from protein.language.archive import write_sequences
from protein.sequence.alphabet import LETTERS
from protein.sequence.fasta import check_protein, fasta_records
from protein.structures.clustering import cluster_sequences
from protein.structures.splits import split_by_cluster
from sciddiff.cli.campaign import made_before, record_made
from sciddiff.cli.fingerprint import Inputs
from sciddiff.errors import InputError
from sciddiff.names import Names


@dataclass(frozen=True)
class SequenceSettings:
    """Which sequences are kept, and how they are split.

    Attributes:
        min_length: shortest, residues.
        max_length: longest.
        max_unknown: largest share of residues that are none of the twenty.
        val: share for validation.
        test: share for testing.
        seed: of the split.
        clusterer: ``auto``, ``builtin`` or ``mmseqs``.
    """

    min_length: int = 30
    max_length: int = 1024
    max_unknown: float = 0.1
    val: float = 0.05
    test: float = 0.05
    seed: int = 0
    clusterer: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise InputError(
                f"--length {self.min_length}-{self.max_length}: give the shorter length first"
            )


@dataclass(frozen=True)
class SequenceReport:
    """What came of the files.

    Attributes:
        records: read.
        sequences: kept.
        residues: kept.
        dropped: how many records were dropped for each reason.
        clusters: number of clusters at about 40 % and 30 % identity.
        splits: sequences in each split.
        clusterer: the tool that clustered.
        archive: the file written.
    """

    records: int
    sequences: int
    residues: int
    dropped: dict[str, int]
    clusters: tuple[int, int]
    splits: dict[str, int]
    clusterer: str
    archive: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass
class _Kept:
    ids: list[str] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def prepare_sequences(
    files: Sequence[Path],
    out: Path,
    settings: SequenceSettings | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> SequenceReport:
    """Turn FASTA files into a sequence archive, with its record ``.json`` beside it.

    Args:
        files: FASTA files of proteins.
        out: archive to write, ``.npz``.
        settings: what to keep, and the splits.
        overwrite: replace an archive that is there.
        on_progress: told of every clustered sequence.

    Raises:
        InputError: a file is no FASTA file of proteins, nothing is left, or another archive is
            there already.
    """
    settings = settings or SequenceSettings()
    if out.suffix != ".npz":
        raise InputError(f"{out}: name the archive with the suffix .npz")
    inputs = Inputs().add_all("FILE", files)
    request = asdict(settings)
    if out.exists() and not overwrite:
        found = made_before(out, out.with_suffix(".json"), request, inputs)
        names = [entry.name for entry in fields(SequenceReport)]
        return SequenceReport(**{name: found[name] for name in names})
    kept, records = _keep(files, settings)
    if not kept.sequences:
        reasons = ", ".join(f"{number} {why}" for why, number in kept.dropped.items())
        raise InputError(f"{files[0]}: no sequence is left ({reasons}); loosen --length")
    fine, coarse, tool = cluster_sequences(kept.sequences, settings.clusterer, on_progress)
    splits = split_by_cluster(coarse, settings.val, settings.test, settings.seed)
    write_sequences(out, kept.ids, kept.sequences, (fine, coarse), splits)
    names, counts = np.unique(splits, return_counts=True)
    report = SequenceReport(
        records,
        len(kept.sequences),
        sum(map(len, kept.sequences)),
        dict(kept.dropped),
        (len(np.unique(fine)), len(np.unique(coarse))),
        dict(zip(names.tolist(), counts.tolist(), strict=True)),
        tool,
        str(out),
    )
    record_made(out.with_suffix(".json"), request, inputs, report.as_dict())
    return report


def _keep(files: Sequence[Path], settings: SequenceSettings) -> tuple[_Kept, int]:
    """The records that pass, under unique names, and the number read."""
    kept, records, seen, names = _Kept(), 0, set[str](), Names()
    for file in files:
        for record in fasta_records(file):
            records += 1
            check_protein(record, string.ascii_uppercase)
            header, sequence = record.header, "".join(record.chains)
            unknown = sum(letter not in LETTERS for letter in sequence)
            if not settings.min_length <= len(sequence) <= settings.max_length:
                kept.dropped["of another length"] += 1
            elif unknown > settings.max_unknown * len(sequence):
                kept.dropped["with too many unknown residues"] += 1
            elif sequence in seen:
                kept.dropped["the same as an earlier one"] += 1
            else:
                seen.add(sequence)
                kept.ids.append(names.unique(header.split()[0] if header else "", "sequence"))
                kept.sequences.append(sequence)
    return kept, records

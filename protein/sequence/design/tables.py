"""FASTA files and tables of finished designs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.campaign import SequenceParts, design_stem, native_stem
from protein.sequence.design.plan import Plan
from protein.sequence.design.quality import Quality, quality_of
from protein.sequence.design.records import Record, design_header, native_header
from sciddiff.files import replacing
from sciddiff.names import cell
from sciddiff.weights import identity

__all__ = [
    "Designed",
    "Tables",
    "burial",
    "collect",
    "write_boltz",
    "write_csv",
    "write_fasta",
    "write_tables",
    "written",
]

COLUMNS: dict[str, str] = {
    "name": "stem of the design's files, and its name in refold.fasta",
    "template": "the structure it was designed for",
    "temperature": "at which it was drawn",
    "sample": "its number",
    "score": "negative log-probability of the designed residues, nats a residue; lower is better",
    "score_se": "standard error of the score over pairs of random orders",
    "global_score": "the same over all residues, fixed ones included",
    "seq_recovery": "share of designed residues that are those of the structure; empty where its "
    "residues are unknown or all of one amino acid, as those of designed backbones",
    "entropy": "of the composition of the designed residues, nats; natives have about 2.8",
    "longest_run": "equal residues in a row",
    "commonest": "commonest amino acid among the designed residues",
    "commonest_share": "its share",
    "cysteines": "number of Cys among the designed residues",
    "designed": "number of designed residues",
    "native_like": "1 if runs, commonest share and entropy are what 97.5 % of natives have",
    "redrawn": "times it was drawn again to be so; only where the composition is balanced",
    "reward": "what it was steered towards; empty where it was not",
    "warnings": "what is remarkable",
    "sequence": "all chains",
}
"""Columns of `designs.csv` and what they mean."""


@final
@dataclass(frozen=True, eq=False)
class Designed:
    """One finished design.

    Attributes:
        name: stem of its files.
        record: its sequence and figures.
        quality: what its composition says.
    """

    name: str
    record: Record
    quality: Quality


@final
@dataclass(frozen=True, eq=False)
class Tables:
    """All designs of a template.

    Attributes:
        plan: what was designed.
        native: the structure's own sequence.
        designs: by temperature and number.
    """

    plan: Plan
    native: Record
    designs: tuple[Designed, ...]

    @property
    def distinct(self) -> int:
        """Number of different sequences."""
        return len({one.record.sequence for one in self.designs})

    def figures(self) -> dict[str, Any]:
        """Means over the designs, as plain values."""
        records = [one.record for one in self.designs]

        rewards = [r.reward for r in records if r.reward is not None]

        def mean(values: Iterable[float]) -> float:
            return round(float(np.mean(list(values))), 4)

        return {
            "designed": int(self.plan.designed.sum()),
            "sequences": len(records),
            "distinct": self.distinct,
            "score": mean(r.score for r in records),
            "native_score": self.native.score,
            "recovery": None if self.plan.no_recovery else mean(r.seq_recovery for r in records),
            **({"no_recovery": self.plan.no_recovery} if self.plan.no_recovery else {}),
            "entropy": mean(r.entropy for r in records),
            **({"reward": mean(rewards)} if rewards else {}),
            "native_like": sum(one.quality.native_like for one in self.designs),
            "redrawn": sum(bool(r.redrawn) for r in records),
            "remarkable": sum(bool(one.quality.warnings) for one in self.designs),
        }


def collect(parts: SequenceParts) -> list[Tables]:
    """Read the finished designs of every template."""
    found = []
    for plan in parts.plans:
        native = Record.read(parts.file(native_stem(plan)), len(plan))
        designs = []
        for temperature in parts.temperatures:
            for index in range(parts.number):
                stem = design_stem(plan, temperature, index)
                record = Record.read(parts.file(stem), len(plan))
                pieces = plan.pieces(record.tokens(), whole=True)
                designs.append(Designed(stem, record, quality_of(pieces, plan.designed)))
        found.append(Tables(plan, native, tuple(designs)))
    return found


def write_tables(
    parts: SequenceParts,
    tables: Sequence[Tables],
    model: str,
    meta: Mapping[str, Any],
    separator: str = "/",
    gaps: bool = False,
) -> None:
    """Write `seqs/NAME.fa` of every template, `refold.fasta`, `designs.csv` and `residues.csv`.

    Args:
        parts: the run.
        tables: what to write.
        model: the weights, as the user named them.
        meta: content of their `meta.json`.
        separator: between the chains of `seqs/NAME.fa`.
        gaps: write X for residues that are missing, in `seqs/NAME.fa` alone.
    """
    directory, settings = parts.directory, parts.settings
    named, checksum = Path(model).name, identity(meta)[:12]
    for one in tables:
        own = native_header(one.plan, one.native, named, checksum, settings.seed)
        listed = [
            (own, one.native),
            *((design_header(d.record, settings.order), d.record) for d in one.designs),
        ]
        pieces = ((header, _pieces(one.plan, record, False)) for header, record in listed)
        write_fasta(
            directory / "seqs" / f"{one.plan.name}.fa",
            (
                (header, separator.join(one.plan.gapped(text) if gaps else text))
                for header, text in pieces
            ),
        )
    write_fasta(
        directory / "refold.fasta",
        (
            (design.name, ":".join(_pieces(one.plan, design.record, True)))
            for one in tables
            for design in one.designs
        ),
    )
    rows = (_row(one, design, separator) for one in tables for design in one.designs)
    write_csv(directory / "designs.csv", list(COLUMNS), rows)
    columns = ["name", "template", "residue", "native", "designed", "aa", "probability", "entropy",
               "burial"]  # fmt: skip
    residues = (row for one in tables for row in _residue_rows(one))
    write_csv(directory / "residues.csv", columns, residues)


def write_boltz(directory: Path, tables: Sequence[Tables]) -> None:
    """Write `boltz/NAME.fasta` of every design: Boltz takes a file for each, a record a chain.

    The third field says that a chain has no alignment, as designs have none.
    """
    for one in tables:
        names = [chain.chain_id for chain in one.plan.template.chains]
        for design in one.designs:
            pieces = _pieces(one.plan, design.record, True)
            records = [(f"{n}|protein|empty", p) for n, p in zip(names, pieces, strict=True)]
            write_fasta(directory / "boltz" / f"{design.name}.fasta", records)


def write_fasta(file: Path, records: Iterable[tuple[str, str]]) -> None:
    """Write headers and sequences, each on one line."""
    with replacing(file) as out:
        for header, sequence in records:
            out.write(f">{header}\n{sequence}\n".encode())


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table; what a row lacks is empty."""
    with replacing(file) as out:
        text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: cell(value) for name, value in row.items()})
        text.detach()


def written(value: float, digits: int = 4) -> str:
    """A number in a cell; empty where there is none.

    >>> written(0.25), written(float("nan"))
    ('0.2500', '')
    """
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _pieces(plan: Plan, record: Record, whole: bool) -> list[str]:
    text = np.array(list(record.sequence))
    found = np.where(text == "X", 20, record.tokens())
    return plan.pieces(found, whole)


def _row(one: Tables, design: Designed, separator: str) -> dict[str, Any]:
    record, quality = design.record, design.quality
    return {
        "name": design.name,
        "template": one.plan.name,
        "temperature": f"{record.temperature:g}",
        "sample": record.sample,
        "score": f"{record.score:.4f}",
        "score_se": written(record.score_se),
        "global_score": f"{record.global_score:.4f}",
        "seq_recovery": written(record.seq_recovery),
        "entropy": f"{record.entropy:.4f}",
        "longest_run": quality.longest_run,
        "commonest": quality.commonest,
        "commonest_share": f"{quality.commonest_share:.4f}",
        "cysteines": quality.cysteines,
        "designed": int(one.plan.designed.sum()),
        "native_like": int(quality.native_like),
        "redrawn": record.redrawn,
        "reward": "" if record.reward is None else f"{record.reward:.4f}",
        "warnings": "; ".join(quality.warnings),
        "sequence": separator.join(_pieces(one.plan, record, True)),
    }


def _residue_rows(one: Tables) -> Iterable[dict[str, Any]]:
    plan = one.plan
    buried = burial(plan)
    native = [
        LETTERS[t] if known else "X" for t, known in zip(plan.native, plan.known, strict=True)
    ]
    for design in one.designs:
        record = design.record
        for row, label in enumerate(plan.residues.labels):
            drawn = bool(plan.designed[row])
            yield {
                "name": design.name,
                "template": plan.name,
                "residue": label,
                "native": native[row],
                "designed": int(drawn),
                "aa": record.sequence[row],
                "probability": f"{record.probability[row]:.4f}" if drawn else "",
                "entropy": f"{record.row_entropy[row]:.4f}" if drawn else "",
                "burial": int(buried[row]),
            }


def burial(plan: Plan) -> np.ndarray:
    """Number of CA atoms within 10 Å of the virtual CB of every residue `[L]`."""
    import torch

    from protein.structures.frames import neighbour_counts

    coords = torch.from_numpy(np.concatenate([chain.coords for chain in plan.template.chains]))
    return neighbour_counts(coords).numpy()

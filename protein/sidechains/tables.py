"""Tables of packed structures and of their residues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from protein.sequence.design.tables import write_csv
from protein.sidechains.records import Record
from protein.sidechains.targets import Target

__all__ = ["RESIDUES", "STRUCTURES", "structure_row", "write_tables"]

STRUCTURES: dict[str, str] = {
    "name": "stem of the structure's files in packed/",
    "source": "the file that it was made of",
    "residues": "number of residues",
    "packed": "residues whose side chains were drawn",
    "fixed": "residues whose side chains were kept",
    "clashes": "pairs of atoms whose spheres overlap by over 0.4 Å (N and O: closer than 2.4 Å)",
    "draw_clashes": "the same in a single draw, mean",
    "confidence": "mean probability that the first two torsions are within 20 degrees",
    "score": "log-density of the torsions, nats a torsion; higher is likelier",
    "own_chi1": "share of first torsions within 20 degrees of those of the file",
    "own_chi12": "the same of the first two torsions",
    "own_rmsd": "distance of the atoms beyond CB from those of the file, root mean square, Å",
}
"""Columns of `structures.csv` and what they mean."""

RESIDUES: dict[str, str] = {
    "structure": "name of the structure",
    "residue": "chain, number and insertion code",
    "type": "amino acid",
    "chi1": "torsions, degrees; those of symmetric ends that were drawn from -90 to 90",
    "chi2": "",
    "chi3": "",
    "chi4": "",
    "drawn": "1 where the side chain was drawn, 0 where it was kept or there is none",
    "confidence": "probability that the first two torsions are within 20 degrees",
    "spread": "circular standard deviation of chi1 over the draws, degrees",
    "score": "log-density of the torsions, nats",
    "clashes": "pairs of its atoms that are too close to others",
}
"""Columns of `residues.csv` and what they mean."""


def structure_row(target: Target, record: Record) -> dict[str, Any]:
    """A line of `structures.csv`."""
    own = record.own
    return {
        "name": target.name,
        "source": target.source,
        "residues": record.residues,
        "packed": record.packed,
        "fixed": record.fixed,
        "clashes": record.clashes,
        "draw_clashes": round(float(np.mean(record.draw_clashes)), 1),
        "confidence": record.confidence,
        "score": record.score,
        "own_chi1": own.get("chi1_20", ""),
        "own_chi12": own.get("chi12_20", ""),
        "own_rmsd": own.get("rmsd", ""),
    }


def write_tables(directory: Path, made: Sequence[tuple[Target, Record]]) -> None:
    """Write `structures.csv` and `residues.csv`.

    Args:
        directory: their folder.
        made: the structures.
    """
    write_csv(
        directory / "structures.csv", tuple(STRUCTURES), (structure_row(*one) for one in made)
    )
    rows = (row for target, record in made for row in _residue_rows(target, record))
    write_csv(directory / "residues.csv", tuple(RESIDUES), rows)


def _residue_rows(target: Target, record: Record) -> Iterable[dict[str, Any]]:
    for row, label in enumerate(target.labels):
        angles = ["" if value is None else value for value in record.chi[row]]
        yield {
            "structure": target.name,
            "residue": label,
            "type": target.sequence[row],
            **dict(zip(("chi1", "chi2", "chi3", "chi4"), angles, strict=True)),
            "drawn": int(record.drawn[row]),
            "confidence": record.row_confidence[row],
            "spread": record.row_spread[row],
            "score": record.row_score[row],
            "clashes": record.row_clashes[row],
        }

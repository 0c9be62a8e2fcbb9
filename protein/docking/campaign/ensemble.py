"""Screens against several structures of a protein: the best structure of each ligand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from protein.docking.campaign.output import RESULTS, Row, by_affinity, write_best, write_results


def best_over_structures(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """For each ligand the row of the structure in which its affinity is best.

    Affinities of different structures are compared as they are, although each structure has an
    offset of its own that no docking energy knows.

    Args:
        rows: rows of the same ligands, by the folder of each structure.

    Returns:
        One row for each ligand, in the order of the input; its file and its ``receptor`` name the
        folder. A ligand that failed everywhere has the row of the first structure.
    """
    best: dict[int, Row] = {}
    for folder, found in rows.items():
        for row in found:
            file = f"{folder}/{row.file}" if row.file else ""
            here = replace(row, receptor=folder, file=file)
            known = best.get(row.index)
            # Of equals the structure that was named first.
            best[row.index] = here if known is None else by_affinity([known, here])[0]
    return [best[index] for index in sorted(best)]


def write_ensemble(directory: Path, rows: Sequence[Row]) -> None:
    """Write ``results.csv`` and ``best.sdf`` of a screen against several structures.

    Args:
        directory: folder that holds those of the structures.
        rows: best row of each ligand.
    """
    ordered = by_affinity(rows)
    write_results(directory / RESULTS, [row.as_dict() for row in ordered])
    write_best(directory, ordered)

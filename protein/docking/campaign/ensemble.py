"""Screens against several structures of a protein: the best structure of each ligand."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from protein.docking.campaign.output import RESULTS, Row, by_affinity, write_best, write_results
from sciddiff.files import replacing
from sciddiff.names import cell

__all__ = ["STRUCTURES", "Combine", "best_over_structures", "mixed_affinity", "write_ensemble"]

STRUCTURES = "structures.csv"
"""Table of the affinity of every ligand in every structure."""

Combine: TypeAlias = Literal["best", "boltzmann"]
"""How affinities in several structures become one: the best, or the free energy of a mixture."""

_KT = 0.0019872 * 298.15  # kcal/mol


def mixed_affinity(affinities: Sequence[float]) -> float:
    """Free energy of binding to an even mixture of structures, kcal/mol: -kT ln ⟨exp(-A/kT)⟩.

    >>> round(mixed_affinity([-8.0, -8.0]), 3), round(mixed_affinity([-8.0, 0.0]), 3)
    (-8.0, -7.589)

    Args:
        affinities: in each structure, kcal/mol; at least one.
    """
    best = min(affinities)
    weights = sum(math.exp((best - one) / _KT) for one in affinities)
    return best - _KT * math.log(weights / len(affinities))


def best_over_structures(
    rows: Mapping[str, Sequence[Row]], combine: Combine = "best"
) -> list[Row]:
    """For each ligand the row of the structure in which its affinity is best.

    Affinities of different structures are compared as they are, although each structure has an
    offset of its own that no docking energy knows.

    Args:
        rows: rows of the same ligands, by the folder of each structure.
        combine: what the affinity of the row is: that of this structure, or that of an even
            mixture of the structures in which the ligand was docked.

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
    if combine == "boltzmann":
        docked: defaultdict[int, list[float]] = defaultdict(list)
        for row in (row for found in rows.values() for row in found if row.status == "ok"):
            docked[row.index].append(float(row.affinity))
        for index, values in docked.items():
            best[index] = replace(best[index], affinity=f"{mixed_affinity(values):.3f}")
    return [best[index] for index in sorted(best)]


def write_ensemble(
    directory: Path, rows: Sequence[Row], each: Mapping[str, Sequence[Row]]
) -> None:
    """Write the tables and ``best.sdf`` of a screen against several structures.

    Args:
        directory: folder that holds those of the structures.
        rows: best row of each ligand.
        each: rows of the same ligands, by the folder of each structure.
    """
    ordered = by_affinity(rows)
    found = {folder: {row.index: row.affinity for row in one} for folder, one in each.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "name", *found])
    for row in ordered:
        affinities = [of.get(row.index, "") for of in found.values()]
        writer.writerow([row.index, cell(row.name), *affinities])
    with replacing(directory / STRUCTURES) as out:
        out.write(text.getvalue().encode("utf-8"))
    write_results(directory / RESULTS, [row.as_dict() for row in ordered])
    write_best(directory, ordered)

"""The hits of a screen: one row for each molecule, by its best state, and a diverse choice.

The choice follows Butina's clustering (*J. Chem. Inf. Comput. Sci.* 39 (1999) 747) of Morgan
fingerprints (radius 2) at a Tanimoto distance of 0.4: the molecule with the best affinity of each
cluster, the best cluster first.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protein.docking.campaign.output import Row, by_affinity
from sciddiff.files import replacing
from sciddiff.names import cell

HITS = "hits.csv"
"""Table of the hits."""

APART = 0.4
"""Tanimoto distance within which molecules are in one cluster."""

# Molecules that are clustered, the best ones: the work grows with their square.
_MOST_CLUSTERED = 3000
_COLUMNS: tuple[str, ...] = (
    "rank", "name", "state", "smiles", "states", "affinity", "efficiency", "confidence", "strain",
    "valid", "cluster", "chosen", "receptor", "file",
)  # fmt: skip


def hit_rows(rows: Sequence[Row], chosen: int) -> list[dict[str, Any]]:
    """One row for each molecule that was docked, the best affinity first.

    Args:
        rows: one row for every state of every molecule.
        chosen: number of diverse molecules to choose.

    Returns:
        Rows with the molecule (``name``), its best ``state``, how many states were docked,
        affinity, ligand efficiency (affinity for each heavy atom), confidence, cluster, and the
        place among the chosen molecules, or an empty one. Of more than 3,000 molecules the best
        are clustered.
    """
    best: dict[str, Row] = {}
    count: dict[str, int] = {}
    for row in by_affinity(rows):
        if row.status == "ok":
            name = row.parent or row.name
            best.setdefault(name, row)
            count[name] = count.get(name, 0) + 1
    clusters = _clusters([row.smiles for row in list(best.values())[:_MOST_CLUSTERED]])
    found: list[dict[str, Any]] = []
    met: set[int] = set()
    for rank, (name, row) in enumerate(best.items(), 1):
        cluster = clusters[rank - 1] if rank <= len(clusters) else None
        new = cluster is not None and cluster not in met and len(met) < chosen
        if cluster is not None and new:
            met.add(cluster)
        found.append({
            "rank": rank, "name": name, "state": row.name, "smiles": row.smiles,
            "states": count[name], "affinity": row.affinity,
            "efficiency": f"{float(row.affinity) / int(row.heavy_atoms):.3f}",
            "confidence": row.confidence, "strain": row.strain, "valid": row.valid,
            "cluster": "" if cluster is None else cluster, "chosen": len(met) if new else "",
            "receptor": row.receptor, "file": row.file,
        })  # fmt: skip
    return found


def write_hits(directory: Path, rows: Sequence[Row], chosen: int) -> Path:
    """Write ``hits.csv``.

    Args:
        directory: output folder of the run.
        rows: one row for every input.
        chosen: number of diverse molecules to choose.

    Returns:
        The file.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in hit_rows(rows, chosen):
        writer.writerow({key: cell(value) for key, value in row.items()})
    with replacing(directory / HITS) as out:
        out.write(text.getvalue().encode("utf-8"))
    return directory / HITS


def _clusters(smiles: Sequence[str]) -> list[int]:
    """Cluster of each molecule, numbered from 1 in the order of their first members."""
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
    from rdkit.DataStructs import BulkTanimotoSimilarity
    from rdkit.ML.Cluster.Butina import ClusterData

    generator = GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(MolFromSmiles(text)) for text in smiles]
    distances = [
        1.0 - value
        for i, one in enumerate(prints)
        for value in BulkTanimotoSimilarity(one, prints[:i])
    ]
    found = ClusterData(distances, len(prints), APART, isDistData=True, reordering=True)
    groups = [0] * len(prints)
    for number, members in enumerate(sorted(found, key=min), 1):
        for i in members:
            groups[i] = number
    return groups

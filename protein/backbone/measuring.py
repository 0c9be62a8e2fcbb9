"""Measure the designs of a folder beside natives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.backbone.folder import Folder, read_folder

if TYPE_CHECKING:
    from protein.backbone.metrics import Evaluation
    from protein.backbone.metrics.tm import Progress


def evaluate_directory(
    directory: Path,
    reference: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Evaluation, Folder]:
    """Measure the designs of a folder beside natives, and write `designs.csv` into it.

    Args:
        directory: folder of PDB or mmCIF files.
        reference: chain archive whose training split novelty is measured against; left out
            without one.
        workers: processes for structure alignment.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        The figures, and the structures they were measured on. Designs that failed have a row of
        the table, with the reason.
    """
    from protein.backbone.metrics import evaluate_designs, write_designs_csv

    folder = read_folder(directory)
    measured = {name: folder.measured(name) for name in folder.structures}
    evaluation = evaluate_designs(
        [(name, np.concatenate([c.coords for c in chains])) for name, chains in measured.items()],
        training=None if reference is None else _training_chains(reference),
        workers=workers,
        progress=progress,
        chain_lengths={name: [len(c) for c in chains] for name, chains in measured.items()},
        extra={name: _extra(folder, name) for name in folder.structures},
    )
    rows = [{**row, "status": "ok"} for row in evaluation.rows]
    rows += [
        {"name": name, "status": "failed", "reason": reason}
        for name, reason in folder.failed.items()
        if name not in folder.structures
    ]
    write_designs_csv(directory / "designs.csv", sorted(rows, key=lambda row: str(row["name"])))
    return evaluation, folder


def _extra(folder: Folder, name: str) -> dict[str, Any]:
    """Figures of the contact between chains, and what the record says of a design."""
    from protein.backbone.metrics.interface import hotspots_met, interface_figures

    chains, said = folder.structures[name], dict(folder.facts.get(name, {}))
    row: dict[str, Any] = {}
    sequence = "/".join(chain.sequence for chain in chains)
    if set(sequence) - set("A/"):  # alanine stands for residues that are to be designed
        said["sequence"] = sequence
    binder = said.get("binder")
    if len(chains) > 1:
        sides = None if binder is None else [int(c.chain_id != binder) for c in chains]
        row = interface_figures([chain.coords for chain in chains], sides)
    if binder is not None and said.get("hotspots"):
        ours = np.concatenate([c.coords for c in chains if c.chain_id == binder])
        target = [c for c in chains if c.chain_id != binder]
        labels = [label for chain in target for label in chain.labels]
        spots = [labels.index(s) for s in str(said["hotspots"]).split() if s in labels]
        if spots:
            theirs = np.concatenate([c.coords for c in target])
            row["hotspots_met"] = hotspots_met(ours, theirs, spots)
    return {**row, **said}


def _training_chains(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    from protein.structures.archive import ChainArchive

    archive = ChainArchive.open(path).subset(split="train")
    return ((archive.ids[i], archive[i]) for i in range(len(archive)))

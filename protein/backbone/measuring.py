"""Measure the designs of a folder beside natives, and what their sequences fold into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.backbone.folder import Folder, read_folder
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.backbone.metrics import Evaluation
    from protein.backbone.metrics.tm import Progress
    from protein.backbone.refolding import Refolding, Thresholds


def assess_directory(
    directory: Path,
    reference: Path | None = None,
    report: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure a folder of designs as a user asks for it: plain values.

    Args:
        directory: folder of PDB or mmCIF files.
        reference: chain archive to measure novelty against.
        report: folder for `report.html`, made if absent.
        options: ``refolded``, a folder of predicted structures, and what is asked of them; see
            `protein.backbone.refolding`.

    Raises:
        InputError: nothing to measure, or an option that cannot be used.
    """
    from protein.backbone.refolding import RefoldOptions
    from protein.backbone.refolding.table import load, save
    from sciddiff.cli.campaign import read_record
    from sciddiff.cli.output import remark

    asked = RefoldOptions.read(options or {})
    if directory.is_file():
        raise InputError(f"{directory}: is a file; give the folder of designs")
    if report is not None and report.is_file():
        raise InputError(f"{report}: is a file; give a folder for the report")
    folder = read_folder(directory)
    refolding = None
    if asked.folder is not None:
        refolding = _refolded(asked.folder, directory, folder, asked.thresholds)
        for source, notes in refolding.remarks(directory).items():
            remark(source, notes)
        save(directory, refolding, folder.structures)
    evaluation, folder = evaluate_directory(directory, reference, folder=folder)
    refolding = refolding or load(directory, folder.structures)
    if report is not None:
        from protein.backbone.report import write_report

        report.mkdir(parents=True, exist_ok=True)
        write_report(report, evaluation, folder.structures, read_record(directory))
    measured = evaluation.to_json()
    if refolding is not None:
        measured["refolded"] = refolding.to_json()
    return {**measured, "left_out": folder.left_out} if folder.left_out else measured


def _refolded(
    predictions: Path, directory: Path, folder: Folder, thresholds: Thresholds
) -> Refolding:
    """Predicted structures beside the designs, with a display of progress."""
    from protein.backbone.refolding import read_refolded
    from sciddiff.cli.progress import progress

    with progress("refolded structures", None) as bar:
        return read_refolded(
            predictions,
            directory,
            folder,
            thresholds,
            progress=lambda stage, done, total: bar.advance(0, f"{stage} {done} of {total}"),
        )


def evaluate_directory(
    directory: Path,
    reference: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    folder: Folder | None = None,
) -> tuple[Evaluation, Folder]:
    """Measure the designs of a folder beside natives, and write `designs.csv` into it.

    Designs that were refolded before, and have not changed since, keep the figures of that.

    Args:
        directory: folder of PDB or mmCIF files.
        reference: chain archive whose training split novelty is measured against; left out
            without one.
        workers: processes for structure alignment.
        progress: called as ``progress(stage, done, total)``.
        folder: what the folder holds, where it was read already.

    Returns:
        The figures, and the structures they were measured on. Designs that failed have a row of
        the table, with the reason.
    """
    from protein.backbone.metrics import evaluate_designs, write_designs_csv
    from protein.backbone.refolding.table import load

    folder = folder or read_folder(directory)
    refolding = load(directory, folder.structures)
    refolded = {} if refolding is None else refolding.columns()
    measured = {name: folder.measured(name) for name in folder.structures}
    evaluation = evaluate_designs(
        [(name, np.concatenate([c.coords for c in chains])) for name, chains in measured.items()],
        training=None if reference is None else _training_chains(reference),
        workers=workers,
        progress=progress,
        chain_lengths={name: [len(c) for c in chains] for name, chains in measured.items()},
        extra={
            name: {**_extra(folder, name), **refolded.get(name, {})} for name in folder.structures
        },
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

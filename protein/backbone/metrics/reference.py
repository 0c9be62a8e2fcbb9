"""Natives and training chains out of an archive, and the statistics that ship with the package.

Run as ``python -m protein.backbone.metrics.reference ARCHIVE.npz`` to compute the shipped file
again: figures of the validation split, 60–128 residues, and their TM-scores to the training
split. With ``--pairs`` and an archive of complexes it is the figures of their interfaces. No
coordinates are written.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from protein.backbone.metrics.evaluation import Chain, natives_reference, summarise
from protein.backbone.metrics.interface import interface_figures
from protein.backbone.metrics.natives import Reference
from protein.backbone.metrics.novelty import FoldLibrary
from protein.backbone.metrics.tm import Progress
from protein.structures.archive import ChainArchive
from protein.structures.complexes import PairArchive
from sciddiff.errors import InputError

LENGTHS = (60, 128)
"""Residues of the natives that designs are compared with."""

_LOG = logging.getLogger(__name__)


class Comparison(TypedDict):
    """Arguments of `evaluate_designs` that say what to compare with."""

    natives: list[Chain]
    training: FoldLibrary
    natives_label: str


def chains_of(
    archive: ChainArchive, split: str, lengths: tuple[int, int] | None = None
) -> list[Chain]:
    """Name and coordinates `[L, 4, 3]` (Å) of every chain of one split.

    Args:
        archive: chain archive.
        split: ``train``, ``val`` or ``test``.
        lengths: fewest and most residues; any by default.
    """
    low, high = lengths or (0, int(archive.lengths.max()))
    keep = (archive.splits == split) & (archive.lengths >= low) & (archive.lengths <= high)
    return [(archive.ids[i], archive[i]) for i in keep.nonzero()[0]]


def from_archive(
    archive: ChainArchive,
    split: str = "val",
    lengths: tuple[int, int] = LENGTHS,
    progress: Progress | None = None,
) -> Comparison:
    """What `evaluate_designs` compares with, out of an archive; pass it on with ``**``.

    Args:
        archive: chain archive.
        split: where the natives come from; novelty is always to ``train``.
        lengths: residues of the natives, fewest and most.
        progress: told of the indexing of the training split.

    Raises:
        InputError: the archive has no such natives or no training split.
    """
    natives = chains_of(archive, split, lengths)
    if not natives:
        raise InputError(
            f"{archive.path}: no chain of {lengths[0]}-{lengths[1]} residues in split {split!r}; "
            "choose another split or another range"
        )
    library = FoldLibrary.build(chains_of(archive, "train"), progress)
    label = f"{len(natives)} natives, {lengths[0]}–{lengths[1]} residues, split {split}"
    return {"natives": natives, "training": library, "natives_label": label}


def compute(
    archive: ChainArchive, workers: int = 1, progress: Progress | None = None
) -> Reference:
    """The statistics that ship: held-out natives of 60–128 residues, with every figure."""
    given = from_archive(archive, progress=progress)
    label = f"{len(given['natives'])} held-out natives of {LENGTHS[0]}–{LENGTHS[1]} residues"
    return natives_reference(
        given["natives"], label, progress=progress, workers=workers, library=given["training"]
    )


def interfaces(pairs: Path) -> dict[str, Any]:
    """Figures of the contact between the partners of bound complexes, with their intervals.

    Args:
        pairs: archive of complexes, as `protein.structures.complexes.PairArchive` reads it.
    """
    archive = PairArchive(pairs)
    rows = [interface_figures(archive.whole(i)) for i in range(len(archive))]
    label = f"{len(rows)} bound complexes of two partners"
    summary = summarise(rows, np.random.default_rng(0))
    return {"label": label, "summary": {k: v for k, v in summary.items() if k != "n"}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the shipped statistics from an archive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path, help="chain archive (.npz)")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("natives_reference.json")
    )
    parser.add_argument("--workers", type=int, default=1, help="processes for TM-scores")
    parser.add_argument(
        "--pairs", action="store_true", help="the archive is of complexes: their interfaces alone"
    )
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.pairs:
        found = json.dumps(interfaces(args.archive), indent=1)
        Path(__file__).with_name("interfaces_reference.json").write_text(f"{found}\n", "utf-8")
        return 0

    def progress(stage: str, done: int, total: int) -> None:
        if done % 160 == 0 or done == total:
            _LOG.info("%s: %d of %s", stage, done, total or "?")

    reference = compute(ChainArchive.open(args.archive), args.workers, progress)
    text = json.dumps(reference.to_json(), separators=(",", ":"))
    args.out.write_text(text + "\n", encoding="utf-8")
    _LOG.info("%s: %d bytes", args.out, len(text))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

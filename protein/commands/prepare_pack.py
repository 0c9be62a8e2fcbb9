"""``sciddiff prepare pack``: a folder of full-atom structures to a training set of side chains."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from protein.commands.prepare_backbone import add_splits, teller
from protein.sidechains import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, count, number
from sciddiff.cli.output import emit
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.sidechains.prepare import PackPrepareReport


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sciddiff prepare pack``."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="structures (.pdb, .cif, .gz) at any depth")
    add("-o", "--out", type=Path, required=True, metavar="FILE", help="archive to write, .npz")
    keep = parser.add_argument_group("which structures to keep")
    add = keep.add_argument
    add("--length", default="30-3000", metavar="A-B",
        help="residues of all chains (default 30-3000)")  # fmt: skip
    add("--max-resolution", type=number(0.0), default=3.0, metavar="X",
        help="Å; files that state none pass (default 3)")  # fmt: skip
    add("--min-complete", type=number(0.0, 1.0), default=0.7, metavar="X",
        help="smallest share of residues with all their atoms (default 0.7)")  # fmt: skip
    add_splits(parser)
    add = parser.add_argument
    add("-j", "--jobs", type=count(), default=1, metavar="N", help="processes (default 1)")
    add("--overwrite", action="store_true", help="replace an archive that is there")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Prepare the archive and print what became of the files."""
    from protein.sidechains.prepare import PackPrepareSettings, prepare_side_chains

    low, _, high = args.length.partition("-")
    if not (low.isdigit() and (high or low).isdigit()):
        raise InputError(f"--length {args.length}: not a range; write --length 30-3000")
    settings = PackPrepareSettings(
        min_length=int(low),
        max_length=int(high or low),
        max_resolution=args.max_resolution,
        min_complete=args.min_complete,
        val=args.val,
        test=args.test,
        seed=args.seed,
        clusterer=args.clusterer,
        jobs=args.jobs,
        overwrite=args.overwrite,
    )
    with ExitStack() as stack:
        tell = teller(stack, show=not args.json)
        report = prepare_side_chains(args.folder, args.out, settings, tell)
    emit(args, report.as_dict(), _text(report))


def _text(report: PackPrepareReport, most: int = 10) -> str:
    """The summary people read."""
    again = f" ({report.resumed} by an earlier run)" if report.resumed else ""
    lines = [f"{report.files} files read{again}"]
    left_out = list(report.dropped.items())
    lines += [f"left out  {name}: {reason}" for name, reason in left_out[:most]]
    if len(left_out) > most:
        lines.append(f"and {len(left_out) - most} more, see {Path(report.archive).stem}.json")
    parts = ", ".join(f"{name} {number}" for name, number in report.splits.items())
    lines += [
        f"kept {report.structures} structures, {report.residues} residues, {report.complete} with "
        f"all atoms, {report.clusters} clusters ({report.clusterer}): {parts}",
        f"archive  {report.archive}",
    ]
    return "\n".join(lines)


command = Command(
    name="pack",
    help="turn a folder of full-atom structures into a training set of side chains",
    configure=configure,
    run=run,
    example="sciddiff prepare pack structures/ -o data/side_chains.npz",
    needs=NEEDS,
)

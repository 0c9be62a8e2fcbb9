"""``sciddiff prepare sequence``: FASTA files to a training set of sequences."""

from __future__ import annotations

import argparse
from pathlib import Path

from protein.language import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_seed, number
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sciddiff prepare sequence``."""
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FASTA", help="FASTA files of proteins")
    add("-o", "--out", type=Path, required=True, metavar="FILE", help="archive to write, .npz")
    add("--length", default="30-1024", metavar="A-B", help="residues to keep (default 30-1024)")
    add(
        "--max-unknown", type=number(0.0, 1.0), default=0.1, metavar="X",
        help="largest share of residues that are none of the twenty (default 0.1)",
    )  # fmt: skip
    share = number(0.0, 1.0)
    add("--val", type=share, default=0.05, metavar="X", help="share to validate on (default 0.05)")
    add("--test", type=share, default=0.05, metavar="X", help="share to test on (default 0.05)")
    add(
        "--clusterer", choices=("auto", "builtin", "mmseqs"), default="auto",
        help="auto takes mmseqs where it is on the PATH (default auto)",
    )  # fmt: skip
    add_seed(parser)
    add("--overwrite", action="store_true", help="replace an archive that is there")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Prepare the archive and print what became of the records."""
    from protein.language.prepare import SequenceSettings, prepare_sequences

    low, _, high = args.length.partition("-")
    try:
        lengths = int(low), int(high or low)
    except ValueError:
        raise InputError(f"--length {args.length}: is no range; write --length 30-256") from None
    settings = SequenceSettings(
        *lengths, args.max_unknown, args.val, args.test, args.seed, args.clusterer
    )
    with progress("clustering sequences", None, show=not args.json) as bar:
        seen = 0

        def tell(done: int, total: int) -> None:
            nonlocal seen
            bar.advance(done - seen)
            seen = done

        report = prepare_sequences(args.files, args.out, settings, args.overwrite, tell)
    lines = [f"{report.records} records read"]
    if report.dropped:
        lines += ["", as_table(("dropped", "count"), list(report.dropped.items())), ""]
    parts = ", ".join(f"{name} {number}" for name, number in report.splits.items())
    lines += [
        f"kept {report.sequences} sequences, {report.residues} residues, {report.clusters[1]} "
        f"clusters ({report.clusterer}): {parts}",
        f"archive  {report.archive}",
    ]
    emit(args, report.as_dict(), "\n".join(lines))


command = Command(
    name="sequence",
    help="turn FASTA files into a training set of protein sequences",
    configure=configure,
    run=run,
    example="sciddiff prepare sequence proteins.fasta -o data/sequences.npz",
    needs=NEEDS,
)

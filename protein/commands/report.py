"""``sciddiff report`` of docked ligands, of designed backbones, and of sequences."""

from __future__ import annotations

import argparse
from pathlib import Path

from sciddiff.cli.command import Command, Reporter
from sciddiff.cli.options import add_json, count
from sciddiff.cli.output import emit, remark_left_out
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError


def _configure_docked(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, metavar="FOLDER", help="what sciddiff dock wrote")
    add("--shown", type=count(0), metavar="N", help="ligands with poses in the page (default 50)")
    add("--title", default="", help="heading of the page")
    add_json(parser)


def _run_docked(args: argparse.Namespace) -> int:
    """Write the page of a folder of poses into it.

    Raises:
        InputError: the folder cannot be used.
    """
    from protein.docking.report.write import CONTACTS, MOST_SHOWN, write_report

    most = MOST_SHOWN if args.shown is None else args.shown
    with progress("drawing", None, show=not args.json):
        path = write_report(args.source, most_shown=most, title=args.title)
    emit(args, {"report": str(path), "contacts": str(path.with_name(CONTACTS))}, f"open {path}")
    return 0


def _knows_docked(path: Path) -> bool:
    """Of one structure, or of several, whose records are in their folders."""
    told = ("run.json", "structures.csv")
    return (path / "results.csv").is_file() and any((path / name).is_file() for name in told)


def _configure_designs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="FOLDER", help="what sciddiff backbone wrote")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="chains to be new against")
    add_json(parser)


def _run_designs(args: argparse.Namespace) -> int:
    """Measure a folder of designs again and write its page.

    Raises:
        InputError: the folder cannot be used.
    """
    from protein.backbone.measuring import evaluate_directory
    from protein.backbone.report import write_report
    from sciddiff.cli.campaign import read_record

    info = read_record(args.source)
    with progress("measuring", None, show=not args.json) as bar:
        evaluation, folder = evaluate_directory(
            args.source,
            args.reference,
            progress=lambda stage, done, total: bar.advance(0, f"{stage} {done}"),
        )
        path = write_report(args.source, evaluation, folder.structures, info)
    remark_left_out(args.source, folder.left_out)
    emit(args, {"report": str(path)}, f"open {path}")
    return 0


def _knows_designs(path: Path) -> bool:
    if not path.is_dir() or _knows_docked(path) or (path / "seqs").is_dir():
        return False
    return (path / "designs.csv").is_file() or any(path.glob("*.pdb")) or any(path.glob("*.cif"))


docked = Reporter(
    Command(
        "report",
        "docked ligands: a table, and poses with their contacts in the pocket",
        _configure_docked,
        _run_docked,
        "sciddiff report poses/",
    ),
    _knows_docked,
)

designs = Reporter(
    Command(
        "report",
        "designed backbones: structures, Ramachandran and other plots beside natives",
        _configure_designs,
        _run_designs,
        "sciddiff report designs/",
    ),
    _knows_designs,
)


def _configure_sequences(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, metavar="FOLDER", help="what sciddiff sequence wrote, or FASTA files"
    )
    add_json(parser)


def _run_sequences(args: argparse.Namespace) -> int:
    """Measure the sequences of a folder again and write its page.

    Raises:
        InputError: the folder cannot be used.
    """
    from protein.language.report import write_page
    from protein.sequence.measure import sequence_rows
    from sciddiff.cli.campaign import RECORD, read_record

    files = _fasta_files(args.source)
    if not files:
        raise InputError(f"{args.source}: no sequences; give a folder of .fasta files")
    record = read_record(args.source) if (args.source / RECORD).is_file() else {}
    path = write_page(args.source, sequence_rows(files), record)
    emit(args, {"report": str(path)}, f"open {path}")
    return 0


def _fasta_files(path: Path) -> list[Path]:
    """All sequences together where they are, else the FASTA files of the folder."""
    whole = path / "sequences.fasta"
    return [whole] if whole.is_file() else [*path.glob("*.fasta"), *path.glob("*.fa")]


def _knows_sequences(path: Path) -> bool:
    others = _knows_docked(path) or _knows_designs(path) or (path / "seqs").is_dir()
    return path.is_dir() and not others and bool(_fasta_files(path))


sequences = Reporter(
    Command(
        "report",
        "protein sequences: composition, repeats, and how many differ",
        _configure_sequences,
        _run_sequences,
        "sciddiff report sequences/",
    ),
    _knows_sequences,
)

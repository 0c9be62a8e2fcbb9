"""``sciddiff prepare backbone``: a folder of structures to a training set of backbones."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from protein.backbone import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_seed, count, number
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.progress import Progress, progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.structures.prepare import OnProgress, PrepareReport, PrepareSettings

_NOTES = {
    "split_chains": "chains whose residue numbers start again, read as several",
    "elements_inferred": "atoms without an element, taken from the atom's name",
    "elements_corrected": "atoms with an impossible element, taken from the atom's name",
    "doubled_atoms": "atoms that a file gives twice, read once",
    "renamed_atoms": "atoms that share their name with another of their group",
    "modified": "modified residues read as their parents",
    "altlocs": "residues with alternate locations, the fullest kept",
    "dropped_residues": "residues without a complete N, CA, C",
    "built_o": "carbonyl O rebuilt",
    "nucleic": "nucleotides ignored",
    "ligands": "ligands and ions ignored",
    "waters": "waters ignored",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sciddiff prepare backbone``."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="structures (.pdb, .cif, .gz) at any depth")
    add("-o", "--out", type=Path, required=True, metavar="FILE", help="archive to write, .npz")
    keep = parser.add_argument_group("which chains to keep (0 switches a bound off)")
    add = keep.add_argument
    add("--length", default="40-256", metavar="A-B", help="residues (default 40-256)")
    _bound(keep, "--max-resolution", 3.5, "Å; files that state none pass")
    _bound(keep, "--max-rg", 1.2, "radius of gyration over 2.2 L^0.38 Å")
    _bound(keep, "--min-contacts", 1.1, "CA contacts (8 Å) per residue")
    _bound(keep, "--max-coil", 0.6, "share of residues in neither helix nor strand")
    _bound(keep, "--max-outliers", 0.025, "share of bonds more than 6 sd from ideal")
    add(
        "--breaks",
        choices=("split", "drop"),
        default="split",
        help="chains with breaks: keep the pieces, or drop the chain (default split)",
    )
    add("--copies", action="store_true", help="keep identical chains of one file")
    add("--model", type=count(0), default=0, metavar="N", help="model of ensembles, from 0")
    add_splits(parser)
    add = parser.add_argument
    add("-j", "--jobs", type=count(), default=1, metavar="N", help="processes (default 1)")
    add("--keep-parts", action="store_true", help="leave OUT.parts/, to add files later")
    add("--overwrite", action="store_true", help="replace an archive that is there")
    add_json(parser)


def add_splits(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how structures are split by sequence cluster."""
    split = parser.add_argument_group("splits, by sequence cluster")
    add = split.add_argument
    add("--val", type=number(0, 1), default=0.05, metavar="X", help="share for validation (0.05)")
    add("--test", type=number(0, 1), default=0.05, metavar="X", help="share for testing (0.05)")
    add(
        "--clusterer",
        choices=("auto", "builtin", "mmseqs"),
        default="auto",
        help="auto: mmseqs where it is on the PATH (default auto)",
    )
    add_seed(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare the archive and print what became of the files."""
    from protein.structures.prepare import prepare_backbones

    settings = _settings(args)
    with ExitStack() as stack:
        tell = teller(stack, show=not args.json)
        report = prepare_backbones(args.folder, args.out, settings, tell)
    emit(args, report.as_dict(), _text(report))
    if report.archive is None:
        raise InputError(
            f"{args.folder}: no chain survived ({_reasons(report)}); see {report.dropped_table}, "
            "and loosen the bounds or give other files"
        )
    return 0


def _bound(group: argparse._ArgumentGroup, name: str, default: float, what: str) -> None:
    group.add_argument(
        name,
        type=number(0.0),
        default=default,
        metavar="X",
        help=f"{what} (default {default:g})",
    )


def _settings(args: argparse.Namespace) -> PrepareSettings:
    from protein.structures.filters import FilterSettings
    from protein.structures.prepare import PrepareSettings

    low, high = _length(args.length)
    filters = FilterSettings(
        min_length=low,
        max_length=high,
        max_resolution=args.max_resolution or None,
        split_breaks=args.breaks == "split",
        max_rg_ratio=args.max_rg or None,
        min_contacts=args.min_contacts or None,
        max_coil=args.max_coil or None,
        max_bond_outliers=args.max_outliers or None,
        keep_copies=args.copies,
        model=args.model,
    )
    return PrepareSettings(
        filters=filters,
        val=args.val,
        test=args.test,
        seed=args.seed,
        clusterer=args.clusterer,
        jobs=args.jobs,
        keep_parts=args.keep_parts,
        overwrite=args.overwrite,
    )


def _length(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError as error:
        raise InputError(f"--length {text}: not a range; write --length 40-256") from error


def teller(stack: ExitStack, show: bool) -> OnProgress:
    """Show one bar per stage, closing that of the stage before."""
    stage, seen, bar = "", 0, Progress()

    def tell(name: str, done: int, total: int) -> None:
        nonlocal stage, seen, bar
        if name != stage:
            stack.close()
            stage, seen = name, 0
            bar = stack.enter_context(progress(name, total, show=show))
        bar.advance(done - seen)
        seen = done

    return tell


def _text(report: PrepareReport) -> str:
    """The summary people read."""
    lines = [f"{report.files} files read" + _resumed(report)]
    if report.dropped:
        rows = [(reason, number) for reason, number in report.dropped.items()]
        lines += ["", as_table(("dropped", "count"), rows)]
    notes = [f"{report.read[key]} {text}" for key, text in _NOTES.items() if report.read.get(key)]
    if notes:
        lines += ["", *notes]
    if report.archive is not None:
        parts = ", ".join(f"{name} {number}" for name, number in report.splits.items())
        lines += [
            "",
            f"kept {report.chains} chains, {report.residues} residues, "
            f"{report.clusters[1]} clusters ({report.clusterer}): {parts}",
            f"archive  {report.archive}",
        ]
    return "\n".join([*lines, f"dropped  {report.dropped_table}"])


def _resumed(report: PrepareReport) -> str:
    return f" ({report.resumed} by an earlier run)" if report.resumed else ""


def _reasons(report: PrepareReport) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in report.dropped.items())


command = Command(
    name="backbone",
    help="turn a folder of structures into a training set of protein backbones",
    configure=configure,
    run=run,
    example="sciddiff prepare backbone structures/ -o data/backbones.npz",
    needs=NEEDS,
)

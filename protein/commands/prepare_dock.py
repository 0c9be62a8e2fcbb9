"""``sciddiff prepare dock``: a folder of complexes to a training set of docking poses."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from protein.docking import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_seed, count, number
from sciddiff.cli.output import as_table, emit
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.docking.complexes.prepare import DockPrepareReport, DockPrepareSettings

_EXAMPLES = """what is read, at any depth below DIR:
  ID/ID_protein.pdb with ID/ID_ligand.sdf or .mol2        (PDBbind)
  ID/protein.pdb with ID/ligand.sdf                       folders called train, val and test
                                                          on the way are the split
  ID/backbone.pdb with ID/ligand.sdf                      side chains unknown
  *.pdb, *.cif with --components                          ligands by the name of their residue
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sciddiff prepare dock``."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="folder that holds complexes, at any depth")
    add("-o", "--out", type=Path, required=True, metavar="FILE", help="archive to write, .npz")
    add(
        "--components",
        type=Path,
        metavar="FILE",
        help="names and SMILES of ligand residues (components.cif, .csv or .smi), with which "
        "ligands inside plain structure files are read as well",
    )
    keep = parser.add_argument_group("which complexes to keep")
    add = keep.add_argument
    add("--max-atoms", type=count(), default=70, metavar="N", help="most heavy atoms (default 70)")
    add(
        "--max-torsions", type=count(0), default=24, metavar="N", help="most torsions (default 24)"
    )
    add(
        "--max-rmsd",
        type=number(0.0),
        default=1.2,
        metavar="X",
        help="largest RMSD from the crystal pose of a fresh conformer with torsions fitted to "
        "it, Å (default 1.2)",
    )
    add("--conformers", type=count(), default=4, metavar="N", help="conformers tried (default 4)")
    split = parser.add_argument_group("splits, by pocket cluster and ligand scaffold together")
    add = split.add_argument
    share = number(0, 1)
    add("--val", type=share, default=0.05, metavar="X", help="share for validation (default 0.05)")
    add("--test", type=share, default=0.05, metavar="X", help="share for testing (default 0.05)")
    add_seed(parser)
    add = parser.add_argument
    add(
        "-j",
        "--jobs",
        type=count(),
        default=1,
        metavar="N",
        help="number of processes (default 1)",
    )
    add(
        "--keep-parts",
        action="store_true",
        help="keep OUT.parts/, so that complexes can be added later",
    )
    add("--overwrite", action="store_true", help="replace an archive that exists")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare the archive and print what became of the complexes.

    Raises:
        InputError: a folder, file or bound that cannot be used, or nothing survived.
    """
    from protein.docking.complexes.components import read_components
    from protein.docking.complexes.prepare import prepare_docking

    components = read_components(args.components) if args.components else None
    settings = _settings(args)
    with progress("reading complexes", None, show=not args.json) as bar:
        seen = 0

        def tell(name: str, done: int, total: int) -> None:
            nonlocal seen
            bar.advance(done - seen, f"{done} of {total}")
            seen = done

        report = prepare_docking(args.folder, args.out, settings, components, tell)
    emit(args, report.as_dict(), _text(report))
    if report.archive is None:
        reasons = ", ".join(f"{number} {reason}" for reason, number in report.dropped.items())
        raise InputError(
            f"{args.folder}: no complex could be kept ({reasons}); see {report.dropped_table}"
        )
    return 0


def _settings(args: argparse.Namespace) -> DockPrepareSettings:
    from protein.docking.complexes.prepare import DockPrepareSettings
    from protein.docking.complexes.sources import ReadSettings

    read = ReadSettings(
        conformers=args.conformers,
        max_rmsd=args.max_rmsd,
        max_atoms=args.max_atoms,
        max_torsions=args.max_torsions,
    )
    return DockPrepareSettings(
        read=read,
        val=args.val,
        test=args.test,
        seed=args.seed,
        jobs=args.jobs,
        keep_parts=args.keep_parts,
        overwrite=args.overwrite,
    )


def _text(report: DockPrepareReport) -> str:
    """The summary people read."""
    resumed = f" ({report.resumed} by an earlier run)" if report.resumed else ""
    lines = [f"{report.sources} complexes found{resumed}"]
    if report.dropped:
        lines += ["", as_table(("dropped", "count"), list(report.dropped.items()))]
    if report.archive is not None:
        parts = ", ".join(f"{name} {number}" for name, number in report.splits.items())
        lines += [
            "",
            f"kept {report.complexes} complexes in {report.groups} groups of relatives: {parts}",
            f"archive  {report.archive}",
        ]
    return "\n".join([*lines, f"dropped  {report.dropped_table}"])


command = Command(
    name="dock",
    help="turn protein-ligand complexes into a training set of docking poses",
    configure=configure,
    run=run,
    example="sciddiff prepare dock complexes/ -o data/complexes.npz",
    needs=NEEDS,
)

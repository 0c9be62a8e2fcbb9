"""``sciddiff score``: energies, clashes, verdicts and confidence of existing poses."""

from __future__ import annotations

import argparse
import csv
import io
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from protein.docking import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_seed, count
from sciddiff.cli.output import as_table, emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from sciddiff.names import cell

_EXAMPLES = """examples:
  sciddiff score -r receptor.pdb -l poses.sdf
  sciddiff score -r receptor.pdb -l vina_out.sdf glide_out.sdf --check -o scores.csv
  sciddiff score -r receptor.pdb -l poses.sdf --minimize --write minimized.sdf -o scores.csv

exit status: 0 every pose was scored, 1 some were not (the table says why), 2 none was
"""
_SHOWN = ("name", "record", "confidence", "affinity", "energy", "strain", "clashes", "contacts",
          "moved", "valid")  # fmt: skip
_MOST_SHOWN = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("-r", "--receptor", type=Path, required=True, metavar="FILE", help="protein, PDB or mmCIF")
    add(
        "-l",
        "--ligand",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="poses of any molecules: .sdf, .mol2, .pdbqt, .pdb or .cif (also with .gz), or "
        "folders of them",
    )
    add("--template", metavar="SMILES",
        help="the molecule, as SMILES or a file, for poses without bond orders")  # fmt: skip
    add("--scoring", default="vina", metavar="NAME",
        help="scoring function: vina, vinardo, or a file of weights; other than vina, there is no "
        "confidence (default vina)")  # fmt: skip
    add("--per-atom", type=Path, metavar="FILE",
        help="write energy and unweighted terms of each ligand atom to this CSV file")  # fmt: skip
    add("-o", "--out", type=Path, metavar="FILE", help="write the table to this CSV file")
    add(
        "--write",
        type=Path,
        metavar="FILE",
        help="write the scored poses to this SDF file, with tags",
    )
    add(
        "--minimize",
        action="store_true",
        help="move each pose to the nearest minimum of the energy first",
    )
    add(
        "--check",
        action="store_true",
        help="check the poses with PoseBusters, about a second for each",
    )
    add(
        "--keep", default="", metavar="LIST", help="further HETATM groups to keep: GDP,HOH,A:301"
    )
    add(
        "--ranker",
        metavar="NAME",
        help="ranker that gives the confidence: shipped weights, a model folder, or none (default "
        "the weights that ship)",
    )
    add_seed(parser)
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Score every pose; print or write the table.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    from protein.docking.confidence.ranker import find_ranker
    from protein.docking.energy.scoring_file import find_scoring
    from protein.docking.molecules.files import read_ligand
    from protein.docking.poses.files import ANY_SIZE, pose_files, sdf_record
    from protein.docking.poses.metrics import pdb_file
    from protein.docking.receptors.receptor import read_receptor
    from protein.docking.receptors.waters import kept_groups, refuse_absent
    from protein.docking.scoring.score import ScoreSettings, score_files
    from protein.docking.scoring.table import (
        ATOM_COLUMNS,
        atom_rows,
        score_columns,
        score_row,
        score_tags,
    )
    from sciddiff.files import replacing

    args.ligand = pose_files(args.ligand)
    _refuse_overwriting(args)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    keep = kept_groups(args.keep).names
    receptor = read_receptor(args.receptor, keep)
    refuse_absent(args.receptor, receptor, keep)
    remark(args.receptor, receptor.notes)
    settings = ScoreSettings(
        args.minimize, check=args.check, seed=args.seed, weights=find_scoring(args.scoring),
        per_atom=args.per_atom is not None,
    )  # fmt: skip
    if args.scoring != "vina" and args.ranker not in (None, "none"):
        raise InputError("--ranker: has learned from Vina's terms; leave it or --scoring out")
    ranker = find_ranker(args.ranker if args.scoring == "vina" else "none")
    template = None if args.template is None else read_ligand(args.template, ANY_SIZE)
    atoms: list[dict[str, str]] = []
    rows: list[dict[str, str]] = []
    with ExitStack() as stack:
        judged = stack.enter_context(pdb_file(args.receptor)) if args.check else None
        written = stack.enter_context(replacing(args.write)) if args.write else None
        bar = stack.enter_context(progress("scoring", None, show=not args.json))
        found = score_files(args.ligand, receptor, settings, ranker, judged, template)
        for index, (pose, scores, k) in enumerate(found, 1):
            rows.append(score_row(index, pose, scores, k))
            if not isinstance(scores, str):
                atoms += atom_rows(index, pose, scores, k)
            if written is not None and pose.ligand is not None and not isinstance(scores, str):
                tags = {**pose.tags, **score_tags(scores, k)}
                record = sdf_record(pose.ligand, scores.coords[k], pose.name, tags)
                written.write(record.encode("utf-8"))
            bar.advance(1)
    if args.out is not None:
        columns = score_columns(settings, ranker is not None)
        with replacing(args.out) as out:
            out.write(_csv(columns, rows).encode("utf-8"))
    if args.per_atom is not None:
        with replacing(args.per_atom) as out:
            out.write(_csv(list(ATOM_COLUMNS), atoms).encode("utf-8"))
    return _tell(args, rows)


def _refuse_overwriting(args: argparse.Namespace) -> None:
    inputs = {path.resolve() for path in (args.receptor, *args.ligand)}
    for option, path in (("-o", args.out), ("--write", args.write), ("--per-atom", args.per_atom)):
        if path is not None and path.resolve() in inputs:
            raise InputError(f"{option} {path}: is one of the inputs; choose another name")
        if path is not None and path.is_dir():
            raise InputError(f"{option} {path}: is a folder; give a file")


def _csv(columns: list[str], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _tell(args: argparse.Namespace, rows: list[dict[str, str]]) -> int:
    """Print what came of it; the exit status."""
    good = [row for row in rows if row["status"] == "ok"]
    bad = [row for row in rows if row["status"] != "ok"]
    data: dict[str, Any] = {"poses": len(rows), "scored": len(good), "failed": len(bad)}
    lines = []
    if args.out is not None:
        data["table"] = str(args.out)
    else:
        data["rows"] = rows
        columns = [name for name in _SHOWN if any(name in row for row in good)]
        cells = [[row.get(name, "") for name in columns] for row in good[:_MOST_SHOWN]]
        lines += [as_table(columns, cells)] if good else []
        if len(good) > _MOST_SHOWN:
            lines.append(f"and {len(good) - _MOST_SHOWN} more; write them all with -o scores.csv")
    if args.write is not None:
        data["written"] = str(args.write)
    where = "" if args.out is None else f"; {args.out}"
    lines.append(f"{len(good)} of {len(rows)} poses scored{where}")
    for row in bad[:5]:
        place = f"{row['file']}, record {row['record']}: " if row["record"] else ""
        lines.append(f"failed   {place}{row['reason']}")
    if len(bad) > 5:
        lines.append(f"failed   and {len(bad) - 5} more" + (", see the table" if where else ""))
    emit(args, data, "\n".join(lines))
    return 0 if not bad else 1 if good else 2


command = Command(
    name="score",
    help="compute energy, strain, clashes and verdict of existing poses",
    configure=configure,
    run=run,
    example="sciddiff score -r receptor.pdb -l poses.sdf --check -o scores.csv",
    needs=NEEDS,
)

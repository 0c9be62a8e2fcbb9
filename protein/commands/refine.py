"""``sciddiff refine``: anyone's poses cleaned, minimised, checked and ranked."""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.docking import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_output, add_seed, count
from sciddiff.cli.output import emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError
from sciddiff.names import Names, cell

if TYPE_CHECKING:
    from protein.docking.poses.files import GivenPose
    from protein.docking.scoring.refine import RefinedPose

TABLE = "refined.csv"
_SAVED = "rows"  # what was made of each molecule, so that an interrupted command goes on
_EXAMPLES = """examples:
  sciddiff refine -r receptor.pdb -l poses.sdf -o refined/
  sciddiff refine -r receptor.pdb -l poses.pdb --template "CC(=O)Nc1ccc(O)cc1" -o refined/
  sciddiff refine -r predicted.cif --residue LIG --template "CC(=O)Nc1ccc(O)cc1" -o refined/

exit status: 0 every pose was kept, 1 some were dropped or failed (see refined.csv), 2 all were
"""
_COLUMNS: tuple[str, ...] = (
    "index", "file", "record", "name", "ligand", "status", "reason", "rank", "confidence",
    "affinity_given", "affinity", "energy", "intramolecular", "strain", "moved", "clashes",
    "contacts", "valid", "failed_checks",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("-r", "--receptor", type=Path, required=True, metavar="FILE",
        help="protein, PDB or mmCIF; without -l its ligand is the pose")  # fmt: skip
    add("-l", "--ligand", type=Path, nargs="+", default=[], metavar="FILE",
        help="poses: .sdf, .mol2, .pdbqt, .pdb or .cif (also with .gz), or folders of "
        "them")  # fmt: skip
    add("--residue", default="", metavar="NAME",
        help="residue name of the ligand in PDB and mmCIF files")  # fmt: skip
    add("--template", metavar="SMILES",
        help="the molecule, as SMILES or a file: bond orders, charges and stereochemistry that "
        "all poses must have (needed for files without bond orders)")  # fmt: skip
    add_output(parser)
    add("--poses", type=count(), default=100, metavar="N",
        help="poses kept of each molecule (default 100)")  # fmt: skip
    add("--no-relax", dest="relax", action="store_false",
        help="keep bonds, angles and rings as they are")  # fmt: skip
    add("--no-check", dest="check", action="store_false",
        help="do not drop poses that PoseBusters finds impossible (a second each)")  # fmt: skip
    add("--no-complex", action="store_true", help="do not write the best pose with its receptor")
    add("--keep", default="", metavar="LIST",
        help="further HETATM groups of the receptor to keep: GDP,HOH,A:301")  # fmt: skip
    add("--ranker", metavar="NAME",
        help="ranker that orders poses by confidence: shipped weights, a model folder, or none to "
        "order them by energy (default: the weights that ship)")  # fmt: skip
    add_seed(parser)
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Refine every pose; write poses, tables and the report.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    from protein.commands.dock_summary import networks, refuse_file_name
    from protein.docking.campaign.output import (
        RESULTS,
        Row,
        by_affinity,
        failed_row,
        write_best,
        write_docked,
        write_results,
    )
    from protein.docking.confidence.ranker import find_ranker
    from protein.docking.poses.files import pose_files
    from protein.docking.poses.metrics import pdb_file
    from protein.docking.receptors.receptor import read_receptor
    from protein.docking.receptors.waters import kept_groups, refuse_absent
    from protein.docking.report.write import try_report
    from protein.docking.scoring.refine import RefineSettings, pose_groups, refine_group
    from sciddiff.cli.campaign import Campaign, machine_facts

    refuse_file_name(args.out, "refine")
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    files = pose_files(args.ligand) or [args.receptor]
    drop = frozenset() if args.ligand else frozenset({_residue(args).upper()})
    keep = kept_groups(args.keep).names
    receptor = read_receptor(args.receptor, keep, drop)
    refuse_absent(args.receptor, receptor, keep)
    remark(args.receptor, receptor.notes)
    settings = RefineSettings(args.relax, args.check, args.poses, args.seed)
    ranker = find_ranker(args.ranker)
    args.model = None
    inputs = networks(args).add("--receptor", args.receptor).add_all("--ligand", files)
    request = {**asdict(settings), "keep": args.keep, "residue": args.residue,
               "template": args.template}  # fmt: skip
    saved = args.out / _SAVED
    campaign = Campaign.open(args.out, request, args.command_line, inputs, any(saved.glob("*")))
    campaign.facts |= {"receptor": list(receptor.notes), **machine_facts(), **campaign.facts}
    names, rows, table, made, started = Names(), [], [], 0, time.perf_counter()
    with ExitStack() as stack:
        judged = stack.enter_context(pdb_file(args.receptor, drop)) if args.check else None
        bar = stack.enter_context(progress("refining", None, show=not args.json))
        for group in pose_groups(_poses(args, files)):
            record = saved / f"{len(rows):06d}.json" if group[0].ligand else saved / "failed.json"
            name, number = "", len(rows)
            if group[0].ligand is not None:
                name = names.unique(group[0].name, f"ligand_{number + 1}")
            done = _read_saved(record)
            if done is None:
                found = refine_group(group, receptor, settings, ranker, judged)
                made += len(group)
                row = None
                if found.ligand is not None:
                    row = (
                        failed_row(number, name, found.result.error)
                        if found.result.docked is None
                        else write_docked(
                            args.out, number, name, found.ligand, receptor, found.result,
                            found.verdicts, not args.no_complex,
                        )
                    ).as_dict()  # fmt: skip
                done = {"row": row, "poses": [_row(pose, name) for pose in found.poses]}
                _save(record, done)
            if done["row"] is not None:
                rows.append(Row(**done["row"]))
            table += done["poses"]
            bar.advance(len(group))
    ordered = by_affinity(rows)
    _write_table(args.out / TABLE, table)
    write_results(args.out / RESULTS, [row.as_dict() for row in ordered])
    write_best(args.out, ordered)
    campaign.ran(made, time.perf_counter() - started, args.command_line)
    page = try_report(args.out) if any(row.status == "ok" for row in rows) else None
    return _tell(args, table, page)


def _residue(args: argparse.Namespace) -> str:
    """Residue name of the ligand in the receptor's own file."""
    from protein.docking.molecules.coordinates import ligand_groups

    if args.residue:
        return args.residue
    names = {group.name.split()[0] for group in ligand_groups(args.receptor)}
    if len(names) > 1:
        raise InputError(
            f"{args.receptor}: holds several ligands ({', '.join(sorted(names))}); name one with "
            "--residue"
        )
    return names.pop()


def _poses(args: argparse.Namespace, files: list[Path]) -> Iterator[GivenPose]:
    """The poses of all files; a file that cannot be read is a pose that failed."""
    from protein.docking.molecules.files import read_ligand
    from protein.docking.poses.files import ANY_SIZE, GivenPose, read_poses

    template = None if args.template is None else read_ligand(args.template, ANY_SIZE)
    residue = args.residue or ("" if args.ligand else _residue(args))
    for file in files:
        try:
            yield from read_poses(file, template, residue)
        except InputError as error:
            yield GivenPose(file, 0, file.name.split(".")[0], None, error=str(error))


def _row(pose: RefinedPose, ligand: str) -> dict[str, Any]:
    given = pose.given
    row: dict[str, Any] = {
        "file": str(given.file), "record": given.record or "", "name": given.name,
        "ligand": ligand,
        "status": pose.status, "reason": pose.reason, "rank": pose.rank or "",
    }  # fmt: skip
    if pose.scores is not None:
        from protein.docking.scoring.table import score_tags

        row |= {**score_tags(pose.scores, pose.place), "moved": f"{pose.moved:.3f}"}
    if pose.confidence is not None:
        row["confidence"] = f"{pose.confidence:.3f}"
    return row


def _read_saved(record: Path) -> dict[str, Any] | None:
    """What an earlier call of the same request made of a molecule; None if nothing.

    Raises:
        InputError: its record is damaged.
    """
    from protein.docking.campaign.output import Row

    if not record.exists():
        return None
    try:
        done = json.loads(record.read_text(encoding="utf-8"))
        if done["row"] is not None:
            Row(**done["row"])
        return {"row": done["row"], "poses": [dict(pose) for pose in done["poses"]]}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{record}: is damaged; remove it and run the same command again"
        ) from error


def _save(record: Path, done: dict[str, Any]) -> None:
    """Record what was made of a molecule, whose files are written, in one step."""
    from sciddiff.files import replacing

    record.parent.mkdir(parents=True, exist_ok=True)
    with replacing(record) as out:
        out.write(json.dumps(done, default=str).encode())


def _write_table(path: Path, table: list[dict[str, Any]]) -> None:
    from sciddiff.files import replacing

    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for index, row in enumerate(table, 1):
        writer.writerow({"index": index, **{key: cell(value) for key, value in row.items()}})
    with replacing(path) as out:
        out.write(text.getvalue().encode("utf-8"))


def _tell(args: argparse.Namespace, table: list[dict[str, Any]], page: Path | None) -> int:
    """Print what came of it; the exit status."""
    kept = [row for row in table if row["status"] == "kept"]
    lost = [row for row in table if row["status"] != "kept"]
    data = {
        "poses": len(table), "kept": len(kept), "folder": str(args.out),
        "dropped": sum(row["status"] == "dropped" for row in lost),
        "failed": sum(row["status"] == "failed" for row in lost),
        "table": str(args.out / TABLE), "report": None if page is None else str(page),
    }  # fmt: skip
    lines = [f"{len(kept)} of {len(table)} poses kept; {args.out / TABLE}"]
    for row in lost[:5]:
        # The reason of a whole file begins with its name.
        place = f"{row['file']}, record {row['record']}: " if row["record"] else ""
        lines.append(f"{row['status']:8s} {place}{row['reason']}")
    if len(lost) > 5:
        lines.append(f"and {len(lost) - 5} more; the table has their reasons")
    if page is not None:
        lines.append(f"open     {page}")
    emit(args, data, "\n".join(lines))
    return 0 if not lost else 1 if kept else 2


command = Command(
    name="refine",
    help="clean, minimise, check and rank existing poses",
    configure=configure,
    run=run,
    example="sciddiff refine -r receptor.pdb -l poses.sdf -o refined/",
    needs=NEEDS,
)

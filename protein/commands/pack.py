"""``sciddiff pack``: side chains for backbones and sequences."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.sidechains import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import (
    add_device,
    add_json,
    add_output,
    add_seed,
    count,
    number,
    pick_device,
)
from sciddiff.cli.output import as_table, emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.sidechains.packer import PackSettings
    from protein.sidechains.records import Record
    from protein.sidechains.targets import Target
    from sciddiff.cli.campaign import Campaign

_EXAMPLES = """examples:
  sciddiff pack backbone.pdb -o packed/
  sciddiff pack designs/ -n 4 -o packed/
  sciddiff pack complex.cif --fix "A10-20,B" -o packed/
  sciddiff pack backbone.pdb --sequence designs.fa -o packed/

Residues are named as in the file: chain, number, insertion code (A10-20,B35,C52A).
exit status: 0 all was done, 1 some structures were left out, 2 nothing was done
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("structures", type=Path, nargs="+", metavar="SOURCE",
        help="PDB or mmCIF files, or folders of them; side chains that they have are replaced, "
        "ligands and ions are seen")  # fmt: skip
    add_output(parser, "packed")
    add("-n", "--number", type=count(), default=8, metavar="N",
        help="draws of each structure, of which one is put together (default 8)")  # fmt: skip
    group = parser.add_argument_group("what is packed")
    add = group.add_argument
    add("--fix", default="", metavar="RESIDUES", help="side chains that are kept: B10-20,B35,C")
    add("--sequence", type=Path, metavar="FASTA",
        help="sequences to pack on each structure in place of its own: all its chains, separated "
        "by / or :")  # fmt: skip
    add("--structure-model", type=count(0), default=0, metavar="N",
        help="which model of an NMR file is read, counted from 0 (default 0)")  # fmt: skip
    group = parser.add_argument_group("how side chains are drawn")
    add = group.add_argument
    add("--steps", type=count(), default=8, metavar="N",
        help="steps of each draw; more draws help more than more steps (default 8)")  # fmt: skip
    add("--choose", choices=("residues", "draw"), default="residues",
        help="take for every residue one of its draws, so that all are likely together and do not "
        "clash, or the best draw as it is (default residues)")  # fmt: skip
    add("--overlap", type=number(0.0), default=40.0, metavar="W",
        help="nats that an overlap of 1 Å² costs in that choice (default 40)")  # fmt: skip
    add("--relieve", action="store_true",
        help="turn torsions by up to 20 degrees, within their rotamers, where atoms still "
        "overlap")  # fmt: skip
    add("--backbone-noise", type=number(0.0, 0.3), default=0.0, metavar="S",
        help="standard deviation (Å) of the errors that the network should expect in the "
        "backbone (default 0)")  # fmt: skip
    add("--write-draws", action="store_true", help="write all draws too, in draws/")
    add("--model", default="pack_lite",
        help="shipped weights or a model's folder (default pack_lite)")  # fmt: skip
    add_seed(parser)
    add_device(parser)
    add = parser.add_argument
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add("--no-report", action="store_true", help="write no report.html")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Pack the structures.

    Returns:
        The exit status: 1 if some structures were left out.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    from protein.sidechains.campaign import PACKED
    from protein.sidechains.packer import PackSettings
    from protein.sidechains.report import write_report
    from protein.sidechains.targets import find_targets
    from sciddiff.cli.campaign import read_record

    found = find_targets(args.structures, args.fix, args.sequence, args.structure_model)
    for file, reason in found.left_out.items():
        remark(file, [f"this structure is left out: {reason}"])
    if not found.targets:
        raise InputError(f"{args.structures[0]}: no structure can be read; give others")
    for source in dict.fromkeys(target.source for target in found.targets):
        notes = next(target.notes for target in found.targets if target.source == source)
        remark(source, notes)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    settings = PackSettings(
        draws=args.number,
        steps=args.steps,
        assemble=args.choose == "residues",
        overlap=args.overlap,
        relieve=args.relieve,
        noise=args.backbone_noise,
        seed=args.seed,
    )
    job = Packing(
        args.out, found.targets, settings, args.model, args.fix, args.write_draws, found.left_out
    )
    made, seconds = pack_all(job, args.device, args.command_line, show=not args.json)
    summary = {**_summary(made), "folder": str(args.out), "seconds": round(seconds, 2)}
    lines = [_table(made), f"{len(made)} structures in {args.out / PACKED}"]
    if not args.no_report:
        report = write_report(args.out, made, read_record(args.out))
        summary["report"] = str(report)
        lines[-1] += f"; open {report}"
    emit(args, summary, "\n".join(lines))
    return 1 if found.left_out else 0


@dataclass(frozen=True)
class Packing:
    """What is packed, and how.

    Attributes:
        out: folder to write to.
        targets: the structures.
        settings: how they are packed.
        model: shipped weights or a model's folder.
        fix: what is held, as the user wrote it.
        write_draws: write every draw too.
        left_out: why other structures were left out, by file.
    """

    out: Path
    targets: Sequence[Target]
    settings: PackSettings
    model: str
    fix: str = ""
    write_draws: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)


def pack_all(
    job: Packing, device: str, command: str, show: bool
) -> tuple[list[tuple[Target, Record]], float]:
    """Pack structures into a folder with its record and tables.

    Args:
        job: what is packed, and how.
        device: as the user named it.
        command: the command line, for the record.
        show: show progress.

    Returns:
        The structures with their records, and the seconds it took.

    Raises:
        InputError: the model or the folder cannot be used.
    """
    from protein.sidechains.campaign import PackParts
    from protein.sidechains.records import Record
    from protein.sidechains.tables import structure_row, write_tables
    from sciddiff.checkpoint import describe, load
    from sciddiff.cli.campaign import machine_facts
    from sciddiff.cli.parts import do_all
    from sciddiff.shipped import find_model

    where = pick_device(device)
    parts = PackParts(
        job.out,
        job.targets,
        job.settings,
        partial(load, job.model, where, domain="pack"),
        where,
        job.write_draws,
    )
    campaign = _open(job, command, parts.begun)
    started = time.perf_counter()
    with progress("packing", parts.left(), show=show) as bar:
        parts.on_done = bar.advance
        do_all(parts)
    seconds = time.perf_counter() - started
    meta = describe(find_model(job.model))
    campaign.ran(parts.made, seconds, command, model_card=meta, **machine_facts())
    made = [(target, Record.read(parts.file(target))) for target in job.targets]
    write_tables(job.out, made)
    campaign.note(
        figures={target.name: structure_row(target, record) for target, record in made},
        **({"left_out": dict(job.left_out)} if job.left_out else {}),
    )
    return made, seconds


def _open(job: Packing, command: str, begun: bool) -> Campaign:
    """The record of the folder."""
    from sciddiff.checkpoint import describe
    from sciddiff.cli.campaign import Campaign
    from sciddiff.cli.fingerprint import Inputs, digest
    from sciddiff.shipped import find_model

    inputs = Inputs().add_model("--model", describe(find_model(job.model)), job.model)
    parts = [
        [one.name, one.sequence, one.labels, one.template.atoms.round(3).tolist(),
         one.template.around.round(3).tolist()]
        for one in job.targets
    ]  # fmt: skip
    sources = ", ".join(dict.fromkeys(one.source for one in job.targets))[:150]
    inputs.add_text("structures", f"{sources} {digest(parts)}")
    request = {"mode": "side chains", **asdict(job.settings), "write_draws": job.write_draws}
    if job.fix:
        request["fix"] = job.fix
    return Campaign.open(job.out, request, command, inputs, begun)


def _summary(made: Sequence[tuple[Target, Record]]) -> dict[str, Any]:
    from protein.sidechains.tables import structure_row

    return {"structures": {target.name: structure_row(target, record) for target, record in made}}


def _table(made: Sequence[tuple[Target, Record]], most: int = 20) -> str:
    header = ("structure", "residues", "packed", "fixed", "clashes", "confidence", "score",
              "as in the file")  # fmt: skip
    rows = []
    for target, record in made[:most]:
        own = record.own.get("chi1_20")
        rows.append(
            (target.name, record.residues, record.packed, record.fixed, record.clashes,
             f"{record.confidence:.3f}", f"{record.score:.3f}",
             "" if own is None else f"{100.0 * own:.1f} %")
        )  # fmt: skip
    more = f"\nand {len(made) - most} more, see structures.csv" if len(made) > most else ""
    return as_table(header, rows) + more


command = Command(
    "pack",
    "pack side chains on backbones: full-atom structures with confidence and clashes",
    configure,
    run,
    needs=NEEDS,
)

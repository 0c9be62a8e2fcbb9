"""`sciddiff design`: sequences for backbones, their scores, profiles and mutants."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.commands.design_options import configure
from protein.commands.steering import steering, steering_files
from protein.sequence import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import pick_device
from sciddiff.cli.output import as_table, emit, remark
from sciddiff.cli.progress import progress
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.commands.design_templates import Found
    from protein.sequence.design.campaign import SequenceParts
    from protein.sequence.design.engine import Engine, SequenceDesigner
    from protein.sequence.design.plan import Plan
    from protein.sequence.design.tables import Tables
    from protein.sequence.design.wishes import Wishes
    from sciddiff.cli.campaign import Campaign

_BALANCE = {"auto": None, "on": True, "off": False}


def run(args: argparse.Namespace) -> int:
    """Design, score or plan.

    Returns:
        The exit status: 1 if some structures were left out.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    from protein.commands.design_templates import find_templates
    from protein.sequence.design.engine import check_options, engine_of
    from protein.sequence.design.settings import DrawSettings
    from protein.sequence.rewards import TERMS

    check_options(args)
    if args.score_only != (args.fasta is not None):
        raise InputError("--score-only: needs sequences; give --fasta FILE with it, and only then")
    if args.steer is not None and (args.score_only or args.scan or args.profile):
        raise InputError("--steer: is for sequences that are drawn; leave it out")
    # Files are named after temperatures.
    if len({f"{one:g}" for one in args.temperature}) < len(args.temperature):
        raise InputError("--temperature: two are equal to six digits; give different ones")
    found = find_templates(args.structures, args.structure_model)
    for file, reason in found.left_out.items():
        remark(file, [f"this structure is left out: {reason}"])
    plans = _plans(args, found)
    if args.plan:
        text = "\n\n".join(plan.describe() for plan in plans)
        emit(args, {"plans": [plan.summary() for plan in plans]}, text)
        return 0
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    settings = DrawSettings(
        args.order or "colour", args.calls, args.orders, args.seed, **steering(args, TERMS)
    )
    engine = engine_of(args.model, settings, pick_device(args.device))
    if args.score_only or args.scan or args.profile:
        _measure(args, plans, engine)
    else:
        _design(args, plans, engine, found.left_out)
    return 1 if found.left_out else 0


def _plans(args: argparse.Namespace, found: Found) -> list[Plan]:
    """What is designed of every structure; all are checked before any is designed."""
    from protein.sequence.design.engine import PROTEINMPNN
    from protein.sequence.design.plan import plan_of
    from protein.sequence.design.proteinmpnn import read_dictionary, wishes_of

    entries = [entry for file in args.proteinmpnn for entry in read_dictionary(file)]
    wishes = _wishes(args)
    plans = []
    for template in found.templates:
        remark(template.source, template.notes)
        own = wishes
        if entries:
            more = wishes_of(entries, template.name, template.residues)
            own = wishes.joined(more)
            remark(template.source, [f"the dictionaries say {word}" for word in more.words()])
        balance = False if args.model == PROTEINMPNN else _BALANCE[args.balance]
        plan = plan_of(template, own, args.backbone_noise, balance)
        if not args.plan:
            remark(template.source, plan.facts.get("notes", []))
        plans.append(plan)
    return plans


def _wishes(args: argparse.Namespace) -> Wishes:
    from protein.sequence.design.wishes import Wishes, read_biases

    return Wishes(
        chains=args.chains,
        fix=args.fix,
        omit_aa=args.omit_aa,
        bias_aa=args.bias_aa,
        omit_at=args.omit_at,
        only_at=args.only_at,
        tie=args.tie,
        tie_weight=args.tie_weight,
        bias_at=() if args.bias_at is None else read_biases(args.bias_at),
        symmetric=args.symmetric,
    )


def _open(
    args: argparse.Namespace,
    plans: Sequence[Plan],
    engine: Engine,
    begun: bool,
    **more: Any,
) -> Campaign:
    """The record of the folder."""
    from protein.sequence.rewards import TERMS
    from sciddiff.cli.campaign import Campaign
    from sciddiff.cli.fingerprint import Inputs

    inputs = Inputs().add_model("--model", engine.meta, args.model)
    sources = ", ".join(plan.template.source for plan in plans)
    inputs.add_values("SOURCE", _content(plans), sources)
    for name in ("bias_at", "fasta"):
        if (path := getattr(args, name)) is not None:
            inputs.add(f"--{name.replace('_', '-')}", path)
    if args.proteinmpnn:
        inputs.add_all("--proteinmpnn", args.proteinmpnn)
    for file in steering_files(args, TERMS):
        inputs.add("--steer", file)
    names = ("chains", "fix", "omit_aa", "bias_aa", "omit_at", "only_at", "tie", "tie_weight",
             "symmetric")  # fmt: skip
    wished = {name: getattr(args, name) for name in names if getattr(args, name)}
    request = {
        "mode": "sequences",
        **wished,
        "noise": args.backbone_noise,
        **engine.settings.record(),
    }
    request["balance"] = args.balance
    return Campaign.open(args.out, {**request, **more}, args.command_line, inputs, begun)


def _content(plans: Sequence[Plan]) -> list[Any]:
    """What was read of the structures."""
    return [
        [plan.name, plan.residues.labels, chain.sequence, chain.coords.round(3).tolist()]
        for plan in plans
        for chain in plan.template.chains
    ]


def _design(
    args: argparse.Namespace,
    plans: Sequence[Plan],
    engine: Engine,
    left_out: dict[str, str],
) -> None:
    from protein.sequence.design.campaign import SequenceParts
    from protein.sequence.design.tables import collect, write_boltz, write_tables
    from sciddiff.cli.campaign import machine_facts
    from sciddiff.cli.parts import do_all
    from sciddiff.shipped import find_model

    if args.pack is not None:
        find_model(args.pack)  # refused before the first sequence is drawn
    parts = SequenceParts(
        args.out, plans, args.temperature, args.number, engine.settings, engine.designer
    )
    temperatures = {"temperature": sorted(args.temperature)}
    campaign = _open(args, plans, engine, parts.begun, **temperatures)
    started = time.perf_counter()
    with progress("designing", parts.left(), show=not args.json) as bar:
        parts.on_done = bar.advance
        do_all(parts)
    seconds = time.perf_counter() - started
    meta = engine.meta
    campaign.ran(parts.made, seconds, args.command_line, model_card=meta, **machine_facts())
    tables = collect(parts)
    write_tables(parts, tables, args.model, meta, args.separator, args.gaps == "X")
    if args.boltz:
        write_boltz(args.out, tables)
    summary = {**_summary(tables), "folder": str(args.out), "seconds": round(seconds, 2)}
    campaign.note(
        figures=summary["structures"],
        **({"left_out": left_out} if left_out else {}),
    )
    lines = [_table(tables), f"{summary['designs']} sequences in {args.out}"]
    if not args.no_report:
        from protein.sequence.design.report import write_report

        report = write_report(args.out, tables, campaign.record)
        summary["report"] = str(report)
        lines[-1] += f"; open {report}"
    lines += _warnings(tables)
    if args.pack is not None:
        lines.append(_pack(args, parts, tables))
    emit(args, summary, "\n".join(lines))


def _pack(args: argparse.Namespace, parts: SequenceParts, tables: Sequence[Tables]) -> str:
    """Pack side chains on every design; one line on what came of it."""
    from protein.commands.pack import Packing, pack_all
    from protein.sidechains.packer import PackSettings
    from protein.sidechains.report import write_report
    from protein.sidechains.targets import find_targets
    from sciddiff.cli.campaign import read_record

    files = [parts.structure(design.name) for one in tables for design in one.designs]
    settings = PackSettings(noise=min(args.backbone_noise, 0.3), seed=args.seed)
    out = args.out / "side_chains"
    job = Packing(out, find_targets(files).targets, settings, args.pack)
    made, _ = pack_all(job, args.device, args.command_line, show=not args.json)
    if not args.no_report:
        write_report(out, made, read_record(out))
    clashes = sum(record.clashes for _, record in made)
    return f"{len(made)} of them with side chains in {out}, {clashes} clashes"


def _summary(tables: Sequence[Tables]) -> dict[str, Any]:
    return {
        "designs": sum(len(one.designs) for one in tables),
        "structures": {one.plan.name: one.figures() for one in tables},
    }


def _table(tables: Sequence[Tables], most: int = 20) -> str:
    header = ["structure", "designed", "sequences", "distinct", "score", "native", "recovery",
              "entropy"]  # fmt: skip
    steered = any("reward" in one.figures() for one in tables)
    header += ["reward"] * steered
    rows = []
    for one in tables[:most]:
        said = one.figures()
        rows.append(
            (
                one.plan.name, said["designed"], said["sequences"], said["distinct"],
                f"{said['score']:.3f}", f"{said['native_score']:.3f}",
                "-" if said["recovery"] is None else f"{said['recovery']:.3f}",
                f"{said['entropy']:.2f}", *([f"{said['reward']:.2f}"] if steered else []),
            )
        )  # fmt: skip
    more = f"\nand {len(tables) - most} more, see designs.csv" if len(tables) > most else ""
    return as_table(header, rows) + more


def _warnings(tables: Sequence[Tables], most: int = 5) -> list[str]:
    """What is remarkable about the designs, one line a structure."""
    blank = [one.plan for one in tables if one.plan.no_recovery]
    found = []
    if blank:
        more = f", and of {len(blank) - 1} more" if len(blank) > 1 else ""
        found.append(f"note  no recovery of {blank[0].name}{more}: {blank[0].no_recovery}")
    for one in tables:
        flagged = [design for design in one.designs if design.quality.warnings]
        if flagged:
            first = "; ".join(flagged[0].quality.warnings)
            found.append(
                f"warning  {one.plan.name}: {len(flagged)} of {len(one.designs)} sequences are "
                f"remarkable, {flagged[0].name}: {first}"
            )
        if len(one.designs) > 1 and one.distinct < len(one.designs):
            found.append(
                f"warning  {one.plan.name}: {one.distinct} of {len(one.designs)} sequences are "
                "distinct; raise --temperature"
            )
    more = [f"warning  and {len(found) - most} more, see designs.csv"] if len(found) > most else []
    return found[:most] + more


def _measure(args: argparse.Namespace, plans: Sequence[Plan], engine: Engine) -> None:
    """Scores of given sequences, profiles and mutants; no new sequences."""
    from protein.sequence.design.scoring import write_mutants, write_profile

    wanted = [name for name in ("score_only", "scan", "profile") if getattr(args, name)]
    engine.read()
    _open(args, plans, engine, begun=False, measured=wanted)
    written: list[Path] = []
    rows: list[dict[str, Any]] = []
    residues: list[dict[str, Any]] = []
    what, total = ("sequences", None) if args.score_only else ("structures", len(plans))
    with progress(f"measuring {what}", total, show=not args.json) as bar:
        for plan in plans:
            designer = engine.designer(plan)
            if args.profile:
                written += write_profile(args.out, designer)
            if args.scan:
                written += write_mutants(args.out, designer)
            if args.score_only:
                _score(args, designer, rows, residues, bar.advance)
            else:
                bar.advance()
    if args.score_only:
        written += [args.out / "scores.csv", args.out / "residues.csv"]
    shown = ("name", "score", "score_se", "global_score", "seq_recovery")
    lines = [as_table(shown, [[row[name] for name in shown] for row in rows[:40]])] if rows else []
    if len(rows) > 40:
        lines.append(f"and {len(rows) - 40} more")
    lines += [f"written  {path}" for path in written]
    data = {"written": [str(path) for path in written]}
    emit(args, {**data, "scores": rows} if args.score_only else data, "\n".join(lines))


def _score(
    args: argparse.Namespace,
    designer: SequenceDesigner,
    rows: list[dict[str, Any]],
    residues: list[dict[str, Any]],
    on_done: Callable[[], object],
) -> None:
    """Score the FASTA file for one structure; what comes before a bad record is written."""
    from protein.sequence.design.scoring import RESIDUE_SCORES, SCORES, score_records
    from protein.sequence.design.tables import write_csv
    from protein.sequence.fasta import fasta_records

    try:
        for row, more in score_records(designer, fasta_records(args.fasta)):
            rows.append(row)
            residues += more
            on_done()
    finally:
        write_csv(args.out / "scores.csv", SCORES, rows)
        write_csv(args.out / "residues.csv", RESIDUE_SCORES, residues)


command = Command(
    "design",
    "design sequences for backbones; score sequences, profiles and mutants",
    configure,
    run,
    needs=NEEDS,
)

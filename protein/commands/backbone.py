"""`sciddiff backbone`: design protein backbones, and show them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.backbone import NEEDS
from protein.commands import steering
from protein.commands.backbone_sequences import add_sequence_options, check_later, design_sequences
from sciddiff.cli.command import Command
from sciddiff.cli.options import (
    add_device,
    add_json,
    add_output,
    add_seed,
    count,
    number,
    pick_device,
    pick_sampler,
    pick_steps,
)
from sciddiff.cli.output import emit, remark, remark_left_out
from sciddiff.cli.progress import progress

if TYPE_CHECKING:
    from protein.backbone.campaign import Outcome
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.modes import Mode
    from sciddiff.cli.campaign import Campaign
    from sciddiff.cli.fingerprint import Inputs

STEPS = 50
"""Network calls of a design by default."""

_EXAMPLES = """examples:
  sciddiff backbone --length 60-128 -n 100 -o designs/
  sciddiff backbone --length 100 --fold beta --temperature 0.5 -n 8 -o beta/
  sciddiff backbone --scaffold "10-40,A25-45,10-40" --motif file.pdb -n 20 -o scaffolds/
  sciddiff backbone --scaffold "10-40,A25-45,10-40" --motif file.pdb --plan
  sciddiff backbone --scaffold "10-40,A25-45,10-40" --motif trimer.pdb --symmetry C3 -o trimers/
  sciddiff backbone --unindexed "A25-27,A55" --motif file.pdb --length 80-120 -n 20 -o sites/
  sciddiff backbone --partial file.pdb --noise 0.3 -n 10 -o variants/
  sciddiff backbone --partial file.pdb --vary A30-45 -n 10 -o loops/
  sciddiff backbone --symmetry C3 --length 60 -n 4 -o trimers/
  sciddiff backbone --target file.pdb --hotspots A37,A40 --length 60-90 -n 20 -o binders/
  sciddiff backbone --length 80 --steer strand=20,contacts=2 -n 8 -o strands/
  sciddiff backbone --length 60-128 -n 20 --sequences 8 -o designs/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add_output(parser, "designs")
    said = "number of designs (default 1)"
    add("-n", "--number", type=count(), default=1, metavar="N", help=said)
    add("--length", metavar="L", help='residues, "100" or "60-128" (default 60-128)')
    add(
        "--fold",
        choices=("any", "alpha", "beta", "mixed", "none"),
        default="any",
        help="fold class; with any, every design draws one as natives have them (default any)",
    )
    add(
        "--fold-weight",
        type=number(0.0, 20.0),
        default=1.0,
        metavar="W",
        help="how strongly the fold class steers the design; above 1 it is strengthened by "
        "guidance, which takes more network calls (default 1)",
    )
    _add_modes(parser)
    add_sampling(parser).add_argument(
        "--model", default="lite", help="shipped weights or a model's folder (default lite)"
    )
    steering.add_backbone_steering(parser)
    add_making(parser)


def add_sampling(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that say how designs are sampled.

    Args:
        parser: of the verb.

    Returns:
        The group that they stand in.
    """
    how = parser.add_argument_group("how designs are sampled")
    add = how.add_argument
    said = f"sampling steps (default {STEPS}, or what the model says it is best drawn with)"
    add("--steps", type=count(), metavar="K", help=said)
    add(
        "--sampler",
        choices=("sde", "ode", "map"),
        help="stochastic, deterministic, or jumps of a flow map (default: sde, or as the model is "
        "best drawn)",
    )
    add(
        "--temperature",
        type=number(0.0, 2.0),
        default=0.8,
        metavar="T",
        help="scale of the noise that is added while sampling; less noise gives designs that are "
        "denser and less varied than natives (default 0.8)",
    )
    add(
        "--retries",
        type=count(0),
        default=4,
        metavar="N",
        help="further attempts at a design whose chains overlap (default 4)",
    )
    return how


def add_making(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is written of designs, and where they are made."""
    parser.add_argument(
        "--trajectory",
        action="store_true",
        help="also write every step of every design, as models of one mmCIF file each",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="ARCHIVE",
        help="chain archive to measure novelty against",
    )
    add_sequence_options(parser)
    add_seed(parser)
    add_device(parser)
    add = parser.add_argument
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add("--plan", action="store_true", help="print what would be designed, and stop")
    add("--no-report", action="store_true", help="write structures without metrics and report")
    add_json(parser)


_FILES = {"motif": "--motif", "partial": "--partial", "target": "--target", "fasta": "FASTA"}
"""Options that name files whose content decides the designs, as users write them."""


def _add_modes(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is designed around, from or against."""
    group = parser.add_argument_group("around a motif")
    add = group.add_argument
    add(
        "--scaffold",
        metavar="CONTIG",
        help='what is designed and what is kept: "10-40,A25-45,10-40"',
    )
    add(
        "--unindexed",
        metavar="PIECES",
        help='pieces to keep, whose order and places along the chain every design draws anew: '
        '"A25-27,A55"',
    )
    add("--motif", type=Path, metavar="FILE", help="structure the kept residues are taken from")
    group = parser.add_argument_group("from a structure")
    add = group.add_argument
    add("--partial", type=Path, metavar="FILE", help="structure to add noise to and denoise again")
    add(
        "--noise",
        type=number(0.0, 1.0),
        metavar="X",
        help="share of noise put on the structure, above 0, which keeps it, to 1, which keeps "
        "nothing of it (default 0.3)",
    )
    add("--vary", metavar="RESIDUES", help="residues that may move, A30-45,B (default all)")
    group = parser.add_argument_group("symmetric assemblies")
    group.add_argument("--symmetry", metavar="GROUP", help="point group: C2, C3, D2, T, O, I, ...")
    group = parser.add_argument_group("binders")
    add = group.add_argument
    add("--target", type=Path, metavar="FILE", help="structure to design a binder for")
    add("--hotspots", metavar="RESIDUES", help="residues of the target to bind at: A37,A40")
    add(
        "--target-crop",
        type=number(4.0, 1000.0),
        metavar="X",
        help="the network sees the target within X Å of the hotspots (default 12)",
    )
    parser.add_argument(
        "--structure-model",
        type=count(0),
        default=0,
        metavar="N",
        help="which model of an NMR file is read, counted from 0 (default 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the designs, measure them, and write the report.

    Returns:
        The exit status: 1 if some designs failed, 2 if all did.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.modes import mode_of

    model = None if args.plan else args.model
    settings = GenerateSettings(
        steps=pick_steps(args.steps, model, STEPS),
        sampler=pick_sampler(args.sampler, model, "sde", "map"),
        temperature=args.temperature,
        fold_weight=args.fold_weight,
        seed=args.seed,
        **steering.backbone_steering(args),
    )
    return deliver(args, mode_of(args), settings)


def deliver(
    args: argparse.Namespace,
    mode: Mode,
    settings: GenerateSettings,
    domain: str = "backbone",
    title: str = "Designed protein backbones",
) -> int:
    """Make what a mode says, measure it, and write the report.

    Args:
        args: the options of `add_sampling` and `add_making`, and `number`, `model`.
        mode: what is made.
        settings: how it is sampled.
        domain: whose models will do.
        title: heading of the report.

    Returns:
        The exit status: 1 if some designs failed, 2 if all did.
    """
    from protein.backbone.campaign import Outcome
    from protein.backbone.metrics import comparison_text

    for source, note in mode.notes:
        remark(source, [note])
    if args.plan:
        emit(args, {"plan": mode.describe()}, mode.describe())
        return 0
    check_later(args)
    campaign, seconds = _make(args, mode, settings, domain)
    outcome = Outcome.of(args.out, args.number)
    notes = [f"{source}: {note}" for source, note in mode.notes]
    named = {name: mode.facts(index) for index, name in _named(outcome)}
    named = steering.rewarded(named, settings.reward, args.out)
    if args.sequences:
        found = design_sequences(args, named, mode.request)
        named = {name: {**facts, **found[name]} for name, facts in named.items()}
    designs = {name: facts for name, facts in named.items() if facts}
    said = {"notes": notes, "designs": designs, "failed": outcome.failed}
    before = campaign.facts
    campaign.note(**{name: fact for name, fact in said.items() if fact or before.get(name)})
    summary: dict[str, Any] = {
        "designs": len(outcome.delivered),
        "failed": outcome.failed,
        "folder": str(args.out),
        "seconds": round(seconds, 2),
        "notes": notes,
    }
    lines = [f"{len(outcome.delivered)} designs in {args.out}"]
    if outcome.delivered and not args.no_report:
        measured = _measured(args, campaign, outcome, title)
        report = args.out / "report.html"
        summary |= {"report": str(report), "figures": measured["figures"]}
        table = comparison_text(measured["figures"], measured["natives"])
        lines = [f"{table.rstrip()}\n", f"{lines[0]}; open {report}"]
    lines += [f"failed   {name}: {reason}" for name, reason in list(outcome.failed.items())[:5]]
    if len(outcome.failed) > 5:
        lines.append(f"failed   and {len(outcome.failed) - 5} more, see {args.out / 'run.json'}")
    emit(args, summary, "\n".join(lines))
    return 0 if not outcome.failed else 1 if outcome.delivered else 2


def _named(outcome: Outcome) -> list[tuple[int, str]]:
    """Index and name of every design that is there."""
    from protein.backbone.request import design_index

    return [(design_index(name), name) for name in outcome.delivered]


def _make(
    args: argparse.Namespace, mode: Mode, settings: GenerateSettings, domain: str
) -> tuple[Campaign, float]:
    """Generate what is missing; the record, and the seconds spent."""
    import torch

    from protein.backbone import memory
    from protein.backbone.campaign import DesignParts
    from sciddiff.checkpoint import describe, load
    from sciddiff.cli.campaign import Campaign, machine_facts
    from sciddiff.cli.parts import do_all
    from sciddiff.shipped import find_model

    device = pick_device(args.device)
    meta = describe(find_model(args.model))
    parts = DesignParts(
        args.out,
        args.number,
        mode,
        settings,
        partial(load, args.model, device, domain=domain),
        attempts=args.retries + 1,
        trajectory=args.trajectory,
    )
    campaign = Campaign.open(
        args.out,
        {**mode.request, **settings.record()},
        args.command_line,
        _inputs(args, meta),
        parts.begun,
    )
    wanted = parts.missing(range(args.number))
    if args.threads:
        torch.set_num_threads(args.threads)
    started = time.perf_counter()
    if wanted:
        sizes = [mode.sizes(index) for index in range(args.number)]
        most = max(seen for _, seen in sizes)
        said = (
            memory.check(parts.denoiser.net, most, device),
            memory.outside([length for length, _ in sizes], meta),
        )
        remark(args.model, [note for note in said if note])
        total = len(wanted) * settings.steps
        with progress("designing (steps)", total, show=not args.json) as bar:
            parts.on_step = bar.advance
            do_all(parts)
    seconds = time.perf_counter() - started
    campaign.ran(parts.made, seconds, args.command_line, model_card=meta, **machine_facts())
    return campaign, seconds


def _inputs(args: argparse.Namespace, meta: Mapping[str, Any]) -> Inputs:
    """Content of everything that decides the designs."""
    from sciddiff.cli.fingerprint import Inputs

    inputs = Inputs().add_model("--model", meta, args.model)
    for name, option in _FILES.items():
        if (path := getattr(args, name, None)) is not None:
            inputs.add(option, path)
    for file in steering.backbone_steering_files(args):
        inputs.add("--steer", file)
    return inputs


def _measured(
    args: argparse.Namespace, campaign: Campaign, outcome: Outcome, title: str
) -> dict[str, Any]:
    """Figures of the whole folder; with `designs.csv` and the report, unless they are there."""
    from protein.backbone.measuring import evaluate_directory
    from protein.backbone.report import write_report
    from sciddiff.cli.fingerprint import Inputs, digest

    names = outcome.delivered
    known = campaign.facts.get("measured", {})
    content = Inputs()
    if args.reference is not None:
        content.add("--reference", args.reference, known.get("inputs", {}).get("--reference"))
    sequences = {name: campaign.facts.get("designs", {}).get(name) for name in names}
    sizes = [[name, (args.out / f"{name}.cif").stat().st_size] for name in names]
    of = digest([sizes, outcome.failed, sequences])
    same = known.get("of") == of and digest(known.get("inputs")) == digest(content.entries)
    if same and all((args.out / file).exists() for file in ("report.html", "designs.csv")):
        return known
    with progress("measuring", None, show=not args.json) as bar:
        evaluation, folder = evaluate_directory(
            args.out,
            args.reference,
            progress=lambda stage, done, total: bar.advance(0, f"{stage} {done}"),
        )
        info = {**campaign.record, "title": title}
        write_report(args.out, evaluation, folder.structures, info)
    remark_left_out(args.out, folder.left_out)
    measured = {
        "of": of,
        "inputs": content.entries,
        "figures": evaluation.summary,
        "natives": evaluation.natives,
    }
    campaign.note(measured=measured)
    return measured


command = Command(
    "backbone",
    "design protein backbones: new, around a motif, from a structure, symmetric, binders",
    configure,
    run,
    needs=NEEDS,
)

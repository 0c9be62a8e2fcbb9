"""`sciddiff backbone`: design protein backbones, and show them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.backbone import NEEDS
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
from sciddiff.cli.output import emit, remark_left_out
from sciddiff.cli.progress import progress

if TYPE_CHECKING:
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.modes import Mode
    from sciddiff.cli.campaign import Campaign
    from sciddiff.cli.fingerprint import Inputs

_EXAMPLES = """examples:
  sciddiff backbone --length 60-128 -n 100 -o designs/
  sciddiff backbone --length 100 --fold beta --temperature 0.5 -n 8 -o beta/
  sciddiff backbone --scaffold "10-40,A25-45,10-40" --motif file.pdb -n 20 -o scaffolds/
  sciddiff backbone --scaffold "10-40,A25-45,10-40" --motif file.pdb --plan
  sciddiff backbone --partial file.pdb --noise 0.3 -n 10 -o variants/
  sciddiff backbone --symmetry C3 --length 60 -n 4 -o trimers/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add_output(parser, "designs")
    add(
        "-n",
        "--number",
        type=count(),
        default=1,
        metavar="N",
        help="number of designs (default 1)",
    )
    add("--length", metavar="L", help='residues, "100" or "60-128" (default 60-128)')
    add(
        "--fold",
        choices=("any", "alpha", "beta", "mixed", "none"),
        default="any",
        help="fold class; any: drawn per design as natives are shared out (default any)",
    )
    add(
        "--fold-weight",
        type=number(0.0, 20.0),
        default=2.5,
        metavar="W",
        help="how strongly the fold class steers the design; 1 conditions on it without "
        "strengthening it (default 2.5)",
    )
    add("--scaffold", metavar="CONTIG", help='build around a motif: "10-40,A25-45,10-40"')
    add("--motif", type=Path, metavar="FILE", help="structure the motif residues are taken from")
    add("--plan", action="store_true", help="print the resolved contigs and stop")
    add(
        "--partial", type=Path, metavar="FILE", help="vary a structure: noise it, denoise it again"
    )
    add(
        "--noise",
        type=number(0.0, 1.0),
        metavar="X",
        help="with --partial: the share of noise put on the structure, above 0, which keeps it, "
        "to 1, which keeps nothing of it (default 0.3)",
    )
    add("--symmetry", metavar="GROUP", help="symmetric assembly: C2, C3, D2, T, O, I ...")
    add("--steps", type=count(), default=20, metavar="K", help="network calls (default 20)")
    add("--sampler", choices=("sde", "ode"), default="sde", help="stochastic or deterministic")
    add(
        "--temperature",
        type=number(0.0, 2.0),
        default=0.2,
        metavar="T",
        help="scale of the noise that is added while sampling; less noise gives more regular and "
        "less varied designs (default 0.2)",
    )
    add("--model", default="lite", help="shipped weights, or a checkpoint folder (default lite)")
    add(
        "--reference",
        type=Path,
        metavar="ARCHIVE",
        help="chain archive to measure novelty against",
    )
    add_seed(parser)
    add_device(parser)
    add("--threads", type=count(), metavar="T", help="CPU threads (default: torch's choice)")
    add("--no-report", action="store_true", help="structures only: no metrics, no report")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Make the designs, measure them, and write the report.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.metrics import comparison_text
    from protein.backbone.modes import mode_of

    settings = GenerateSettings(
        steps=args.steps,
        sampler=args.sampler,
        temperature=args.temperature,
        fold_weight=args.fold_weight,
        seed=args.seed,
    )
    mode = mode_of(args)
    if args.plan:
        emit(args, {"plan": mode.describe()}, mode.describe())
        return 0
    campaign, seconds = _make(args, mode, settings)
    summary = {"designs": args.number, "folder": str(args.out), "seconds": round(seconds, 2)}
    text = f"{args.number} designs in {args.out}"
    if not args.no_report:
        measured = _measured(args, campaign)
        report = args.out / "report.html"
        summary |= {"report": str(report), "figures": measured["figures"]}
        table = comparison_text(measured["figures"], measured["natives"])
        text = f"{table.rstrip()}\n\n{text}; open {report}"
    emit(args, summary, text)
    return 0


def _make(
    args: argparse.Namespace, mode: Mode, settings: GenerateSettings
) -> tuple[Campaign, float]:
    """Generate what is missing; the record, and the seconds spent."""
    import torch

    from protein.backbone.campaign import DesignParts, missing
    from sciddiff.checkpoint import describe, load
    from sciddiff.cli.campaign import Campaign, machine_facts
    from sciddiff.cli.parts import do_all
    from sciddiff.shipped import find_model

    device = pick_device(args.device)
    meta = describe(find_model(args.model))
    model = partial(load, args.model, device, domain="backbone")
    parts = DesignParts(args.out, args.number, mode, settings, model)
    campaign = Campaign.open(
        args.out,
        {**mode.request, **asdict(settings)},
        args.command_line,
        _inputs(args, meta),
        parts.begun,
    )
    wanted = missing(args.out, args.number)
    if args.threads:
        torch.set_num_threads(args.threads)
    started = time.perf_counter()
    if wanted:
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
    for option, path in (("--motif", args.motif), ("--partial", args.partial)):
        if path is not None:
            inputs.add(option, path)
    return inputs


def _measured(args: argparse.Namespace, campaign: Campaign) -> dict[str, Any]:
    """Figures of the whole folder; with `designs.csv` and the report, unless they are there."""
    from protein.backbone.designs import evaluate_directory
    from protein.backbone.report import write_report
    from protein.backbone.request import design_name
    from sciddiff.cli.fingerprint import Inputs, digest

    names = [design_name(index) for index in range(args.number)]
    known = campaign.facts.get("measured", {})
    content = Inputs()
    if args.reference is not None:
        content.add("--reference", args.reference, known.get("inputs", {}).get("--reference"))
    of = digest([[name, _size(args.out, name)] for name in names])
    same = known.get("of") == of and digest(known.get("inputs")) == digest(content.entries)
    if same and all((args.out / file).exists() for file in ("report.html", "designs.csv")):
        return known
    with progress("measuring", None, show=not args.json) as bar:
        evaluation, folder = evaluate_directory(
            args.out,
            args.reference,
            progress=lambda stage, done, total: bar.advance(0, f"{stage} {done}"),
        )
        write_report(args.out, evaluation, folder.structures, campaign.record)
    remark_left_out(args.out, folder.left_out)
    measured = {
        "of": of,
        "inputs": content.entries,
        "figures": evaluation.summary,
        "natives": evaluation.natives,
    }
    campaign.note(measured=measured)
    return measured


def _size(folder: Path, name: str) -> int:
    return (folder / f"{name}.cif").stat().st_size


command = Command(
    "backbone",
    "design protein backbones: new, around a motif, from a structure, symmetric",
    configure,
    run,
    needs=NEEDS,
)

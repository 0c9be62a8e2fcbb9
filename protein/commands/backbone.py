"""`sciddiff backbone`: design protein backbones, and show them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.backbone import NEEDS
from sciddiff.cli.command import Command
from sciddiff.cli.options import add_device, add_json, add_output, add_seed, count, pick_device
from sciddiff.cli.output import emit
from sciddiff.cli.progress import progress

if TYPE_CHECKING:
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.metrics import Evaluation
    from protein.backbone.modes import Mode
    from sciddiff.cli.campaign import Campaign

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
        type=float,
        default=2.5,
        metavar="W",
        help="strength of the fold class, 1: plain (default 2.5)",
    )
    add("--scaffold", metavar="CONTIG", help='build around a motif: "10-40,A25-45,10-40"')
    add("--motif", type=Path, metavar="FILE", help="structure the motif residues are taken from")
    add("--plan", action="store_true", help="print the resolved contigs and stop")
    add(
        "--partial", type=Path, metavar="FILE", help="vary a structure: noise it, denoise it again"
    )
    add("--noise", type=float, default=0.3, metavar="X", help="of --partial, 0 to 1 (default 0.3)")
    add("--symmetry", metavar="GROUP", help="symmetric assembly: C2, C3, D2, T, O, I ...")
    add("--steps", type=count(), default=20, metavar="K", help="network calls (default 20)")
    add("--sampler", choices=("sde", "ode"), default="sde", help="stochastic or deterministic")
    add(
        "--temperature",
        type=float,
        default=0.2,
        metavar="T",
        help="noise on the way (default 0.2)",
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
    from sciddiff.cli.campaign import Campaign

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
    request = {**mode.request, "model": str(args.model), **_plain(settings)}
    campaign = Campaign.open(args.out, request, args.command_line)
    seconds = _make(args, mode, settings, campaign)
    summary = {"designs": args.number, "folder": str(args.out), "seconds": round(seconds, 2)}
    text = f"{args.number} designs in {args.out}"
    if not args.no_report:
        evaluation, report = _measure(args, campaign)
        summary |= {"report": str(report), "figures": evaluation.summary}
        text = f"{comparison_text(evaluation)}\n\n{text}; open {report}"
    emit(args, summary, text)
    return 0


def _make(
    args: argparse.Namespace, mode: Mode, settings: GenerateSettings, campaign: Campaign
) -> float:
    """Generate what is missing; returns seconds spent sampling."""
    import torch

    from protein.backbone.campaign import missing
    from protein.backbone.generate import generate
    from protein.pretrained import find_model
    from sciddiff.cli.campaign import machine_facts

    wanted = missing(args.out, args.number)
    if not wanted:
        return 0.0
    if args.threads:
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    model = find_model(args.model, device)
    denoiser = mode.denoiser(model.denoiser)
    started = time.perf_counter()
    with progress("designing", len(wanted) * settings.steps, show=not args.json) as bar:
        for item in mode.templates(wanted):

            def on_step(done: int, total: int, size: int = item.batch.size) -> None:
                bar.advance(size)

            designs = generate(
                denoiser,
                item.batch.to(device),
                settings,
                item.numbering,
                item.start,
                item.offset,
                on_step,
            )
            for design in designs:
                mode.finish(design, item).write(args.out)
    seconds = time.perf_counter() - started
    campaign.ran(
        len(wanted), seconds, args.command_line, model_card=dict(model.meta), **machine_facts()
    )
    return seconds


def _measure(args: argparse.Namespace, campaign: Campaign) -> tuple[Evaluation, Path]:
    """Metrics, `designs.csv` and the report of the whole folder."""
    from protein.backbone.designs import evaluate_directory, read_directory
    from protein.backbone.report import write_report

    with progress("measuring", None, show=not args.json) as bar:
        evaluation = evaluate_directory(
            args.out,
            args.reference,
            progress=lambda stage, done, total: bar.advance(0, f"{stage} {done}"),
        )
        report = write_report(args.out, evaluation, read_directory(args.out), campaign.record)
    return evaluation, report


def _plain(settings: GenerateSettings) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(settings)


command = Command(
    "backbone",
    "design protein backbones: new, around a motif, from a structure, symmetric",
    configure,
    run,
    needs=NEEDS,
)

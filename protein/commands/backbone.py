"""`sciddiff backbone`: design protein backbones, and show them."""

from __future__ import annotations

import argparse
import json
import logging
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.command import Command
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.backbone.campaign import Campaign
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.modes import Mode

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
    add("-o", "--out", type=Path, default=Path("designs"), help="output folder (default: designs)")
    add("-n", "--number", type=int, default=1, help="number of designs (default: 1)")
    add("--length", default=None, help='residues, "100" or "60-128" (default: 60-128)')
    add("--fold", choices=("alpha", "beta", "mixed"), default="none", help="fold class (default: any)")
    add("--fold-weight", type=float, default=1.5, help="strength of --fold; 1 is plain conditioning")
    add("--scaffold", metavar="CONTIG", help='build around a motif: "10-40,A25-45,10-40"')
    add("--motif", type=Path, metavar="FILE", help="structure the motif residues are taken from")
    add("--plan", action="store_true", help="print the resolved contigs and stop")
    add("--partial", type=Path, metavar="FILE", help="vary a structure: noise it and denoise it again")
    add("--noise", type=float, default=0.3, help="with --partial: share of noise, 0 to 1 (default: 0.3)")
    add("--symmetry", metavar="GROUP", help="symmetric assembly: C2, C3, D2, T, O, I ...")
    add("--steps", type=int, default=20, help="network calls per design (default: 20)")
    add("--sampler", choices=("sde", "ode"), default="sde", help="stochastic or deterministic")
    add("--temperature", type=float, default=0.4, help="noise on the way; lower is more regular, less diverse")
    add("--model", default="lite", help="shipped weights by name, or a checkpoint folder (default: lite)")
    add("--reference", type=Path, metavar="ARCHIVE", help="chain archive to measure novelty against")
    add("--seed", type=int, default=0, help="designs are the same for the same seed (default: 0)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto")
    add("--threads", type=int, default=0, help="CPU threads (default: as many as torch sees)")
    add("--no-report", action="store_true", help="write structures only: no metrics, no report")
    add("--json", action="store_true", help="print a summary as JSON")


def run(args: argparse.Namespace) -> int:
    """Make the designs, measure them, and write the report.

    Raises:
        InputError: an option or a file that cannot be used.
    """
    from protein.backbone.campaign import Campaign
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.modes import mode_of

    if args.number < 1:
        raise InputError(f"-n {args.number}: must be 1 or more")
    settings = GenerateSettings(
        steps=args.steps,
        sampler=args.sampler,
        temperature=args.temperature,
        fold_weight=args.fold_weight,
        seed=args.seed,
    )
    mode = mode_of(args)
    if args.plan:
        print(mode.describe())
        return 0
    request = {**mode.request, "model": str(args.model), **_plain(settings)}
    campaign = Campaign(args.out, request)
    campaign.open()
    seconds = _make(args, mode, settings, campaign)
    summary = {"designs": args.number, "folder": str(args.out), "seconds": round(seconds, 2)}
    if not args.no_report:
        summary |= _measure(args, campaign, seconds)
    if args.json:
        print(json.dumps(summary))
    elif not args.no_report:
        print(f"{args.number} designs in {args.out}; open {summary['report']}")
    else:
        print(f"{args.number} designs in {args.out}")
    return 0


def _make(args: argparse.Namespace, mode: Mode, settings: GenerateSettings, campaign: Campaign) -> float:
    """Generate what is missing; returns seconds spent sampling."""
    import torch

    from protein.backbone.generate import generate
    from protein.pretrained import find_model
    from sciddiff.cli.device import resolve_device
    from sciddiff.cli.progress import progress

    missing = campaign.missing(args.number)
    if not missing:
        return 0.0
    if args.threads:
        torch.set_num_threads(args.threads)
    device = resolve_device(args.device)
    model = find_model(args.model, device)
    denoiser = mode.denoiser(model.denoiser)
    started = time.perf_counter()
    with progress("designs", len(missing) * settings.steps, quiet=args.json) as advance:
        for item in mode.templates(missing):
            def on_step(done: int, total: int, size: int = item.batch.size) -> None:
                advance(size)

            designs = generate(
                denoiser,
                item.batch.to(device),
                settings,
                item.numbering,
                item.start,
                on_step,
            )
            for design in designs:
                mode.finish(design, item).write(args.out)
    seconds = time.perf_counter() - started
    campaign.record({"model_card": model.meta, **_machine(), "seconds": seconds, "made": len(missing)})
    return seconds


def _measure(args: argparse.Namespace, campaign: Campaign, seconds: float) -> dict[str, Any]:
    """Metrics, `designs.csv` and the report of the whole folder."""
    from protein.backbone.designs import evaluate_folder

    logging.getLogger(__name__).info("measuring %d designs", args.number)
    return evaluate_folder(args.out, args.reference, campaign.request, seconds)


def _plain(settings: GenerateSettings) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(settings)


def _machine() -> dict[str, str]:
    import torch

    from sciddiff import __version__

    return {
        "sciddiff": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


command = Command("backbone", "design protein backbones: new, around a motif, from a structure, symmetric", configure, run)

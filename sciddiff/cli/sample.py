"""``sciddiff sample``: draw samples of any domain; resumes what was interrupted."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from sciddiff.cli.campaign import Campaign
from sciddiff.cli.command import Command
from sciddiff.cli.options import (
    add_device,
    add_json,
    add_output,
    add_seed,
    count,
    key_values,
    pick_device,
)
from sciddiff.cli.output import emit
from sciddiff.cli.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from sciddiff.checkpoint import Model
    from sciddiff.samplers import Sampler
    from sciddiff.state import Batch

__all__ = ["command"]

_SAMPLERS = ("ancestral", "heun", "dpm2m", "dpm2s", "sde")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="NAME_OR_DIR", help="what to sample")
    add_output(parser, default="samples")
    parser.add_argument("-n", "--number", type=count(), default=1, help="samples (default 1)")
    parser.add_argument(
        "--request",
        nargs="+",
        action="extend",
        default=[],
        metavar="K=V",
        help="what to draw, in the domain's words, for example length=100",
    )
    parser.add_argument("--steps", type=count(), default=50, help="steps (default 50)")
    parser.add_argument("--sampler", choices=_SAMPLERS, default="ancestral", help="how to step")
    parser.add_argument("--eta", type=float, default=0.0, help="noise of ancestral (default 0)")
    parser.add_argument("--temperature", type=float, default=1.0, help="scale of the noise of sde")
    add_seed(parser)
    add_device(parser)
    add_json(parser)


def _sampler(args: Namespace) -> Sampler:
    from sciddiff import samplers

    if args.sampler == "ancestral":
        return samplers.Ancestral(args.eta)
    if args.sampler == "heun":
        return samplers.Heun()
    if args.sampler == "sde":
        return samplers.EulerMaruyama(noise_scale=args.temperature)
    return samplers.DPMSolverPP("2M" if args.sampler == "dpm2m" else "2S")


def _self_conditioned(model: Model) -> bool:
    """Whether the network was trained to see its last prediction."""
    named = model.config.get("objective") or {}
    learned = named.get("init_args", {}).get("self_conditioning")
    if learned is None:
        learned = getattr(model.domain.objective(), "self_conditioning", 0.0)
    return learned > 0


def _draw(
    args: Namespace, model: Model, batch: Batch, first: int, device: torch.device
) -> list[Path]:
    import torch

    from sciddiff.grids import uniform
    from sciddiff.sampling import sample

    drawn = sample(
        model.denoiser,
        batch.to(device),
        _sampler(args),
        uniform(args.steps),
        args.seed,
        indices=torch.arange(first, first + batch.size),
        self_condition=_self_conditioned(model),
    )
    x = {name: leaf.cpu() for name, leaf in drawn.x.items()}
    return model.domain.write(batch, x, args.out)


def _request(args: Namespace) -> dict[str, Any]:
    return {**key_values(args.request, "--request"), "n": args.number}


def _run(args: Namespace) -> None:
    from sciddiff.checkpoint import load
    from sciddiff.shipped import find_model

    device = pick_device(args.device)
    model = load(find_model(args.model), device)
    told = ("seed", "steps", "sampler", "eta", "temperature")
    campaign = Campaign.open(
        args.out,
        {"model": model.meta["sha256"], "request": _request(args)}
        | {name: getattr(args, name) for name in told},
        args.command_line,
    )
    first, kept, start = 0, 0, time.monotonic()
    with progress("samples", args.number, show=not args.json) as bar:
        for part, batch in enumerate(model.domain.like(_request(args))):
            if campaign.finished(part):
                kept += batch.size
            else:
                campaign.finish(part, _draw(args, model, batch, first, device))
            first += batch.size
            bar.advance(batch.size)
    if first > kept:
        campaign.ran(first - kept, time.monotonic() - start, args.command_line)
    data = {"directory": args.out, "samples": first, "kept": kept, "files": campaign.files}
    note = f" ({kept} were there already)" if kept else ""
    emit(args, data, f"{first} samples in {args.out}{note}: {len(campaign.files)} files")


command = Command(
    name="sample",
    help="Draw samples of any domain from an exported or shipped model.",
    configure=_configure,
    run=_run,
    example="sciddiff sample --model lite --request length=80 -n 4 --steps 20 -o samples",
)

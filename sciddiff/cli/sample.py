"""``sciddiff sample``: draw samples of any domain; continues, and adds with a larger number."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciddiff.cli.campaign import Campaign, machine_facts
from sciddiff.cli.command import Command
from sciddiff.cli.fingerprint import Inputs
from sciddiff.cli.options import (
    add_device,
    add_json,
    add_output,
    add_seed,
    count,
    key_values,
    number,
    pick_device,
)
from sciddiff.cli.output import emit
from sciddiff.cli.parts import do_all
from sciddiff.cli.progress import progress
from sciddiff.cli.sample_parts import SampleParts
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model
    from sciddiff.drawing import Drawing
    from sciddiff.samplers import Sampler

__all__ = ["command"]

_SAMPLERS = ("ancestral", "heun", "dpm2m", "dpm2s", "sde")
_OPTIONS = ("seed", "steps", "sampler", "eta", "temperature")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME_OR_DIR",
        help="the model to sample: a shipped name or a folder",
    )
    add_output(parser, default="samples")
    parser.add_argument(
        "-n",
        "--number",
        type=count(),
        default=1,
        metavar="N",
        help="number of samples; a larger one adds to those that are there (default 1)",
    )
    parser.add_argument(
        "--request",
        nargs="+",
        action="extend",
        default=[],
        metavar="K=V",
        help="what to draw, in the words of the domain, for example length=100",
    )
    how = parser.add_argument_group(
        "how to draw", "Without these options the domain's own defaults hold."
    )
    how.add_argument("--steps", type=count(), metavar="N", help="number of equal steps")
    how.add_argument("--sampler", choices=_SAMPLERS, help="how a step is made")
    how.add_argument(
        "--eta",
        type=number(0.0),
        metavar="X",
        help="share of fresh noise in the steps of ancestral, 0 to 1 (default 0)",
    )
    how.add_argument(
        "--temperature",
        type=number(0.0),
        metavar="X",
        help="scale of the noise that sde adds (default 1)",
    )
    add_seed(parser)
    add_device(parser)
    add_json(parser)


def _drawing(args: Namespace, model: Model) -> Drawing:
    """The model's own way to draw, with what the user asked for in its place."""
    from sciddiff.grids import uniform

    drawing = model.drawing
    if args.steps is not None:
        drawing = replace(drawing, grid=uniform(args.steps))
    if (args.sampler, args.eta, args.temperature) == (None, None, None):
        return drawing
    return replace(drawing, sampler=_sampler(args))


def _sampler(args: Namespace) -> Sampler:
    from sciddiff import samplers

    named = args.sampler or ("sde" if args.eta is None else "ancestral")
    for option, of in (("eta", "ancestral"), ("temperature", "sde")):
        if getattr(args, option) is not None and named != of:
            raise InputError(f"--{option}: has no effect on the sampler {named}; leave it out")
    if named == "ancestral":
        return samplers.Ancestral(args.eta or 0.0)
    if named == "heun":
        return samplers.Heun()
    if named == "sde":
        scale = 1.0 if args.temperature is None else args.temperature
        return samplers.EulerMaruyama(noise_scale=scale)
    return samplers.DPMSolverPP("2M" if named == "dpm2m" else "2S")


def _inputs(args: Namespace, model: Model, request: dict[str, Any]) -> Inputs:
    """Content of the model, and of what the request names as a file."""
    known = Campaign.known(args.out)
    inputs = Inputs().add_model("--model", model.meta, args.model)
    for key, value in list(request.items()):
        if isinstance(value, str) and os.path.exists(value):
            inputs.add(f"--request {key}", Path(value), known.get(f"--request {key}"))
    return inputs


def _run(args: Namespace) -> None:
    from sciddiff.checkpoint import load

    device = pick_device(args.device)
    request = key_values(args.request, "--request")
    if "n" in request:
        raise InputError(f"--request n={request['n']}: give the number of samples with -n")
    model = load(args.model, device)
    inputs = _inputs(args, model, request)
    templates = list(model.domain.templates(args.number, args.seed, request))
    parts = SampleParts(args.out, model, templates, _drawing(args, model), args.seed)
    sizes = [batch.size for batch in templates]
    options = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    words = {k: v for k, v in request.items() if f"--request {k}" not in inputs.entries}
    # The number is no part of it: a larger one adds to what is there.
    campaign = Campaign.open(
        args.out, {"request": words, **options}, args.command_line, inputs, parts.begun
    )
    made, start = 0, time.monotonic()
    with progress("samples", args.number, show=not args.json) as bar:

        def count_samples(n: int) -> None:
            nonlocal made
            made += n

        parts.on_samples = count_samples
        do_all(parts, lambda part: bar.advance(sizes[part]))
    campaign.ran(made, time.monotonic() - start, args.command_line, **machine_facts())
    total, files = sum(sizes), parts.files()
    kept = max(0, total - made)
    data = {"directory": args.out, "samples": total, "kept": kept, "files": files}
    note = f" ({kept} were there already)" if kept else ""
    emit(args, data, f"{total} samples in {args.out}{note}: {len(files)} files")


command = Command(
    name="sample",
    help="Draw samples of any domain from an exported or shipped model.",
    configure=_configure,
    run=_run,
    example="sciddiff sample --model lite --request length=80 -n 4 --steps 20 -o samples",
)

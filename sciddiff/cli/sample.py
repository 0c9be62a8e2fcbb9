"""``sciddiff sample``: draw samples of any domain; resumes what was interrupted."""

from __future__ import annotations

import json
import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

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
from sciddiff.cli.parts import Parts, do_all
from sciddiff.cli.progress import progress

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model
    from sciddiff.drawing import Drawing
    from sciddiff.samplers import Sampler
    from sciddiff.state import Batch

__all__ = ["command"]

_SAMPLERS = ("ancestral", "heun", "dpm2m", "dpm2s", "sde")
_OPTIONS = ("seed", "steps", "sampler", "eta", "temperature")
_PARTS = ".parts"


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
        help="number of samples (default 1)",
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
    from sciddiff.errors import InputError

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


@final
class _Samples(Parts):
    """The templates of a request; the record of each names the files it became.

    Args:
        args: The command line.
        request: Fields of the request.
        model: What to sample.
        on_batch: Called with the number of samples of each template that is drawn.
    """

    def __init__(
        self,
        args: Namespace,
        request: dict[str, Any],
        model: Model,
        on_batch: Callable[[int], None] = lambda n: None,
    ) -> None:
        self.directory, self.model, self.on_batch = args.out, model, on_batch
        self._seed, self._drawing = args.seed, _drawing(args, model)
        self.templates = list(model.domain.templates(args.number, args.seed, request))

    def items(self) -> Iterator[tuple[int, Batch]]:
        """The number of the first sample of each template, and the template."""
        first = 0
        for batch in self.templates:
            yield first, batch
            first += batch.size

    def record(self, part: int) -> Path:
        """Names of the files of a template."""
        return self.directory / _PARTS / f"{part:06d}.json"

    def files(self, part: int) -> list[Path]:
        """Files of a template that was drawn; none if its record is missing or damaged."""
        try:
            names = json.loads(self.record(part).read_text(encoding="utf-8"))
            return [self.directory / str(name) for name in names]
        except (OSError, ValueError, TypeError):
            return []

    def finished(self, part: int, item: tuple[int, Batch]) -> bool:
        """Whether every file of a template is there."""
        files = self.files(part)
        return bool(files) and all(file.exists() for file in files)

    def do(self, part: int, item: tuple[int, Batch]) -> None:
        """Draw one template and write its files, then their names."""
        from sciddiff.drawing import draw

        first, batch = item
        drawn = draw(self.model.denoiser, batch, self._drawing, self._seed, first)
        x = {name: leaf.cpu() for name, leaf in drawn.items()}
        files = self.model.domain.write(batch, x, self.directory)
        record = self.record(part)
        record.parent.mkdir(exist_ok=True)
        partial = record.with_suffix(f".{os.getpid()}.partial")
        names = [os.path.relpath(file, self.directory) for file in files]
        partial.write_text(json.dumps(names), encoding="utf-8")
        os.replace(partial, record)
        self.on_batch(batch.size)


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
    model = load(args.model, device)
    inputs = _inputs(args, model, request)
    parts = _Samples(args, request, model)
    sizes = [batch.size for batch in parts.templates]
    options = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    words = {k: v for k, v in request.items() if f"--request {k}" not in inputs.entries}
    campaign = Campaign.open(
        args.out,
        {"request": words, "number": args.number, **options},
        args.command_line,
        inputs,
        parts.begun,
    )
    made, start = 0, time.monotonic()
    with progress("samples", args.number, show=not args.json) as bar:

        def count_samples(n: int) -> None:
            nonlocal made
            made += n

        parts.on_batch = count_samples
        do_all(parts, lambda part: bar.advance(sizes[part]))
    campaign.ran(made, time.monotonic() - start, args.command_line, **machine_facts())
    total = sum(sizes)
    files = [file for part in range(len(sizes)) for file in parts.files(part)]
    data = {"directory": args.out, "samples": total, "kept": total - made, "files": files}
    note = f" ({total - made} were there already)" if made < total else ""
    emit(args, data, f"{total} samples in {args.out}{note}: {len(files)} files")


command = Command(
    name="sample",
    help="Draw samples of any domain from an exported or shipped model.",
    configure=_configure,
    run=_run,
    example="sciddiff sample --model lite --request length=80 -n 4 --steps 20 -o samples",
)

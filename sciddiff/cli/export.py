"""``sciddiff export RUN -o DIR``: from a training run to a folder of weights to use."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json, add_output, add_trust, number
from sciddiff.cli.output import emit

__all__ = ["command"]


def _width(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return number(0.0, 1.0)(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(
            f"{text!r} is neither a width such as 0.1 nor the word none"
        ) from error


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="folder of the training run")
    add_output(parser)
    parser.add_argument(
        "--ema",
        type=_width,
        default=0.10,
        metavar="WIDTH",
        help="width of the average of the weights to export: one that the run tracked, or any if "
        "it kept snapshots; none exports the weights of the last step (default 0.1)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="number type to store the weights in (default: the type they were trained in)",
    )
    add_trust(parser)
    add_json(parser)


def _run(args: Namespace) -> None:
    from sciddiff.checkpoint import describe, export

    made = export(
        args.run, args.out, args.ema, dtype=args.dtype, command=f"sciddiff train --out {args.run}"
    )
    meta = describe(made)
    data = {"directory": made, "parameters": meta["parameters"], "ema": args.ema, **meta}
    emit(args, data, f"{made}: {meta['parameters']:,} parameters, step {meta.get('step')}")


command = Command(
    name="export",
    help="Turn a training run into a folder of weights that loads without Lightning.",
    configure=_configure,
    run=_run,
    example="sciddiff export runs/backbone -o models/backbone --ema 0.1",
)

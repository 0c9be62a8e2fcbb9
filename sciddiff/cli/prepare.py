"""``sciddiff prepare KIND``: hands over to the domain package that registered the kind."""

from __future__ import annotations

import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from dataclasses import replace

from sciddiff.cli.command import Command
from sciddiff.cli.parsing import execute
from sciddiff.cli.registry import load_preparer, preparers

__all__ = ["command"]


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "kind", nargs="?", help="kind of training set to make; without it, the kinds are listed"
    )
    parser.add_argument(
        "rest",
        nargs=REMAINDER,
        metavar="...",
        help="the options of that kind; KIND --help shows them",
    )


def _run(args: Namespace) -> int | None:
    if args.kind is None:
        lines = [f"  {name:<12}{text}" for name, text in preparers().items()]
        sys.stdout.write("kinds:\n" + "\n".join(lines or ["  none is installed"]) + "\n")
        return 0
    chosen = load_preparer(args.kind)
    return execute(replace(chosen, name=f"prepare {args.kind}"), args.rest)


command = Command(
    name="prepare",
    help="Turn raw files into a training set; each installed domain brings its kinds.",
    configure=_configure,
    run=_run,
    example="sciddiff prepare backbone structures/ -o data/backbones.npz",
)

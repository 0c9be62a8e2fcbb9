"""``sciddiff report SOURCE``: hands over to the domain package that knows the source."""

from __future__ import annotations

import shlex
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sciddiff.cli.command import Command, Reporter
from sciddiff.cli.options import add_json
from sciddiff.cli.parsing import execute
from sciddiff.cli.registry import load_reporter, reporters
from sciddiff.errors import InputError

__all__ = ["command"]


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs=REMAINDER,
        metavar="SOURCE ...",
        help="the folder or file that a verb wrote, and options of its page, which SOURCE --help "
        "shows; without a source, the kinds of pages are listed",
    )
    add_json(parser)


def _run(args: Namespace) -> int | None:
    # As they were typed: options before the source stay before it.
    words = shlex.split(args.command_line)[2:]
    if not args.words and not args.rest:
        lines = [f"  {name:<12}{text}" for name, text in reporters().items()]
        sys.stdout.write("pages of:\n" + "\n".join(lines or ["  none is installed"]) + "\n")
        return 0
    chosen = _reporter(words).command
    return execute(replace(chosen, name="report"), words)


def _reporter(words: Sequence[str]) -> Reporter:
    """Who knows any of the words as a source."""
    given = [word for word, before in zip(words, ["", *words], strict=False)
             if not word.startswith("-") and before not in ("-o", "--out")]  # fmt: skip
    sources = [path for path in map(Path, given) if path.exists()]
    broken = ""
    for name in reporters():
        try:
            reporter = load_reporter(name)
        except InputError as error:
            broken = f" ({error})"
            continue
        if any(reporter.knows(path) for path in sources):
            return reporter
    named = sources[0] if sources else next(iter(given), "report")
    if not sources:
        raise InputError(
            f"{named}: no such file or folder; give the folder or file that a verb wrote"
        )
    kinds = ", ".join(reporters()) or "none is installed"
    raise InputError(f"{named}: no page is known for this; there are pages of {kinds}{broken}")


command = Command(
    name="report",
    help="Show what a verb wrote (docked poses, designs, a forecast) as one HTML page.",
    configure=_configure,
    run=_run,
    example="sciddiff report poses/",
    open_ended=True,
)

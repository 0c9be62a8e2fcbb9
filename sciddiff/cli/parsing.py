"""One parser for every verb: help with an example, errors in one line with the remedy."""

from __future__ import annotations

import argparse
import shlex
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, NoReturn, final

from sciddiff.cli.command import Command
from sciddiff.cli.failures import fail
from sciddiff.cli.options import add_trust
from sciddiff.errors import MissingExtra
from sciddiff.trust import trusting

__all__ = ["OneLineParser", "execute", "gather_repeated", "parse"]


@final
class OneLineParser(ArgumentParser):
    """An argument parser whose errors are one line with the remedy."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        gather_repeated(self)

    def error(self, message: str) -> NoReturn:
        """Print the error and end with status 2."""
        sys.exit(fail(f"{message}; see {self.prog} --help"))

    def knows(self, option: str) -> bool:
        """Whether an option was added, by its full name."""
        return option in self._option_string_actions


class _Store(argparse._StoreAction):
    """Stores values; those of an option for several that is given again join the earlier ones."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        earlier = getattr(namespace, self.dest, self.default)
        if self.nargs in ("+", "*") and option_string and earlier is not self.default:
            values = [*earlier, *values]
        super().__call__(parser, namespace, values, option_string)


def gather_repeated(parser: ArgumentParser) -> None:
    """Let ``-l a -l b`` mean ``-l a b``, for every option of several values that is added later.

    Without it argparse keeps the last occurrence, and forgets the others in silence.
    """
    for name in (None, "store"):
        parser.register("action", name, _Store)


def execute(command: Command, words: Sequence[str]) -> int | None:
    """Read the words after a verb and run it.

    Returns:
        The exit status; None means 0.

    Raises:
        MissingExtra: The verb needs packages that are not installed.
        SystemExit: After ``--help`` (status 0) or a wrong option (status 2).
    """
    args = parse(command, words)
    if command.needs is not None:
        MissingExtra.check(command.needs)
    with trusting(getattr(args, "trust", ())):
        return command.run(args)


def parse(command: Command, words: Sequence[str]) -> Namespace:
    """Read the words after a verb; the line as it was typed is kept as ``command_line``.

    Every verb that takes ``--model`` takes ``--trust`` too.

    Raises:
        SystemExit: After ``--help`` (status 0) or a wrong option (status 2).
    """
    parser = OneLineParser(
        prog=f"sciddiff {command.name}",
        description=command.help,
        epilog=_examples(command.example) if command.example else None,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    if parser.knows("--model") and not parser.knows("--trust"):
        add_trust(parser)
    if command.open_ended:
        args, args.rest = parser.parse_known_args(words)
    else:
        args = parser.parse_args(words)
    args.command_line = shlex.join(["sciddiff", command.name, *words])
    return args


def _examples(text: str) -> str:
    return f"example{'s' if chr(10) in text else ''}:\n  {text}"

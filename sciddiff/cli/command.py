"""What a verb is.

A package adds a verb to ``sciddiff`` by an entry point in the group `COMMANDS` whose value is a
`Command`::

    [project.entry-points."sciddiff.commands"]
    fold = "my_package.commands:fold"

The module that holds it should import its heavy dependencies inside `run`, because listing the
verbs imports it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sciddiff.extras import Needs
from sciddiff.shipped import PRETRAINED

__all__ = ["COMMANDS", "PREPARERS", "PRETRAINED", "REPORTERS", "Command", "Reporter"]

COMMANDS = "sciddiff.commands"
"""Entry-point group of user verbs; each value is a `Command`."""

PREPARERS = "sciddiff.preparers"
"""Entry-point group of the kinds of `sciddiff prepare KIND`; each value is a `Command`."""

REPORTERS = "sciddiff.reporters"
"""Entry-point group of the pages of `sciddiff report SOURCE`; each value is a `Reporter`."""


@dataclass(frozen=True)
class Command:
    """One verb.

    Attributes:
        name: The word typed after ``sciddiff``.
        help: One line for the overview.
        configure: Adds the verb's arguments to its parser.
        run: Does the work from the parsed arguments, among them ``args.command_line``, the whole
            line as it was typed; returns the exit status (None means 0).
        example: A command line shown at the end of ``--help``, or several, one a line.
        open_ended: Options the parser does not know are not an error but collected, in order, in
            ``args.rest``.
        needs: Optional packages without which the verb cannot work. Where one is missing, all
            are named before the verb begins.
    """

    name: str
    help: str
    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int | None]
    example: str = ""
    open_ended: bool = False
    needs: Needs | None = None


@dataclass(frozen=True)
class Reporter:
    """A kind of page, and what it is made of.

    Attributes:
        command: Writes the page; its first argument is the source.
        knows: Whether a file or folder that exists is a source of this page, at a glance.
    """

    command: Command
    knows: Callable[[Path], bool]

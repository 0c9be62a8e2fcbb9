"""The ``sciddiff`` command: find the verb, run it, turn failures into one line.

Core verbs stand in a table of module names, so that the overview imports none of them; user verbs
come from the entry points of the group `sciddiff.cli.command.COMMANDS`. A broken plug-in shows
its error in the overview and disturbs no other verb. Exit status is 0, or 2 on any failure.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

from sciddiff.cli.console import console
from sciddiff.cli.failures import FAILED, debugging, explain, fail
from sciddiff.cli.parsing import execute
from sciddiff.cli.registry import core_verbs, load_core, load_user, nearest, user_verbs
from sciddiff.errors import InputError

__all__ = ["main"]

_ALIASES: Final = {"--version": "version", "-V": "version"}
_OBJECTS: Final = 50_000
_INTRODUCTION = """\
usage: sciddiff VERB [options]        sciddiff VERB --help        sciddiff --version

Diffusion and flow models for science.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: Words after ``sciddiff``; those of the process by default.

    Returns:
        Exit status: 0, or 2 with one line on stderr.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # a process of its own: to import and read makes many objects, few in cycles
        gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    with console():
        return _main(words)


def _main(words: list[str]) -> int:
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            sys.stdout.write(overview())
            return 0
        status = _dispatch(words) or 0
        sys.stdout.flush()
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong option
        return 0 if stop.code in (None, 0) else FAILED
    except BrokenPipeError:  # the reader went away, as in `sciddiff models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if debugging():
            raise
        return fail(explain(error))
    return status


def overview() -> str:
    """Return the text of ``sciddiff --help``: every verb with its line, broken ones with why."""
    users, makers = user_verbs(), core_verbs()
    width = max(len(name) for name in (*users, *makers)) + 2
    lines = [_INTRODUCTION]
    if users:
        lines.append("to use models:")
        lines += [f"  {name:<{width}}{text}" for name, text in users.items()]
        lines.append("")
    lines.append("to make and study them:")
    lines += [f"  {name:<{width}}{text}" for name, text in makers.items()]
    return "\n".join(lines) + "\n"


def _dispatch(words: list[str]) -> int | None:
    name = _ALIASES.get(words[0], words[0])
    if name in core_verbs():
        command = load_core(name)
    elif name in user_verbs(load=False):
        command = load_user(name)
    else:
        known = [*user_verbs(load=False), *core_verbs()]
        raise InputError(f"{name}: no such verb; {nearest(name, known)}")
    return execute(command, words[1:])


if __name__ == "__main__":
    sys.exit(main())

"""Errors a user can act on.

A message is one line, ``"<file or field>: what is wrong; remedy"``. The command line prints it
after ``error:`` and exits with status 2, without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import final

__all__ = ["InputError", "MissingExtra", "nearest"]


@final
class InputError(ValueError):
    """What the caller gave cannot be used; the message names it and says what to do."""


@final
class MissingExtra(ImportError):  # noqa: N818 - names the state of the environment
    """An optional package is not installed; the message names the command that installs it.

    Args:
        package: The package that failed to import.
        extra: The extra of this distribution that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package}: not installed; run: pip install 'sciddiff[{extra}]'", name=package
        )
        self.package = package
        self.extra = extra


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remedy for a name that does not exist: the closest one, or all that do."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are: {', '.join(names)}" if names else "none is installed"

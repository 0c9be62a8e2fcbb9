"""Errors that a user can act on, and how the failure of a reader becomes one of them.

A message is one line, ``"<file or field>: what is wrong; remedy"``. The command line prints it
after ``error:`` and exits with status 2, without a traceback.

Libraries that read files fail on a damaged one in dozens of ways. `reading` encloses such a call
and turns whatever it raises into one line that names the file::

    with reading(path, "a NetCDF file"):
        values = dataset[name].values
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import final

from sciddiff.extras import Needs, remedy

__all__ = ["InputError", "MissingExtra", "brief", "nearest", "reading"]

_MOST_WORDS = 160


@final
class InputError(ValueError):
    """What the caller gave cannot be used; the message names it and says what to do."""


@final
class MissingExtra(ImportError):  # noqa: N818 - names the state of the environment
    """Optional packages are not installed; the message names all of them and the remedy.

    Args:
        package: The package that failed to import. Others of the same extras that are not
            installed either are named after it.
        extra: The extras that are needed.
        distribution: Whose extras they are.
    """

    def __init__(self, package: str, *extra: str, distribution: str = "sciddiff") -> None:
        absent = [package, *Needs(extra, distribution=distribution).missing]
        named = {name.lower(): name for name in reversed(absent)}
        names = list(dict.fromkeys(named[name.lower()] for name in absent))
        verb = "is" if len(names) == 1 else "are"
        command = remedy(extra, distribution)
        super().__init__(f"{', '.join(names)} {verb} not installed; run: {command}", name=package)
        self.package = package
        self.extra = extra[0]

    @classmethod
    def check(cls, needs: Needs) -> None:
        """Refuse to begin where a package is missing.

        Args:
            needs: The extras that are needed.

        Raises:
            MissingExtra: It names every package that is missing.
        """
        if needs.missing:
            raise cls(needs.missing[0], *needs.extras, distribution=needs.distribution)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a remedy for a name that does not exist: the closest one, or all that do."""
    names = sorted(known)
    # Comparing takes the product of both lengths: a damaged file may hold a name of any length.
    near = difflib.get_close_matches(name[:_MOST_WORDS], names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are: {', '.join(names)}" if names else "none is installed"


def brief(error: BaseException) -> str:
    """Return what an error says on one short line; the name of its class where it says nothing.

    >>> brief(ValueError("two\\n  lines"))
    'two lines'
    >>> brief(EOFError())
    'EOFError'
    """
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):  # its text is the key alone
        text = text if " " in text else f"no entry {text}"
    if isinstance(error, RecursionError):
        text = "it is nested too deeply"
    if len(text) > _MOST_WORDS:
        text = f"{text[: _MOST_WORDS - 1]}…"
    return text or type(error).__name__


@contextmanager
def reading(
    source: object, kind: str = "", remedy: str = "copy or download it again"
) -> Iterator[None]:
    """Turn the failure of a reader into one line that names the file.

    Enclose the calls that read or decode the file and nothing else: whatever they raise is taken
    for damage of the file, so a mistake in code that stands inside would be, too.  What already
    has a name passes as it is: `InputError`, a package that is missing, and lack of memory.

    Args:
        source: The file, folder or address; it begins the message.
        kind: What the file should be, with its article: ``"a NetCDF file"``.
        remedy: What the user can do about a damaged file.

    Raises:
        InputError: Anything inside failed; the cause is attached.

    >>> try:
    ...     with reading("a.json", "a JSON file"):
    ...         [].pop()
    ... except InputError as error:
    ...     print(error)
    a.json: damaged, or not a JSON file (pop from empty list); copy or download it again
    """
    try:
        yield
    except (InputError, ImportError, MemoryError):
        raise
    except OSError as error:
        raise InputError(f"{source}: {_refusal(error, kind, remedy)}") from error
    except Exception as error:  # a reader may fail on a damaged file in any way
        raise InputError(f"{source}: {_damaged(error, kind, remedy)}") from error


def _damaged(error: BaseException, kind: str, remedy: str) -> str:
    what = f"damaged, or not {kind}" if kind else "damaged"
    return f"{what} ({brief(error)}); {remedy}"


_REFUSALS = {
    errno.ENOENT: "no such file or folder; check the path",
    errno.EACCES: "permission denied; change its rights",
    errno.EPERM: "permission denied; change its rights",
    errno.EISDIR: "is a folder; give a file",
    errno.ENOTDIR: "is a file where a folder is needed; check the path",
    errno.ENAMETOOLONG: "the name is too long; check the path",
    errno.ELOOP: "is a link to itself; check the path",
    errno.EIO: "the disk cannot read it; copy it from elsewhere",
}


def _refusal(error: OSError, kind: str, remedy: str) -> str:
    """What the system refused; libraries also raise OSError, without a number, on damage."""
    return _REFUSALS.get(error.errno or 0) or _damaged(error, kind, remedy)

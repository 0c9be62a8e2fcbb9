"""Turn an exception into the one line a user can act on.

Every failure ends a verb with exit status 2 and one line ``sciddiff: error: …`` on stderr.
``SCIDDIFF_DEBUG=1`` lets the traceback through.
"""

from __future__ import annotations

import errno
import os
import sys

from sciddiff.errors import InputError, MissingExtra
from sciddiff.extras import provider
from sciddiff.names import printable

__all__ = ["FAILED", "debugging", "explain", "fail"]

FAILED = 2
"""Exit status of every failure."""


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get("SCIDDIFF_DEBUG", "") not in ("", "0")


def explain(error: BaseException) -> str:
    """Return one line that says what happened and what to do about it."""
    return _one_line(_explain(error))


def fail(line: str) -> int:
    """Print the line and return the exit status."""
    sys.stderr.write(f"sciddiff: error: {_one_line(line)}\n")
    return FAILED


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _explain(error: BaseException) -> str:
    if isinstance(error, (InputError, MissingExtra)):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; finished results are kept: run the same command again to continue"
    if isinstance(error, ImportError):
        return _missing_package(error)
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; ask for fewer or smaller samples at once, or use --device cpu"
    if "ENOSPC" in str(error) or "No space left on device" in str(error):
        return _FULL
    name = type(error).__name__
    return (
        f"internal error, {name}: {error or 'no message'}; please report it with the traceback "
        "that SCIDDIFF_DEBUG=1 shows"
    )


_FULL = (
    "no space left on the disk; free some and run the same command again: finished results "
    "are kept"
)


def _system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return where + _FULL
    if isinstance(error, PermissionError):
        return f"{where}permission denied; choose another folder or change its rights"
    if isinstance(error, FileNotFoundError):
        return f"{where}no such file or folder; check the path"
    if isinstance(error, IsADirectoryError):
        return f"{where}is a folder; give a file"
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return f"{where}is a file where a folder is needed; choose another path"
    if error.errno == errno.EROFS:
        return f"{where}the file system is read-only; choose another folder"
    return f"{where}{error.strerror or error}; check the path and the disk"


def _missing_package(error: ImportError) -> str:
    """Name the extra that brings a missing package, and all that it lacks."""
    name = (error.name or "").partition(".")[0]
    if not name or not isinstance(error, ModuleNotFoundError):
        return f"a package cannot be loaded ({error}); reinstall it with pip"
    found = provider(name)
    if found is None:
        return f"the package {name} is missing; install it with pip"
    return str(MissingExtra(*found))

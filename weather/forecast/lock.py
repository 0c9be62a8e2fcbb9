"""One writer at a time: two forecasts into one place would remove each other's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sciddiff.errors import InputError

__all__ = ["lock_of", "sole_writer"]


@contextmanager
def sole_writer(out: Path) -> Iterator[None]:
    """Keep other processes from writing to a place until the block ends, or this process does.

    Args:
        out: The store or file that is written; the lock lies beside it, as a hidden file.

    Raises:
        InputError: Another process is writing there.
    """
    path = lock_of(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(path, out)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        handle.close()


def lock_of(out: Path) -> Path:
    """The lock of a place; a file that is there says nothing, since a killed writer leaves it."""
    return out.with_name(f".{out.name}.lock")


def _acquire(path: Path, out: Path) -> IO[str]:
    while True:
        handle = path.open("w")
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.close()
            raise InputError(
                f"{out}: another process is writing this forecast; wait until it has ended, or "
                "choose another -o"
            ) from error
        except (ImportError, OSError):
            return handle  # A system or a disk without such locks.
        try:
            if os.fstat(handle.fileno()).st_ino == path.stat().st_ino:
                return handle
        except FileNotFoundError:
            pass
        # The writer before has just removed the file that was opened here: once more.
        handle.close()

"""Files that a user gives, read without surprises, and files of ours that appear whole.

Only regular files are opened: a named pipe without a writer would block for ever.  Compressed
files are told by their first bytes, and none may grow beyond a limit, because a megabyte of gzip
can hold gigabytes.  The environment variable `LIMIT_VARIABLE` moves that limit.  What is written
by `replacing` is there whole or not at all, whenever its process ends.

Every function raises `sciddiff.errors.InputError` with one line that names the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from sciddiff.errors import InputError, reading

__all__ = [
    "LIMIT_VARIABLE",
    "most_bytes",
    "open_arrays",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_table",
    "read_text",
    "regular",
    "replacing",
    "split_rows",
    "write_json",
]

LIMIT_VARIABLE = "SCIDDIFF_MAX_FILE_MB"
"""Environment variable: most megabytes that a file may hold once it is unpacked."""

_DEFAULT_MB = 1024
_LONGEST_LINE = 2**24  # characters; SMILES, SDF, PDB and CSV lines stay far below
_GZIP = b"\x1f\x8b"


def regular(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that can be opened without blocking.

    Raises:
        InputError: There is no such file, or it is a folder, a pipe, a socket or a device.
    """
    file = Path(path)
    with reading(file):
        mode = file.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"{file}: is a folder; give a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{file}: is a pipe or a device; write its content to a file first")
    return file


def most_bytes() -> int:
    """Return how many bytes one file may hold, unpacked.

    Raises:
        InputError: The environment variable is not a positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, "") or str(_DEFAULT_MB)
    try:
        limit = int(float(text) * 2**20)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise InputError(f"{LIMIT_VARIABLE}: {text!r} is not a positive number of megabytes")
    return limit


def read_bytes(path: str | os.PathLike[str], kind: str = "", limit: int | None = None) -> bytes:
    """Read a whole file, unpacked if it is gzip.

    Args:
        path: The file.
        kind: What it should be, for the message: ``"a structure file"``.
        limit: Most bytes it may hold, unpacked; None takes `most_bytes`.

    Raises:
        InputError: It cannot be read, is damaged gzip, or holds more than the limit.
    """
    file, most = regular(path), most_bytes() if limit is None else limit
    with reading(file, kind), file.open("rb") as raw:
        data = raw.read(most + 1)
    if data[:2] == _GZIP:
        with reading(file, "a gzip file"), gzip.open(file, "rb") as packed:
            data = packed.read(most + 1)
    if len(data) > most:
        raise InputError(
            f"{file}: holds more than {most / 2**20:g} MB; if it is meant to, set the environment "
            f"variable {LIMIT_VARIABLE} to a larger number"
        )
    return data


def read_text(path: str | os.PathLike[str], kind: str = "", limit: int | None = None) -> str:
    """Read a whole text file in UTF-8, with or without a byte-order mark; see `read_bytes`.

    Raises:
        InputError: As `read_bytes`, or the file is not text in UTF-8.
    """
    data = read_bytes(path, kind, limit)
    with reading(path, kind or "text in UTF-8", "save it as text in UTF-8"):
        return data.decode("utf-8-sig")


def read_json(path: str | os.PathLike[str], remedy: str = "copy or download it again") -> Any:
    """Read a JSON file.

    Raises:
        InputError: As `read_text`, or the file is not JSON.
    """
    text = read_text(path, "a JSON file")
    with reading(path, "a JSON file", remedy):
        return json.loads(text)


def write_json(path: str | os.PathLike[str], plain: Any) -> None:
    """Write plain values as JSON; the file appears whole or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(plain, indent=2) + "\n").encode("utf-8"))


@contextmanager
def open_arrays(
    path: str | os.PathLike[str], remedy: str = "copy or download it again"
) -> Iterator[Mapping[str, Any]]:
    """Open a ``.npz`` archive; arrays are read as they are asked for, and nothing is unpickled.

    Args:
        path: The file.
        remedy: What the user can do about a damaged one.

    Raises:
        InputError: It is not such an archive, or is damaged where it is read inside ``with``.
    """
    import numpy as np

    file = regular(path)
    with reading(file, "a .npz archive", remedy):
        if not zipfile.is_zipfile(file):  # numpy would take it for a pickle, and say so
            raise InputError(f"{file}: is not a readable .npz archive; {remedy}")
        try:
            with np.load(file, allow_pickle=False) as arrays:
                yield arrays
        except MemoryError as error:  # a damaged header may tell any size
            raise InputError(
                f"{file}: holds an array larger than the memory, or is damaged; {remedy}"
            ) from error


def read_lines(path: str | os.PathLike[str], kind: str = "") -> Iterator[str]:
    """Yield the lines of a text file, gzip or not, with their ends; for files of any length.

    Bytes that are not UTF-8 are read as U+FFFD.

    Raises:
        InputError: It cannot be read, is damaged gzip, or a line is longer than 16 MB.
    """
    file = regular(path)
    with reading(file, kind):
        with file.open("rb") as raw:
            packed = raw.read(2) == _GZIP
        opened = gzip.open(file, "rb") if packed else file.open("rb")
        with opened, io.TextIOWrapper(opened, encoding="utf-8-sig", errors="replace") as text:
            while line := text.readline(_LONGEST_LINE + 1):
                if len(line) > _LONGEST_LINE:
                    raise InputError(f"{file}: a line is longer than 16 MB; is it text?")
                yield line


def split_rows(lines: Iterable[str], **layout: Any) -> Iterator[list[str]]:
    """Split lines of CSV into cells of any length that `read_lines` lets pass.

    Args:
        lines: The lines.
        layout: Arguments of `csv.reader`, such as ``delimiter``.
    """
    # Python's own limit of 131,072 characters is far below what a macromolecule's SMILES needs.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_LINE))
    yield from csv.reader(lines, **layout)


def read_table(path: str | os.PathLike[str], **layout: Any) -> list[dict[str, str]]:
    """Read a CSV file with a header line; lines without a cell are left out.

    Args:
        path: The file.
        layout: Arguments of `csv.reader`, such as ``delimiter``.

    Returns:
        One dict a row, by the names of the header.

    Raises:
        InputError: It cannot be read, or two columns have one name, or a row has more or fewer
            cells than the header.
    """
    lines = io.StringIO(read_text(path, "a CSV table"), newline="")
    with reading(path, "a CSV table"):
        rows = [row for row in split_rows(lines, **layout) if row]
    header, *rest = rows or [[]]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: has two columns {twice!r}; rename or remove one")
    for number, row in enumerate(rest, start=2):
        if len(row) != len(header):
            raise InputError(
                f"{path}: row {number} has {len(row)} cells where the header has {len(header)}; "
                "mend that row"
            )
    return [dict(zip(header, row, strict=True)) for row in rest]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes the place of `path` when the block ends without an error.

    It is written beside the target, as a hidden file that its writer holds a lock on. What a
    killed process left there has no lock, and is taken over by the next that writes this target.

    Args:
        path: The target; its folder is made if need be.

    Raises:
        InputError: The folder cannot be written or the disk is full.
    """
    target = Path(path)
    temporary: Path | None = None
    lock: int | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _beside(target)
        lock = os.dup(handle) if os.name == "posix" else None  # held until it is renamed
        with os.fdopen(handle, "wb") as out:
            yield out
        temporary.replace(target)
        temporary = None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{target}: cannot be written ({reason}); free some space or choose another place"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def _beside(target: Path) -> tuple[Path, int]:
    """An empty hidden file beside a target that no other process writes, and its handle."""
    for number in itertools.count():
        middle = f".{number}" if number else ""
        path = target.with_name(f".{target.name}{middle}.partial")
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            held = _hold(handle)
            if held is False:  # another process writes the same target
                os.close(handle)
                break
            with suppress(FileNotFoundError):
                if os.fstat(handle).st_ino == path.stat().st_ino:
                    os.ftruncate(handle, 0)
                    return path, handle
            os.close(handle)  # its writer has just renamed it
    raise AssertionError("numbers do not end")


def _hold(handle: int) -> bool | None:
    """Lock a file for this process: whether that was possible, None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True

"""Whole input files as bytes or text, unpacked, and refused where they cannot be meant.

Every reader of structures opens its files here, so that a pipe never blocks a command, a damaged
gzip file is named as such, and a small compressed file cannot fill the memory.
"""

import gzip
import io
import os
import stat
import zlib
from pathlib import Path

from sciddiff.errors import InputError

SIZE_VARIABLE = "SCIDDIFF_MAX_FILE_MB"
"""Environment variable that raises the largest size of an input file, in megabytes."""

DEFAULT_MEGABYTES = 512
"""The largest input file after unpacking; the whole of the PDB has no structure beyond it."""

_GZIP_MAGIC = b"\x1f\x8b"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Content of a regular file, unpacked if it is gzipped.

    Args:
        path: the file; its content, not its suffix, says whether it is gzipped.

    Raises:
        InputError: the file is absent, no regular file, unreadable, damaged, empty, or larger
            than the limit (``SCIDDIFF_MAX_FILE_MB``).
    """
    file = Path(path)
    limit = size_limit()
    try:
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{file}: is a folder; give one file")
        if not stat.S_ISREG(mode):
            raise InputError(
                f"{file}: is a pipe or a device; save its content to a file and give that"
            )
        with file.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            data = _unpacked(raw, limit) if packed else raw.read(limit + 1)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; check the path") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{file}: damaged gzip ({error}); download it again") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{file}: cannot be read ({reason}); check its rights") from error
    if len(data) > limit:
        unpacked = " when unpacked" if packed else ""
        raise InputError(
            f"{file}: holds more than {limit // 10**6} MB{unpacked}; check that it is the right "
            f"file, and set {SIZE_VARIABLE} to a larger number of megabytes to read it"
        )
    if not data.strip():
        raise InputError(f"{file}: is empty; download it again")
    return data


def read_text(path: str | os.PathLike[str], kind: str) -> str:
    """Content of a text file; UTF-8, or Latin-1 where it is not that.

    Args:
        path: the file, gzipped or not.
        kind: what it should be, for the message about a binary file, such as ``"PDB or mmCIF"``.

    Raises:
        InputError: as ``read_bytes``, or the file is binary.
    """
    data = read_bytes(path)
    if b"\0" in data[:4096]:
        raise InputError(f"{path}: is binary, not {kind}; convert it first")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def size_limit() -> int:
    """The most bytes that an input file may have, unpacked.

    Raises:
        InputError: the environment variable is not a positive number.
    """
    text = os.environ.get(SIZE_VARIABLE, str(DEFAULT_MEGABYTES))
    try:
        megabytes = float(text)
        limit = int(megabytes * 10**6)
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise InputError(
            f"{SIZE_VARIABLE}={text}: is not a number of megabytes; give one like 2000"
        )
    return limit


def _unpacked(raw: io.BufferedReader, limit: int) -> bytes:
    """At most one byte more than the limit, whatever the file unpacks to."""
    with gzip.GzipFile(fileobj=raw) as stream:
        return stream.read(limit + 1)

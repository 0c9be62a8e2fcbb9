"""What a request depends on, known by its content and not by its name or its place.

`Inputs` holds the SHA-256 of every file, folder and model that a command reads. It is kept in the
record of the results (`sciddiff.cli.campaign`), so that a file that has changed is noticed, and
one that was only moved or copied is not.

Small files are read every time. A file of more than `LARGE` bytes is read again only if its path,
size or time of change differ from what the record says, as Git does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sciddiff.errors import reading
from sciddiff.files import regular

__all__ = ["LARGE", "Inputs", "changed", "content", "digest"]

LARGE = 64 * 2**20
"""Bytes above which a file whose size and time of change are the recorded ones is not read."""


@final
@dataclass
class Inputs:
    """The inputs of one request.

    Attributes:
        entries: For each input, by the option or word that names it: ``sha256``, the ``path`` as
            the user gave it, and for large files what tells that they are untouched.
    """

    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, path: Path, known: Mapping[str, Any] | None = None) -> Inputs:
        """Add a file or a folder.

        Args:
            name: The option that names it, such as ``--motif``.
            path: The file, or a folder with everything below it.
            known: The entry of an earlier record; spares reading a large file again.

        Raises:
            InputError: It cannot be read.
        """
        self.entries[name] = _entry(path, known or {})
        return self

    def add_all(self, name: str, paths: Iterable[str | Path], known: Any = None) -> Inputs:
        """Add several files or folders as one input; their order and places do not count.

        Args:
            name: The option or word that names them.
            paths: The files; an address such as ``https://...`` is known by its text.
            known: The entry of an earlier record.
        """
        earlier = {entry["path"]: entry for entry in (known or {}).get("parts", [])}
        parts = [
            {"sha256": digest(str(path)), "path": str(path)}
            if "://" in str(path)
            else _entry(Path(path), earlier.get(str(path), {}))
            for path in paths
        ]
        parts.sort(key=lambda part: part["sha256"])
        total = digest([part["sha256"] for part in parts])
        self.entries[name] = {"sha256": total, "parts": parts}
        return self

    def add_files(self, name: str, folder: Path, files: Iterable[Path]) -> Inputs:
        """Add some files of a folder, by their content and their places below it.

        Args:
            name: The option or word that names the folder.
            folder: The folder.
            files: Those of its files that are read; what cannot be read counts as absent.
        """
        there = [file for file in files if os.access(file, os.R_OK)]
        below = {file.relative_to(folder).as_posix(): file for file in there}
        self.entries[name] = _entry(folder, {}, below)
        return self

    def add_model(self, name: str, meta: Mapping[str, Any], path: object = "") -> Inputs:
        """Add a model: all that its results depend on, not its card.

        Args:
            name: The option that names it.
            meta: Content of its ``meta.json``.
            path: As the user gave it.
        """
        from sciddiff.weights import identity

        self.entries[name] = {"sha256": identity(meta), "path": str(path)}
        return self

    def add_text(self, name: str, text: str) -> Inputs:
        """Add a value that may be long, such as a SMILES."""
        return self.add_values(name, text, text)

    def add_values(self, name: str, values: Any, path: object) -> Inputs:
        """Add what was read of files, known by plain values and not by the files' bytes.

        Args:
            name: The option or word that names it.
            values: Plain values.
            path: Where it was read, for messages.
        """
        self.entries[name] = {"sha256": digest(values), "path": str(path)[:200]}
        return self


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the inputs of two requests, each as a phrase with its file."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old is None or new is None:
            found.append(f"{name} is {'new' if old is None else 'missing now'}")
        elif old.get("sha256") != new.get("sha256"):
            where = f" ({new['path']})" if new.get("path") else ""
            found.append(f"the content of {name}{where} has changed")
    return found


def content(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with reading(path):
        return _file(path)


def digest(value: Any) -> str:
    """The SHA-256 of plain values, in hexadecimal."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _entry(
    path: Path, known: Mapping[str, Any], below: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """The entry of a file, or of a folder with some or all of its files."""
    with reading(path):
        folder = below is not None or path.is_dir()
        files = below if below is not None else _below(path) if folder else {"": path}
        stats = [file.stat() for file in files.values()]
        size = sum(stat.st_size for stat in stats)
        entry: dict[str, Any] = {"path": str(path)}
        if size > LARGE:
            latest = max(stat.st_mtime_ns for stat in stats)
            entry |= {"files": len(files), "bytes": size, "changed": latest}
            if all(known.get(key) == value for key, value in entry.items()):
                return dict(known)
        hashes = {name: _file(file) for name, file in sorted(files.items())}
        return {"sha256": digest(hashes) if folder else hashes[""], **entry}


def _below(folder: Path) -> dict[str, Path]:
    """Every file below a folder by its name; hidden ones only where they belong to Zarr."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") and not part.startswith(".z") for part in name.parts)
        hidden |= file.suffix == ".idx"  # written by readers of GRIB
        if file.is_file() and not hidden:
            found[name.as_posix()] = file
    return found


def _file(path: Path) -> str:
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

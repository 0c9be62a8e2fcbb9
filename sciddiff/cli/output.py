"""What a verb prints: a table for people, or one JSON object for programs."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sciddiff.names import printable

__all__ = ["as_table", "emit", "human_size", "remark", "remark_left_out"]


def emit(args: Namespace, data: Mapping[str, Any], text: str) -> None:
    """Print `data` as JSON if the user gave ``--json``, else `text`."""
    if getattr(args, "json", False):
        text = json.dumps(data, indent=2, default=_plain, allow_nan=True)
    sys.stdout.write(text.rstrip("\n") + "\n")


def remark(source: object, notes: Sequence[str]) -> None:
    """Print what was noticed about an input, one line each, where it disturbs no output.

    Args:
        source: What it is about, such as a file.
        notes: Sentences.
    """
    for note in notes:
        lines = [printable(line) for line in note.split("\n")]
        sys.stderr.write(f"note: {printable(str(source))}: {chr(10).join(lines)}\n")


def remark_left_out(source: Path, files: Mapping[str, str]) -> None:
    """Print which files of a folder were left out, and why.

    Args:
        source: The folder.
        files: Reasons by the names of the files.
    """
    for name, reason in files.items():
        remark(source / name, [f"this file is left out: {reason}"])


def as_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay out rows in columns as wide as their widest cell."""
    cells = [[printable(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def human_size(n: int) -> str:
    """Write a number of bytes as people do: ``4.2 MB``."""
    size = float(n)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _plain(value: object) -> Any:
    """Turn what JSON does not know (paths, tensors, arrays) into what it does."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()  # type: ignore[attr-defined]
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)

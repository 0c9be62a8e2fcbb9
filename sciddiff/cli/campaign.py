"""The record of a folder of samples, so that an interrupted command goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sciddiff.errors import InputError

__all__ = ["RECORD", "Campaign"]

RECORD = "run.json"
"""File of the record, inside the folder."""


@final
@dataclass
class Campaign:
    """What was asked for, and which parts of it are done.

    Attributes:
        directory: The folder.
        request: Plain values that decide every sample.
        done: Names of the files of each finished part, by its number.
    """

    directory: Path
    request: Mapping[str, Any]
    done: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path, request: Mapping[str, Any]) -> Campaign:
        """Begin a folder, or go on with one.

        Raises:
            InputError: The folder belongs to another request, or its record is damaged.
        """
        directory.mkdir(parents=True, exist_ok=True)
        plain = json.loads(json.dumps(request, default=str))
        campaign = cls(directory, plain)
        file = directory / RECORD
        if not file.exists():
            campaign._write()
            return campaign
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            before, done = dict(record["request"]), dict(record["done"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: is not a record of samples; choose another -o") from error
        differ = sorted(k for k in before.keys() | plain.keys() if before.get(k) != plain.get(k))
        if differ:
            raise InputError(
                f"{directory}: holds samples of another command (it differs in "
                f"{', '.join(differ)}); choose another -o"
            )
        campaign.done |= done
        return campaign

    @property
    def files(self) -> list[Path]:
        """Every file written so far."""
        return [self.directory / name for names in self.done.values() for name in names]

    def finished(self, part: int) -> bool:
        """Whether a part was written and its files are still there."""
        names = self.done.get(str(part))
        return names is not None and all((self.directory / name).exists() for name in names)

    def finish(self, part: int, files: Sequence[Path]) -> None:
        """Record a part as written."""
        self.done[str(part)] = [os.path.relpath(file, self.directory) for file in files]
        self._write()

    def _write(self) -> None:
        # Written beside and renamed: a full disk must not damage what is recorded.
        partial = self.directory / f".{RECORD}.partial"
        text = json.dumps({"request": self.request, "done": self.done}, indent=2)
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, self.directory / RECORD)

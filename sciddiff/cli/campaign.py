"""The record of a folder of samples, so that an interrupted command goes on where it stopped.

`run.json` holds what was asked for (``request``), by which ``command``, what each call made and
how long it took (``runs``), which parts are ``done``, and whatever facts the verb adds. What is
recorded of a call stays: a later call of the same request adds to it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sciddiff.errors import InputError

__all__ = ["RECORD", "Campaign", "machine_facts"]

RECORD = "run.json"
"""File of the record, inside the folder."""


@final
@dataclass
class Campaign:
    """What was asked for, and which parts of it are done.

    Attributes:
        directory: The folder.
        request: Plain values that decide every sample.
        command: The command line that began the folder.
        runs: What each call made: ``made`` samples in ``seconds``, by ``command``.
        done: Names of the files of each finished part, by its number.
        facts: Further entries of the record.
    """

    directory: Path
    request: Mapping[str, Any]
    command: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)
    done: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path, request: Mapping[str, Any], command: str = "") -> Campaign:
        """Begin a folder, or go on with one.

        Args:
            directory: The folder; made if it is not there.
            request: Plain values that decide every sample.
            command: The command line, for the record.

        Raises:
            InputError: The folder belongs to another request, its record is damaged, or it is a
                file.
        """
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory}: is a file; give a folder with -o")
        directory.mkdir(parents=True, exist_ok=True)
        campaign = cls(directory, json.loads(json.dumps(request, default=str)), command)
        if (directory / RECORD).exists():
            campaign._go_on()
        else:
            campaign._write()
        return campaign

    def _go_on(self) -> None:
        """Take over the record that is there."""
        file = self.directory / RECORD
        try:
            record = dict(json.loads(file.read_text(encoding="utf-8")))
            before, done = dict(record.pop("request")), dict(record.pop("done", {}))
            runs = list(record.pop("runs", []))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{file}: is not a record of samples; remove it or choose another -o"
            ) from error
        now = self.request
        differ = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        if differ:
            raise InputError(
                f"{self.directory}: holds samples of another command (it differs in "
                f"{', '.join(differ)}); choose another -o"
            )
        self.command = str(record.pop("command", self.command))
        self.runs, self.done, self.facts = runs, done, record

    @property
    def record(self) -> dict[str, Any]:
        """The content of `run.json`."""
        told = {"command": self.command, "runs": self.runs, "done": self.done}
        return {
            "request": dict(self.request),
            **{name: value for name, value in told.items() if value},
            **self.facts,
        }

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

    def ran(self, made: int, seconds: float, command: str = "", **facts: Any) -> None:  # noqa: ANN401
        """Record what a call has made; facts that are recorded already stay as they are.

        Args:
            made: Samples it made.
            seconds: Wall-clock time that took.
            command: Its command line.
            facts: Further entries of the record, plain values.
        """
        told = {"command": command} if command and command != self.command else {}
        self.runs.append({"made": made, "seconds": round(seconds, 3), **told})
        self.facts = {**json.loads(json.dumps(facts, default=str)), **self.facts}
        self._write()

    def _write(self) -> None:
        # Written beside and renamed: a full disk must not damage what is recorded. Processes of
        # one campaign write each their own.
        partial = self.directory / f".{RECORD}.{os.getpid()}.partial"
        partial.write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, self.directory / RECORD)


def machine_facts() -> dict[str, str]:
    """What made samples: versions and the kind of processor, for the record."""
    import torch

    from sciddiff import __version__

    return {
        "sciddiff": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }

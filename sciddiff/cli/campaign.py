"""The record of a folder of results, so that an interrupted command goes on where it stopped.

`run.json` holds what was asked for (``request``: the options, ``inputs``: the content of every
file and model, see `sciddiff.cli.fingerprint`), by which ``command``, what each call made and how
long it took (``runs``), and whatever facts the verb adds. What is recorded of a call stays: a
later call of the same request adds to it. Which results are there is told by the results
themselves, see `sciddiff.cli.parts`.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from sciddiff.cli.fingerprint import Inputs, changed
from sciddiff.errors import InputError, reading
from sciddiff.files import read_json, write_json

__all__ = ["RECORD", "Campaign", "machine_facts", "made_before", "read_record", "record_made"]

_OTHER = "remove it or choose another -o"
RECORD = "run.json"
"""File of the record, inside the folder."""


@final
@dataclass
class Campaign:
    """What was asked for, and what was made of it.

    Attributes:
        directory: The folder.
        request: Plain values that decide every result.
        inputs: Content of what was read, by the option that names it.
        command: The command line that began the folder.
        runs: What each call made: ``made`` results in ``seconds``, by ``command``.
        facts: Further entries of the record.
    """

    directory: Path
    request: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    runs: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        directory: Path,
        request: Mapping[str, Any],
        command: str = "",
        inputs: Inputs | None = None,
        begun: bool = True,
    ) -> Campaign:
        """Begin a folder, or go on with one.

        Args:
            directory: The folder; made if it is not there.
            request: Plain values that decide every result.
            command: The command line, for the record.
            inputs: Content of every file and model that is read.
            begun: Whether the folder holds results of the request that it records. A record
                without any, of a command that failed, gives way to this one.

        Raises:
            InputError: The folder belongs to another request, its record is damaged, or it is a
                file.
        """
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory}: is a file; give a folder with -o")
        directory.mkdir(parents=True, exist_ok=True)
        entries = {} if inputs is None else inputs.entries
        campaign = cls(directory, _plain(request), _plain(entries), command)
        if (directory / RECORD).exists():
            campaign._go_on(begun)
        else:
            campaign._write()
        return campaign

    @staticmethod
    def known(directory: Path) -> dict[str, Any]:
        """The inputs that a folder's record names; none without a record that can be read."""
        try:
            found = read_json(directory / RECORD)["inputs"]
            return dict(found)
        except (ValueError, KeyError, TypeError):
            return {}

    def _go_on(self, begun: bool) -> None:
        """Take over the record that is there, or replace it where nothing came of it."""
        record = self._read()
        # Results of another verb may be there that this one does not know.
        begun |= bool(record["runs"]) or _verb(record.get("command", "")) != _verb(self.command)
        other = _options(record["request"], self.request)
        content = changed(record["inputs"], self.inputs)
        differ = other + content
        if differ and begun:
            remedy = ", or restore what was read" if content and not other else ""
            raise InputError(
                f"{self.directory}: holds results of another command: {'; '.join(differ)}; "
                f"choose another -o{remedy}"
            )
        if differ:
            self._write()
        else:
            self._take(record)

    def _read(self) -> dict[str, Any]:
        file = self.directory / RECORD
        found = read_json(file, _OTHER)
        with reading(file, "a record of results", _OTHER):
            record = dict(found)
            record["request"] = dict(record["request"])
            record["inputs"] = dict(record.get("inputs", {}))
            record["runs"] = list(record.get("runs", []))
        return record

    def _take(self, record: dict[str, Any]) -> None:
        record = dict(record)
        self.request, self.inputs = record.pop("request"), record.pop("inputs")
        self.command = str(record.pop("command", self.command))
        self.runs, self.facts = record.pop("runs"), record

    @property
    def record(self) -> dict[str, Any]:
        """The content of `run.json`."""
        optional = {"inputs": self.inputs, "command": self.command, "runs": self.runs}
        return {
            "request": dict(self.request),
            **{name: value for name, value in optional.items() if value},
            **self.facts,
        }

    def ran(self, made: int, seconds: float, command: str = "", **facts: Any) -> None:  # noqa: ANN401
        """Record what a call has made; facts that are recorded already stay as they are.

        A call that made nothing changes nothing, unless no call is recorded: one that was killed
        after its last result had no time to tell.

        Args:
            made: Results it made.
            seconds: Wall-clock time that took.
            command: Its command line.
            facts: Further entries of the record, plain values.
        """
        if made == 0 and self.runs:
            return
        own = {**self.facts}
        with _alone(self.directory):
            # Other processes may have added to it since.
            if (self.directory / RECORD).exists():
                self._take(self._read())
            said = {"command": command} if command and command != self.command else {}
            self.runs.append({"made": made, "seconds": round(seconds, 3), **said})
            self.facts = {**_plain(facts), **own, **self.facts}
            self._write()

    def note(self, **facts: Any) -> None:  # noqa: ANN401
        """Record further facts in place of those of the same name."""
        with _alone(self.directory):
            if (self.directory / RECORD).exists():
                self._take(self._read())
            if {**self.facts, **_plain(facts)} != self.facts:
                self.facts |= _plain(facts)
                self._write()

    def _write(self) -> None:
        # Replaced at once: a full disk must not damage what is recorded.
        write_json(self.directory / RECORD, self.record)


def record_made(
    record: Path, request: Mapping[str, Any], inputs: Inputs, told: Mapping[str, Any]
) -> None:
    """Write the record that `made_before` reads, in one step.

    Args:
        record: The file.
        request: Plain values that decide what was made.
        inputs: Content of what it is made of.
        told: What else is known of it. How much an earlier run had done (``resumed``) is recorded
            as 0, so that a run that was killed on the way leaves the same record.
    """
    whole = {"request": dict(request), "inputs": inputs.entries, **told}
    if "resumed" in told:
        whole["resumed"] = 0
    write_json(record, whole)


def made_before(
    file: Path,
    record: Path,
    request: Mapping[str, Any],
    inputs: Inputs,
    remedy: str = "choose another name or add --overwrite",
) -> dict[str, Any]:
    """The record beside a file, where this very request has made the file.

    Args:
        file: What is to be made, and is there already.
        record: Its record: JSON with ``request`` and ``inputs`` among other things.
        request: Plain values that decide the file.
        inputs: Content of what it is made of.
        remedy: What the user can do about a file of another request.

    Raises:
        InputError: Another request made it, or nobody knows which.
    """
    try:
        found = dict(read_json(record))
        before, read = dict(found["request"]), dict(found.get("inputs", {}))
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{file}: is there already; {remedy}") from None
    differ = [*_options(before, _plain(request)), *changed(read, inputs.entries)]
    if differ:
        raise InputError(
            f"{file}: is there already, made by another request: {'; '.join(differ)}; {remedy}"
        )
    return found


def read_record(directory: Path) -> dict[str, Any]:
    """Content of `run.json` for a report; empty if there is none that can be read.

    Its ``request`` is completed by the paths of what was read, as the first command gave them,
    under the names of their options without dashes.
    """
    try:
        record = dict(read_json(directory / RECORD))
        inputs = dict(record.get("inputs") or {})
        paths = {name.lstrip("-"): str(entry.get("path", "")) for name, entry in inputs.items()}
        record["request"] = {**paths, **dict(record.get("request") or {})}
        return record
    except (ValueError, TypeError, AttributeError):
        return {}


def machine_facts() -> dict[str, str]:
    """What made results: versions and the kind of processor, for the record."""
    import torch

    from sciddiff import __version__

    return {
        "sciddiff": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _verb(command: str) -> list[str]:
    """The words of a command line that say what is done."""
    return command.split()[1:2]


def _options(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    # As text, in which NaN is itself.
    texts = [{k: json.dumps(v, sort_keys=True) for k, v in one.items()} for one in (before, now)]
    names = sorted(k for k in before.keys() | now.keys() if texts[0].get(k) != texts[1].get(k))
    return [
        f"{name} was {_short(before.get(name))} and is now {_short(now.get(name))}"
        for name in names
    ]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values, default=str))


def _short(value: object) -> str:
    text = "not given" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process at a time change the record, where the system has locks of folders."""
    try:
        import fcntl

        handle = os.open(directory, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):  # a disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

"""Which verbs there are: a table for the core's, entry points for everyone else's."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from sciddiff.cli.command import COMMANDS, PREPARERS, REPORTERS, Command, Reporter
from sciddiff.errors import InputError, nearest

__all__ = [
    "core_verbs",
    "load_core",
    "load_preparer",
    "load_reporter",
    "load_user",
    "nearest",
    "preparers",
    "reporters",
    "user_verbs",
]

_Kind = TypeVar("_Kind", bound=Command | Reporter)

_CORE = {
    "train": "train a model as a YAML file describes, or continue a stopped run",
    "sample": "draw samples of any domain from a model",
    "evaluate": "measure a folder of samples, and compare it with references",
    "likelihood": "compute the log-likelihood of held-out data under a model",
    "report": "show poses, designs or a forecast as one HTML page",
    "prepare": "turn raw files into a training set",
    "distill": "make a student of a model that needs fewer network calls",
    "tune": "tune a model towards a reward, and tell what it costs",
    "export": "turn a training run into a model: a folder of weights to use",
    "inspect": "show what a model or a training run holds",
    "models": "list the weights that ship with the installed packages",
    "domains": "list the installed domains",
    "version": "show the versions that matter for a bug report",
}


def core_verbs() -> dict[str, str]:
    """Return the core's verbs with a line each."""
    return dict(_CORE)


def load_core(name: str) -> Command:
    """Import one core verb: the object ``command`` of ``sciddiff.cli.<name>``."""
    return import_module(f"sciddiff.cli.{name}").command


def user_verbs(load: bool = True) -> dict[str, str]:
    """Return the registered verbs with a line each; a broken one has its error as the line.

    Args:
        load: Import the plug-ins for their lines; without it the lines are empty.
    """
    return {entry.name: _line(entry) if load else "" for entry in _entries(COMMANDS)}


def load_user(name: str) -> Command:
    """Import one registered verb.

    Raises:
        InputError: Its plug-in is broken.
    """
    return _find(COMMANDS, name, "verb", Command)


def preparers() -> dict[str, str]:
    """Return the kinds of ``sciddiff prepare KIND`` with a line each."""
    return {entry.name: _line(entry) for entry in _entries(PREPARERS)}


def load_preparer(name: str) -> Command:
    """Import the preparer of one kind.

    Raises:
        InputError: No such kind, or its plug-in is broken.
    """
    return _find(PREPARERS, name, "kind of data", Command)


def reporters() -> dict[str, str]:
    """Return the kinds of pages of ``sciddiff report`` with a line each."""
    return {entry.name: _line(entry, Reporter) for entry in _entries(REPORTERS)}


def load_reporter(name: str) -> Reporter:
    """Import the reporter of one kind.

    Raises:
        InputError: No such kind, or its plug-in is broken.
    """
    return _find(REPORTERS, name, "kind of page", Reporter)


def _entries(group: str) -> list[EntryPoint]:
    """Entry points of a group, sorted; of two with one name the first package's is kept."""
    found = sorted(entry_points(group=group), key=lambda e: (e.name, e.value))
    return list({entry.name: entry for entry in reversed(found)}.values())[::-1]


def _line(entry: EntryPoint, kind: type[Command | Reporter] = Command) -> str:
    try:
        found: Any = _load(entry, kind)
    except (Exception, SystemExit) as error:  # it may fail in any way, and must harm no other
        return f"(broken: {_reason(error)})"
    return found.command.help if kind is Reporter else found.help


def _find(group: str, name: str, what: str, kind: type[_Kind]) -> _Kind:
    entries = {entry.name: entry for entry in _entries(group)}
    if name not in entries:
        raise InputError(f"{name}: no such {what}; {nearest(name, entries)}")
    try:
        return _load(entries[name], kind)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name}: the plug-in {entries[name].value} cannot be loaded ({_reason(error)}); "
            "reinstall or remove its package"
        ) from error


def _load(entry: EntryPoint, kind: type[_Kind]) -> _Kind:
    found: Any = entry.load()
    if not isinstance(found, kind):
        raise TypeError(f"{entry.value} is not a sciddiff.cli.{kind.__name__}")
    return found


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

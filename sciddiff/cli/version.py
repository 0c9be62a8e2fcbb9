"""``sciddiff version``: the versions a bug report needs."""

from __future__ import annotations

import platform
from argparse import ArgumentParser, Namespace
from importlib.metadata import PackageNotFoundError, version

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json
from sciddiff.cli.output import as_table, emit

__all__ = ["command"]

_PACKAGES = (
    "sciddiff",
    "torch",
    "numpy",
    "pytorch-lightning",
    "jsonargparse",
    "safetensors",
    "torch-geometric",
    "e3nn",
    "biopython",
)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _configure(parser: ArgumentParser) -> None:
    add_json(parser)


def _run(args: Namespace) -> None:
    found: dict[str, str | None] = {"python": platform.python_version()}
    found |= {package: _version(package) for package in _PACKAGES}
    found["platform"] = platform.platform()
    rows = [(name, value or "not installed") for name, value in found.items()]
    emit(args, found, as_table(("package", "version"), rows))


command = Command(
    name="version",
    help="Show the versions that matter for a bug report.",
    configure=_configure,
    run=_run,
    example="sciddiff version --json",
)

"""``sciddiff domains``: what is installed, and why something is not usable."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json
from sciddiff.cli.output import as_table, emit

__all__ = ["command"]


def _configure(parser: ArgumentParser) -> None:
    add_json(parser)


def _run(args: Namespace) -> None:
    from sciddiff.domains import domains

    found = domains()
    rows = [(d.name, d.package, "usable" if d.error is None else d.error) for d in found]
    text = as_table(("domain", "package", "state"), rows) if rows else "no domain is installed"
    emit(args, {"domains": [asdict(d) for d in found]}, text)


command = Command(
    name="domains",
    help="List the installed domains; a broken one is listed with its error.",
    configure=_configure,
    run=_run,
    example="sciddiff domains --json",
)

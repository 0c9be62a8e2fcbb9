"""``sciddiff models``: the weights that ship, with card, size and hash."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json
from sciddiff.cli.output import as_table, emit, human_size
from sciddiff.cli.registry import nearest
from sciddiff.errors import InputError
from sciddiff.shipped import Shipped, shipped_models

__all__ = ["command"]


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="print the card of this model")
    parser.add_argument(
        "--verify", action="store_true", help="verify the sha256 checksum of every file"
    )
    add_json(parser)


def _describe(model: Shipped) -> dict[str, Any]:
    meta = model.meta
    return {
        "name": model.name,
        "package": model.package,
        "directory": model.directory,
        "domain": meta.get("domain"),
        "parameters": meta.get("parameters"),
        "bytes": model.size,
        "created": meta.get("created"),
        "sha256": meta.get("sha256", {}),
        "card": model.card,
    }


def _row(item: dict[str, Any]) -> tuple[Any, ...]:
    weights = next((h for f, h in item["sha256"].items() if f.endswith(".safetensors")), "?")
    number = item["parameters"]
    parameters = f"{number / 1e6:.2f} M" if isinstance(number, int) else "?"
    lines = (line.strip("# ") for line in item["card"].splitlines())
    title = next((line for line in lines if line), "(no card)")
    return item["name"], parameters, human_size(item["bytes"]), weights[:12], title


def _run(args: Namespace) -> None:
    models = shipped_models()
    if args.name is not None:
        chosen = [model for model in models if model.name == args.name]
        if not chosen:
            known = [model.name for model in models]
            raise InputError(f"model {args.name}: not shipped; {nearest(args.name, known)}")
        models = chosen
    if args.verify:
        from sciddiff.checkpoint import describe

        for model in models:
            describe(model.directory)
    listed = [_describe(model) for model in models]
    if args.name is not None and not args.json:
        sys.stdout.write((listed[0]["card"] or f"{args.name} has no card").rstrip() + "\n")
        return
    rows = [_row(item) for item in listed]
    table = as_table(("model", "parameters", "size", "sha256", "what"), rows)
    text = table if rows else "no installed package ships weights"
    emit(args, {"models": listed, "verified": args.verify}, text)


command = Command(
    name="models",
    help="List the weights that ship with the installed packages, or print the card of one.",
    configure=_configure,
    run=_run,
    example="sciddiff models lite",
)

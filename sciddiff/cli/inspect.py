"""``sciddiff inspect PATH``: what an exported model or a training run holds."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import yaml

from sciddiff.cli.command import Command
from sciddiff.cli.options import add_json
from sciddiff.cli.output import as_table, emit
from sciddiff.shipped import find_model

__all__ = ["command"]


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "path",
        help="what to show: the folder or the shipped name of a model, or the folder of a run",
    )
    add_json(parser)


def _exported(path: Path) -> dict[str, Any]:
    """Read an exported model, its checksums verified; only the headers of its weights are read."""
    from sciddiff.config import from_yaml
    from sciddiff.weights import CONFIG, describe, shapes

    return {
        "kind": "model",
        "path": path,
        "parameters": _by_module((name, prod(shape)) for name, shape in shapes(path).items()),
        "config": from_yaml(path / CONFIG),
        "meta": describe(path),
    }


def _training_run(path: Path) -> dict[str, Any]:
    from sciddiff.training.runs import harvest

    found = harvest(path, None)
    return {
        "kind": "run",
        "path": path,
        "parameters": _by_module((k, v.numel()) for k, v in found.weights.items()),
        "config": found.plain,
        "meta": {"step": found.step, "samples": found.samples, "metrics": dict(found.metrics)},
    }


def _by_module(sizes: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Count numbers by the first part of their name, and in all."""
    counted: Counter[str] = Counter()
    for name, size in sizes:
        counted[name.split(".")[0]] += size
    return {"total": sum(counted.values()), **counted}


def _text(found: Mapping[str, Any]) -> str:
    counts = [(name, f"{n:,}") for name, n in found["parameters"].items()]
    meta = json.dumps(found["meta"], indent=2, default=str)
    config = yaml.safe_dump(dict(found["config"]), sort_keys=False)
    title = f"{found['kind']} {found['path']}"
    table = as_table(("module", "parameters"), counts)
    return f"{title}\n\n{table}\n\nmeta\n{meta}\n\nconfig\n{config}"


def _run(args: Namespace) -> None:
    path = find_model(args.path)
    found = _training_run(path) if (path / "checkpoints").is_dir() else _exported(path)
    emit(args, found, _text(found))


command = Command(
    name="inspect",
    help="Show the configuration, facts and parameter counts of a model or a training run.",
    configure=_configure,
    run=_run,
    example="sciddiff inspect models/backbone",
)

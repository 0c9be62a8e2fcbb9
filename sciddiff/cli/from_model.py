"""What the verbs share that train a model from a model: ``distill`` and ``tune``."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sciddiff.cli.campaign import Campaign
from sciddiff.cli.fingerprint import Inputs

__all__ = ["inputs_of", "put_in_place", "trainer_settings"]


def trainer_settings(args: Namespace, kind: str) -> dict[str, Any]:
    """Settings of the trainer, before the user's own.

    Args:
        args: Options ``steps``, ``threads`` and ``json``.
        kind: Kind of the device, such as cuda.
    """
    return {
        "max_steps": args.steps,
        "threads": args.threads or 0,
        "accelerator": "gpu" if kind == "cuda" else kind,
        "progress": not args.json,
    }


def inputs_of(args: Namespace, meta: Mapping[str, Any], request: Mapping[str, Any]) -> Inputs:
    """Content of the model, and of what the request names as a file.

    Args:
        args: Options ``out`` and ``model``.
        meta: The model's facts.
        request: What is drawn.
    """
    known = Campaign.known(args.out)
    inputs = Inputs().add_model("MODEL", meta, args.model)
    for key, value in request.items():
        files = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        files = [Path(file) for file in files if isinstance(file, str) and os.path.exists(file)]
        name = f"--request {key}"
        if len(files) == 1:
            inputs.add(name, files[0], known.get(name))
        elif files:
            inputs.add_all(name, files)
    return inputs


def put_in_place(made: Path, folder: Path) -> None:
    """Move the files of an exported model into a folder, the one that makes it a model last.

    Args:
        made: Folder of the export, which is removed.
        folder: Where the files go; they replace those of an earlier model.
    """
    from sciddiff.checkpoint import META

    (folder / META).unlink(missing_ok=True)
    for file in sorted(made.iterdir(), key=lambda file: file.name == META):
        os.replace(file, folder / file.name)
    made.rmdir()

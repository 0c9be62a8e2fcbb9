"""The directory of a run, read without Lightning: its checkpoint, averages and numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.errors import InputError, reading
from sciddiff.files import read_table, regular
from sciddiff.training.ema import Snapshot, reconstruct
from sciddiff.weights import LATENTS, clean_name

__all__ = [
    "FORMAT",
    "LAST",
    "METRICS",
    "SNAPSHOTS",
    "STATE_KEY",
    "Harvest",
    "harvest",
    "last_metrics",
    "read_checkpoint",
    "read_snapshots",
]

LAST = Path("checkpoints") / "last.ckpt"
"""Checkpoint to resume from, inside the directory of a run."""

SNAPSHOTS = Path("snapshots")
"""Directory of snapshots of the averages."""

METRICS = Path("metrics.csv")
"""Numbers of the run, one row every `log_every` steps."""

FORMAT = 1
"""Number of the layout of what a checkpoint to resume holds beside Lightning's own."""

STATE_KEY = "sciddiff"
"""Key of that part in the checkpoint."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to resume; only tensors and plain values are accepted.

    Raises:
        InputError: It is damaged, or of another program or format.
    """
    with reading(regular(path), "a checkpoint of sciddiff", "remove it to start again"):
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    part = loaded.get(STATE_KEY) if isinstance(loaded, dict) else None
    if not isinstance(part, dict):
        raise InputError(f"{path}: not a checkpoint of sciddiff train; give one that is")
    if part.get("format") != FORMAT:
        raise InputError(
            f"{path}: checkpoint format {part.get('format')} is unknown (this version reads "
            f"{FORMAT}); resume with the sciddiff that wrote it"
        )
    return loaded


@final
@dataclass(frozen=True, eq=False)
class Harvest:
    """What a run has come to.

    Attributes:
        weights: State dict of the network, averaged as asked, and of the codec of its domain.
        plain: Plain form of the experiment.
        step: Optimiser steps done.
        samples: Samples seen.
        metrics: Last row of the run's numbers.
        origin: Which weights it started from; None: none.
    """

    weights: Mapping[str, Tensor]
    plain: Mapping[str, Any]
    step: int
    samples: int
    metrics: Mapping[str, float]
    origin: Mapping[str, Any] | None = None


def harvest(run: Path, ema: float | None) -> Harvest:
    """Read a run's weights.

    Args:
        run: Directory of the run.
        ema: Width of the average to take: tracked, or any other if the run kept snapshots; None
            for the weights as they stand.

    Raises:
        InputError: No checkpoint, no plain experiment in it, or the width cannot be had.
    """
    if not (run / LAST).exists():
        raise InputError(f"{run}: holds no {LAST}; give the directory of a training run")
    checkpoint = read_checkpoint(run / LAST)
    state = checkpoint[STATE_KEY]
    if state.get("plain") is None:
        raise InputError(f"{run}: was not trained from a config file; train from one")
    head = "net."
    with reading(run / LAST, "a checkpoint of sciddiff", "train again"):
        weights = {
            clean_name(name.removeprefix(head)): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(head)
        }
        if ema is not None:
            weights |= _average(run, state["ema"], ema)
        weights |= {LATENTS + name: v for name, v in (state.get("latents") or {}).items()}
        return Harvest(
            weights,
            dict(json.loads(state["plain"])),
            int(checkpoint["global_step"]),
            int(state["samples"]),
            last_metrics(run),
            state.get("origin"),
        )


def read_snapshots(run: Path, last: int | None = None) -> list[Snapshot]:
    """Read the snapshots of a run, up to step `last`."""
    from safetensors import safe_open

    found: list[Snapshot] = []
    for file in sorted((run / SNAPSHOTS).glob("*.safetensors")):
        step = int(file.stem)
        if last is not None and step > last:
            continue
        groups: dict[str, dict[str, Tensor]] = {}
        with (
            reading(file, "a snapshot of a run", "remove it to do without"),
            safe_open(str(file), framework="pt") as tensors,
        ):
            for key in tensors.keys():
                width, _, name = key.partition("/")
                groups.setdefault(width, {})[name] = tensors.get_tensor(key)
        found += [Snapshot(step, float(width), weights) for width, weights in groups.items()]
    return found


def _average(run: Path, state: Mapping[str, Any], width: float) -> dict[str, Tensor]:
    """Averaged parameters of one width: tracked, or reconstructed from snapshots."""
    for known, weights in zip(state["widths"], state["averages"], strict=True):
        if abs(known - width) < 1e-9:
            return dict(weights)
    snapshots = read_snapshots(run, int(state["step"]))
    if not snapshots:
        widths = ", ".join(str(w) for w in state["widths"])
        raise InputError(
            f"ema: width {width} was not tracked; choose one of {widths}, or train with "
            "ema.snapshot_every to have any width"
        )
    return reconstruct(snapshots, width)


def last_metrics(run: Path) -> dict[str, float]:
    """The last numbers that a run has logged; none if it has logged none.

    Raises:
        InputError: The table of them is damaged.
    """
    file = run / METRICS
    if not file.exists():
        return {}
    rows = read_table(file)
    with reading(file, "a table of numbers", "remove it to export without them"):
        return {k: float(v) for k, v in rows[-1].items() if v} if rows else {}

"""`train`: run an experiment, or carry it on.

A run is one directory::

    config.yaml             the experiment, every default filled in
    metrics.csv             numbers, one row every `log_every` steps
    tensorboard/            the same, where TensorBoard is installed
    checkpoints/last.ckpt   where to resume
    snapshots/              averages kept for post-hoc widths, if asked for

Several processes work together under any launcher Lightning knows (torchrun, SLURM, Kubernetes):
each calls `train` with the same experiment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from sciddiff import config as configs
from sciddiff.config import Experiment
from sciddiff.errors import InputError
from sciddiff.settings import TrainerSettings
from sciddiff.training.control import Control, seconds
from sciddiff.training.logs import Logs
from sciddiff.training.module import DenoisingModule
from sciddiff.training.origin import start_weights
from sciddiff.training.runs import LAST, STATE_KEY, last_metrics, read_checkpoint

__all__ = ["CONFIG", "TrainResult", "train"]

CONFIG = "config.yaml"
"""File of the experiment, inside the directory of a run."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        directory: Where it lies.
        step: Optimiser steps done in all.
        samples: Samples seen in all.
        metrics: Last row of numbers.
        interrupted: Whether a signal ended it before its limits; the same command resumes.
        seconds: Wall-clock time of this call.
        checkpoint: File to resume from.
    """

    directory: Path
    step: int
    samples: int
    metrics: Mapping[str, float]
    interrupted: bool
    seconds: float
    checkpoint: Path


def train(experiment: Experiment, resume: str | os.PathLike[str] = "auto") -> TrainResult:
    """Train until the limits of the experiment, or until Ctrl-C or SIGTERM.

    Args:
        experiment: The run to make.
        resume: `auto` continues a run found in the directory, `never` refuses if there is one,
            anything else is the checkpoint to continue from.

    Raises:
        InputError: The directory holds another run, a checkpoint or the weights to start from
            cannot be read, losses stay non-finite, or the disk is full.
    """
    start, settings = time.monotonic(), experiment.trainer
    directory = Path(experiment.out)
    if settings.max_steps < 0 and settings.max_time is None:
        raise InputError("trainer.max_steps: -1 has no end; give trainer.max_time too")
    if settings.accumulate < 1:
        raise InputError(f"trainer.accumulate: {settings.accumulate} is below 1; use 1 for none")
    limit = None if settings.max_time is None else seconds(settings.max_time)
    checkpoint = _find(directory, resume)
    if checkpoint is not None:
        saved = read_checkpoint(checkpoint)
        _check_same(experiment, saved[STATE_KEY], checkpoint)
        if 0 <= settings.max_steps <= saved["global_step"] and checkpoint == directory / LAST:
            return _finished(directory, saved)
    if checkpoint is None:
        experiment.domain.fit(experiment.net)
    origin = None if checkpoint is not None else start_weights(experiment)
    _prepare(experiment, directory)
    control = Control(
        directory, settings.checkpoint_every_minutes, limit, experiment.ema.snapshot_every
    )
    logs = Logs(directory, settings.log_every, settings.val_every, settings.progress, limit)
    with _environment(settings), control.signals():
        module = DenoisingModule(experiment, origin)
        module.due = lambda step: logs.due(step) or control.due(step)
        trainer = _trainer(experiment, directory, [logs, control])
        with module.borrowed:
            trainer.fit(module, ckpt_path=checkpoint)
    spent = time.monotonic() - start
    return TrainResult(
        directory=directory,
        step=trainer.global_step,
        samples=module.samples,
        metrics=dict(logs.last),
        interrupted=control.interrupted,
        seconds=spent,
        checkpoint=directory / LAST,
    )


def _finished(directory: Path, saved: Mapping[str, Any]) -> TrainResult:
    """What a run that has reached its last step came to; nothing of it is touched."""
    return TrainResult(
        directory=directory,
        step=saved["global_step"],
        samples=int(saved[STATE_KEY]["samples"]),
        metrics=last_metrics(directory),
        interrupted=False,
        seconds=0.0,
        checkpoint=directory / LAST,
    )


def _find(directory: Path, resume: str | os.PathLike[str]) -> Path | None:
    last = directory / LAST
    if resume == "never":
        if last.exists():
            raise InputError(f"{directory}: holds a run already; resume it or choose another out")
        return None
    if resume == "auto":
        return last if last.exists() else None
    chosen = Path(resume)
    chosen = chosen / LAST if chosen.is_dir() else chosen
    if not chosen.exists():
        raise InputError(f"{chosen}: there is no checkpoint; give a run directory or a .ckpt file")
    return chosen


def _check_same(experiment: Experiment, state: Mapping[str, Any], path: Path) -> None:
    """Refuse to continue with another network, seed or average; say what else has changed."""
    if experiment.plain is None or state["plain"] is None:
        return
    before, now = json.loads(state["plain"]), experiment.plain
    for key in ("net", "seed", "ema"):
        old, new = before.get(key), now.get(key)
        if old != new:
            raise InputError(
                f"{key}: {path} was trained with {_short(old)}, the experiment says "
                f"{_short(new)}; change it back, or choose another out"
            )
    harmless = {"out", "trainer", "init_from", "init_strict"}  # read at the very start alone
    for key in sorted(set(now) - {"net", "seed", "ema"} - harmless):
        if before.get(key) != now.get(key):
            _log.warning("%s has changed since %s was written", key, path)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."


def _prepare(experiment: Experiment, directory: Path) -> None:
    """Make the directory and write the experiment into it."""
    try:
        (directory / LAST).parent.mkdir(parents=True, exist_ok=True)
        # Other processes of the launcher find what the first one wrote.
        if experiment.plain is not None and os.environ.get("LOCAL_RANK", "0") == "0":
            configs.to_yaml(experiment.plain, directory / CONFIG)
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror}; choose another out") from error
    if experiment.plain is None:
        _log.warning("this experiment was not built from its plain form: it cannot be exported")


def _trainer(
    experiment: Experiment, directory: Path, callbacks: list[pl.Callback]
) -> pl.Trainer:
    settings = experiment.trainer
    return pl.Trainer(
        accelerator=settings.accelerator,
        strategy=settings.strategy,
        devices=settings.devices,
        num_nodes=settings.nodes,
        max_steps=settings.max_steps,
        max_epochs=-1,
        callbacks=callbacks,
        default_root_dir=directory,
        # Precision, logs, checkpoints and shards of the data are ours: see module, logs, control.
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )


@contextlib.contextmanager
def _environment(settings: TrainerSettings) -> Iterator[None]:
    """Set torch's threads and products, and quiet Lightning's notices, for the time of a run."""
    noisy = logging.getLogger("pytorch_lightning")
    level, before = noisy.level, torch.get_num_threads()
    products = torch.get_float32_matmul_precision()
    noisy.setLevel(logging.WARNING)
    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision(settings.matmul)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning 2.6 under torch 2.13, about its own use of torch's tree functions.
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
            yield
    finally:
        noisy.setLevel(level)
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(products)

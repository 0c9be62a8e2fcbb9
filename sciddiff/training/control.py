"""When a run saves and when it stops: the clock, the time limit, Ctrl-C and SIGTERM.

A signal does not interrupt a step.  It asks for a checkpoint and an orderly end after the step
under way; a second signal ends the process at once, with the last checkpoint intact.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from sciddiff.errors import InputError
from sciddiff.training.module import DenoisingModule, as_denoising
from sciddiff.training.runs import LAST, SNAPSHOTS
from sciddiff.weights import write_tensors

__all__ = ["Control", "seconds"]

_ASK_EVERY = 10  # steps between agreements of several processes on time and signals
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_log = logging.getLogger(__name__)


def seconds(limit: str) -> float:
    """Turn `DD:HH:MM:SS` (leading parts may be left out) into seconds.

    Raises:
        InputError: It is not such a time.
    """
    parts = limit.split(":")
    if not 1 <= len(parts) <= 4 or not all(p.isdigit() for p in parts):
        raise InputError(f"trainer.max_time: {limit!r} is not DD:HH:MM:SS; two hours: 02:00:00")
    units = (1, 60, 3600, 86400)
    return float(sum(int(p) * u for p, u in zip(reversed(parts), units, strict=False)))


@final
class Control(Callback):
    """Saves every few minutes and at the end; stops on time or signal, after a whole step.

    Args:
        directory: Directory of the run.
        minutes: Minutes between checkpoints.
        limit: Wall-clock seconds this call may take, or None.
        snapshot_every: Steps between snapshots of the averages; 0 for none.
    """

    def __init__(
        self, directory: Path, minutes: float, limit: float | None = None, snapshot_every: int = 0
    ) -> None:
        self.directory = directory
        self.interrupted = False
        self._period, self._limit = minutes * 60.0, limit
        self._snapshot_every = snapshot_every
        self._signalled = False
        self._start = self._saved_at = time.monotonic()
        self._step = self._saved_step = -1

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Restore, on leaving, the handlers of before; `on_train_start` puts ours in place."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and listen to signals (after Lightning has set its own handlers)."""
        self._start = self._saved_at = time.monotonic()
        self._step = self._saved_step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                signal.signal(number, self._on_signal)

    def due(self, step: int) -> bool:
        """Whether there is something to do after a step, as far as this process knows."""
        if self._signalled or (self._snapshot_every and step % self._snapshot_every == 0):
            return True
        now = time.monotonic()
        late = self._limit is not None and now - self._start >= self._limit
        return late or now - self._saved_at >= self._period

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save or stop where it is time to, between two steps."""
        step = trainer.global_step
        if step == self._step or not as_denoising(pl_module).between_steps:
            return
        self._step = step
        if self._snapshot_every and step % self._snapshot_every == 0:
            self._snapshot(trainer, as_denoising(pl_module))
        if trainer.world_size > 1 and step % _ASK_EVERY:
            return
        now = time.monotonic()
        late = self._limit is not None and now - self._start >= self._limit
        signalled = _any(trainer, self._signalled)
        self.interrupted = self.interrupted or signalled
        if signalled or _any(trainer, late):
            trainer.should_stop = True  # on_train_end saves
        elif _any(trainer, now - self._saved_at >= self._period):
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end of the run, if it is not saved yet."""
        if trainer.global_step != self._saved_step:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint to resume from; whatever happens, an older one stays whole.

        Raises:
            InputError: It could not be written, for instance on a full disk.
        """
        target = self.directory / LAST
        partial = target.with_suffix(".partial")
        try:
            trainer.save_checkpoint(partial)  # every process takes part, the first one writes
            if trainer.is_global_zero:
                os.replace(partial, target)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            text = " ".join(str(error).split())
            raise InputError(
                f"{target}: cannot be written ({text}); free some space and run the same command: "
                "it resumes from the checkpoint before"
            ) from error
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        _log.info("step %d: saved %s", trainer.global_step, target)

    def _snapshot(self, trainer: pl.Trainer, module: DenoisingModule) -> None:
        if not trainer.is_global_zero:
            return
        target = self.directory / SNAPSHOTS / f"{module.ema.step:09d}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{s.width!r}/{name}": value.cpu().contiguous()
            for s in module.ema.snapshot()
            for name, value in s.weights.items()
        }
        partial = target.with_suffix(".partial")
        write_tensors(tensors, partial, {"step": str(module.ema.step)})
        os.replace(partial, target)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._signalled = True
        name = signal.Signals(number).name
        _log.warning("%s: saving after this step; once more ends at once", name)


def _any(trainer: pl.Trainer, mine: bool) -> bool:
    """Whether any process says yes; every process gets the same answer."""
    if trainer.world_size == 1:
        return mine
    return bool(trainer.strategy.reduce_boolean_decision(mine, all=False))

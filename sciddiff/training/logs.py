"""What a run tells: `metrics.csv`, TensorBoard, a progress bar, and the validation loss."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from sciddiff.errors import InputError, reading
from sciddiff.files import read_table
from sciddiff.streams import Streams
from sciddiff.training.module import DenoisingModule, as_denoising
from sciddiff.training.runs import METRICS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["Logs", "Table", "clock", "swapped", "validate"]

_log = logging.getLogger(__name__)


@final
class Table:
    """A CSV file that grows by rows, and by columns when a new name appears.

    Args:
        path: The file.
        step: Rows beyond this step are dropped: a resumed run writes them again.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        rows: list[dict[str, Any]] = self._kept(step) if path.exists() else []
        self._columns = list(rows[0]) if rows else []
        self._rewrite(rows)

    def _kept(self, step: int) -> list[dict[str, Any]]:
        """Rows up to a step; a damaged table must not keep a run from going on."""
        try:
            rows = read_table(self.path)
            with reading(self.path, "a table of numbers by step"):
                return [row for row in rows if int(row["step"]) <= step]
        except InputError as error:
            aside = self.path.with_suffix(".damaged")
            os.replace(self.path, aside)
            _log.warning("%s; it is kept as %s, and a new table begins", error, aside.name)
            return []

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; it holds a `step`."""
        new = [name for name in row if name not in self._columns]
        if new:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            self._columns += new
            self._rewrite(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(partial, self.path)


@final
class Logs(Callback):
    """Writes rows of numbers, shows progress, and validates.

    Args:
        directory: Directory of the run.
        every: Steps between rows.
        val_every: Steps between validations; 0 for none.
        progress: Show a progress bar where stderr is a terminal.
        limit: Wall-clock limit in seconds, for the time left; None if there is none.
    """

    def __init__(
        self,
        directory: Path,
        every: int,
        val_every: int = 0,
        progress: bool = True,
        limit: float | None = None,
    ) -> None:
        self.directory, self._every, self._val_every = directory, max(every, 1), val_every
        self._show, self._limit = progress, limit
        self.last: dict[str, float] = {}
        self._table: Table | None = None
        self._board: SummaryWriter | None = None
        self._bar: tuple[Progress, TaskID] | None = None
        self._begin = self._mark = (0, 0, 0.0)
        self._step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open files and bar; drop rows of steps that will be made again."""
        module = as_denoising(pl_module)
        self._step = trainer.global_step
        self._begin = self._mark = (self._step, module.samples, time.monotonic())
        if trainer.is_global_zero:
            self._table = Table(self.directory / METRICS, self._step)
            self._board = _board(self.directory / "tensorboard", self._step)
            self._bar = _bar(trainer.max_steps, self._step) if self._show else None

    def due(self, step: int) -> bool:
        """Whether a row is to be written after a step."""
        return step % self._every == 0 or (self._val_every > 0 and step % self._val_every == 0)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write what is due after a step."""
        module, step = as_denoising(pl_module), trainer.global_step
        if step == self._step or not module.between_steps:
            return
        self._step = step
        row: dict[str, float] = {}
        if self._val_every and step % self._val_every == 0:
            row |= validate(module, trainer.global_rank, trainer.world_size)
        if row or step % self._every == 0 or step == trainer.max_steps:
            self._write(trainer, module, row)
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=step, text=self._text(trainer, module))

    def _write(self, trainer: pl.Trainer, module: DenoisingModule, row: dict[str, float]) -> None:
        step, samples, then = self._mark
        now = time.monotonic()
        speed = (module.samples - samples) / max(now - then, 1e-9)
        means = _means(trainer, module)
        self.last = {
            "step": trainer.global_step,
            "epoch": module.place.epoch,
            "samples": module.samples,
            "samples_per_second": round(speed, 3),
            "lr": module.optimiser.param_groups[0]["lr"],
            "skipped": module.skipped,
            **means,
            **row,
        }
        self._mark = (trainer.global_step, module.samples, now)
        if self._table is not None:
            self._table.add(self.last)
        if self._board is not None:
            for name, value in self.last.items():
                if name != "step":
                    self._board.add_scalar(name, value, trainer.global_step)
        if trainer.is_global_zero and self._bar is None:
            _log.info("step %d: %s", trainer.global_step, self._text(trainer, module))

    def _text(self, trainer: pl.Trainer, module: DenoisingModule) -> str:
        """Loss, throughput and time left, as one short line."""
        step, samples, start = self._begin
        spent = max(time.monotonic() - start, 1e-9)
        left = [self._limit - spent] if self._limit is not None else []
        if trainer.max_steps > 0 and trainer.global_step > step:
            pace = spent / (trainer.global_step - step)
            left.append(pace * (trainer.max_steps - trainer.global_step))
        loss = f"loss {self.last['loss']:.4g}  " if "loss" in self.last else ""
        remaining = f"  {clock(min(left))} left" if left else ""
        return f"{loss}{(module.samples - samples) / spent:.1f} samples/s{remaining}"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close files and bar."""
        self._close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close files and bar, so that the error is printed below them."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar[0].stop()
        if self._board is not None:
            self._board.close()
        self._bar = self._board = None


def clock(duration: float) -> str:
    """Return seconds as `H:MM:SS`."""
    whole = max(int(duration), 0)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@contextlib.contextmanager
def swapped(net: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Lend a network other weights; its own come back to the bit, whatever happens inside."""
    own = {name: value.detach().clone() for name, value in net.state_dict().items()}
    try:
        net.load_state_dict({n: weights[n.replace("_orig_mod.", "")] for n in own})
        yield
    finally:
        net.load_state_dict(own)


@torch.no_grad()
def validate(module: DenoisingModule, rank: int = 0, world: int = 1) -> dict[str, float]:
    """Return the held-out loss of the live weights and of every average.

    Times and noise are the same at every validation, so that losses of different steps and runs
    compare, whatever the number of devices.

    Args:
        module: Module with its objective and denoiser.
        rank: This process among `world`; each takes its share of the batches.
        world: Number of processes.

    Returns:
        `val_loss` and `val_loss_ema_<width>`; empty if the domain has no held-out batches.
    """
    was_training = module.training
    module.eval()
    module.denoiser.eval()
    try:
        losses = {"val_loss": _held_out(module, rank, world)}
        for width in module.ema.widths if module.ema.step else ():
            with swapped(module.net, module.ema.weights(width)):
                losses[f"val_loss_ema_{width:g}"] = _held_out(module, rank, world)
    finally:
        module.train(was_training)
        module.denoiser.train(was_training)
    return {name: loss for name, loss in losses.items() if loss is not None}


def _held_out(module: DenoisingModule, rank: int, world: int) -> float | None:
    """Mean loss over held-out samples, over all processes."""
    total, first = torch.zeros(2, dtype=torch.float64, device=module.device), 0
    for number, batch in enumerate(module.experiment.domain.val_batches()):
        indices = torch.arange(first, first + batch.size)
        first += batch.size
        if number % world == rank:
            streams = Streams(module.experiment.trainer.val_seed, indices)
            moved = module.cast(batch.to(module.device))
            loss = module.learn(moved, streams).loss
            total += torch.tensor([float(loss) * batch.size, batch.size], device=total.device)
    if world > 1:
        torch.distributed.all_reduce(total)
    return (total[0] / total[1]).item() if total[1] > 0 else None


def _means(trainer: pl.Trainer, module: DenoisingModule) -> dict[str, float]:
    """Mean of every recorded value since the last call, over steps and processes."""
    names = sorted(module.window)
    if not names:
        return {}
    means = torch.stack([torch.stack(module.window[n]).float().mean() for n in names])
    module.window.clear()
    if trainer.world_size > 1:
        means = trainer.strategy.reduce(means, reduce_op="mean")
    return dict(zip(names, means.tolist(), strict=True))


def _board(directory: Path, step: int) -> SummaryWriter | None:
    """A TensorBoard writer where the package is installed."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        _log.info("tensorboard is not installed: numbers go to %s alone", METRICS)
        return None
    return SummaryWriter(str(directory), purge_step=step + 1)


def _bar(steps: int, done: int) -> tuple[Progress, TaskID] | None:
    """A progress bar on stderr, or None where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    bar = Progress(TextColumn("training"), *columns, console=console)
    bar.start()
    total = steps if steps > 0 else None
    return bar, bar.add_task("training", total=total, completed=done, text="")

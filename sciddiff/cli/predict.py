"""Parts of `sciddiff.cli.parts` in several processes, through Lightning's ``predict``."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, final

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from sciddiff.cli.parts import Parts, attempt, do_rest, per_machine, world
from sciddiff.errors import InputError

__all__ = ["PartsModule", "PartsStream", "quiet", "spread"]

_Item = tuple[int, Any]


def quiet() -> None:
    """Turn off what Lightning tells of devices, processes and predictions that are not kept."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")


@final
class PartsModule(pl.LightningModule):
    """Does the parts it is handed; waits at the end until all are finished.

    Args:
        make: Makes the work, once in each process.
        on_part: Called by the first process with each part that it comes by.
    """

    def __init__(
        self, make: Callable[[], Parts], on_part: Callable[[int], None] | None = None
    ) -> None:
        super().__init__()
        self._make, self._on_part = make, on_part
        self._parts: Parts | None = None
        quiet()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a started process, before Lightning has anything to say there."""
        super().__setstate__(state)
        quiet()

    @property
    def parts(self) -> Parts:
        """The work, made when it is first needed: in the process that does it."""
        if self._parts is None:
            self._parts = self._make()
        return self._parts

    def predict_step(self, batch: _Item, batch_idx: int) -> None:
        """Do one part unless it is finished or taken."""
        part, item = batch
        with torch.enable_grad():  # as without Lightning; guidance takes gradients
            attempt(self.parts, part, item)
        if self._on_part is not None and self.global_rank == 0:
            self._on_part(part)

    def on_predict_end(self) -> None:
        """Leave nothing undone."""
        with torch.enable_grad():
            do_rest(self.parts)


@final
class PartsStream(pl.LightningDataModule):
    """Every part with its number, to every process: which of them does it is decided there.

    Args:
        make: Makes the work.
    """

    def __init__(self, make: Callable[[], Parts]) -> None:
        super().__init__()
        self._make = make

    def predict_dataloader(self) -> DataLoader[_Item]:
        """One part at a time."""
        return DataLoader(_Stream(self._make), batch_size=None)

    def transfer_batch_to_device(
        self, batch: _Item, device: torch.device, dataloader_idx: int
    ) -> _Item:
        """Parts choose their own device."""
        return batch


def spread(
    make: Callable[[], Parts],
    workers: int = 1,
    on_part: Callable[[int], None] | None = None,
) -> None:
    """Do all parts in several processes, through Lightning's ``predict``.

    Under torchrun or SLURM every process calls this and takes its place; elsewhere ``workers``
    processes are started here.

    Args:
        make: Makes the work, in each process; must survive pickling if processes are started.
        workers: Processes to start.
        on_part: As for `do_all`; called by the first process alone, and must survive pickling.

    Raises:
        InputError: A process was ended from outside, or failed.
    """
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

    quiet()
    place = world()
    started = place.size == 1 and workers > 1
    trainer = _trainer(workers if started else per_machine(place.size), place.size, started)
    try:
        trainer.predict(PartsModule(make, on_part), PartsStream(make), return_predictions=False)
    except ProcessExitedException as error:
        raise InputError(
            "workers: a process was ended from outside, perhaps for lack of memory; finished "
            "results are kept: run the same command again, with fewer --workers if memory is short"
        ) from error
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        raise InputError(
            f"workers: a process failed: {last.partition(': ')[2] or last}"
        ) from error


def _trainer(devices: int, size: int, started: bool) -> Any:  # noqa: ANN401
    return pl.Trainer(
        # Parts choose their own device; Lightning places and counts the processes.
        accelerator="cpu",
        devices=devices,
        num_nodes=1 if started else max(1, size // devices),
        strategy="ddp_spawn" if started else "ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )


class _Stream(IterableDataset[_Item]):
    def __init__(self, make: Callable[[], Parts]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[_Item]:
        yield from enumerate(self._make().items())

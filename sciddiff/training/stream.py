"""The training batches of a domain as one endless stream that remembers its place.

A place is `(epoch, number of batches of that epoch already trained on)`.  It travels with every
batch, so that a checkpoint stores the place of the last batch *trained on*, whatever has been
prefetched since, and a resumed run reads on from exactly there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import final

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sciddiff.domains import Domain
from sciddiff.errors import InputError
from sciddiff.state import Batch

__all__ = ["BatchStream", "Place", "Placed", "Turns", "loader"]


@final
@dataclass(frozen=True)
class Place:
    """How far a run has read.

    Attributes:
        epoch: Complete passes over the data.
        done: Batches of this rank read in the current pass.
    """

    epoch: int = 0
    done: int = 0

    def shared(self, before: int, now: int) -> Place:
        """The place from which another number of processes reads on.

        `before` processes have read the first ``done * before`` batches of the pass between them.
        No batch is skipped; where `now` does not divide that number, up to ``now - 1`` are read
        once more, so that all processes go on in step.

        >>> Place(0, 6).shared(1, 2)
        Place(epoch=0, done=3)

        Args:
            before: Number of processes that have read so far.
            now: Number of processes that will read on.
        """
        return Place(self.epoch, self.done * before // now)


@final
@dataclass(frozen=True, eq=False)
class Placed:
    """A batch, and the place reached once it has been trained on."""

    batch: Batch
    place: Place


@final
class BatchStream(IterableDataset[Placed]):
    """Endless batches of one rank, epoch after epoch.

    With `W` loader workers, worker w reads lane `rank + world * lane` of `world * W`, so that each
    prepares only its own batches, and the loader's round robin restores the order.

    Args:
        domain: Where batches come from.
        seed: Seed of their order.
        rank: This process among `world`.
        world: Number of processes.
        start: Place to read on from.
    """

    def __init__(
        self, domain: Domain, seed: int, rank: int = 0, world: int = 1, start: Place | None = None
    ) -> None:
        super().__init__()
        self._domain, self._seed = domain, seed
        self._rank, self._world = rank, world
        self.start = start or Place()

    def __iter__(self) -> Iterator[Placed]:
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info is not None else (1, 0)
        # The loader asks worker 0 first: let it read the lane that comes next after the start.
        lane = (worker + self.start.done) % workers
        share = self._rank + self._world * lane
        total = self._world * workers
        for epoch in count(self.start.epoch):
            done = self.start.done if epoch == self.start.epoch else 0
            # Batches j = k * workers + lane of this rank with j >= done remain.
            skip = max(0, -(-(done - lane) // workers))
            batches = self._domain.train_batches(epoch, self._seed, share, total)
            read = skip
            for k, batch in enumerate(islice(iter(batches), skip, None), start=skip):
                read = k + 1
                yield Placed(batch, Place(epoch, k * workers + lane + 1))
            if read == 0:
                raise InputError(
                    f"domain {self._domain.name}: epoch {epoch} has no training batch for process "
                    f"{share + 1} of {total}; check the data, or use fewer devices and workers"
                )


def loader(stream: BatchStream, workers: int = 0) -> Iterable[Placed]:
    """Return a loader over a stream whose items are batches already; itself without workers."""
    if workers == 0:
        return stream
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        persistent_workers=False,
        prefetch_factor=2,
        # Workers need no seed: without a generator of its own the loader would draw one for them
        # from the global one.
        generator=torch.Generator().manual_seed(0),
    )


@final
class Turns:
    """A loader as Lightning's loop sees it: every item is the one iterator over the batches.

    A turn of that loop costs as much as a step of a small network. A training step that is handed
    the iterator takes as many batches in a turn as it likes, and none is read before its time.

    Args:
        batches: The loader.
    """

    def __init__(self, batches: Iterable[Placed]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Iterator[Placed]]:
        reading = iter(self._batches)
        while True:
            yield reading

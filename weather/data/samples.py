"""Windows of consecutive times out of a store, standardised, in a reproducible order.

A window holds F frames that the model is given and S that follow; it never crosses a gap. The
order of an epoch depends on (seed, epoch) alone, and process r of `world` reads every `world`-th
batch of it.

A store that fits in memory is read once and shuffled as a whole. A larger one is read in blocks
of neighbouring chunks: blocks come in random order, and windows are shuffled within a few blocks
at a time, so that every chunk is read once an epoch and little is in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciddiff.errors import InputError
from weather.data.statistics import Statistics
from weather.data.store import Store
from weather.data.times import Period, day_of_year

__all__ = ["Samples", "Windows"]


@final
@dataclass(frozen=True, eq=False)
class Windows:
    """A batch of windows.

    Attributes:
        fields: Standardised, oldest first `[B, F + S, C, H, W]` float32.
        days: Day of the 365-day year of every time `[B, F + S]` int64.
        starts: Index in the store of the first time `[B]` int64.
    """

    fields: Tensor
    days: Tensor
    starts: Tensor


@final
class Samples:
    """Windows of a period of a store.

    Args:
        store: Where from.
        frames: F, times the model is given.
        steps: S, times that follow.
        period: Times to use; all by default. Windows lie within it entirely.
        statistics: Scales; those of the store by default.
        channels: Names of the channels to use, in order; all by default.
        memory: Bytes up to which the period is held in memory.
        stride: Distance of the times of a window, in steps of the store.

    Raises:
        InputError: The period holds no window.
    """

    def __init__(
        self,
        store: Store,
        frames: int = 2,
        steps: int = 1,
        period: Period | None = None,
        statistics: Statistics | None = None,
        channels: tuple[str, ...] | None = None,
        memory: int = 2 << 30,
        stride: int = 1,
    ) -> None:
        self.store, self.frames, self.steps, self.stride = store, frames, steps, stride
        self.names = store.names if channels is None else tuple(channels)
        self._picked = store.select(self.names)
        self.statistics = _restrict(statistics or store.statistics, self.names)
        self.memory = memory
        first, last = store.range_of(period) if period is not None else (0, len(store))
        self._range = first, last
        self.starts = self._windows(first, last)
        if not len(self.starts):
            raise InputError(
                f"{store.path}: times {first} to {last} hold no {frames + steps} consecutive "
                "ones; widen the period, or ask for fewer steps"
            )
        self._chunks: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.starts)

    @property
    def length(self) -> int:
        """Times in a window, F + S."""
        return self.frames + self.steps

    @cached_property
    def days(self) -> NDArray[np.int64]:
        """Day of the year of every time of the store `[T]`."""
        return day_of_year(self.store.times)

    @cached_property
    def resident(self) -> bool:
        """Whether the whole period is held in memory."""
        share = (self._range[1] - self._range[0]) / len(self.store)
        return share * self.store.nbytes * len(self.names) / len(self.store.names) <= self.memory

    def windows(self, starts: NDArray[np.int64]) -> Windows:
        """The windows that begin at times of the store `[B]`."""
        span = np.arange(self.length) * self.stride
        index = np.asarray(starts)[:, None] + span
        if self.resident:
            fields = self._all[torch.from_numpy(index - self._range[0])]
        else:
            fields = torch.stack([self._window(row) for row in index.tolist()])
        return Windows(
            fields, torch.from_numpy(self.days[index]), torch.from_numpy(np.asarray(starts))
        )

    def batches(
        self, size: int, epoch: int, seed: int, rank: int = 0, world: int = 1
    ) -> Iterator[Windows]:
        """Shuffled batches of one epoch.

        Every process gets the same number of batches, all of them full unless the period is
        shorter than one batch per process.

        Args:
            size: Windows in a batch, B.
            epoch: Passes over the data before this one.
            seed: Seed of the run.
            rank: This process among `world`.
            world: Number of processes.
        """
        groups = self.order(size, epoch, seed)
        for k in range(self.count(size, world)):
            # Only with fewer batches than processes does one of them serve two.
            yield self.windows(groups[(k * world + rank) % len(groups)])

    def count(self, size: int, world: int = 1) -> int:
        """Batches of one epoch for each process."""
        return max(1, len(self) // size // world)

    def order(self, size: int, epoch: int, seed: int) -> list[NDArray[np.int64]]:
        """First times of the windows of every batch of an epoch."""
        rng = np.random.default_rng([seed, epoch])
        if self.resident:
            order = rng.permutation(self.starts)
        else:
            order = self._by_blocks(rng)
        groups = max(1, len(order) // size)
        return [order[i * size : (i + 1) * size] for i in range(groups)]

    def fixed(self, size: int, most: int | None = None) -> Iterator[Windows]:
        """Batches in the order of time, evenly thinned to at most `most` windows."""
        starts = self.starts
        if most is not None and most < len(starts):
            starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(int)]
        for i in range(0, len(starts), size):
            yield self.windows(starts[i : i + size])

    def _windows(self, first: int, last: int) -> NDArray[np.int64]:
        span = (self.length - 1) * self.stride + 1
        parts = [np.arange(max(a, first), min(b, last) - span + 1) for a, b in self.store.runs]
        return np.concatenate([*parts, np.empty(0, dtype=np.int64)]).astype(np.int64)

    def _by_blocks(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Shuffle chunks, then windows within as many chunks as half the memory holds."""
        chunk = self.store.chunk
        home = self.starts // chunk
        per_chunk = self.store.nbytes * chunk / len(self.store)
        together = max(1, int(0.5 * self.memory / per_chunk))
        chunks = rng.permutation(np.unique(home))
        order = []
        for i in range(0, len(chunks), together):
            pool = self.starts[np.isin(home, chunks[i : i + together])]
            order.append(rng.permutation(pool))
        return np.concatenate(order)

    def _window(self, index: list[int]) -> Tensor:
        chunk = self.store.chunk
        return torch.stack([self._chunk(i // chunk)[i % chunk] for i in index])

    @cached_property
    def _all(self) -> Tensor:
        """Standardised fields of the period `[T, C, H, W]`."""
        first, last = self._range
        height, width = self.store.grid.shape
        out = torch.empty(last - first, len(self.names), height, width)
        for start in range(first, last, self.store.chunk):
            stop = min(start + self.store.chunk, last)
            out[start - first : stop - first] = self._read(start, stop)
        return out

    def _chunk(self, number: int) -> Tensor:
        """A chunk of the store, standardised, from memory if it was read lately."""
        if number in self._chunks:
            self._chunks.move_to_end(number)
            return self._chunks[number]
        start = number * self.store.chunk
        found = self._read(start, min(start + self.store.chunk, len(self.store)))
        self._chunks[number] = found
        most = max(2, int(self.memory / (found.numel() * 4)))
        while len(self._chunks) > most:
            self._chunks.popitem(last=False)
        return found

    def _read(self, start: int, stop: int) -> Tensor:
        fields = self.store.read(start, stop)[:, self._picked]
        return torch.from_numpy(self.statistics.standardise(fields))


def _restrict(statistics: Statistics, names: tuple[str, ...]) -> Statistics:
    """Statistics of some channels, in their order."""
    if statistics.channels == names:
        return statistics
    missing = [n for n in names if n not in statistics.channels]
    if missing:
        raise InputError(f"statistics: nothing about {', '.join(missing)}; leave them out")
    index = [statistics.channels.index(n) for n in names]
    values = (statistics.mean, statistics.std, statistics.tendency_std)
    return Statistics(names, *(v[index] for v in values))

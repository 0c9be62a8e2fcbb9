"""Batches of items of similar size under a budget of cost.

Items of size N are padded to the longest of their batch, and attention over pairs costs N^2 each,
so a batch of `n` items costs `n * max(N)^2`.  Sorting by size before packing keeps padding small;
shuffling within sizes and over batches keeps the order random.  The order is a function of
`(seed, epoch)` alone: every rank computes it whole and takes its share, and a resumed run
continues it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sciddiff.errors import InputError

__all__ = ["Buckets"]


@dataclass(frozen=True)
class Buckets:
    """How items are grouped into batches.

    Attributes:
        sizes: Size N of every item (residues, atoms, points), `[items]`.
        budget: Largest cost `n * max(N)^power` of a batch; an item above it goes alone.
        power: Exponent of the cost; 2 for pairs, 1 for points.
        max_items: Largest number of items in a batch, whatever their cost; 0 for no limit.
        spread: Relative noise put on sizes before they are sorted, so that the same neighbours
            do not meet in every epoch; padding grows by about as much.
    """

    sizes: Sequence[int]
    budget: float
    power: float = 2.0
    max_items: int = 0
    spread: float = 0.05

    def __post_init__(self) -> None:
        if self.budget <= 0:
            raise InputError(f"bucket budget: {self.budget} is not positive; give a cost such "
                             "as 16 * 128**2")
        if len(self.sizes) == 0:
            raise InputError("bucket sizes: there are no items; check the data directory")

    def cost(self, batch: Sequence[int]) -> float:
        """Return the padded cost `n * max(N)^power` of a batch of item indices."""
        return len(batch) * float(max(self.sizes[i] for i in batch)) ** self.power

    def batches(
        self,
        epoch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        items: Sequence[int] | None = None,
    ) -> list[list[int]]:
        """Return the batches of one rank in one epoch.

        Every rank gets the same number of batches: the first ones are repeated to fill up.

        Args:
            epoch: Number of passes before this one.
            seed: Seed of the run.
            rank: Which process of `world` asks.
            world: Number of processes.
            items: Indices to batch, repeats allowed (weighted or cluster-balanced draws); None
                for all, once each.

        Returns:
            Lists of item indices.
        """
        rng = np.random.default_rng([seed, epoch])
        chosen = np.arange(len(self.sizes)) if items is None else np.asarray(items, dtype=int)
        packed = self._pack(rng.permutation(chosen), rng)
        packed = [packed[i] for i in rng.permutation(len(packed))]
        if not packed:
            return []
        short = -len(packed) % world
        packed += [packed[i % len(packed)] for i in range(short)]
        return packed[rank::world]

    def _pack(self, shuffled: np.ndarray, rng: np.random.Generator) -> list[list[int]]:
        """Sort by noisy size and cut greedily where the next item would break the budget."""
        sizes = np.asarray(self.sizes, dtype=float)[shuffled]
        noisy = sizes * (1.0 + self.spread * rng.random(len(sizes)))
        batches: list[list[int]] = []
        current: list[int] = []
        longest = 0.0
        for position in np.argsort(noisy, kind="stable"):
            size = sizes[position]
            wider = max(longest, size)
            full = self.max_items and len(current) >= self.max_items
            if current and (full or (len(current) + 1) * wider**self.power > self.budget):
                batches.append(current)
                current, wider = [], size
            current.append(int(shuffled[position]))
            longest = wider
        if current:
            batches.append(current)
        return batches

"""Training batches of inverse folding: chains of an archive with their sequences.

An epoch takes one chain of every sequence cluster; longer chains are cropped. A share of the
samples has two chains: domains cut in two, and crops of bound complexes. The atoms carry noise of
a strength that the network is told, so that one network serves crystals, whose atoms betray the
residue, and designs, whose atoms are less exact. What becomes of an item depends on (seed, epoch,
item) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import tokens
from protein.sequence.samples import Sample, collate, jittered
from protein.structures.clustering import one_per_cluster
from protein.structures.complexes import TwoChains, cut
from protein.structures.training import SplitChains, check_settings
from sciddiff.errors import InputError
from sciddiff.state import Batch
from sciddiff.training.buckets import Buckets


@dataclass(frozen=True)
class SequenceDataSettings:
    """Which chains, and how they are cropped, disturbed and batched.

    Attributes:
        archive: chain archive written by `sciddiff prepare backbone`.
        min_length: shortest chain, residues.
        max_length: longest; longer chains are cropped.
        budget: residues of a batch, padding included.
        noise: largest standard deviation of the noise on atoms, Å, drawn evenly from 0.
        exact_share: share of the samples without noise.
        cut_share: share of the chains that are cut into two chains, where they can be.
        pairs: archive of bound complexes of two partners; empty for none.
        pair_crops: crops of every complex an epoch takes.
    """

    archive: str = ""
    min_length: int = 30
    max_length: int = 256
    budget: float = 1000.0
    noise: float = 0.3
    exact_share: float = 0.25
    cut_share: float = 0.1
    pairs: str = ""
    pair_crops: int = 2

    def __post_init__(self) -> None:
        check_settings(self, "exact_share", "cut_share")
        if self.noise < 0.0:
            raise InputError(f"data.noise: {self.noise} Å is negative; give 0 for none")


NO_DATA = SequenceDataSettings()
"""Settings of a domain that only designs."""


class SequenceData(SplitChains[SequenceDataSettings]):
    """Batches of one split of a chain archive."""

    def batches(self, epoch: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches of one epoch in an order that depends on (seed, epoch) alone."""
        rng = np.random.default_rng([seed, epoch])
        chosen = one_per_cluster(np.asarray(self.archive.cluster(30)), rng).tolist()
        lengths = self.archive.lengths
        sizes = {i: min(int(lengths[i]), self.settings.max_length) for i in chosen}
        complexes = self.complexes(seed, epoch)
        sizes |= {i: len(pair.chain) for i, pair in complexes.items()}
        items = list(sizes)
        buckets = Buckets([sizes[i] for i in items], self.settings.budget, power=1.0)
        for group in buckets.batches(epoch, seed, rank, world):
            yield collate([self._item(items[i], complexes, seed, epoch) for i in group])

    def whole(self, noise: float = 0.0) -> Iterator[Batch]:
        """Every chain of the split as it is, uncut, with noise of one strength (Å).

        Always the same, in batches of similar lengths.
        """
        lengths = self.archive.lengths
        for group in Buckets(lengths.tolist(), self.settings.budget, power=1.0).batches(0, 0):
            found = []
            for item in group:
                rng = np.random.default_rng([item])
                found.append(jittered(self._chain(item, 0, int(lengths[item])), noise, rng))
            yield collate(found)

    def _item(
        self, item: int, complexes: dict[int, TwoChains], seed: int, epoch: int
    ) -> Sample:
        """One sample of an epoch, with noise on its atoms."""
        s, rng = self.settings, np.random.default_rng([seed, epoch, item, 2])
        if item in complexes:
            name, sequence = self.source(item)
            sample = two_chains(complexes[item], sequence, name)
        else:
            length = int(self.archive.lengths[item])
            start = int(rng.integers(max(length - s.max_length, 0) + 1))
            sample = self._chain(item, start, min(length, s.max_length))
            if rng.random() < s.cut_share:
                halves = cut(sample.atoms, self.ss3[item][start : start + len(sample)], rng)
                if halves is not None:
                    sequence = self.sequences[item][start : start + len(sample)]
                    sample = two_chains(halves, sequence, sample.name)
        exact = rng.random() < s.exact_share
        return jittered(sample, 0.0 if exact else float(rng.random()) * s.noise, rng)

    def _chain(self, item: int, start: int, length: int) -> Sample:
        rows = slice(start, start + length)
        found, unknown = tokens(self.sequences[item][rows])
        return Sample(
            self.archive[item][rows],
            found,
            np.zeros(length, dtype=np.int64),
            np.arange(length),
            unknown,
            unknown,
            0.0,
            self.ids[item],
        )


def two_chains(pair: TwoChains, sequence: str, name: str) -> Sample:
    """A sample of two chains; unknown residues are held, so that nothing learns from them.

    Args:
        pair: the chains.
        sequence: one-letter amino acids of the source that `pair.rows` counts in.
        name: name of the sample.
    """
    found, unknown = tokens(sequence)
    held: NDArray[np.bool_] = unknown[pair.rows]
    return Sample(
        pair.coords, found[pair.rows], pair.chain, pair.residue_index, held, held, 0.0, name
    )

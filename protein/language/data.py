"""Training batches of sequences: one of every cluster, cropped, with the class of its fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from protein.language.archive import SequenceArchive
from protein.sequence.alphabet import tokens
from protein.sequence.samples import SEQUENCE
from protein.structures.clustering import one_per_cluster
from protein.structures.secondary import FOLDS, fold_class
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout
from sciddiff.training.buckets import Buckets


@dataclass(frozen=True)
class LanguageSettings:
    """Which sequences, and how they are cropped and batched.

    Attributes:
        archive: archive of sequences or of chains.
        min_length: shortest, residues.
        max_length: longest; longer ones are cropped at random.
        budget: residues of a batch, padding included.
        crop_share: share of the sequences that are cropped to a random length, so that a model
            does not learn that every sequence begins with methionine.
    """

    archive: str = ""
    min_length: int = 30
    max_length: int = 256
    budget: float = 4096.0
    crop_share: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise InputError(
                f"data.max_length: {self.max_length} is below min_length {self.min_length}"
            )
        if not 0.0 <= self.crop_share <= 1.0:
            raise InputError(f"data.crop_share: {self.crop_share} is not in [0, 1]")


class LanguageData:
    """Batches of one split of an archive."""

    def __init__(self, settings: LanguageSettings, split: str) -> None:
        self.settings, self.split = settings, split

    @cached_property
    def archive(self) -> SequenceArchive:
        """The sequences of the split that are long enough, read on first use."""
        return SequenceArchive.open(self.settings.archive, self.split, self.settings.min_length)

    def batches(self, epoch: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches of one epoch in an order that depends on (seed, epoch) alone."""
        rng = np.random.default_rng([seed, epoch])
        chosen = one_per_cluster(self.archive.clusters, rng).tolist()
        spans = [self._span(item, seed, epoch) for item in chosen]
        buckets = Buckets([b - a for a, b in spans], self.settings.budget, power=1.0)
        for group in buckets.batches(epoch, seed, rank, world):
            yield self._collate([(chosen[i], *spans[i]) for i in group])

    def whole(self) -> Iterator[Batch]:
        """Every sequence up to the largest length, always the same."""
        sizes = [min(len(s), self.settings.max_length) for s in self.archive.sequences]
        for group in Buckets(sizes, self.settings.budget, power=1.0).batches(0, 0):
            yield self._collate([(i, 0, sizes[i]) for i in group])

    def _span(self, item: int, seed: int, epoch: int) -> tuple[int, int]:
        """The part of a sequence that an epoch takes."""
        s, rng = self.settings, np.random.default_rng([seed, epoch, item])
        length = len(self.archive.sequences[item])
        size = min(length, s.max_length)
        if rng.random() < s.crop_share and size > s.min_length:
            size = int(rng.integers(s.min_length, size + 1))
        start = int(rng.integers(length - size + 1))
        return start, start + size

    def _collate(self, parts: Sequence[tuple[int, int, int]]) -> Batch:
        found = [tokens(self.archive.sequences[i][a:b]) for i, a, b in parts]
        classes = [_class(self.archive.ss3[i]) for i, _, _ in parts]
        return sequence_batch(found, classes, tuple(self.archive.ids[i] for i, _, _ in parts))


def sequence_batch(
    sequences: Sequence[tuple[np.ndarray, np.ndarray]],
    classes: Sequence[int],
    ids: tuple[str, ...] = (),
) -> Batch:
    """Sequences as a batch.

    Args:
        sequences: tokens `[L]` of each, and which rows are held as they are `[L]`, bool.
        classes: fold class of each, an index into `FOLDS`.
        ids: names.

    Returns:
        A batch with the leaf `sequence [B, N]` and the condition `label [B]`.
    """
    longest = max(len(found) for found, _ in sequences)
    x = torch.zeros(len(sequences), longest, dtype=torch.int64)
    mask, fixed = (torch.zeros(len(sequences), longest, dtype=torch.bool) for _ in range(2))
    for k, (found, held) in enumerate(sequences):
        x[k, : len(found)] = torch.from_numpy(found)
        mask[k, : len(found)] = True
        fixed[k, : len(found)] = torch.from_numpy(held)
    layout = Layout(len(sequences), mask=mask, fixed=fixed)
    label = torch.tensor(list(classes), dtype=torch.int64)
    return Batch({SEQUENCE: x}, {"label": label}, {SEQUENCE: layout}, len(sequences), ids)


def _class(ss3: str) -> int:
    return fold_class(ss3) if ss3 else FOLDS.index("none")

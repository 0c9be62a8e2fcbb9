"""Training batches of side chains: structures of an archive, cropped where they are large.

An epoch takes one structure of every cluster. Of a large one it takes the residues nearest to one
of them; those at the rim, which miss a part of their neighbours, are held and teach nothing. A
share of the samples holds more residues, so that the network also learns to complete, a share has
noise on the backbone, and a share lacks the atoms around. What becomes of an item depends on
(seed, epoch, item) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein.sidechains.archive import SideChainArchive
from protein.sidechains.samples import Sample, collate, jittered, sample_of
from protein.sidechains.templates import Template
from protein.structures.clustering import one_per_cluster
from sciddiff.errors import InputError
from sciddiff.state import Batch
from sciddiff.training.buckets import Buckets

__all__ = ["NO_DATA", "SideChainData", "SideChainDataSettings", "cropped"]

_INNER = 0.7
_AROUND = 12.0


@dataclass(frozen=True)
class SideChainDataSettings:
    """Which structures, and how they are cropped, disturbed and batched.

    Attributes:
        archive: side chain archive written by `sciddiff prepare pack`.
        max_length: residues of a sample; larger structures are cropped.
        budget: residues of a batch, padding included.
        noise: largest standard deviation of the noise on the backbone, Å, drawn evenly from 0.
        exact_share: share of the samples without noise.
        held_share: share of the samples that hold a part of their residues.
        bare_share: share of the samples without the atoms around.
    """

    archive: str = ""
    max_length: int = 384
    budget: float = 1200.0
    noise: float = 0.2
    exact_share: float = 0.5
    held_share: float = 0.25
    bare_share: float = 0.2

    def __post_init__(self) -> None:
        for name in ("exact_share", "held_share", "bare_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"data.{name}: {getattr(self, name)} is not in [0, 1]")
        if self.noise < 0.0:
            raise InputError(f"data.noise: {self.noise} Å is negative; give 0 for none")
        if self.max_length < 1:
            raise InputError(f"data.max_length: {self.max_length} is below 1; give 384 or so")


NO_DATA = SideChainDataSettings()
"""Settings of a domain that only packs."""


class SideChainData:
    """Batches of one split of an archive."""

    def __init__(self, settings: SideChainDataSettings, split: str) -> None:
        self.settings, self.split = settings, split

    @cached_property
    def archive(self) -> SideChainArchive:
        """The structures of the split, read on first use."""
        return SideChainArchive(Path(self.settings.archive), self.split)

    def batches(self, epoch: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """One structure of every cluster, in random order."""
        chosen = one_per_cluster(self.archive.clusters, np.random.default_rng([seed, epoch]))
        yield from self._collated(chosen.tolist(), epoch, seed, rank, world, self._item)

    def whole(self) -> Iterator[Batch]:
        """One structure of every cluster without noise, always the same."""
        chosen = one_per_cluster(self.archive.clusters, np.random.default_rng(0))
        yield from self._collated(chosen.tolist(), 0, 0, 0, 1, self._plain)

    def _collated(
        self,
        items: list[int],
        epoch: int,
        seed: int,
        rank: int,
        world: int,
        make: Callable[[int, int, int], Sample],
    ) -> Iterator[Batch]:
        s = self.settings
        sizes = [min(int(self.archive.lengths[item]), s.max_length) for item in items]
        for group in Buckets(sizes, s.budget, power=1.0).batches(epoch, seed, rank, world):
            yield collate([make(items[i], epoch, seed) for i in group])

    def _plain(self, item: int, epoch: int, seed: int) -> Sample:
        template, inner = cropped(
            self.archive[item], self.settings.max_length, np.random.default_rng([item])
        )
        return sample_of(template, ~inner, known=True)

    def _item(self, item: int, epoch: int, seed: int) -> Sample:
        """One sample of an epoch."""
        s, rng = self.settings, np.random.default_rng([seed, epoch, item, 1])
        template, inner = cropped(self.archive[item], s.max_length, rng)
        if rng.random() < s.bare_share:
            none = slice(0, 0)
            template = replace(
                template,
                around=template.around[none],
                around_elements=template.around_elements[none],
            )
        held = ~inner
        if rng.random() < s.held_share:
            held |= rng.random(len(template)) < 0.9 * rng.random()
        sample = sample_of(template, held, known=True)
        exact = rng.random() < s.exact_share
        return jittered(sample, 0.0 if exact else float(rng.random()) * s.noise, rng)


def cropped(
    template: Template, most: int, rng: np.random.Generator
) -> tuple[Template, NDArray[np.bool_]]:
    """The residues nearest to one of them, in their order, and those not at the rim `[L]`.

    Args:
        template: the structure.
        most: residues to keep.
        rng: draws the residue.
    """
    count = len(template)
    if count <= most:
        return template, np.ones(count, dtype=bool)
    alpha = template.atoms[:, 1]
    apart = np.linalg.norm(alpha - alpha[rng.integers(count)], axis=-1)
    order = np.argsort(apart, kind="stable")[:most]
    rows = np.sort(order)
    inner = np.isin(rows, order[: int(_INNER * most)])
    around = template.around
    near = np.zeros(len(around), dtype=bool)
    if len(around):
        near = np.linalg.norm(around[:, None] - alpha[rows], axis=-1).min(1) < _AROUND
    kept = replace(
        template,
        atoms=template.atoms[rows],
        tokens=template.tokens[rows],
        unknown=template.unknown[rows],
        chain=template.chain[rows],
        index=template.index[rows],
        around=around[near],
        around_elements=template.around_elements[near],
    )
    return kept, inner

"""Where training samples of proteins come from: chains of one split, and crops of complexes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np

from protein.structures.archive import ChainArchive
from protein.structures.complexes import SHORTEST, PairArchive, TwoChains
from sciddiff.errors import InputError

__all__ = ["ChainChoice", "SplitChains", "check_settings"]


class ChainChoice(Protocol):
    """What settings of training data say of chains and complexes.

    Attributes:
        archive: chain archive written by `sciddiff prepare backbone`.
        min_length: shortest chain, residues.
        max_length: longest; longer chains and complexes are cropped.
        pairs: archive of bound complexes of two partners; empty for none.
        pair_crops: crops of every complex an epoch takes.
    """

    @property
    def archive(self) -> str: ...
    @property
    def min_length(self) -> int: ...
    @property
    def max_length(self) -> int: ...
    @property
    def pairs(self) -> str: ...
    @property
    def pair_crops(self) -> int: ...


S = TypeVar("S", bound=ChainChoice)


def check_settings(settings: ChainChoice, *shares: str) -> None:
    """Refuse settings that no sample meets.

    Args:
        settings: the settings.
        shares: names of those that are shares.

    Raises:
        InputError: a share outside [0, 1], or no room for the two chains of a complex.
    """
    for name in shares:
        if not 0.0 <= getattr(settings, name) <= 1.0:
            raise InputError(f"data.{name}: {getattr(settings, name)} is not in [0, 1]")
    if settings.pairs and settings.max_length < 2 * SHORTEST:
        raise InputError(
            f"data.max_length: {settings.max_length} has no room for two chains of {SHORTEST} "
            "residues; raise it, or leave data.pairs out"
        )


class SplitChains(Generic[S]):
    """The chains of one split, and the crops of complexes of an epoch, numbered after them.

    Args:
        settings: which chains.
        split: train, val or test.
    """

    def __init__(self, settings: S, split: str) -> None:
        self.settings, self.split = settings, split

    @cached_property
    def archive(self) -> ChainArchive:
        """The chains of the split that are long enough, read on first use."""
        chains = ChainArchive.open(Path(self.settings.archive))
        return chains.subset(split=self.split, min_length=self.settings.min_length)

    @cached_property
    def pairs(self) -> PairArchive | None:
        """Bound complexes, which only training takes."""
        if not self.settings.pairs or self.split != "train":
            return None
        return PairArchive(self.settings.pairs)

    def complexes(self, seed: int, epoch: int) -> dict[int, TwoChains]:
        """The crops of bound complexes of an epoch, by number."""
        pairs, found = self.pairs, dict[int, TwoChains]()
        for k in range(0 if pairs is None else len(pairs) * self.settings.pair_crops):
            item = len(self.archive) + k
            rng = np.random.default_rng([seed, epoch, item, 1])
            crop = pairs.crop(k % len(pairs), self.settings.max_length, rng) if pairs else None
            if crop is not None:
                found[item] = crop
        return found

    def source(self, item: int, sequenced: bool = True) -> tuple[str, str]:
        """Name and one-letter amino acids of the complex of a crop.

        Args:
            item: number of the crop.
            sequenced: whether amino acids are needed; else they are empty where there are none.

        Raises:
            InputError: amino acids are needed, and the archive has none.
        """
        assert self.pairs is not None
        index = (item - len(self.archive)) % len(self.pairs)
        known = sequenced or self.pairs.sequenced
        return self.pairs.ids[index], self.pairs.sequence(index) if known else ""

    # The archive decodes the strings of all chains whenever it is asked.
    @cached_property
    def sequences(self) -> list[str]:
        """One-letter amino acids of each chain."""
        return self.archive.sequences

    @cached_property
    def ss3(self) -> list[str]:
        """Secondary structure (h, e, c) of each chain."""
        return self.archive.ss3

    @cached_property
    def ids(self) -> list[str]:
        """Name of each chain."""
        return self.archive.ids

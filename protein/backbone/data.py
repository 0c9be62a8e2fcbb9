"""Training batches of backbones: chains of an archive, cropped, labelled, balanced by cluster, and
bucketed by length.

An epoch takes one chain of every sequence cluster. Chains longer than `max_length` give compact
contiguous windows. A share of the samples is posed as motif scaffolding: a few segments are held
at their data value and the rest travels from noise. A share has two chains: chains cut in two, and
crops of bound complexes (`protein.structures.complexes`); in some of these one chain is held, as
the target of a binder is. The draw of every item depends on (seed, epoch, item) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.backbone.network import ROTATIONS, TRANSLATIONS
from protein.structures.clustering import one_per_cluster
from protein.structures.complexes import TwoChains, cut
from protein.structures.filters import expected_radius, radius_of_gyration
from protein.structures.frames import frames_from_backbone
from protein.structures.secondary import FOLDS, fold_class
from protein.structures.training import SplitChains, check_settings
from sciddiff.errors import InputError
from sciddiff.state import Batch, Layout
from sciddiff.training.buckets import Buckets

NM = 0.1
"""Nanometres per ångström: frames travel in nm, files and metrics are in Å."""


@dataclass(frozen=True)
class BackboneDataSettings:
    """Which chains, and how they are cropped and batched.

    Attributes:
        archive: chain archive written by `sciddiff prepare backbone`.
        min_length: shortest chain or crop, residues.
        max_length: longest; longer chains are cropped.
        crop_all: crop every chain to a random length, not only those over `max_length`.
        crop_epochs: first epochs in which every chain is cropped to one of `crop_lengths`: local
            structure is learnt first, on small and so cheap samples.
        crop_lengths: shortest and longest crop of those epochs, residues.
        alpha_share: share of the all-alpha chains an epoch keeps, drawn anew each time. Helices
            are easier than sheets, and a small network makes too many of them.
        budget: largest sum over a batch of the square of the padded length.
        motif_fraction: share of samples posed as motif scaffolding.
        max_rg_ratio: crops less compact than this multiple of 2.2 L^0.38 Å are drawn again.
        cut_share: share of the chains that are cut into two chains, where they can be.
        pairs: archive of bound complexes of two partners; empty for none.
        pair_crops: crops of every complex an epoch takes.
        target_share: share of the samples of two chains in which one chain is held, as a target.
    """

    archive: str = ""
    min_length: int = 40
    max_length: int = 128
    crop_all: bool = False
    crop_epochs: int = 0
    crop_lengths: tuple[int, int] = (24, 64)
    alpha_share: float = 1.0
    budget: float = 40000.0
    motif_fraction: float = 0.12
    max_rg_ratio: float = 1.25
    cut_share: float = 0.0
    pairs: str = ""
    pair_crops: int = 4
    target_share: float = 0.3

    def __post_init__(self) -> None:
        check_settings(self, "alpha_share", "cut_share", "target_share")
        short, long = self.crop_lengths
        if not 1 <= short <= long:
            raise InputError(
                f"data.crop_lengths: {short} to {long} residues; give the shorter one first"
            )


NO_DATA = BackboneDataSettings()
"""Settings of a domain that only samples."""


class BackboneData(SplitChains[BackboneDataSettings]):
    """Batches of one split of a chain archive.

    Args:
        settings: which chains, and how they are cropped and batched.
        split: train, val or test.
        batch_of: makes a batch of samples; `collate` by default.
    """

    def __init__(
        self,
        settings: BackboneDataSettings,
        split: str,
        batch_of: Callable[[Sequence[Sample]], Batch] | None = None,
    ) -> None:
        super().__init__(settings, split)
        self._batch_of = collate if batch_of is None else batch_of

    def batches(self, epoch: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches of one epoch in an order that depends on (seed, epoch) alone."""
        rng = np.random.default_rng([seed, epoch])
        chosen = one_per_cluster(np.asarray(self.archive.cluster(30)), rng)
        chosen = chosen[self._kept(seed, epoch)[chosen]]
        windows = {int(i): self._window(int(i), seed, epoch) for i in chosen}
        sizes = {i: stop - start for i, (start, stop) in windows.items() if stop > start}
        complexes = self.complexes(seed, epoch)
        sizes |= {i: len(pair.chain) for i, pair in complexes.items()}
        lengths = [sizes.get(i, 1) for i in range(max(sizes, default=0) + 1)]
        packed = Buckets(lengths, self.settings.budget).batches(
            epoch, seed, rank, world, list(sizes)
        )
        for group in packed:
            samples = [
                self._complex(i, complexes[i], seed, epoch)
                if i in complexes
                else self._chain(i, windows[i], seed, epoch)
                for i in group
            ]
            yield self._batch_of(samples)

    @cached_property
    def _alpha(self) -> np.ndarray:
        """Which chains are all-alpha, bool `[chains]`."""
        return np.array([fold_class(ss3) == FOLDS.index("alpha") for ss3 in self.ss3])

    def _kept(self, seed: int, epoch: int) -> np.ndarray:
        """Which chains this epoch may use, bool `[chains]`."""
        if self.settings.alpha_share == 1.0:
            return np.ones(len(self.archive), dtype=bool)
        # Drawn for every chain: what becomes of one does not depend on which others were chosen.
        drawn = np.random.default_rng([seed, epoch, 3]).random(len(self.archive))
        return ~self._alpha | (drawn < self.settings.alpha_share)

    def _window(self, item: int, seed: int, epoch: int) -> tuple[int, int]:
        """Residues to use of a chain; empty when no compact window was found."""
        s, length = self.settings, int(self.archive.lengths[item])
        early = epoch < s.crop_epochs
        if length <= s.max_length and not (s.crop_all or early):
            return 0, length
        shortest, longest = s.crop_lengths if early else (s.min_length, s.max_length)
        rng = np.random.default_rng([seed, epoch, item, 1])
        ca = self.archive[item][:, 1]
        for _ in range(4):
            size = int(rng.integers(min(shortest, length), min(longest, length) + 1))
            start = int(rng.integers(0, length - size + 1))
            if s.crop_all or early or _rg_ratio(ca[start : start + size]) <= s.max_rg_ratio:
                return start, start + size
        return 0, 0

    def _chain(
        self, item: int, window: tuple[int, int], seed: int, epoch: int
    ) -> Sample:
        """A window of a chain: as it is, with a motif held, or cut in two."""
        rng = np.random.default_rng([seed, epoch, item, 2])
        coords = self.archive[item][slice(*window)]
        ss3 = self.ss3[item][slice(*window)]
        fold, name = fold_class(ss3), self.ids[item]
        sequence = self.sequences[item][slice(*window)]
        fixed = np.zeros(len(coords), dtype=bool)
        if rng.random() < self.settings.motif_fraction:
            fixed = _motif(len(coords), len(coords), rng)
        elif rng.random() < self.settings.cut_share:
            halves = cut(coords, ss3, rng)
            if halves is not None:
                return self._two(halves, fold, name, sequence, rng)
        return Sample(coords, fold, fixed, name, sequence)

    def _complex(self, item: int, pair: TwoChains, seed: int, epoch: int) -> Sample:
        """A crop of a bound complex. Its secondary structure is not known, so it has no class."""
        rng = np.random.default_rng([seed, epoch, item, 2])
        name, sequence = self.source(item, sequenced=False)
        return self._two(pair, FOLDS.index("none"), name, sequence, rng)

    def _two(
        self, pair: TwoChains, fold: int, name: str, sequence: str, rng: np.random.Generator
    ) -> Sample:
        """Two chains that are both free, or of which one is a target that is held."""
        fixed, origin = np.zeros(len(pair.chain), dtype=bool), None
        if rng.random() < self.settings.target_share:
            fixed = pair.chain == int(rng.integers(2))
            origin = pair.coords[~fixed, 1].mean(0) + rng.normal(0.0, PLACING, 3)
            origin = origin.astype(np.float32)
        sequence = "".join(sequence[i] for i in pair.rows) if sequence else ""
        chain, index = pair.chain, pair.residue_index
        return Sample(pair.coords, fold, fixed, name, sequence, chain, index, origin)


PLACING = 4.0
"""Standard deviation (Å) of where the noise of a binder is centred, about its centre of mass: when
sampling, the place is only known from the hotspots."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample before it is padded.

    Attributes:
        coords: N, CA, C, O `[L, 4, 3]`, Å.
        fold: index into `FOLDS`.
        fixed: residues that are held `[L]`.
        name: its name.
        sequence: one letter for every residue; empty where it is not known.
        chain: chain of every residue `[L]`; None: one chain.
        index: residue index `[L]`; None: from 0.
        origin: where the noise is centred `[3]`, Å; None: the centre of what is held, or of all.
    """

    coords: NDArray[np.float32]
    fold: int
    fixed: NDArray[np.bool_]
    name: str
    sequence: str = ""
    chain: NDArray[np.int64] | None = None
    index: NDArray[np.int64] | None = None
    origin: NDArray[np.float32] | None = None


def collate(samples: Sequence[Sample]) -> Batch:
    """A padded batch of the frames of samples; their sequences are left out."""
    lengths = [len(s.coords) for s in samples]
    size, longest = len(samples), max(lengths)
    coords = np.zeros((size, longest, 4, 3), dtype=np.float32)
    fixed = np.zeros((size, longest), dtype=bool)
    chain = np.zeros((size, longest), dtype=np.int64)
    index = np.tile(np.arange(longest), (size, 1))
    origin = np.full((size, 3), np.nan, dtype=np.float32)
    for row, s in enumerate(samples):
        coords[row, : lengths[row]], fixed[row, : lengths[row]] = s.coords, s.fixed
        if s.chain is not None and s.index is not None:
            chain[row, : lengths[row]], index[row, : lengths[row]] = s.chain, s.index
        if s.origin is not None:
            origin[row] = s.origin
    batch = backbone_batch(
        torch.from_numpy(coords),
        lengths,
        torch.tensor([s.fold for s in samples]),
        torch.from_numpy(fixed),
        tuple(s.name for s in samples),
        torch.from_numpy(origin),
    )
    if not chain.any():
        return batch
    return batch.with_cond(
        chain_index=torch.from_numpy(chain), residue_index=torch.from_numpy(index)
    )


def backbone_batch(
    coords: Tensor,
    lengths: list[int],
    folds: Tensor,
    fixed: Tensor | None = None,
    ids: tuple[str, ...] = (),
    origin: Tensor | None = None,
) -> Batch:
    """A batch of frames from backbone atoms.

    The origin, about which the noise is drawn, is the centre of mass of the CA atoms, or of the
    fixed ones in samples that have some: a motif's place in the finished protein is not known
    beforehand.

    Args:
        coords: N, CA, C, ... in Å, padded `[B, N, >=3, 3]`.
        lengths: residues of each sample.
        folds: class of each sample, an index into `FOLDS`, `[B]`.
        fixed: residues held at their data value `[B, N]`.
        ids: names of the samples.
        origin: another origin for samples with fixed residues `[B, 3]`, Å; NaN for the usual one.
    """
    n = coords.shape[1]
    mask = torch.arange(n) < torch.tensor(lengths)[:, None]
    rotations, ca = frames_from_backbone(coords)
    rotations = torch.where(mask[..., None, None], rotations, torch.eye(3))
    fixed = torch.zeros_like(mask) if fixed is None else fixed & mask
    anchor = torch.where(fixed.any(1, keepdim=True), fixed, mask).float()[..., None]
    centre = (ca * anchor).sum(1, keepdim=True) / anchor.sum(1, keepdim=True).clamp_min(1.0)
    if origin is not None:
        centre = torch.where(origin.isnan()[:, None], centre, origin[:, None])
    translations = (ca - centre) * NM * mask[..., None]
    layout = Layout(len(lengths), mask=mask, fixed=fixed)
    cond = {"fold": folds, "residue_index": torch.arange(n).expand(len(lengths), n).contiguous()}
    return Batch(
        {TRANSLATIONS: translations, ROTATIONS: rotations},
        cond,
        {TRANSLATIONS: layout, ROTATIONS: layout},
        len(lengths),
        ids,
    )


def _rg_ratio(ca: np.ndarray) -> float:
    return radius_of_gyration(ca) / float(expected_radius(len(ca)))


def _motif(length: int, padded: int, rng: np.random.Generator) -> np.ndarray:
    """One or two random segments, each of 4 residues to a quarter of the chain."""
    fixed = np.zeros(padded, dtype=bool)
    for _ in range(int(rng.integers(1, 3))):
        size = int(rng.integers(4, max(5, length // 4) + 1))
        start = int(rng.integers(0, max(1, length - size)))
        fixed[start : min(start + size, length)] = True
    return fixed

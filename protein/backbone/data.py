"""Training batches of backbones: chains of an archive, cropped, labelled, cluster-balanced,
bucketed.

An epoch takes one chain of every sequence cluster. Chains longer than `max_length` give compact
contiguous
windows. A share of the samples is posed as motif scaffolding: a few segments are held at their
data value and the
rest travels from noise. The draw of every item depends on (seed, epoch, item) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from protein.backbone.network import FOLDS, ROTATIONS, TRANSLATIONS
from protein.structures.archive import ChainArchive
from protein.structures.filters import expected_radius, radius_of_gyration
from protein.structures.frames import frames_from_backbone
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

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha_share <= 1.0:
            raise InputError(f"data.alpha_share: {self.alpha_share} is not in [0, 1]")
        short, long = self.crop_lengths
        if not 1 <= short <= long:
            raise InputError(
                f"data.crop_lengths: {short} to {long} residues; give the shorter one first"
            )


NO_DATA = BackboneDataSettings()
"""Settings of a domain that only samples."""


class BackboneData:
    """Batches of one split of a chain archive."""

    def __init__(self, settings: BackboneDataSettings, split: str) -> None:
        self.settings, self.split = settings, split

    @cached_property
    def archive(self) -> ChainArchive:
        """The chains of the split that are long enough, read on first use."""
        chains = ChainArchive.open(Path(self.settings.archive))
        return chains.subset(split=self.split, min_length=self.settings.min_length)

    def batches(self, epoch: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches of one epoch in an order that depends on (seed, epoch) alone."""
        rng = np.random.default_rng([seed, epoch])
        chosen = _one_per_cluster(np.asarray(self.archive.cluster(30)), rng)
        chosen = chosen[self._kept(seed, epoch)[chosen]]
        windows = {int(i): self._window(int(i), seed, epoch) for i in chosen}
        items = [i for i, (start, stop) in windows.items() if stop > start]
        sizes = np.ones(len(self.archive), dtype=int)
        for i in items:
            sizes[i] = windows[i][1] - windows[i][0]
        packed = Buckets(sizes.tolist(), self.settings.budget).batches(
            epoch, seed, rank, world, items
        )
        for group in packed:
            yield self._collate(group, [windows[i] for i in group], seed, epoch)

    @cached_property
    def _alpha(self) -> np.ndarray:
        """Which chains are all-alpha, bool `[chains]`."""
        return np.array([fold_class(ss3) == FOLDS.index("alpha") for ss3 in self.archive.ss3])

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

    def _collate(
        self, group: list[int], windows: list[tuple[int, int]], seed: int, epoch: int
    ) -> Batch:
        lengths = [stop - start for start, stop in windows]
        coords = np.zeros((len(group), max(lengths), 4, 3), dtype=np.float32)
        fixed = np.zeros(coords.shape[:2], dtype=bool)
        folds = []
        for row, (item, (start, stop)) in enumerate(zip(group, windows, strict=True)):
            coords[row, : stop - start] = self.archive[item][start:stop]
            folds.append(fold_class(self.archive.ss3[item][start:stop]))
            rng = np.random.default_rng([seed, epoch, item, 2])
            if rng.random() < self.settings.motif_fraction:
                fixed[row] = _motif(stop - start, fixed.shape[1], rng)
        ids = tuple(str(self.archive.ids[i]) for i in group)
        return backbone_batch(
            torch.from_numpy(coords), lengths, torch.tensor(folds), torch.from_numpy(fixed), ids
        )


def backbone_batch(
    coords: Tensor,
    lengths: list[int],
    folds: Tensor,
    fixed: Tensor | None = None,
    ids: tuple[str, ...] = (),
) -> Batch:
    """A batch of frames from backbone atoms.

    The origin is the centre of mass of the CA atoms, or of the fixed ones in samples that have
    some: a motif's
    place in the finished protein is not known beforehand.

    Args:
        coords: N, CA, C, ... in Å, padded `[B, N, >=3, 3]`.
        lengths: residues of each sample.
        folds: class of each sample, an index into `FOLDS`, `[B]`.
        fixed: residues held at their data value `[B, N]`.
        ids: names of the samples.
    """
    n = coords.shape[1]
    mask = torch.arange(n) < torch.tensor(lengths)[:, None]
    rotations, ca = frames_from_backbone(coords)
    rotations = torch.where(mask[..., None, None], rotations, torch.eye(3))
    fixed = torch.zeros_like(mask) if fixed is None else fixed & mask
    anchor = torch.where(fixed.any(1, keepdim=True), fixed, mask).float()[..., None]
    centre = (ca * anchor).sum(1, keepdim=True) / anchor.sum(1, keepdim=True).clamp_min(1.0)
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


def fold_class(ss3: str) -> int:
    """Class of a chain by its secondary structure string (h, e, c): an index into `FOLDS`."""
    helix, strand = ss3.count("h") / len(ss3), ss3.count("e") / len(ss3)
    if helix >= 0.3 and strand < 0.1:
        return FOLDS.index("alpha")
    if helix < 0.12 and strand > 0.2:
        return FOLDS.index("beta")
    return FOLDS.index("mixed")


def _one_per_cluster(clusters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = rng.permutation(len(clusters))
    _, first = np.unique(clusters[order], return_index=True)
    return order[first]


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

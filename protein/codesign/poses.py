"""Batches of frames with residues, and the three questions one model answers about them.

A backbone batch becomes one of this package by `with_residues`. What is then held decides what is
drawn: nothing (co-design), the frames (inverse folding), or the residues (folding). `held` says
it in the layouts, and `clocks` reads it off them again: a leaf that is held everywhere rests at
its data, and all its times are 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from protein.backbone.data import Sample, collate
from protein.backbone.network import ROTATIONS, TRANSLATIONS
from protein.sequence.alphabet import tokens
from protein.sequence.samples import SEQUENCE
from sciddiff.samplers.base import Grid
from sciddiff.state import Batch, Layout

FRAMES = (TRANSLATIONS, ROTATIONS)
"""The leaves of the structure."""


def with_residues(batch: Batch, sequences: Sequence[str] | None = None) -> Batch:
    """A backbone batch with the leaf `sequence [B, N]`.

    Residues are held where the frames are, and where the sequence has an X: such residues are
    known to nobody, and the condition `unknown [B, N]` hides them from the network.

    Args:
        batch: frames.
        sequences: one letter for every residue of each sample; an empty one is all unknown. None:
            all residues are to be drawn, and the leaf holds alanine.
    """
    layout = batch.layouts[TRANSLATIONS]
    shape = batch.x[TRANSLATIONS].shape[:2]
    mask = torch.ones(shape, dtype=torch.bool) if layout.mask is None else layout.mask
    fixed = torch.zeros_like(mask) if layout.fixed is None else layout.fixed
    if sequences is None:
        leaf = torch.zeros(shape, dtype=torch.int64)
        return _joined(batch, leaf, Layout(batch.size, mask=mask, fixed=fixed))
    lengths = mask.sum(1).tolist()
    whole = [s or "X" * length for s, length in zip(sequences, lengths, strict=True)]
    found = [[torch.from_numpy(part) for part in tokens(sequence)] for sequence in whole]
    leaf, unknown = (
        pad_sequence([one[k] for one in found], batch_first=True) for k in range(2)
    )
    batch = batch.with_cond(unknown=unknown)
    return _joined(batch, leaf, Layout(batch.size, mask=mask, fixed=(fixed | unknown) & mask))


def collate_pairs(samples: Sequence[Sample]) -> Batch:
    """A padded batch of frames and residues of samples."""
    return with_residues(collate(samples), [sample.sequence for sample in samples])


def held(batch: Batch, frames: Tensor | bool = False, residues: Tensor | bool = False) -> Batch:
    """Hold all frames, or all residues, of some samples or of all.

    Args:
        batch: frames and residues.
        frames: samples whose frames are held `[B]`, or whether all are.
        residues: samples whose residues are held `[B]`, or whether all are.
    """
    layouts = dict(batch.layouts)
    for names, chosen in ((FRAMES, frames), ((SEQUENCE,), residues)):
        whole = torch.as_tensor(chosen).expand(batch.size)[:, None]
        for name in names:
            layout = layouts[name]
            mask = torch.ones(batch.x[name].shape[:2], dtype=torch.bool)
            mask = mask if layout.mask is None else layout.mask
            fixed = mask & whole if layout.fixed is None else layout.fixed | (mask & whole)
            layouts[name] = replace(layout, fixed=fixed)
    return replace(batch, layouts=layouts)


def clocks(grid: Tensor, batch: Batch) -> Grid:
    """The times of each leaf: those of the grid, or all 1 where every row of a batch is held.

    Args:
        grid: times from 0 to 1 `[n + 1]`.
        batch: the template. Where some samples hold a leaf and others do not, it follows the grid.
    """
    resting = {name: _rests(layout) for name, layout in batch.layouts.items()}
    if not any(resting.values()) or all(resting.values()):
        return grid
    return {name: torch.ones_like(grid) if rests else grid for name, rests in resting.items()}


def _rests(layout: Layout) -> bool:
    if layout.fixed is None:
        return False
    return bool((layout.fixed if layout.mask is None else layout.fixed | ~layout.mask).all())


def _joined(batch: Batch, leaf: Tensor, layout: Layout) -> Batch:
    return replace(
        batch,
        x={**batch.x, SEQUENCE: leaf},
        layouts={**batch.layouts, SEQUENCE: layout},
    )

"""Residue types and side chains together, for given backbones: a state that a codec can encode.

A state has the leaves `residues [B, N]`, tokens that are revealed one after the other, and
`chi [B, 4 N]`, the angles of `protein.sidechains.samples`. The backbone is a condition. This is
what `protein.sidechains.codec` learns to encode in a few numbers a residue; without a codec, types
are drawn first, and torsions for them after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protein.sequence.alphabet import LETTERS
from protein.sidechains.data import NO_DATA, SideChainDataSettings
from protein.sidechains.domain import SideChainDomain
from protein.sidechains.geometry import tables
from protein.sidechains.internal import MOST_CHI
from protein.sidechains.samples import CHI
from sciddiff.domains import Domain
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.paths import MaskPath, ProductPath
from sciddiff.samplers import Ancestral
from sciddiff.samplers.base import Grid
from sciddiff.state import Batch, Layout, State

__all__ = ["RESIDUES", "STEPS", "ResidueDomain", "bare", "with_types"]

RESIDUES = "residues"
"""The leaf of residue types."""

STEPS = 40
"""Calls of the network that a sample is drawn with."""


class ResidueDomain(Domain):
    """Residue types and side chains for given backbones.

    Args:
        data: training data; only `train` and the validation loss need it.
        types_known: share of the training samples whose types are all held, so that torsions are
            learned for them; above 0, types alone are learned from the others. A codec takes all
            of every sample, and needs 0.

    Raises:
        InputError: The share is not in [0, 1].
    """

    name = "residues"

    def __init__(
        self, data: SideChainDataSettings = NO_DATA, types_known: float = 0.0
    ) -> None:
        if not 0.0 <= types_known <= 1.0:
            raise InputError(f"domain.types_known: {types_known} is not in [0, 1]; try 0.5")
        self._pack, self.types_known = SideChainDomain(data), types_known

    def path(self) -> ProductPath:
        """Types are revealed, angles follow geodesics of circles."""
        return ProductPath({RESIDUES: MaskPath(len(LETTERS)), **self._pack.path().paths})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Batches of the training split; every known residue counts, at the rim too."""
        own = self._pack.train_batches(epoch, seed, rank, world)
        return self._asked(own, [seed, epoch, rank, world])

    def val_batches(self) -> Iterable[Batch]:
        """One structure of every cluster of the validation split, always the same."""
        return self._asked(self._pack.val_batches(), [0])

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates for `structures` (files) and `n` draws of each.

        Every residue is drawn, whatever the file calls it.

        Raises:
            InputError: An unknown field, no structures, or a file that cannot be read.
        """
        return map(bare, self._pack.like(request))

    def drawing(self) -> Drawing:
        """Deterministic steps; types in the first half of them, and torsions in the second."""
        return Drawing(Ancestral(0.0), uniform(STEPS), clocks=_types_first)

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """Each sample as mmCIF, as PDB where that has names for its chains, and as FASTA."""
        from protein.sidechains.files import write_sequence

        cond = {**batch.cond, RESIDUES: x[RESIDUES]}
        own = replace(batch, cond=cond)
        files = self._pack.write(own, x, directory)
        return files + [write_sequence(own, k, directory) for k in range(own.size)]

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Types and side chains of a folder beside those of the structures they were drawn for.

        Raises:
            InputError: no reference, or no structure of both.
        """
        from protein.sidechains.files import drawn_folders
        from protein.sidechains.recovery import Recovery

        if reference is None:
            raise InputError("--reference: residues are measured beside known ones; give them")
        return Recovery.of(drawn_folders(directory, reference)).figures()

    def _asked(self, batches: Iterable[Batch], seed: list[int]) -> Iterator[Batch]:
        """Batches with types, and what is held in their samples."""
        for number, batch in enumerate(batches):
            full = with_types(batch)
            if self.types_known:
                drawn = np.random.default_rng([*seed, number, 7]).random(batch.size)
                full = _held(full, torch.from_numpy(drawn < self.types_known))
            yield full

    def provenance(self) -> dict[str, Any]:
        """The archive trained on: its file name, and what was taken of it."""
        return self._pack.provenance()


def with_types(batch: Batch) -> Batch:
    """A batch of side chains whose residue types are part of the state; nothing is held."""
    cond = {name: value for name, value in batch.cond.items() if name != RESIDUES}
    residues, chi = batch.cond[RESIDUES], batch.layouts[CHI].mask
    known = batch.cond["present"] & ~batch.cond["unknown"]
    if chi is None:
        chi = (tables().chi[residues] & known[..., None]).flatten(1)
    layouts = {
        RESIDUES: Layout(batch.size, mask=known),
        CHI: Layout(batch.size, mask=chi),
    }
    return replace(batch, x={RESIDUES: residues, **batch.x}, cond=cond, layouts=layouts)


def bare(batch: Batch) -> Batch:
    """A template of side chains of which every residue is drawn, and nothing is told of any."""
    rows = batch.cond["present"]
    cond = {name: value for name, value in batch.cond.items() if name != RESIDUES}
    angles = rows[..., None].expand(*rows.shape, MOST_CHI).flatten(1)
    return replace(
        batch,
        x={RESIDUES: torch.zeros_like(rows, dtype=torch.int64), CHI: 0.0 * batch.x[CHI]},
        cond={**cond, "unknown": ~rows},
        layouts={
            RESIDUES: Layout(batch.size, mask=rows), CHI: Layout(batch.size, mask=angles)
        },
    )  # fmt: skip


def _held(batch: Batch, known: Tensor) -> Batch:
    """Samples `[B]` whose types are held, the others without torsions; see `with_types`."""
    rows = {name: known[:, None].expand(batch.x[name].shape) for name in (RESIDUES, CHI)}
    masks = {name: batch.layouts[name].zero_padding(here) for name, here in rows.items()}
    types = replace(batch.layouts[RESIDUES], fixed=masks[RESIDUES])
    angles = replace(batch.layouts[CHI], mask=masks[CHI])
    return replace(batch, layouts={RESIDUES: types, CHI: angles})


def _types_first(grid: Tensor, batch: Batch) -> Grid:
    """Times of types and of torsions, one after the other."""
    return {RESIDUES: (2.0 * grid).clamp(max=1.0), CHI: (2.0 * grid - 1.0).clamp(min=0.0)}

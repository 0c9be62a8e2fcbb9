"""Residue types and side chains together, for given backbones: a state that a codec can encode.

A state has the leaves `residues [B, N]`, tokens that are revealed one after the other, and
`chi [B, 4 N]`, the angles of `protein.sidechains.samples`. The backbone is a condition. By itself
this domain is what `protein.sidechains.codec` learns to encode in a few numbers a residue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from protein.sequence.alphabet import LETTERS
from protein.sidechains.data import NO_DATA, SideChainDataSettings
from protein.sidechains.domain import SideChainDomain
from protein.sidechains.geometry import tables
from protein.sidechains.samples import CHI
from sciddiff.domains import Domain
from sciddiff.paths import MaskPath, ProductPath
from sciddiff.state import Batch, Layout, State

__all__ = ["RESIDUES", "ResidueDomain", "with_types"]

RESIDUES = "residues"
"""The leaf of residue types."""


class ResidueDomain(Domain):
    """Residue types and side chains for given backbones.

    Args:
        data: training data; only `train` and the validation loss need it.
    """

    name = "residues"

    def __init__(self, data: SideChainDataSettings = NO_DATA) -> None:
        self._pack = SideChainDomain(data)

    def path(self) -> ProductPath:
        """Types are revealed, angles follow geodesics of circles."""
        return ProductPath({RESIDUES: MaskPath(len(LETTERS)), **self._pack.path().paths})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Batches of the training split; every known residue counts, at the rim too."""
        return map(with_types, self._pack.train_batches(epoch, seed, rank, world))

    def val_batches(self) -> Iterable[Batch]:
        """One structure of every cluster of the validation split, always the same."""
        return map(with_types, self._pack.val_batches())

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates for `structures` (files) and `n` draws of each; their residues are not kept.

        Raises:
            InputError: An unknown field, no structures, or a file that cannot be read.
        """
        return map(with_types, self._pack.like(request))

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """One mmCIF file for every sample, its chains named A, B and on."""
        cond = {**batch.cond, RESIDUES: x[RESIDUES]}
        return self._pack.write(replace(batch, cond=cond), x, directory)

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Side chains of a folder beside those of a reference folder, if residues are equal."""
        return self._pack.evaluate(directory, reference)

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

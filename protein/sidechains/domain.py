"""The domain of side chains: what the shared core needs to know to pack them.

A state has one leaf, `chi [B, 4 N]`, angles that follow geodesics of circles from the uniform law
(flow matching on the torus; Chen & Lipman 2024, and for side chains FlowPacker, Lee & Kim 2025).
Backbone, residue types and what lies around are conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from protein.sidechains.data import NO_DATA, SideChainData, SideChainDataSettings
from protein.sidechains.losses import AngleLoss
from protein.sidechains.samples import CHI, collate, sample_of
from protein.sidechains.templates import template_of
from protein.structures.read import read_structure
from sciddiff.domains import Domain
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.manifolds import Torus
from sciddiff.objectives import Denoising
from sciddiff.paths import GeodesicPath, ProductPath
from sciddiff.samplers import Ancestral
from sciddiff.state import Batch, State

__all__ = ["STEPS", "SideChainDomain"]

STEPS = 20
"""Steps that side chains are drawn in."""


class SideChainDomain(Domain):
    """Side chains for given backbones and sequences.

    Args:
        data: training data; only `train` and the validation loss need it.
    """

    name = "pack"

    def __init__(self, data: SideChainDataSettings = NO_DATA) -> None:
        self.data = data

    def path(self) -> ProductPath:
        """Angles follow geodesics of circles."""
        return ProductPath({CHI: GeodesicPath(Torus(), parametrization="velocity")})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Batches of the training split."""
        return self._train.batches(epoch, seed, rank, world)

    def val_batches(self) -> Iterable[Batch]:
        """One structure of every cluster of the validation split, always the same."""
        return SideChainData(self.data, "val").whole()

    def objective(self) -> Denoising:
        """Flow matching, and cross-entropy of the angles that the data have."""
        return Denoising(extra_losses=(AngleLoss(),))

    def drawing(self) -> Drawing:
        """Deterministic steps of equal length."""
        return Drawing(Ancestral(0.0), uniform(STEPS))

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates for `structures` (files) and `n` draws of each.

        Raises:
            InputError: An unknown field, no structures, or a file that cannot be read.
        """
        unknown = set(request) - {"structures", "n"}
        if unknown:
            raise InputError(f"request: unknown field {min(unknown)}; use structures, n")
        files = request.get("structures", ())
        files = [files] if isinstance(files, str | Path) else files
        if not isinstance(files, Sequence) or not files:
            raise InputError("request: no structures; give the files of the backbones")
        for file in files:
            template = template_of(
                read_structure(Path(file), side_chains=True), name=Path(file).stem
            )
            batch = collate([sample_of(template)])
            for number in range(int(request.get("n", 1))):
                one = batch.select(torch.zeros(1, dtype=torch.int64))
                names = (f"{template.name}_{number + 1}",)
                yield Batch(one.x, one.cond, one.layouts, 1, names)

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """Every sample as mmCIF, and as PDB where that has letters for its chains: A, B and on."""
        from protein.sidechains.files import write_sample

        return [file for k in range(batch.size) for file in write_sample(batch, x, k, directory)]

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Side chains of a folder beside those of the same name in a reference folder.

        Raises:
            InputError: no reference, or no structure of both.
        """
        from protein.sidechains.files import compared_folders
        from protein.sidechains.measure import figures

        if reference is None:
            raise InputError("--reference: side chains are measured beside known ones; give them")
        parts = compared_folders(directory, reference)
        return {"structures": len(parts), **figures(parts)}

    def provenance(self) -> dict[str, Any]:
        """The archive trained on: its file name, and what was taken of it."""
        s = self.data
        return {
            "archive": Path(s.archive).name,
            "max_length": s.max_length,
            "noise": s.noise,
            "split": "train",
            "licence": "coordinates of the Protein Data Bank, CC0 1.0",
        }

    @cached_property
    def _train(self) -> SideChainData:
        return SideChainData(self.data, "train")

"""Variants: a structure, partly noised and denoised again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protein.backbone.contig_motif import motif_rows
from protein.backbone.data import backbone_batch
from protein.backbone.designs import Design, Numbering
from protein.backbone.generate import Start
from protein.backbone.modes.base import Item, Mode
from protein.backbone.request import PAIR_BUDGET, design_name
from protein.structures.chain import Backbone
from protein.structures.contig_syntax import parse_contig
from protein.structures.secondary import FOLDS
from sciddiff.errors import InputError


@final
class Variants(Mode):
    """Variants of a structure.

    Args:
        file: the structure.
        noise: share of noise put on it, above 0 and at most 1.
        fold: one of `FOLDS`.
        n: number of variants.
        vary: residues that may move, as a contig names them (``A10-30,B``); all by default.
        model: which model of the file, from 0.
    """

    def __init__(
        self, file: Path, noise: float, fold: str, n: int, vary: str | None = None, model: int = 0
    ) -> None:
        from protein.structures.read import read_structure

        if not 0.0 < noise <= 1.0:
            raise InputError(f"noise {noise}: must be above 0 and at most 1; 0.3 keeps the fold")
        structure = read_structure(file, model, side_chains=vary is not None)
        self._chains, self._noise, self._n, self._fold = structure.chains, noise, n, fold
        self._coords = np.concatenate([chain.coords for chain in self._chains])
        self._fixed = np.zeros(len(self._coords), dtype=bool)
        if vary is not None:
            free = motif_rows(parse_contig(vary), structure)
            self._fixed = ~np.isin(np.arange(len(self._coords)), free)
        # Where the template's origin lies: at the middle of what is held, or of everything.
        anchor = self._fixed if self._fixed.any() else ~self._fixed
        self._centre = self._coords[anchor, 1].mean(0)
        self._sides = [s for c in self._chains for s in c.side_chains or ((),) * len(c)]
        self.inputs = (file,)
        self.notes = tuple((str(file), note) for note in structure.notes)
        self.request = {"mode": "partial", "noise": noise, "fold": fold}
        if vary is not None:
            self.request["vary"] = vary
        if model:
            self.request["structure_model"] = model

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """The structure as a template and as the place to start from."""
        listed, size = list(indices), len(self._coords)
        together = max(1, PAIR_BUDGET // size**2)
        for first in range(0, len(listed), together):
            group = listed[first : first + together]
            n = len(group)
            batch = backbone_batch(
                torch.from_numpy(self._coords).expand(n, -1, -1, -1),
                [size] * n,
                torch.full((n,), FOLDS.index(self._fold)),
                torch.from_numpy(self._fixed).expand(n, -1) if self._fixed.any() else None,
                tuple(design_name(index) for index in group),
            )
            batch = batch.with_cond(
                index=torch.tensor(group),
                residue_index=torch.from_numpy(running_index(self._chains)).expand(n, -1),
                chain_index=torch.from_numpy(_chain_index(self._chains)).expand(n, -1),
            )
            yield Item(batch, (self._numbering(),) * n, Start(dict(batch.x), self._noise))

    def _numbering(self) -> Numbering:
        ids = tuple(c.chain_id for c in self._chains for _ in range(len(c)))
        numbers = tuple(int(n) for c in self._chains for n in c.residue_numbers)
        sequence = "".join(c.sequence for c in self._chains)
        codes = tuple(code for c in self._chains for code in c.insertion_codes)
        return Numbering(ids, numbers, sequence, self._fixed, codes)

    def sizes(self, index: int) -> tuple[int, int]:
        """The longest chain, and the whole structure."""
        return max(len(chain) for chain in self._chains), len(self._coords)

    def describe(self) -> str:
        """Chains and the share of noise."""
        chains = ", ".join(f"{c.chain_id} ({len(c)} residues)" for c in self._chains)
        held = int(self._fixed.sum())
        still = f", {held} residues held" if held else ""
        return f"{self._n} variants of chains {chains} at noise {self._noise}{still}"

    def finish(self, design: Design) -> Design:
        """Put the variant where the structure was; what was held has its own atoms."""
        moved = design.coords + self._centre
        coords = np.where(self._fixed[:, None, None], self._coords, moved)
        held = zip(self._sides, self._fixed, strict=True)
        return design.moved(coords, [side if fixed else () for side, fixed in held])


def running_index(chains: Sequence[Backbone]) -> NDArray[np.int64]:
    """Residue indices: 1 more along a bond, more across a gap, 200 more in the next chain."""
    index: list[int] = []
    for chain in chains:
        start = index[-1] + 200 if index else 0
        gaps = np.diff(chain.residue_numbers, prepend=chain.residue_numbers[0])
        joined = np.concatenate([[False], chain.bonded[:-1]])
        # Numbers may repeat (insertion codes) or run backwards; a bond always counts 1.
        steps = np.where(joined, 1, np.maximum(gaps, 2))
        steps[0] = 0
        index.extend((start + np.cumsum(steps)).tolist())
    return np.asarray(index, dtype=np.int64)


def _chain_index(chains: Sequence[Backbone]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(chains)), [len(chain) for chain in chains])

"""Scaffolds: designs that hold the residues of a motif in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protein.backbone.contigs import ResolvedContig, arranged, resolve
from protein.backbone.data import backbone_batch
from protein.backbone.designs import Design, Numbering
from protein.backbone.modes.base import Item, Mode
from protein.backbone.request import design_name, grouped
from protein.structures.chain import Structure
from protein.structures.contig_syntax import parse_contig
from protein.structures.secondary import FOLDS
from sciddiff.state import Batch


class Scaffolds(Mode):
    """Designs that hold a motif in place.

    Args:
        contig: what is kept and what is designed; of an unindexed motif, the pieces that are kept,
            whose order and places along the chain every design draws anew.
        motif: file the kept residues are taken from.
        fold: one of `FOLDS`.
        seed: seed of the lengths.
        n: number of designs.
        length: fewest and most residues of a design.
        model: which model of the file, from 0.
        unindexed: `contig` names pieces alone, and `length` is given.
    """

    def __init__(
        self,
        contig: str,
        motif: Path,
        fold: str,
        seed: int,
        n: int,
        length: tuple[int, int] | None = None,
        model: int = 0,
        unindexed: bool = False,
    ) -> None:
        from protein.structures.read import read_structure

        self._plan = parse_contig(contig)
        self._structure = self._placed(read_structure(motif, model, side_chains=True))
        self._fold, self._seed, self._n, self._length = fold, seed, n, length
        self._unindexed = unindexed
        self._resolve = lru_cache(maxsize=None)(self._drawn)
        first = self._resolve(0)
        self.inputs = (motif,)
        self.notes = tuple((str(motif), note) for note in (*self._structure.notes, *first.notes))
        named = {"unindexed": contig} if unindexed else {"contig": contig}
        self.request = {"mode": "scaffold", **named, "fold": fold}
        if length is not None:
            self.request["length"] = f"{length[0]}-{length[1]}"
        if model:
            self.request["structure_model"] = model

    def _placed(self, structure: Structure) -> Structure:
        """The motif's structure where the designs are made."""
        return structure

    def _origins(self, contigs: Sequence[ResolvedContig]) -> Tensor | None:
        """What is the origin while a design is sampled, Å `[B, 3]`; the motif's centre if None."""
        return None

    def _drawn(self, index: int) -> ResolvedContig:
        rng = np.random.default_rng([self._seed, index, 11])
        if self._unindexed:
            return arranged(self._plan, self._structure, rng, self._length)
        return resolve(self._plan, self._structure, rng, self._length)

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches of like length; each design draws its own lengths of the stretches."""
        sized = sorted((len(self._resolve(index)), index) for index in indices)
        for group in grouped(sized):
            contigs = {index: self._resolve(index) for _, index in group}
            names = tuple(_numbering(contig) for contig in contigs.values())
            yield Item(self._batch(contigs), names)

    def _batch(self, contigs: dict[int, ResolvedContig]) -> Batch:
        listed = list(contigs.values())
        lengths = [len(contig) for contig in listed]
        batch = backbone_batch(
            torch.from_numpy(_padded([contig.coords for contig in listed])),
            lengths,
            torch.full((len(listed),), FOLDS.index(self._fold)),
            torch.from_numpy(_padded([contig.fixed for contig in listed])),
            tuple(design_name(index) for index in contigs),
            self._origins(listed),
        )
        return batch.with_cond(
            index=torch.tensor(list(contigs)),
            residue_index=torch.from_numpy(_padded([c.residue_index for c in listed])),
            chain_index=torch.from_numpy(_padded([c.chain_index for c in listed])),
        )

    def sizes(self, index: int) -> tuple[int, int]:
        """The longest chain, and the whole design."""
        contig = self._resolve(index)
        return int(np.bincount(contig.chain_index).max()), len(contig)

    def describe(self) -> str:
        """The resolved contigs."""
        parts = [f"{design_name(i)}\n{self._resolve(i).describe()}" for i in range(self._n)]
        return "\n\n".join(parts)

    def finish(self, design: Design) -> Design:
        """Put the design where the motif was and give motif residues their own atoms back."""
        contig = self._resolve(design.index)
        origins = self._origins([contig])
        centre = contig.coords[contig.fixed, 1].mean(0) if origins is None else origins[0].numpy()
        coords = np.where(contig.fixed[:, None, None], contig.coords, design.coords + centre)
        return design.moved(coords, contig.side_chains)

    def facts(self, index: int) -> dict[str, Any]:
        """The contig with its lengths, and the motif's residues here and there."""
        contig = self._resolve(index)
        pairs = contig.motif_map()
        return {
            "contig": contig.drawn(),
            "motif_from": " ".join(source for source, _ in pairs),
            "motif_to": " ".join(written for _, written in pairs),
        }


def _numbering(contig: ResolvedContig) -> Numbering:
    chains, numbers, sequence = contig.output_numbering()
    codes = contig.output_insertion_codes()
    return Numbering(chains, numbers, sequence, contig.fixed, codes)


def _padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of several lengths as one, zero where there is nothing."""
    longest = max(len(array) for array in arrays)
    result = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    for row, array in zip(result, arrays, strict=True):
        row[: len(array)] = array
    return result

"""The inverse folding domain: what the shared core needs to know to design sequences.

A state has one leaf, `sequence [B, N]`, int64, which travels on a `MaskPath`: residues are hidden
all at once and revealed one after the other. The backbone is a condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from protein.sequence.alphabet import LETTERS, letters
from protein.sequence.data import NO_DATA, SequenceData, SequenceDataSettings
from protein.sequence.samples import SEQUENCE, collate, sample_of
from protein.structures.read import read_structure
from sciddiff.domains import Domain
from sciddiff.errors import InputError
from sciddiff.objectives import Denoising
from sciddiff.paths import MaskPath, ProductPath
from sciddiff.state import Batch, State

if TYPE_CHECKING:
    from sciddiff.rewards import RewardTerms

RESIDUES_A_BATCH = 4096
"""Residues drawn together."""


class InverseFoldingDomain(Domain):
    """Sequences for given backbones.

    Args:
        data: training data; only `train` and the validation loss need it.
    """

    name = "design"

    def __init__(self, data: SequenceDataSettings = NO_DATA) -> None:
        self.data = data

    def path(self) -> ProductPath:
        """Residues are hidden by the mask symbol and revealed."""
        return ProductPath({SEQUENCE: MaskPath(len(LETTERS))})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Batches of the training split."""
        return self._train.batches(epoch, seed, rank, world)

    def val_batches(self) -> Iterable[Batch]:
        """Whole chains of the validation split without noise, always the same."""
        return SequenceData(self.data, "val").whole()

    def objective(self) -> Denoising:
        """Cross-entropy of hidden residues, at every share of hidden ones alike."""
        return Denoising()

    def rewards(self) -> RewardTerms:
        """See `protein.sequence.rewards`."""
        from protein.sequence.rewards import TERMS

        return TERMS

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates for `structures` (files), `n` sequences of each, and `noise` (Å).

        Raises:
            InputError: An unknown field, no structures, or a file that cannot be read.
        """
        unknown = set(request) - {"structures", "n", "noise"}
        if unknown:
            raise InputError(f"request: unknown field {min(unknown)}; use structures, n, noise")
        files = request.get("structures", ())
        files = [files] if isinstance(files, str | Path) else files
        if not isinstance(files, Sequence) or not files:
            raise InputError("request: no structures; give the files of the backbones")
        n, noise = int(request.get("n", 1)), float(request.get("noise", 0.0))
        for file in files:
            chains = read_structure(Path(file)).chains
            sample = sample_of(chains, noise=noise, name=Path(file).stem)
            together = max(1, RESIDUES_A_BATCH // max(len(sample), 1))
            for first in range(0, n, together):
                names = range(first, min(first + together, n))
                batch = collate([sample]).select(torch.zeros(len(names), dtype=torch.int64))
                ids = tuple(f"{sample.name}_{k + 1}" for k in names)
                yield Batch(batch.x, batch.cond, batch.layouts, len(names), ids)

    def results(self, batch: Batch, x: State) -> list[str]:
        """One-letter amino acids of every sample, chains joined by `/`."""
        layout, found = batch.layouts[SEQUENCE], []
        for k in range(batch.size):
            text = letters(layout.rows_of(x[SEQUENCE], k).cpu().numpy())
            chain = layout.rows_of(batch.cond["chain_index"], k)
            ends = (torch.nonzero(chain.diff()).flatten() + 1).tolist()
            pieces = zip([0, *ends], [*ends, len(text)], strict=True)
            found.append("/".join(text[start:stop] for start, stop in pieces))
        return found

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """One FASTA file for every sample of the batch, chains joined by `/`."""
        written = []
        for name, text in zip(batch.ids, self.results(batch, x), strict=True):
            target = directory / f"{name}.fasta"
            target.write_text(f">{name}\n{text}\n", encoding="ascii")
            written.append(target)
        return written

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """Composition, runs and distinct sequences of a folder, beside those of a reference."""
        from protein.sequence.measure import measure_folders

        return measure_folders(directory, reference)

    def provenance(self) -> dict[str, Any]:
        """The archive trained on: its file name, and what was taken of it."""
        s = self.data
        return {
            "archive": Path(s.archive).name,
            "pairs": Path(s.pairs).name,
            "lengths": [s.min_length, s.max_length],
            "noise": s.noise,
            "split": "train",
            "licence": "coordinates of the Protein Data Bank, CC0 1.0",
        }

    @cached_property
    def _train(self) -> SequenceData:
        return SequenceData(self.data, "train")

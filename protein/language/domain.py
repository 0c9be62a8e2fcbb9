"""The domain of plain sequences: what the shared core needs to know to draw and complete them.

A state has one leaf, `sequence [B, N]`, int64, on a `MaskPath`. The length is that of the
template, the class of the fold a condition that may be left out, and residues that are given are
held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from protein.language.data import LanguageData, LanguageSettings, sequence_batch
from protein.sequence.alphabet import LETTERS, MASK, letters, tokens
from protein.sequence.samples import SEQUENCE
from protein.structures.secondary import FOLDS
from sciddiff.domains import Domain
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.objectives import Denoising, LabelDropout
from sciddiff.paths import MaskPath, ProductPath
from sciddiff.samplers import ConfidenceUnmask
from sciddiff.state import Batch, State

if TYPE_CHECKING:
    from sciddiff.rewards import RewardTerms

GAPS = "_-?X"
"""Signs for a residue that is to be drawn."""

LONGEST = 1024
"""Largest length that is drawn, residues."""

_STEPS = 64
_RESIDUES_A_BATCH = 4096
_FIELDS = ("n", "length", "fold", "infill", "seed")


class SequenceDomain(Domain):
    """Protein sequences without structures.

    Args:
        data: training data; only `train` and the validation loss need it.
    """

    name = "sequence"

    def __init__(self, data: LanguageSettings | None = None) -> None:
        self.data = data or LanguageSettings()

    def path(self) -> ProductPath:
        """Residues are hidden by the mask symbol and revealed."""
        return ProductPath({SEQUENCE: MaskPath(len(LETTERS))})

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Batches of the training split."""
        return self._train.batches(epoch, seed, rank, world)

    def val_batches(self) -> Iterable[Batch]:
        """Sequences of the validation split, always the same."""
        return LanguageData(self.data, "val").whole()

    def objective(self) -> Denoising:
        """Cross-entropy of hidden residues; a quarter of the classes is left out."""
        return Denoising(label_dropout={"label": LabelDropout(FOLDS.index("none"), 0.25)})

    def null_labels(self) -> dict[str, Any]:
        """The class that says none."""
        return {"label": FOLDS.index("none")}

    def rewards(self) -> RewardTerms:
        """See `protein.sequence.rewards`."""
        from protein.sequence.rewards import TERMS

        return TERMS

    def drawing(self) -> Drawing:
        """Rows in random order, in 64 calls."""
        return Drawing(sampler=ConfidenceUnmask("random"), grid=uniform(_STEPS))

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """Templates of `n` sequences.

        Args:
            request: `n`; `length`, such as 80 or 60-128, or `infill`, a sequence with `_` for
                every residue that is to be drawn; `fold`, one of alpha, beta, mixed and none.

        Raises:
            InputError: A field is unknown or cannot be met.
        """
        return self.templates(int(request.get("n", 1)), int(request.get("seed", 0)), request)

    def templates(self, n: int, seed: int, request: Mapping[str, Any]) -> Iterable[Batch]:
        """`like`, with lengths that are drawn from (seed, number)."""
        unknown = sorted(set(request) - set(_FIELDS))
        if unknown:
            raise InputError(
                f"request: unknown field {unknown[0]}; use one of {', '.join(_FIELDS)}"
            )
        fold = str(request.get("fold", "none"))
        if fold not in FOLDS:
            raise InputError(f"fold: {fold!r} is unknown; choose one of {', '.join(FOLDS)}")
        if request.get("infill") is not None and request.get("length"):
            raise InputError("infill: has a length of its own; leave length out")
        given = _infill(str(request["infill"])) if request.get("infill") is not None else None
        lengths = _lengths(str(request.get("length") or "60-128"))
        return _templates(n, seed, FOLDS.index(fold), lengths, given)

    def results(self, batch: Batch, x: State) -> list[str]:
        """One-letter amino acids of every sample."""
        layout = batch.layouts[SEQUENCE]
        return [
            letters(layout.rows_of(x[SEQUENCE], k).cpu().numpy()) for k in range(batch.size)
        ]

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """One FASTA file for every sample."""
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
            "archive": Path(s.archive).name, "lengths": [s.min_length, s.max_length],
            "split": "train", "licence": "sequences of the Protein Data Bank, CC0 1.0",
        }  # fmt: skip

    @cached_property
    def _train(self) -> LanguageData:
        return LanguageData(self.data, "train")


def _lengths(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    try:
        found = int(low), int(high if dash else low)
    except ValueError:
        raise InputError(f"length: {text!r} is no length; write 80 or 60-128") from None
    if not 1 <= found[0] <= found[1] <= LONGEST:
        raise InputError(f"length: {text} is not within 1 to {LONGEST}; write 80 or 60-128")
    return found


def _infill(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of a sequence with gaps, and which of its rows are given."""
    drawn = np.array([letter in GAPS for letter in text.upper()])
    odd = [letter for letter in text.upper() if letter not in LETTERS and letter not in GAPS]
    if odd:
        raise InputError(f"infill: {odd[0]!r} is no residue; write _ where one is to be drawn")
    if len(text) > LONGEST:
        raise InputError(f"infill: {len(text)} residues; at most {LONGEST} are drawn")
    if not drawn.any():
        raise InputError("infill: nothing is left to draw; write _ for every residue to be drawn")
    return np.where(drawn, MASK, tokens(text.upper())[0]), ~drawn


def _templates(
    n: int,
    seed: int,
    fold: int,
    lengths: tuple[int, int],
    given: tuple[np.ndarray, np.ndarray] | None,
) -> Iterator[Batch]:
    """Batches of templates, in the order of their numbers."""
    low, high = lengths
    sizes = [
        len(given[0]) if given is not None
        else int(np.random.default_rng([seed, k, 7]).integers(low, high + 1))
        for k in range(n)
    ]  # fmt: skip
    together = max(1, _RESIDUES_A_BATCH // max(sizes, default=1))
    for first in range(0, n, together):
        numbers = range(first, min(first + together, n))
        rows = [
            given if given is not None
            else (np.full(sizes[k], MASK, dtype=np.int64), np.zeros(sizes[k], dtype=bool))
            for k in numbers
        ]  # fmt: skip
        ids = tuple(f"sequence_{k + 1:04d}" for k in numbers)
        yield sequence_batch(rows, [fold] * len(numbers), ids)

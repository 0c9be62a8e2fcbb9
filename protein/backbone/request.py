"""What a user asks the backbone generator for, and the batches of templates that say it to the
core.

Every design has an index. Its length is drawn from (seed, index) and its noise from the same
pair, so a design is
the same whether it is made alone, among thousands, or in a rerun that fills a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from protein.backbone.data import backbone_batch
from protein.structures.secondary import FOLDS
from sciddiff.errors import InputError
from sciddiff.state import Batch

SHORTEST, LONGEST = 20, 512
ANY = "any"
CLASS_SHARES = {"alpha": 0.25, "beta": 0.19, "mixed": 0.56}
"""Shares of the fold classes among natives of up to 128 residues (training split)."""
_GOLDEN = (5.0**0.5 - 1.0) / 2.0
PAIR_BUDGET = 8 * 128**2


@dataclass(frozen=True)
class GenerationRequest:
    """Unconditional designs.

    Attributes:
        lengths: shortest and longest design, residues, drawn uniformly.
        n: number of designs.
        fold: one of `FOLDS`, or "any": every design draws its class as natives are shared out.
        seed: seed of lengths and noise.
        first: index of the first design.
    """

    lengths: tuple[int, int] = (60, 128)
    n: int = 1
    fold: str = ANY
    seed: int = 0
    first: int = 0

    @staticmethod
    def parse(request: Mapping[str, Any]) -> GenerationRequest:
        """Read plain values as typed by a user.

        Raises:
            InputError: an unknown field, or a value that cannot be met.
        """
        known = {"length", "n", "fold", "seed", "first"}
        for key in request:
            if key not in known:
                raise InputError(
                    f"request field {key}: unknown; use one of {', '.join(sorted(known))}"
                )
        return GenerationRequest(
            lengths=parse_lengths(str(request.get("length", "60-128"))),
            n=_count(request.get("n", 1)),
            fold=parse_fold(str(request.get("fold", ANY))),
            seed=int(request.get("seed", 0)),
            first=int(request.get("first", 0)),
        )

    def length(self, index: int) -> int:
        """Length of the design with this index."""
        low, high = self.lengths
        return int(np.random.default_rng([self.seed, index, 7]).integers(low, high + 1))

    def fold_of(self, index: int) -> str:
        """Fold class of the design with this index."""
        if self.fold != ANY:
            return self.fold
        # Steps of the golden ratio cover [0, 1) evenly, so that few designs have the shares, too.
        start = np.random.default_rng([self.seed, 13]).random()
        place = (start + index * _GOLDEN) % 1.0
        ends = np.cumsum(list(CLASS_SHARES.values()))[:-1]
        return list(CLASS_SHARES)[int(np.searchsorted(ends, place, side="right"))]


def templates(
    request: GenerationRequest, indices: Iterable[int] | None = None, cost: int = 1
) -> Iterator[Batch]:
    """Batches of templates of like length, each with `cond["index"] [B]` naming its designs.

    Args:
        request: what to make.
        indices: which designs of it; all by default.
        cost: how many times the pairs of a design the network sees, as of an assembly's copies.
    """
    wanted = range(request.first, request.first + request.n) if indices is None else indices
    sized = sorted((request.length(i), i) for i in wanted)
    for group in grouped(sized, PAIR_BUDGET // cost):
        yield _template(group, [request.fold_of(index) for _, index in group])


def grouped(
    sized: Iterable[tuple[int, int]], budget: int = PAIR_BUDGET
) -> Iterator[list[tuple[int, int]]]:
    """Designs of like size to be sampled together.

    Args:
        sized: residues and index of each design, by size.
        budget: most pairs of residues in a batch; a design that has more is alone.
    """
    group: list[tuple[int, int]] = []
    for item in sized:
        if group and (len(group) + 1) * item[0] ** 2 > budget:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _template(group: list[tuple[int, int]], classes: list[str]) -> Batch:
    lengths = [length for length, _ in group]
    coords = torch.zeros(len(group), max(lengths), 4, 3)
    folds = torch.tensor([FOLDS.index(fold) for fold in classes])
    names = tuple(design_name(index) for _, index in group)
    batch = backbone_batch(coords, lengths, folds, ids=names)
    return batch.with_cond(index=torch.tensor([index for _, index in group]))


def design_name(index: int) -> str:
    """File name stem of a design, counted from 1."""
    return f"design_{index + 1:04d}"


def design_index(name: str) -> int:
    """Index of the design of that name, from 0."""
    return int(name.rpartition("_")[2]) - 1


def parse_lengths(text: str) -> tuple[int, int]:
    """Read "100" or "60-128".

    Raises:
        InputError: not a length or a range of lengths, or outside what the generator makes.
    """
    low, dash, high = text.partition("-")
    if not low.strip().isdigit() or (dash and not high.strip().isdigit()):
        raise InputError(f"length {text!r}: not a number or a range; write 100 or 60-128")
    first, last = int(low), int(high or low)
    if not SHORTEST <= first <= last <= LONGEST:
        raise InputError(
            f"length {text!r}: must rise and lie between {SHORTEST} and {LONGEST} residues; "
            "designs of 60 to 128 are what the shipped weights were trained for"
        )
    return first, last


def parse_fold(text: str) -> str:
    """Check a fold class.

    Raises:
        InputError: neither "any" nor one of `FOLDS`.
    """
    if text not in (ANY, *FOLDS):
        raise InputError(f"fold {text!r}: unknown; use {', '.join(FOLDS[1:])}, {ANY} or none")
    return text


def _count(value: Any) -> int:  # noqa: ANN401 - typed by a user
    if not str(value).isdigit() or int(value) < 1:
        raise InputError(f"n {value!r}: not a positive whole number")
    return int(value)

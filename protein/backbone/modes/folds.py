"""New folds: designs of a length and a fold class, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import final

from protein.backbone.modes.base import Item, Mode
from protein.backbone.request import GenerationRequest, design_name, templates
from sciddiff.state import Batch

Templates = Callable[[GenerationRequest, Iterable[int]], Iterable[Batch]]
"""Batches of templates of the designs of a request with some indices."""


@final
class NewFolds(Mode):
    """Unconditional designs, or designs of one fold class.

    Args:
        request: lengths, number and fold class.
        mode: name of the mode in the record.
        make: templates of some designs of a request.
    """

    def __init__(
        self, request: GenerationRequest, mode: str = "new", make: Templates = templates
    ) -> None:
        self._request, self._make = request, make
        low, high = request.lengths
        self.request = {"mode": mode, "length": f"{low}-{high}", "fold": request.fold}

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches of like length."""
        return (Item(batch) for batch in self._make(self._request, indices))

    def sizes(self, index: int) -> tuple[int, int]:
        """The length, twice: the network sees the whole design."""
        length = self._request.length(index)
        return length, length

    def describe(self) -> str:
        """Lengths of the designs."""
        r = self._request
        lines = [
            f"{design_name(i)}  {r.length(i)} residues  fold {r.fold_of(i)}" for i in range(r.n)
        ]
        return "\n".join(lines)

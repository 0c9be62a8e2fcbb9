"""Templates in the place of training data, for objectives that draw their samples themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

import torch

from sciddiff.distillation import StandIn, shuffled
from sciddiff.domains import Domain
from sciddiff.errors import InputError
from sciddiff.state import Batch

__all__ = ["Templates", "split"]


@final
class Templates(StandIn):
    """What a model is to draw while it learns, a few templates a step.

    Args:
        domain: The domain of the model.
        templates: Its templates.
        together: Templates of one step, at most.
        updates: Steps in a row that have the same ones.

    Raises:
        InputError: There is no template.
    """

    def __init__(
        self, domain: Domain, templates: Sequence[Batch], together: int, updates: int = 1
    ) -> None:
        super().__init__(domain)
        self._batches = split(templates, together)
        self._updates = updates
        if not self._batches:
            raise InputError(f"domain {self.name}: gave no template; ask for one or more")

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """Templates in an order of the epoch's own."""
        for number in shuffled(len(self._batches), epoch, seed, rank, world):
            for _ in range(self._updates):
                yield self._batches[number]


def split(templates: Sequence[Batch], together: int) -> list[Batch]:
    """The same templates in batches of so many at most."""
    return [
        batch.select(torch.arange(first, min(first + together, batch.size)))
        for batch in templates
        for first in range(0, batch.size, together)
    ]

"""Other batches in the place of the training data of a domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sciddiff.codecs import Latents
from sciddiff.domains import Domain
from sciddiff.objectives import Objective
from sciddiff.paths import ProductPath
from sciddiff.state import Batch, State

__all__ = ["StandIn", "shuffled"]


class StandIn(Domain):
    """A domain but for its training data; a subclass gives `train_batches`.

    Args:
        domain: The domain.
    """

    def __init__(self, domain: Domain) -> None:
        self.domain, self.name = domain, domain.name

    def path(self) -> ProductPath:
        """The path of the domain."""
        return self.domain.path()

    def training_path(self) -> ProductPath:
        """The path that the domain trains on."""
        return self.domain.training_path()

    def latents(self) -> Latents | None:
        """The codec of the domain."""
        return self.domain.latents()

    def objective(self) -> Objective:
        """The objective of the domain."""
        return self.domain.objective()

    def val_batches(self) -> Iterable[Batch]:
        """None: what such a model should be measured on is what it draws."""
        return ()

    def like(self, request: Mapping[str, Any]) -> Iterable[Batch]:
        """As the domain."""
        return self.domain.like(request)

    def write(self, batch: Batch, x: State, directory: Path) -> list[Path]:
        """As the domain."""
        return self.domain.write(batch, x, directory)

    def evaluate(self, directory: Path, reference: Path | None) -> dict[str, Any]:
        """As the domain."""
        return self.domain.evaluate(directory, reference)


def shuffled(count: int, epoch: int, seed: int, rank: int, world: int) -> list[int]:
    """Numbers below ``count`` in an order of the epoch's own, those of one rank.

    Every rank gets as many; the last ones begin from the front again.
    """
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(mixed)).tolist()
    short = -len(order) % world
    return [*order, *(order * world)[:short]][rank::world]

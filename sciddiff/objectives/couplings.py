"""Couplings: which noise a sample is paired with in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError, MissingExtra
from sciddiff.paths.product import ProductPath
from sciddiff.state import Batch, Layout, State
from sciddiff.streams import Generator

__all__ = ["Coupling", "Independent", "MinibatchOT", "Paired"]


class Coupling(ABC):
    """A joint law of noise and data."""

    @abstractmethod
    def __call__(
        self, path: ProductPath, batch: Batch, generator: Generator | None
    ) -> State | None:
        """Noise for every leaf of the batch, or None to let each path draw its own."""


@final
@dataclass(frozen=True)
class Independent(Coupling):
    """Noise that knows nothing of the data."""

    def __call__(
        self, path: ProductPath, batch: Batch, generator: Generator | None
    ) -> State | None:
        return None


@final
@dataclass(frozen=True)
class Paired(Coupling):
    """The noise that a sample was drawn from, which straightens a flow (*reflow*).

    Liu, Gong & Liu (2023): a flow that learns the pairs of noise and data of another one follows
    straighter trajectories, which fewer steps follow as well.

    Attributes:
        key: Entry of ``batch.cond`` that holds the noise, a state.
    """

    key: str = "noise"

    def __call__(
        self, path: ProductPath, batch: Batch, generator: Generator | None
    ) -> State | None:
        if self.key not in batch.cond:
            raise InputError(
                f"Paired: no condition {self.key!r} in the batch; give the noise of each sample"
            )
        return dict(batch.cond[self.key])


@final
@dataclass(frozen=True)
class MinibatchOT(Coupling):
    """Noise re-paired within the batch to minimise the total squared distance to the data.

    Pooladian et al. (2023), Tong et al. (2024). Straightens trajectories of unconditional models;
    with conditions it biases the noise that a condition sees, so it is not the default. Samples
    must be dense and without padding, or all of one length.

    Attributes:
        leaves: Leaves whose noise moves together and whose distances are added; empty: all.
    """

    leaves: tuple[str, ...] = ()

    def __call__(
        self, path: ProductPath, batch: Batch, generator: Generator | None
    ) -> State | None:
        try:
            from scipy.optimize import linear_sum_assignment
        except ImportError as error:
            raise MissingExtra("scipy", "protein") from error
        noise = path.prior(batch.x, generator, batch.layouts)
        names = self.leaves or tuple(path.paths)
        for name in names:
            if not path[name].uses_noise:
                raise InputError(
                    f"MinibatchOT: {type(path[name]).__name__} of leaf {name!r} starts "
                    "from its data, whatever the noise; pair other leaves, or none"
                )
        cost = sum(
            (_cost(path, name, batch, noise[name]) for name in names),
            start=torch.zeros(batch.size, batch.size),
        )
        columns = torch.from_numpy(linear_sum_assignment(cost.numpy())[1]).to(batch.device)
        return {name: x[columns] if name in names else x for name, x in noise.items()}


def _cost(path: ProductPath, name: str, batch: Batch, noise: Tensor) -> Tensor:
    """Squared distances of all data ``[B]`` to all noises ``[B]``, on the processor."""
    layout: Layout = batch.layouts[name]
    if layout.ragged or (
        layout.mask is not None and not bool((layout.mask == layout.mask[:1]).all())
    ):
        raise InputError(
            f"MinibatchOT: samples of leaf {name!r} differ in size; use batches of one size"
        )
    manifold = path[name].manifold
    if manifold is None:
        raise InputError(f"MinibatchOT: leaf {name!r} is on no manifold; pair other leaves")
    square = manifold.dist(batch.x[name].unsqueeze(1), noise.unsqueeze(0)) ** 2
    if layout.mask is not None:
        keep = layout.mask[0].reshape(-1, *(1,) * (square.ndim - 3))
        square = square * keep
    return square.reshape(batch.size, batch.size, -1).sum(-1).detach().cpu().float()

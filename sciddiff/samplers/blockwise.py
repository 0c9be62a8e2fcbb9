"""Sampling of tokens block by block, with a cache of what finished blocks contribute."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import torch

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike
from sciddiff.samplers.base import Grid, Sampler, Walk
from sciddiff.samplers.leaves import Stage
from sciddiff.samplers.unmask import ConfidenceUnmask, Part
from sciddiff.state import Batch, State

__all__ = ["Blockwise"]


@final
@dataclass(frozen=True)
class Blockwise(Sampler):
    """Draw blocks of rows in sequence order, each by several calls of the network.

    The grid is not used: a block takes ``steps`` calls, or one for each of its rows if that is
    fewer. With a network whose later blocks see earlier ones alone and `keys` to keep what these
    contribute, a call costs as much as one block, and one more call for each block fills the
    cache.

    Attributes:
        block: Rows of a block; the last of a sample may be shorter.
        steps: Calls of the network for each block.
        inner: How the rows of a block are revealed.
        cache: Keep what finished blocks contribute, if the network offers it.
    """

    block: int = 8
    steps: int = 8
    inner: ConfidenceUnmask = ConfidenceUnmask()
    cache: bool = True

    def __post_init__(self) -> None:
        if self.block < 1 or self.steps < 1:
            raise InputError(
                f"Blockwise: block {self.block}, steps {self.steps}; both must be at least 1"
            )
        if self.inner.order == "colour":
            raise InputError("Blockwise.inner: colour order goes across blocks; use another")

    def times(self, grid: Grid, like: Batch) -> Grid:
        """See `Sampler.times`: as many steps as the blocks take."""
        blocks = math.ceil(max(x.shape[1] for x in like.x.values() if x.ndim > 1) / self.block)
        count = blocks * min(self.steps, self.block)
        return torch.linspace(0.0, 1.0, count + 1, dtype=torch.float64)

    def template(self, denoiser: DenoiserLike, like: Batch) -> Batch:
        """See `Sampler.template`: with an empty cache of keys."""
        keys = getattr(denoiser.net, "keys", None) if isinstance(denoiser, Denoiser) else None
        if not self.cache or keys is None:
            return like
        return replace(like, cond={**like.cond, "keys": keys(like)})

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        calls = min(self.steps, self.block)
        number, call = divmod(k, calls)
        part = Part(call, calls, number * self.block, (number + 1) * self.block)
        stage = walk.predict(x, walk.times[k])
        return self.inner.reveal(walk, k, stage, part), stage

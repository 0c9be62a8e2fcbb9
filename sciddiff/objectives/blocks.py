"""Block diffusion and autoregression: objectives for networks whose rows are ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, final, runtime_checkable

import torch
from torch import Tensor

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.leaf_times import Time, time_dtype
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.paths.base import PathSample
from sciddiff.paths.tokens import uniform_rows
from sciddiff.state import Batch, Layout
from sciddiff.streams import Generator

__all__ = ["Autoregressive", "BlockMasked", "RankedNet"]


@runtime_checkable
class RankedNet(Protocol):
    """A network that can learn all blocks at once (`sciddiff.nn.TokenTransformer`)."""

    def ranked(
        self, noisy: Tensor, clean: Tensor, ranks: Tensor, t: Time, batch: Batch
    ) -> Tensor:
        """Logits ``[B, N, V]`` of noisy rows, given the clean rows of lower ranks."""
        ...


@final
@dataclass(frozen=True)
class BlockMasked(Objective):
    """Masked cross-entropy inside each block, given the blocks before it.

    Every block draws its own share of hidden rows (Arriola et al., 2025, section 5, for why the
    shares are clipped), and all blocks learn in one pass over a doubled input.

    Attributes:
        block: Rows of a block; the last may be shorter.
        rates: Smallest and largest share of hidden rows. A block in which no row was hidden hides
            one.
        weighting: ``"uniform"`` averages over the hidden rows; ``"elbo"`` weighs a block by the
            inverse of its share, which makes the loss a bound in nats for each row if ``rates``
            are (0, 1).
    """

    block: int = 8
    rates: tuple[float, float] = (0.3, 0.8)
    weighting: Literal["uniform", "elbo"] = "uniform"

    def __post_init__(self) -> None:
        low, high = self.rates
        if not 0.0 <= low <= high <= 1.0 or high == 0.0:
            raise InputError(f"BlockMasked.rates: {self.rates} are no shares of rows in (0, 1]")
        if self.block < 1:
            raise InputError(f"BlockMasked.block: {self.block}; give at least one row")
        if self.weighting not in ("uniform", "elbo"):
            raise InputError(f"BlockMasked.weighting: {self.weighting!r}; uniform or elbo")

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on a batch; see `Objective`."""
        name, net, free = _ranked_leaf(denoiser, batch)
        x1, layout = batch.x[name], batch.layouts[name]
        place = torch.arange(x1.shape[1], device=x1.device)
        ranks = (place // self.block).expand_as(x1)
        u, within = (uniform_rows(x1, generator, layout) for _ in range(2))
        low, high = self.rates
        rate = low + (high - low) * u[:, :: self.block].repeat_interleave(self.block, 1)
        rate = rate[:, : x1.shape[1]]
        # The row of the smallest number is hidden in any case.
        least = torch.where(free, within, torch.inf)
        size = int(ranks.max()) + 1
        first = least.new_full((len(x1), size), torch.inf).scatter_reduce(1, ranks, least, "amin")
        hidden = ((within < rate) | (least == first.gather(1, ranks))) & free
        loss = _loss(denoiser, net, name, batch, ranks, hidden)
        if self.weighting == "elbo":
            rows = free.sum(1).clamp(min=1)
            return _output((loss / rate.clamp(min=1.0 / self.block)).sum(1) / rows)
        return _output(loss.sum(1) / hidden.sum(1).clamp(min=1))


@final
@dataclass(frozen=True)
class Autoregressive(Objective):
    """Cross-entropy of every row given those before it: blocks of one row.

    Attributes:
        order: ``"sequence"``, or ``"random"``: a new order for each sample and step, which makes a
            model of any order.
        input_masking: Share of the rows before a row that it does not see. A regulariser where
            data are few, which masked models have by nature.
    """

    order: Literal["sequence", "random"] = "sequence"
    input_masking: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.input_masking < 1.0:
            raise InputError(f"Autoregressive.input_masking: {self.input_masking}; not in [0, 1)")
        if self.order not in ("sequence", "random"):
            raise InputError(f"Autoregressive.order: {self.order!r}; sequence or random")

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on a batch; see `Objective`."""
        name, net, free = _ranked_leaf(denoiser, batch)
        x1, layout = batch.x[name], batch.layouts[name]
        ranks = torch.arange(x1.shape[1], device=x1.device).expand_as(x1)
        if self.order == "random":
            score = torch.where(free, uniform_rows(x1, generator, layout) + 1.0, 0.0)
            # Known rows come first, so that all others see them.
            ranks = score.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        unseen = None
        if self.input_masking > 0.0:
            unseen = (uniform_rows(x1, generator, layout) < self.input_masking) & free
        loss = _loss(denoiser, net, name, batch, ranks, free, unseen)
        return _output(loss.sum(1) / free.sum(1).clamp(min=1))


def _ranked_leaf(denoiser: Denoiser, batch: Batch) -> tuple[str, RankedNet, Tensor]:
    """The one leaf, the network, and the free rows ``[B, N]``.

    Raises:
        InputError: There are several leaves, or the network has no ranks.
    """
    names = list(denoiser.path.paths)
    if len(names) != 1 or batch.layouts[names[0]].ragged:
        raise InputError(f"blocks: leaves {', '.join(names)}; one dense leaf of tokens is needed")
    if not isinstance(denoiser.net, RankedNet):
        raise InputError(
            f"blocks: {type(denoiser.net).__name__} has no method `ranked`; use "
            "sciddiff.nn.TokenTransformer"
        )
    x1, layout = batch.x[names[0]], batch.layouts[names[0]]
    free = layout.free(x1)
    return names[0], denoiser.net, torch.ones_like(x1, dtype=torch.bool) if free is None else free


def _loss(
    denoiser: Denoiser,
    net: RankedNet,
    name: str,
    batch: Batch,
    ranks: Tensor,
    hidden: Tensor,
    unseen: Tensor | None = None,
) -> Tensor:
    """Loss of each row by the path, ``[B, N]``; 0 for rows that are known.

    Args:
        denoiser: Gives the path.
        net: What is asked.
        name: The leaf.
        batch: The data.
        ranks: Block of each row.
        hidden: Rows that are hidden while their block is drawn.
        unseen: Rows that later blocks do not see either; None for none.
    """
    path, x1, layout = denoiser.path[name], batch.x[name], batch.layouts[name]
    x_t = path.hide(x1, hidden)
    shown = 1.0 - hidden.sum(1) / _rows(layout, hidden)
    t = shown.to(time_dtype(batch.x))
    clean = x1 if unseen is None else path.hide(x1, unseen)
    raw = net.ranked(x_t, clean, ranks, t, batch)
    return path.loss(path.predict(raw, x_t, t, layout), PathSample(x_t, x_t, x1, t), layout)


def _rows(layout: Layout, like: Tensor) -> Tensor:
    return layout.rows_per_sample(like.double()).clamp(min=1.0)


def _output(per_sample: Tensor) -> LossOutput:
    loss = per_sample.mean()
    return LossOutput(loss, {"loss": loss.detach()}, per_sample.detach())

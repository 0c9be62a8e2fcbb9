"""Exact log-probabilities of tokens, drawn in a given order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, evaluation_mode
from sciddiff.leaf_times import time_dtype
from sciddiff.likelihood.rows import RowsLeaf, rows_leaf
from sciddiff.state import Batch
from sciddiff.streams import Streams

__all__ = ["OrderScores", "order_log_prob"]


@final
@dataclass(frozen=True, eq=False)
class OrderScores:
    """Log-probabilities of the same data in several orders.

    Attributes:
        rows: Log-probability of each row given those revealed before it, nats ``[K, B, N]``; 0 for
            rows that are not counted.
    """

    rows: Tensor

    @property
    def log_probs(self) -> Tensor:
        """Log-probability of each sample in each order, nats ``[K, B]``."""
        return self.rows.sum(-1)

    @property
    def mean(self) -> Tensor:
        """Mean over the orders, nats ``[B]``: a lower bound of the next."""
        return self.log_probs.mean(0)

    @property
    def error(self) -> Tensor:
        """Standard error of `mean`, nats ``[B]``; NaN for one order."""
        return self.log_probs.std(0) / math.sqrt(len(self.rows))

    @property
    def log_mean_exp(self) -> Tensor:
        """Logarithm of the mean probability over the orders, nats ``[B]``."""
        return self.log_probs.logsumexp(0) - math.log(len(self.rows))


def order_log_prob(
    denoiser: DenoiserLike,
    batch: Batch,
    *,
    order: Tensor | None = None,
    orders: int = 8,
    seed: int = 0,
    indices: Tensor | None = None,
    chunk: int = 32,
) -> OrderScores:
    """The exact log-probability of drawing the data in given orders, or in random ones.

    In one order it is the sum, over the calls of the network, of the log-probabilities of the rows
    that the call reveals, given those revealed before. Its mean over random orders of one row a
    call is the bound that `sciddiff.elbo` estimates; the mean probability is a tighter one.

    Args:
        denoiser: The denoiser of one leaf of masked tokens; other leaves must be held.
        batch: The data, with layouts and conditions. Fixed rows are known, and are not counted.
        order: The step in which each row is revealed, from 0, int64 ``[B, N]`` or ``[K, B, N]``;
            rows of one step are drawn independently (`sciddiff.samplers.reveal_order`). None:
            random orders of one row a step.
        orders: Number of random orders, K.
        seed: Seed of these.
        indices: Global number of each sample, int64 ``[B]``; default 0 to B - 1.
        chunk: Steps that the network sees at once.

    Raises:
        InputError: The order leaves out a free row, or the leaf cannot be revealed row by row.

    >>> from sciddiff import MaskPath
    >>> from sciddiff.testing import EnumeratedDenoiser, markov_chain
    >>> words, log_p = markov_chain(3, 4)
    >>> denoiser = EnumeratedDenoiser(MaskPath(3), words, log_p)
    >>> scores = order_log_prob(denoiser, Batch({"word": words[:2]}), orders=2)
    >>> bool(torch.allclose(scores.mean, log_p[:2]))
    True
    """
    numbers = torch.arange(batch.size) if indices is None else indices
    source = Streams(seed, numbers.to(batch.device)).purpose("order")
    leaf = rows_leaf(denoiser.path, batch)
    if order is None:
        if orders < 1:
            raise InputError(f"orders: {orders}; give at least one")
        order = torch.stack([leaf.ranks(source) for _ in range(orders)])
    order = order[None] if order.ndim == 2 else order
    if order.shape[1:] != leaf.x.shape:
        raise InputError(f"order: shape {tuple(order.shape)}; expected [K, *{leaf.x.shape}]")
    if bool((leaf.lead & (order < 0)).any()):
        raise InputError("order: a free row has no step; give each a number from 0")
    with torch.no_grad(), evaluation_mode(denoiser):
        scored = [_one(denoiser, batch, leaf, one, chunk) for one in order]
    return OrderScores(torch.stack(scored))


def _one(
    denoiser: DenoiserLike, batch: Batch, leaf: RowsLeaf, order: Tensor, chunk: int
) -> Tensor:
    """Log-probability of each row in one order, ``[B, N]``."""
    total = torch.zeros(leaf.x.shape, dtype=torch.float64, device=leaf.x.device)
    last = int(torch.where(leaf.lead, order, -1).max())
    dtype = time_dtype(batch.x)
    for first in range(0, last + 1, chunk):
        steps = range(first, min(first + chunk, last + 1))
        hidden = torch.cat([(order >= step) & leaf.lead for step in steps])
        log_probs = leaf.ask(denoiser, batch, hidden, dtype).unflatten(0, (len(steps), -1))
        for step, found in zip(steps, log_probs, strict=True):
            total = torch.where((order == step) & leaf.lead, found, total)
    return total

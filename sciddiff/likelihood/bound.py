r"""Bounds of the log-probability of leaves without a density: tokens.

All estimators have the same mean. With :math:`\ell_i = -\log p(x_i \mid \text{the rest seen})`:

- ``"time"``: the mean over times and states of `Path.log_prob_bound`, for any path;
- ``"count"``: with n rows, a number k of hidden rows, evenly from 1 to n, and which ones at
  random: the mean of :math:`-\tfrac nk \sum_{hidden} \ell_i`. The number of hidden rows no longer
  fluctuates about its mean, which removes most of the variance;
- ``"rotated"``: the same, with one order of the rows for 16 draws, which hide k rows in a circle
  from starts all round it, so that every row is hidden about equally often. It has about half the
  deviation of ``"count"``. (Hidden rows that are nested, the first k of one order, have twice it.)

Times and counts are stratified: one draw in each of equal parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, ask, evaluation_mode
from sciddiff.leaf_times import time_dtype
from sciddiff.likelihood.rows import RowsLeaf, rows_leaf
from sciddiff.paths.base import PathSample
from sciddiff.state import Batch
from sciddiff.streams import Streams

__all__ = ["elbo"]

Estimator = Literal["time", "count", "rotated"]

_SHARED = 16
"""Draws that share one order of rows, with ``"rotated"``."""

_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


def elbo(
    denoiser: DenoiserLike,
    batch: Batch,
    *,
    draws: int = 64,
    estimator: Estimator = "time",
    seed: int = 0,
    indices: Tensor | None = None,
    chunk: int = 16,
) -> tuple[Tensor, Tensor]:
    """A lower bound of the log-probability of each sample, for leaves without a density.

    Args:
        denoiser: The denoiser.
        batch: The data, with layouts and conditions. Fixed rows are known, and are not counted.
        draws: Network evaluations of each sample that are averaged.
        estimator: How they are drawn; see the module. ``"count"`` and ``"rotated"`` are for one
            leaf of masked tokens.
        seed: Seed of these.
        indices: Global number of each sample, int64 ``[B]``; default 0 to B - 1.
        chunk: Draws that the network sees at once.

    Returns:
        The bound in nats ``[B]``, and its standard error ``[B]``, an upper estimate since it does
        not know that times and counts are stratified.

    Raises:
        InputError: A leaf has no such bound, or too few draws are asked for.
    """
    if estimator not in get_args(Estimator):
        known = ", ".join(get_args(Estimator))
        raise InputError(f"estimator: {estimator!r} is unknown; choose one of {known}")
    least = 2 * _SHARED if estimator == "rotated" else 2
    if draws < least or (estimator == "rotated" and draws % _SHARED):
        rule = f"a multiple of {_SHARED}, at least {least}" if least > 2 else "at least two"
        raise InputError(f"draws: {draws}; a standard error needs {rule}")
    numbers = torch.arange(batch.size) if indices is None else indices
    source = Streams(seed, numbers.to(batch.device)).purpose("bound")
    # Ragged rows are put in the order of their samples, as in the repeated batch.
    batch = batch.select(torch.arange(batch.size, device=batch.device))
    dtype, terms = time_dtype(batch.x), []
    leaf = None if estimator == "time" else rows_leaf(denoiser.path, batch)
    shared = _SHARED if estimator == "rotated" else 1
    with torch.no_grad(), evaluation_mode(denoiser):
        for first in range(0, draws, chunk):
            count = min(chunk, draws - first)
            span = range(first, first + count)
            if leaf is None:
                terms.extend(_timed(denoiser, batch, source, span, draws, dtype))
            else:
                terms.extend(_counted(denoiser, batch, leaf, source, span, draws, shared, dtype))
    values = torch.stack(terms).double()
    # Draws that share an order of rows are not independent: their mean counts as one.
    groups = values.unflatten(0, (-1, shared)).mean(1)
    return values.mean(0), groups.std(0) / math.sqrt(len(groups))


def _timed(
    denoiser: DenoiserLike,
    batch: Batch,
    source: Streams,
    span: range,
    draws: int,
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    """Terms of the bound at random times, ``[B]`` each, by one call of the network."""
    path, like = denoiser.path, torch.empty(batch.size, dtype=torch.float64, device=batch.device)
    times, samples = [], []
    for k in span:
        t = ((k + streams.uniform(like, source)) / draws).to(dtype)
        times.append(t)
        samples.append(path.sample(batch.x, t, source, None, batch.layouts))
    wide = batch.select(torch.arange(batch.size, device=batch.device).repeat(len(span)))
    x_t = {name: torch.cat([sample[name].x_t for sample in samples]) for name in path.paths}
    said = ask(denoiser, x_t, torch.cat(times), wide)
    total = torch.zeros(wide.size, dtype=torch.float64, device=batch.device)
    for name, one in path.paths.items():
        x0, x1 = (torch.cat([getattr(sample[name], end) for sample in samples])
                  for end in ("x0", "x1"))  # fmt: skip
        sample = PathSample(x_t[name], x0, x1, torch.cat(times))
        total = total + one.log_prob_bound(said[name], sample, wide.layouts[name]).double()
    yield from total.unflatten(0, (len(span), batch.size))


def _counted(
    denoiser: DenoiserLike,
    batch: Batch,
    leaf: RowsLeaf,
    source: Streams,
    span: range,
    draws: int,
    shared: int,
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    """Terms of the bound with given numbers of hidden rows, ``[B]`` each, by one call."""
    like = torch.empty(batch.size, dtype=torch.float64, device=batch.device)
    hidden, scale = [], []
    for k in span:
        group, within = divmod(k, shared)
        if shared > 1:
            # A copy of the streams of this group finds the same order with every draw.
            ranks = leaf.ranks(source.purpose(f"order {group}").select(leaf.samples))
            start = torch.floor(within * _GOLDEN % 1.0 * leaf.total)[:, None]
            ranks = torch.where(leaf.lead, (ranks + start) % leaf.total[:, None], ranks)
        else:
            ranks = leaf.ranks(source)
        # Neighbouring counts are far apart in the group, as in all draws taken together.
        part = within * (draws // shared) + group
        u = (part + streams.uniform(like, source)) / draws
        count = torch.floor(u * leaf.total).clamp(max=leaf.total - 1) + 1.0
        hidden.append(ranks < count[:, None])
        scale.append(leaf.total / count)
    rows = torch.cat(hidden) & leaf.lead.repeat(len(span), 1)
    log_probs = leaf.ask(denoiser, batch, rows, dtype)
    total = -torch.where(rows, log_probs, torch.zeros_like(log_probs)).sum(1)
    yield from (-total * torch.cat(scale)).unflatten(0, (len(span), batch.size))

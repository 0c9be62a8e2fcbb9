r"""A transformer over tokens, for masked, block-wise and autoregressive models alike.

Rows attend to each other by their *rank*: a row sees the rows of its own rank and of lower ranks.
With one rank for all rows this is the attention of a masked model. With ranks that number blocks
of rows it is that of block diffusion (Arriola et al., *BD3-LM*, 2025); with a rank for each row,
of autoregression, in whatever order the ranks give. The parameters are the same.

Block models are trained on all blocks at once (`TokenTransformer.ranked`): every row is there
twice, as it is seen while its block is drawn, and as it is. The first copies see the first copies
of their own block and the second copies of lower ranks.

What a finished block contributes to later ones does not change any more. `KeyCache` keeps it, so
that a call computes the rows of the present block alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciddiff.errors import InputError
from sciddiff.leaf_times import Time, time_of
from sciddiff.nn.embedding import TimeEmbedding
from sciddiff.state import Batch, State

__all__ = ["KeyCache", "TokenTransformer"]


@final
@dataclass
class KeyCache:
    """Keys and values of the rows of finished blocks.

    Attributes:
        tokens: The rows they were computed from, int64 ``[B, n]``.
        layers: Keys and values of each layer, ``[B, heads, n, head]`` each.
        calls: How many times the network was run to fill it.
    """

    tokens: Tensor
    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    calls: int = 0

    @property
    def rows(self) -> int:
        """Number of rows kept, n."""
        return self.tokens.shape[1]

    def keep(self, rows: int) -> None:
        """Forget all but the first ``rows``."""
        self.tokens = self.tokens[:, :rows]
        self.layers = [(k[:, :, :rows], v[:, :, :rows]) for k, v in self.layers]

    def select(self, indices: Tensor) -> KeyCache:
        """Keep some samples, in the given order, int64 ``[K]``."""
        layers = [(k[indices], v[indices]) for k, v in self.layers]
        return KeyCache(self.tokens[indices], layers, self.calls)

    def to(self, device: torch.device | str) -> KeyCache:
        """The same on another device."""
        layers = [(k.to(device), v.to(device)) for k, v in self.layers]
        return KeyCache(self.tokens.to(device), layers, self.calls)


@final
class TokenTransformer(nn.Module):
    """Logits over symbols for every row of one leaf of tokens.

    Pre-normed blocks with rotary positions (Su et al., 2021), which are relative, so that what a
    model learns does not depend on where a sample begins. Conditions, all optional in the batch:
    ``positions [B, N]`` (default 0 to N - 1), ``label [B]``, ``pair [B, N, N, P]`` and ``ranks
    [B, N]``, which replace those of ``attention``. The number of rows is always a condition.

    Args:
        symbols: Number of symbols, V. The input may hold one more, the mask.
        width: Features of a row, a multiple of twice ``heads``.
        depth: Number of blocks.
        heads: Attention heads.
        leaf: Name of the leaf.
        attention: Which rows see each other: ``"full"``; ``"block"``, those of the same block of
            ``block`` rows and of earlier ones; ``"causal"``, blocks of one row.
        block: Rows of a block.
        dropout: Of attention and of the outputs of both halves of a block.
        timed: Whether the time is an input; a mask path needs none.
        labels: Number of values of the condition ``label``; 0 for none.
        pair: Number of features P of the condition ``pair``; 0 for none.

    Raises:
        InputError: ``width`` cannot be divided among the heads.
    """

    def __init__(
        self,
        symbols: int = 20,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        leaf: str = "sequence",
        attention: Literal["full", "block", "causal"] = "full",
        block: int = 8,
        dropout: float = 0.0,
        timed: bool = False,
        labels: int = 0,
        pair: int = 0,
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise InputError(
                f"TokenTransformer.width: {width} is not a multiple of twice heads = {heads}"
            )
        if attention not in ("full", "block", "causal"):
            raise InputError(f"TokenTransformer.attention: {attention!r} is unknown")
        if block < 1:
            raise InputError(f"TokenTransformer.block: {block}; give at least one row")
        self.symbols, self.leaf = symbols, leaf
        self.block = {"full": 0, "block": block, "causal": 1}[attention]
        self.embed = nn.Embedding(symbols + 1, width)
        self.length = nn.Sequential(TimeEmbedding(16), nn.Linear(16, width))
        self.time = nn.Sequential(TimeEmbedding(32), nn.Linear(32, width)) if timed else None
        self.label = nn.Embedding(labels, width) if labels else None
        self.pair = nn.Linear(pair, heads) if pair else None
        self.layers = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, symbols)

    def forward(self, x_t: State, t: Time, batch: Batch) -> dict[str, Tensor]:
        """Logits ``[B, N, V]`` of the leaf.

        With a `KeyCache` as the condition ``keys``, the logits of rows other than those of the
        first block that is not finished are 0.
        """
        x, valid = x_t[self.leaf], self._valid(batch, x_t[self.leaf])
        cache = batch.cond.get("keys")
        if cache is not None:
            return {self.leaf: self._by_cache(x, t, batch, valid, cache)}
        ranks = self._ranks(x, batch)
        seen = valid[:, None, :]
        if ranks is not None:
            seen = seen & (ranks[:, :, None] >= ranks[:, None, :])
        h = self._input(x, t, batch, valid)
        h, _ = self._run(h, self._positions(x, batch), self._bias(seen, batch, h))
        return {self.leaf: self.head(self.norm(h))}

    def ranked(
        self, noisy: Tensor, clean: Tensor, ranks: Tensor, t: Time, batch: Batch
    ) -> Tensor:
        """Logits of all blocks at once, each given the clean rows of lower ranks.

        Args:
            noisy: The rows as they are seen while their block is drawn, int64 ``[B, N]``.
            clean: The rows as they are, int64 ``[B, N]``.
            ranks: Block of each row, in the order in which blocks are drawn, int64 ``[B, N]``.
            t: Time.
            batch: Conditions and layouts.

        Returns:
            Logits of the noisy rows, ``[B, N, V]``.
        """
        valid, rows = self._valid(batch, noisy), noisy.shape[1]
        seen = ranks[:, None, :] < ranks[:, :, None]
        same = ranks[:, None, :] == ranks[:, :, None]
        none = torch.zeros_like(same)
        upper = torch.cat([same, seen], 2)
        lower = torch.cat([none, seen | same], 2)
        both = torch.cat([upper, lower], 1) & torch.cat([valid, valid], 1)[:, None, :]
        h = torch.cat([self._input(one, t, batch, valid) for one in (noisy, clean)], 1)
        places = self._positions(noisy, batch).repeat(1, 2)
        h, _ = self._run(h, places, self._bias(both, batch, h, 2))
        return self.head(self.norm(h[:, :rows]))

    def ranks(self, x: Tensor, batch: Batch) -> Tensor:
        """Block of each row in the order in which blocks are drawn, int64 ``[B, N]``."""
        ranks = self._ranks(x, batch)
        return torch.zeros_like(x) if ranks is None else ranks

    def keys(self, batch: Batch) -> KeyCache:
        """An empty cache for the samples of a batch; give it as the condition ``keys``.

        Raises:
            InputError: Rows attend to all others, so that none is ever finished.
        """
        if self.block == 0 or "ranks" in batch.cond:
            raise InputError(
                "TokenTransformer: keys are kept with attention 'block' or 'causal' only, in "
                "sequence order"
            )
        return KeyCache(batch.x[self.leaf][:, :0])

    def _by_cache(
        self, x: Tensor, t: Time, batch: Batch, valid: Tensor, cache: KeyCache
    ) -> Tensor:
        """Logits of the first unfinished block, by the keys and values of those before it."""
        hidden = (x == self.symbols) & valid
        place = torch.arange(x.shape[1], device=x.device)
        first = int(torch.where(hidden, place, x.shape[1]).min()) if x.shape[1] else 0
        start = min(first, max(x.shape[1] - 1, 0)) // self.block * self.block
        rows = min(cache.rows, start)
        same = (cache.tokens[:, :rows] == x[:, :rows]) | ~valid[:, :rows]
        agree = same.all(0).long().cumprod(0).sum() if rows else 0
        cache.keep(int(agree) // self.block * self.block)
        places = self._positions(x, batch)
        h = self._input(x, t, batch, valid)
        ranks = place // self.block
        seen = valid[:, None, :] & (ranks[None, :, None] >= ranks[None, None, :])
        bias = self._bias(seen, batch, h)
        if cache.rows < start:
            span = slice(cache.rows, start)
            part = bias[:, :, span, :start]
            _, layers = self._run(h[:, span], places[:, span], part, cache.layers)
            cache.layers, cache.tokens = layers, x[:, :start].clone()
            cache.calls += 1
        end = min(start + self.block, x.shape[1])
        span = slice(start, end)
        found, _ = self._run(h[:, span], places[:, span], bias[:, :, span, :end], cache.layers)
        logits = h.new_zeros(*x.shape, self.symbols)
        logits[:, span] = self.head(self.norm(found))
        return logits

    def _run(
        self,
        h: Tensor,
        places: Tensor,
        bias: Tensor,
        past: list[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """All blocks, on top of the keys and values of earlier rows; those of all rows."""
        layers = []
        for k, layer in enumerate(self.layers):
            h, kept = layer(h, places, bias, past[k] if past else None)
            layers.append(kept)
        return h, layers

    def _input(self, x: Tensor, t: Time, batch: Batch, valid: Tensor) -> Tensor:
        h = self.embed(x.clamp(0, self.symbols))
        rows = valid.sum(1).to(h.dtype)
        h = h + self.length(rows.log1p() / 10.0)[:, None]
        if self.time is not None:
            own = torch.as_tensor(time_of(t, self.leaf), dtype=h.dtype, device=h.device)
            h = h + self.time(own.expand(len(x)))[:, None]
        if self.label is not None:
            h = h + self.label(batch.cond["label"])[:, None]
        return h

    def _ranks(self, x: Tensor, batch: Batch) -> Tensor | None:
        given: Any = batch.cond.get("ranks")
        if given is not None:
            return given
        if self.block == 0:
            return None
        return (torch.arange(x.shape[1], device=x.device) // self.block).expand_as(x)

    def _valid(self, batch: Batch, x: Tensor) -> Tensor:
        mask = batch.layouts[self.leaf].mask
        return torch.ones_like(x, dtype=torch.bool) if mask is None else mask

    def _positions(self, x: Tensor, batch: Batch) -> Tensor:
        given: Any = batch.cond.get("positions")
        return torch.arange(x.shape[1], device=x.device).expand_as(x) if given is None else given

    def _bias(self, seen: Tensor, batch: Batch, h: Tensor, copies: int = 1) -> Tensor:
        """What is added to the logarithms of attention, ``[B, heads or 1, rows, rows]``."""
        # A padded row sees itself, so that no row sees nothing.
        seen = seen | torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device)
        bias = torch.zeros(seen.shape, dtype=h.dtype, device=h.device)
        bias = bias.masked_fill(~seen, -torch.inf)[:, None]
        if self.pair is None:
            return bias
        pair = self.pair(batch.cond["pair"].to(h.dtype)).movedim(-1, 1)
        return bias + pair.repeat(1, 1, copies, copies)


@final
class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for last in (self.out, self.down):
            nn.init.zeros_(last.bias)
            nn.init.normal_(last.weight, std=0.02)

    def forward(
        self,
        h: Tensor,
        places: Tensor,
        bias: Tensor,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = self.qkv(self.norm_in(h)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (one.transpose(1, 2) for one in (q, k, v))
        q, k = (_rotate(one, places) for one in (q, k))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        drop = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, bias, drop)
        h = h + self._drop(self.out(mixed.transpose(1, 2).flatten(2)))
        h = h + self._drop(self.down(functional.gelu(self.up(self.norm_out(h)))))
        return h, (k, v)

    def _drop(self, h: Tensor) -> Tensor:
        return functional.dropout(h, self.dropout, self.training) if self.dropout else h


def _rotate(x: Tensor, places: Tensor) -> Tensor:
    """Turn pairs of features by angles proportional to the position of the row.

    Args:
        x: ``[B, heads, rows, head]``.
        places: ``[B, rows]``.
    """
    half = x.shape[-1] // 2
    powers = torch.arange(half, dtype=x.dtype, device=x.device) / half
    angle = places.to(x.dtype)[:, None, :, None] * 1000.0**-powers
    cos, sin = angle.cos(), angle.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

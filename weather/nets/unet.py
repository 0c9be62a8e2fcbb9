"""U-Nets for fields on the sphere and on limited areas, which share all but their padding.

On the sphere longitude is a circle and the poles are crossed by half a turn
(`weather.sphere.padding`).  On a limited area the edges are repeated outwards, and one more input,
which is 1 inside and 0 beyond the edges, tells the network where they are.  A network reads recent
states, forcings and the noisy target, and is told the time t of the path by a scale and shift in
every block (Perez et al. 2018, arXiv 1709.07871).  The last layer starts at zero: an untrained
one-step forecast is persistence, or the linear forecast where there is one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciddiff.errors import InputError
from sciddiff.nn import SpanEmbedding, span_features
from sciddiff.state import Batch, State
from weather.data.areas import parse_grid
from weather.nets.inputs import input_signs, join_inputs, time_features
from weather.nets.linear import LinearStep
from weather.sphere.grids import Grid
from weather.sphere.padding import pad_area, pad_sphere

__all__ = ["AreaUNet", "Block", "SphericalUNet", "UNet", "groups", "with_edges"]

Pad = Callable[[Tensor], Tensor]
"""Adds a row or column on each side of `[B, C, H, W]`."""


class UNet(nn.Module, ABC):
    """Encoder and decoder of residual blocks with skip connections."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        embedding: int,
        dropout: float,
        flow_map: bool,
    ) -> None:
        super().__init__()
        self.time = time_features(embedding)
        self.span = SpanEmbedding(embedding) if flow_map else None
        self.enter = nn.Conv2d(inputs, widths[0], 3)
        levels = range(len(widths))

        def at(level: int) -> nn.ModuleList:
            made = (Block(widths[level], embedding, dropout) for _ in range(blocks[level]))
            return nn.ModuleList(made)

        self.down = nn.ModuleList(at(i) for i in levels)
        self.shrink = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 1) for i in levels[:-1])
        self.grow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in levels[:-1])
        self.merge = nn.ModuleList(nn.Conv2d(2 * widths[i], widths[i], 1) for i in levels[:-1])
        self.up = nn.ModuleList(at(i) for i in levels)
        self.norm = nn.GroupNorm(groups(widths[0]), widths[0])
        self.leave = nn.Conv2d(widths[0], channels, 3)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    @abstractmethod
    def padded_inputs(self, x: State, batch: Batch, first: Tensor | None) -> Tensor:
        """Return all that the network reads, with one row and column more on each side."""

    def first_guess(self, batch: Batch) -> Tensor | None:
        """Return what the output is added to, `[B, C, H, W]`; None for nothing."""
        return None

    @abstractmethod
    def pad(self, x: Tensor, level: int) -> Tensor:
        """Return features `[B, C, H, W]` of a level with one row and column more on each side."""

    def forward(self, x: State, t: Tensor, batch: Batch, until: Tensor | None = None) -> State:
        """Return the raw output for the leaf `fields`.

        Args:
            x: The noisy target, `{"fields": [B, C, H, W]}`, standardised.
            t: Times of the path, `[B]`.
            batch: Conditions `history [B, F, C, H, W]` (oldest first) and
                `forcing [B, K, H, W]`, standardised.
            until: Times `[B]` up to which it predicts, for flow maps.

        Raises:
            InputError: The longitudes cannot be halved at every level, or there are more or
                fewer channels.
        """
        first = self.first_guess(batch)
        h = self.enter(self.padded_inputs(x, batch, first))
        emb = self.time(t) + span_features(self.span, t, until)
        skips = []
        for i, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, emb, partial(self.pad, level=i))
            if i < len(self.shrink):
                skips.append(h)
                h = self.shrink[i](functional.avg_pool2d(h, 2, ceil_mode=True))
        for i in reversed(range(len(self.up))):
            if i < len(self.grow):
                size = (skips[i].shape[-2], skips[i].shape[-1])
                h = functional.interpolate(self.grow[i](h), size=size, mode="nearest")
                h = self.merge[i](torch.cat([h, skips[i]], 1))
            for block in self.up[i]:  # type: ignore[attr-defined]
                h = block(h, emb, partial(self.pad, level=i))
        h = functional.silu(self.norm(h))
        output = self.leave(self.pad(h, 0))
        return {"fields": output if first is None else output + first}


@final
class AreaUNet(UNet):
    """The U-Net on a limited area with open boundaries.

    Args:
        channels: Variables of the state, C.
        frames: Recent states given as condition, F.
        forcings: Known fields given as condition (static fields, calendar, insolation), K.
        around: The area goes round the globe: longitudes continue on the other side.
        widths: Features at each level; every level halves both dimensions of the grid.
        blocks: Residual blocks at each level, in the encoder and in the decoder.
        embedding: Features of the time embedding.
        dropout: Probability of dropping a feature within a block, while training.
        linear: Leading patterns of a linear forecast (`weather.nets.linear`), which the network
            reads and corrects; 0 for none. It is fitted to the training days.
        grid: Name of the grid, for the linear forecast alone.
        boundary: Whether the next state along the edges is a condition, as `domain.boundary` > 0
            makes it (`weather.forecast.boundaries`).
        flow_map: Whether it predicts up to a later time (`sciddiff distill --shortcut`).

    Raises:
        InputError: A linear forecast without a grid, or of more patterns than the state has
            numbers.
    """

    def __init__(
        self,
        channels: int = 1,
        frames: int = 2,
        forcings: int = 8,
        around: bool = False,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 2, 2),
        embedding: int = 128,
        dropout: float = 0.0,
        linear: int = 0,
        grid: str | None = None,
        boundary: bool = False,
        flow_map: bool = False,
    ) -> None:
        if linear and grid is None:
            raise InputError(
                "net.grid: not given, and the linear forecast needs it; take the name that "
                "sciddiff prepare prints, or set net.linear to 0"
            )
        self._reads = channels * (1 + frames) + forcings
        self._around = around
        more = (channels if linear else 0) + (channels + 1 if boundary else 0)
        self._boundary = boundary
        super().__init__(
            self._reads + more + 1, channels, widths, blocks, embedding, dropout, flow_map
        )
        self.linear: LinearStep | None = None
        if linear and grid is not None:
            self.linear = LinearStep(channels, frames, parse_grid(grid).shape, linear)

    def first_guess(self, batch: Batch) -> Tensor | None:
        """See `UNet`: the linear forecast, if there is one."""
        return None if self.linear is None else self.linear(batch)

    def padded_inputs(self, x: State, batch: Batch, first: Tensor | None) -> Tensor:
        """See `UNet`; the last input is 1 inside and 0 beyond the edges."""
        h = join_inputs(x, batch, self._reads)
        if ("boundary" in batch.cond) != self._boundary:
            raise InputError(
                "net.boundary: must be true where domain.boundary prescribes a strip, and false "
                "where it is 0"
            )
        given = [first] if first is not None else []
        given += [batch.cond["boundary"]] if self._boundary else []
        h = torch.cat([h, *given], 1)
        return with_edges(h, self._around)

    def pad(self, x: Tensor, level: int) -> Tensor:
        """See `UNet`."""
        return pad_area(x, 1, self._around)


def with_edges(x: Tensor, around: bool = False) -> Tensor:
    """Pad fields of a limited area, and add one that is 1 inside and 0 beyond its edges.

    Args:
        x: Fields, `[B, C, H, W]`.
        around: The area goes round the globe.

    Returns:
        `[B, C + 1, H + 2, W + 2]`.
    """
    inside = functional.pad(torch.ones_like(x[:, :1]), (0, 0, 1, 1))
    if around:
        sides = torch.cat([inside[..., -1:], inside, inside[..., :1]], -1)
    else:
        sides = functional.pad(inside, (1, 1), value=0.0)
    return torch.cat([pad_area(x, 1, around), sides], 1)


@final
class SphericalUNet(UNet):
    """The U-Net on the whole globe.

    Args:
        channels: Variables of the state, C.
        frames: Recent states given as condition, F.
        forcings: Known fields given as condition (static fields, calendar, insolation), K.
        vectors: Positions among the channels of vector components (they change sign where a
            pole is crossed).
        widths: Features at each level; every level halves both dimensions of the grid.
        blocks: Residual blocks at each level, in the encoder and in the decoder.
        embedding: Features of the time embedding.
        dropout: Probability of dropping a feature within a block, while training.
        grid: Name of the grid; matters if it has points at the poles, which are then not repeated
            beyond them (at the finest level; the coarser have none).
        flow_map: Whether it predicts up to a later time (`sciddiff distill --shortcut`).
    """

    def __init__(
        self,
        channels: int = 10,
        frames: int = 2,
        forcings: int = 8,
        vectors: Sequence[int] = (),
        widths: Sequence[int] = (32, 80, 160),
        blocks: Sequence[int] = (1, 2, 2),
        embedding: int = 128,
        dropout: float = 0.0,
        grid: str | None = None,
        flow_map: bool = False,
    ) -> None:
        signs = input_signs(channels, frames, forcings, vectors)
        super().__init__(len(signs), channels, widths, blocks, embedding, dropout, flow_map)
        self._poles = grid is not None and Grid.parse(grid).kind == "regular"
        self.signs: Tensor
        self.register_buffer("signs", signs, persistent=False)

    def padded_inputs(self, x: State, batch: Batch, first: Tensor | None) -> Tensor:
        """See `UNet`."""
        multiple = 2 ** len(self.down)
        if x["fields"].shape[-1] % multiple:
            raise InputError(
                f"grid: {x['fields'].shape[-1]} longitudes; with {len(self.down)} levels the "
                f"network needs a multiple of {multiple}"
            )
        return pad_sphere(join_inputs(x, batch, len(self.signs)), 1, self.signs, self._poles)

    def pad(self, x: Tensor, level: int) -> Tensor:
        """See `UNet`."""
        return pad_sphere(x, poles=self._poles and level == 0)


@final
class Block(nn.Module):
    """Residual block: normalise, activate, convolve, twice; scaled and shifted by the time."""

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups(width), width)
        self.conv1 = nn.Conv2d(width, width, 3)
        self.film = nn.Linear(embedding, 2 * width)
        self.norm2 = nn.GroupNorm(groups(width), width, affine=False)
        self.dropout = nn.Dropout2d(dropout)
        self.conv2 = nn.Conv2d(width, width, 3)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor, emb: Tensor, pad: Pad) -> Tensor:
        """Args: x `[B, C, H, W]`, emb `[B, E]`, padding; returns `[B, C, H, W]`."""
        h = self.conv1(pad(functional.silu(self.norm1(x))))
        scale, shift = self.film(emb)[:, :, None, None].chunk(2, 1)
        h = functional.silu(self.norm2(h) * (1 + scale) + shift)
        return x + self.conv2(pad(self.dropout(h)))


def groups(width: int) -> int:
    """Return the number of groups in which features are normalised."""
    return next(n for n in (8, 5, 4, 2, 1) if width % n == 0)

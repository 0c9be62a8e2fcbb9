"""Latents of fields on a limited area: the autoencoder, and the U-Net that draws them.

The autoencoder halves both dimensions of the grid, once or more, and keeps as many numbers at each
point of the coarse grid as it is told: one number for each channel after one halving is a quarter
of the state. It shares its blocks with `weather.nets.unet`, without a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciddiff.codecs import Codec, Encoding
from sciddiff.errors import InputError
from sciddiff.state import Batch, State
from weather.data.areas import parse_grid
from weather.nets.unet import Block, UNet, groups, with_edges
from weather.sphere.padding import pad_area

__all__ = ["AreaAutoencoder", "LatentUNet"]

_FIELDS = "fields"  # the leaf, of the state and of its latents
_LEAST, _MOST = -12.0, 4.0  # of the logarithm of the variance of the noise of latents


@final
class AreaAutoencoder(Codec):
    """Convolutional autoencoder of the change of a state over one step, on a limited area.

    Args:
        grid: Name of the grid, as `sciddiff prepare forecast` prints it.
        channels: Variables of the state, C.
        latents: Numbers at each point of the coarse grid.
        around: The area goes round the globe: longitudes continue on the other side.
        widths: Features at each level; every level but the first halves both dimensions.
        blocks: Residual blocks at each level, in the encoder and in the decoder.
        dropout: Probability of dropping a feature within a block, while training.

    Raises:
        InputError: There is no level but the first, and nothing would be shortened.
    """

    agrees_on = ("channels", "grid", "step_hours", "mean", "std", "tendency_std")

    def __init__(
        self,
        grid: str,
        channels: int = 1,
        latents: int = 1,
        around: bool = False,
        widths: Sequence[int] = (24, 64),
        blocks: Sequence[int] = (1, 1),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or len(blocks) != len(widths):
            raise InputError(
                f"codec.widths {list(widths)}, codec.blocks {list(blocks)}: give both for two "
                "levels or more; every level but the first halves the grid"
            )
        self.latents = {_FIELDS: latents}
        self._shape, self._channels, self._around = parse_grid(grid).shape, channels, around
        self._grid = grid
        levels = range(len(widths))

        def at(level: int) -> nn.ModuleList:
            return nn.ModuleList(Block(widths[level], 1, dropout) for _ in range(blocks[level]))

        self.enter = nn.Conv2d(channels + 1, widths[0], 3)
        self.down = nn.ModuleList(at(i) for i in levels)
        self.shrink = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 1) for i in levels[:-1])
        self.code = _Leave(widths[-1], 2 * latents, around)
        self.open = nn.Conv2d(latents + 1, widths[-1], 3)
        self.up = nn.ModuleList(at(i) for i in levels)
        self.grow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in levels[:-1])
        self.leave = _Leave(widths[0], channels, around)

    def encode(self, batch: Batch) -> dict[str, Encoding]:
        """See `Codec.encode`: from `[B, C, H, W]` to `[B, latents, H', W']`."""
        fields = batch.x[_FIELDS]
        self._check(fields)
        h = self.enter(with_edges(fields, self._around))
        for i, blocks in enumerate(self.down):
            if i:
                h = self.shrink[i - 1](functional.avg_pool2d(h, 2, ceil_mode=True))
            h = self._through(blocks, h)
        mean, log = self.code(h).chunk(2, 1)
        return {_FIELDS: Encoding(mean, log.clamp(_LEAST, _MOST))}

    def template(self, batch: Batch) -> dict[str, Encoding]:
        """See `Codec.template`."""
        fields = batch.x[_FIELDS]
        self._check(fields)
        rows, columns = self._sizes()[-1]
        return {
            _FIELDS: Encoding(fields.new_zeros(len(fields), self.latents[_FIELDS], rows, columns))
        }

    def decode(self, latents: State, batch: Batch) -> State:
        """See `Codec.decode`."""
        h = self.open(with_edges(latents[_FIELDS], self._around))
        sizes = self._sizes()
        for i in reversed(range(len(self.up))):
            if i < len(self.grow):
                h = functional.interpolate(self.grow[i](h), size=sizes[i], mode="nearest")
            h = self._through(self.up[i], h)
        return {_FIELDS: self.leave(h)}

    def _through(self, blocks: nn.Module, h: Tensor) -> Tensor:
        timeless = h.new_zeros(len(h), 1)
        for block in blocks:  # type: ignore[attr-defined]
            h = block(h, timeless, partial(pad_area, around=self._around))
        return h

    def _sizes(self) -> list[tuple[int, int]]:
        """Rows and columns at each level."""
        sizes = [self._shape]
        for _ in self.shrink:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        return sizes

    def _check(self, fields: Tensor) -> None:
        expected = (self._channels, *self._shape)
        if tuple(fields.shape[1:]) != expected:
            raise InputError(
                f"codec: made for {expected[0]} channels on {self._grid}, {list(expected)}, and "
                f"given fields {list(fields.shape[1:])}; use the codec of this grid and these "
                "variables"
            )


@final
class LatentUNet(UNet):
    """The U-Net of latents of a limited area.

    It draws on the coarse grid of the latents. The recent states are put on it without loss: the
    points that one coarse point stands for become inputs beside each other. The known fields are
    averaged.

    Args:
        channels: Numbers at each point of the coarse grid, those of the codec.
        fields: Variables of the state, C.
        frames: Recent states given as condition, F.
        forcings: Known fields given as condition, K.
        halvings: How often the codec halves the grid.
        around: The area goes round the globe: longitudes continue on the other side.
        widths: Features at each level; every level halves both dimensions of the coarse grid.
        blocks: Residual blocks at each level, in the encoder and in the decoder.
        embedding: Features of the time embedding.
        dropout: Probability of dropping a feature within a block, while training.
        flow_map: Whether it predicts up to a later time (`sciddiff distill --shortcut`).
    """

    def __init__(
        self,
        channels: int = 1,
        fields: int = 1,
        frames: int = 2,
        forcings: int = 8,
        halvings: int = 1,
        around: bool = False,
        widths: Sequence[int] = (64, 96),
        blocks: Sequence[int] = (1, 1),
        embedding: int = 64,
        dropout: float = 0.0,
        flow_map: bool = False,
    ) -> None:
        self._cell, self._around = 2**halvings, around
        self._reads = channels + self._cell**2 * fields * frames + forcings
        super().__init__(self._reads + 1, channels, widths, blocks, embedding, dropout, flow_map)

    def padded_inputs(self, x: State, batch: Batch, first: Tensor | None) -> Tensor:
        """See `UNet`; the last input is 1 inside and 0 beyond the edges."""
        if "boundary" in batch.cond:
            raise InputError("net: LatentUNet reads no boundary; set domain.boundary to 0")
        latents, n = x[_FIELDS], self._cell
        known, forcing = batch.cond["history"].flatten(1, 2), batch.cond["forcing"]
        missing = (-known.shape[-1] % n, -known.shape[-2] % n)
        known = functional.pad(known, (0, missing[0], 0, missing[1]), mode="replicate")
        forcing = functional.avg_pool2d(forcing, n, ceil_mode=True)
        parts = [latents, functional.pixel_unshuffle(known, n), forcing]
        if any(part.shape[-2:] != latents.shape[-2:] for part in parts) or self._reads != sum(
            part.shape[1] for part in parts
        ):
            told = ", ".join(str(list(part.shape[1:])) for part in parts)
            raise InputError(
                f"net: reads {self._reads} inputs on one grid and is given latents, states and "
                f"known fields of {told}; set net.channels, fields, frames and halvings to those "
                "of the codec and the data"
            )
        return with_edges(torch.cat(parts, 1), self._around)

    def pad(self, x: Tensor, level: int) -> Tensor:
        """See `UNet`."""
        return pad_area(x, 1, self._around)


class _Leave(nn.Module):
    """The last layers of an encoder or a decoder: normalise, activate, convolve."""

    def __init__(self, width: int, channels: int, around: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups(width), width)
        self.convolve = nn.Conv2d(width, channels, 3)
        self._around = around

    def forward(self, h: Tensor) -> Tensor:
        """From `[B, width, H, W]` to `[B, channels, H, W]`."""
        return self.convolve(pad_area(functional.silu(self.norm(h)), 1, self._around))

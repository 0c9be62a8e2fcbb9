"""A U-Net for fields on the sphere.

Convolutions whose padding knows the sphere (`weather.sphere.padding`): longitude is a circle, the
poles are crossed by half a turn.  The network reads recent states, forcings and the noisy target,
and is told the time t of the path by a scale and shift in every block (Perez et al. 2018,
arXiv 1709.07871).  The last layer starts at zero: an untrained one-step forecast is persistence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciddiff.errors import InputError
from sciddiff.state import Batch, State
from weather.nets.inputs import input_signs, join_inputs, time_features
from weather.sphere.grids import Grid
from weather.sphere.padding import pad_sphere

__all__ = ["SphericalUNet"]


@final
class SphericalUNet(nn.Module):
    """Encoder and decoder of residual blocks with skip connections.

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
    ) -> None:
        super().__init__()
        self._poles = grid is not None and Grid.parse(grid).kind == "regular"
        self.signs: Tensor
        signs = input_signs(channels, frames, forcings, vectors)
        self.register_buffer("signs", signs, persistent=False)
        self.time = time_features(embedding)
        self.enter = nn.Conv2d(channels * (1 + frames) + forcings, widths[0], 3)
        levels = range(len(widths))
        self.down = nn.ModuleList(
            nn.ModuleList(
                _Block(widths[i], embedding, dropout, self._poles and i == 0)
                for _ in range(blocks[i])
            )
            for i in levels
        )
        self.shrink = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 1) for i in levels[:-1])
        self.grow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in levels[:-1])
        self.merge = nn.ModuleList(nn.Conv2d(2 * widths[i], widths[i], 1) for i in levels[:-1])
        self.up = nn.ModuleList(
            nn.ModuleList(
                _Block(widths[i], embedding, dropout, self._poles and i == 0)
                for _ in range(blocks[i])
            )
            for i in levels
        )
        self.norm = nn.GroupNorm(_groups(widths[0]), widths[0])
        self.leave = nn.Conv2d(widths[0], channels, 3)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: State, t: Tensor, batch: Batch) -> State:
        """Raw output for the leaf `fields`.

        Args:
            x: The noisy target, `{"fields": [B, C, H, W]}`, standardised.
            t: Times of the path, `[B]`.
            batch: Conditions `history [B, F, C, H, W]` (oldest first) and
                `forcing [B, K, H, W]`, standardised.

        Raises:
            InputError: The longitudes cannot be halved at every level, or there are more or
                fewer channels.
        """
        multiple = 2 ** len(self.down)
        if x["fields"].shape[-1] % multiple:
            raise InputError(
                f"grid: {x['fields'].shape[-1]} longitudes; with {len(self.down)} levels the "
                f"network needs a multiple of {multiple}"
            )
        h = join_inputs(x, batch, len(self.signs))
        emb = self.time(t)
        h = self.enter(pad_sphere(h, 1, self.signs, self._poles))
        skips = []
        for i, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, emb)
            if i < len(self.shrink):
                skips.append(h)
                h = self.shrink[i](functional.avg_pool2d(h, 2, ceil_mode=True))
        for i in reversed(range(len(self.up))):
            if i < len(self.grow):
                size = (skips[i].shape[-2], skips[i].shape[-1])
                h = functional.interpolate(self.grow[i](h), size=size, mode="nearest")
                h = self.merge[i](torch.cat([h, skips[i]], 1))
            for block in self.up[i]:  # type: ignore[attr-defined]
                h = block(h, emb)
        h = functional.silu(self.norm(h))
        return {"fields": self.leave(pad_sphere(h, poles=self._poles))}


@final
class _Block(nn.Module):
    """Residual block: normalise, activate, convolve, twice; scaled and shifted by the time."""

    def __init__(self, width: int, embedding: int, dropout: float, poles: bool) -> None:
        super().__init__()
        self._poles = poles
        self.norm1 = nn.GroupNorm(_groups(width), width)
        self.conv1 = nn.Conv2d(width, width, 3)
        self.film = nn.Linear(embedding, 2 * width)
        self.norm2 = nn.GroupNorm(_groups(width), width, affine=False)
        self.dropout = nn.Dropout2d(dropout)
        self.conv2 = nn.Conv2d(width, width, 3)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Args: x `[B, C, H, W]`, emb `[B, E]`; returns `[B, C, H, W]`."""
        h = self.conv1(pad_sphere(functional.silu(self.norm1(x)), poles=self._poles))
        scale, shift = self.film(emb)[:, :, None, None].chunk(2, 1)
        h = functional.silu(self.norm2(h) * (1 + scale) + shift)
        return x + self.conv2(pad_sphere(self.dropout(h), poles=self._poles))


def _groups(width: int) -> int:
    return next(n for n in (8, 5, 4, 2, 1) if width % n == 0)

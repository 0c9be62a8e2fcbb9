"""What every network of this package is given: fields, conditions and the time of the path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciddiff.errors import InputError
from sciddiff.nn.embedding import TimeEmbedding
from sciddiff.state import Batch, State
from weather.sphere.grids import Grid

__all__ = ["check_grid", "input_signs", "join_inputs", "time_features"]


def time_features(width: int) -> nn.Sequential:
    """Return a network from times `[B]` to features `[B, width]`."""
    return nn.Sequential(
        TimeEmbedding(32), nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width)
    )


def input_signs(channels: int, frames: int, forcings: int, vectors: Sequence[int]) -> Tensor:
    """Return the sign that each input changes by where a pole is crossed, `[C (1 + F) + K]`.

    Args:
        channels: Variables of the state, C.
        frames: Recent states, F.
        forcings: Known fields, K.
        vectors: Positions of vector components among the channels.

    Raises:
        InputError: There is no such channel.
    """
    beyond = [position for position in vectors if not 0 <= position < channels]
    if beyond:
        raise InputError(
            f"net.vectors: {beyond[0]} is no position among {channels} channels; count those of "
            "the wind from 0"
        )
    signs = torch.ones(channels)
    signs[list(vectors)] = -1.0
    return torch.cat([signs.repeat(1 + frames), torch.ones(forcings)])


def join_inputs(x: State, batch: Batch, width: int) -> Tensor:
    """Join target, recent states and known fields, `[B, C (1 + F) + K, H, W]`.

    Args:
        x: The noisy target, `{"fields": [B, C, H, W]}`.
        batch: Conditions `history [B, F, C, H, W]` and `forcing [B, K, H, W]`.
        width: How many the network reads, C (1 + F) + K.

    Raises:
        InputError: They are more or fewer.
    """
    history, forcing = batch.cond["history"], batch.cond["forcing"]
    joined = torch.cat([x["fields"], history.flatten(1, 2), forcing], 1)
    if joined.shape[1] != width:
        channels, frames = x["fields"].shape[1], history.shape[1]
        raise InputError(
            f"net: reads {width} fields and is given {joined.shape[1]}; the data have {channels} "
            f"channels, {frames} frames and {forcing.shape[1]} forcings: set net.channels "
            f"{channels}, net.frames {frames} and net.forcings {forcing.shape[1]}, and "
            "net.vectors to the positions of the wind"
        )
    return joined


def check_grid(fields: Tensor, grid: Grid) -> None:
    """Refuse fields `[..., H, W]` of another grid than a network was built for.

    Raises:
        InputError: They are.
    """
    if fields.shape[-2:] != grid.shape:
        raise InputError(
            f"fields: shape {tuple(fields.shape)}; the network is for {grid}; set net.grid to the "
            "grid of the data"
        )

"""From one step to the next inside a training batch: what the core's roll-out asks of a domain.

A batch holds standardised states `history [B, F, C, H, W]`, the forcings of the time to forecast,
and `scale [B, C, 1, 1]`, the standard deviation of a step in units of the state's.  Its leaf
`fields` is the residual, so that a state follows by

    x(n+1) = x(n) + scale * fields.

With prescribed boundaries it holds the next state along the edges (`BOUNDARY`), which replaces
what the network made there. The next state of prescribed channels, such as the temperature of the
sea, comes last among the forcings; nothing of them is left to draw, so that their residual is 0.

For roll-outs it also holds what comes later: the true states `targets [B, S, C, H, W]` and their
forcings `later [B, S, K, H, W]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.objectives.rollout import TARGETS
from sciddiff.state import Batch, State

__all__ = [
    "BOUNDARY",
    "FIELDS",
    "LATER",
    "SCALE",
    "advance",
    "impose",
    "prescribed",
    "with_channels",
    "without",
]

FIELDS = "fields"
"""The leaf of a forecast state."""

SCALE = "scale"
LATER = "later"

BOUNDARY = "boundary"
"""Condition `[B, C + 1, H, W]`: the next state on the strip, 0 inside; then 1 on the strip."""


def prescribed(state: Tensor, edge: Tensor) -> Tensor:
    """Return what a network is told of a prescribed boundary, `[B, C + 1, H, W]`.

    Args:
        state: The next state, standardised; only its strip is read, `[B, C, H, W]`.
        edge: 1 on the strip, 0 inside, `[H, W]`.
    """
    one = edge.to(state).expand(len(state), 1, *edge.shape)
    # Not a product: what is not known inside may be NaN.
    return torch.cat([torch.where(one > 0, state, 0.0), one], 1)


def impose(state: Tensor, boundary: Tensor) -> Tensor:
    """Return the state with its strip as prescribed, standardised, `[B, C, H, W]`.

    Args:
        state: As the network made it.
        boundary: See `BOUNDARY`.
    """
    return torch.where(boundary[:, -1:] > 0, boundary[:, :-1], state)


def with_channels(fields: Tensor, known: Sequence[int], values: Tensor) -> Tensor:
    """Return fields `[B, C, H, W]` whose prescribed channels are those given.

    Args:
        fields: As the network made them.
        known: Positions of the P prescribed channels.
        values: `[B, P, H, W]`.
    """
    if not known:
        return fields
    # Not by an index tensor, which a device would have to wait for.
    rows = list(fields.unbind(1))
    for position, row in zip(known, values.to(fields).unbind(1), strict=True):
        rows[position] = row
    return torch.stack(rows, 1)


def without(residual: Tensor, known: Sequence[int]) -> Tensor:
    """Return the residual `[B, C, H, W]`, 0 in the prescribed channels."""
    return with_channels(residual, known, torch.zeros_like(residual[:, : len(known)]))


def advance(batch: Batch, data: State, known: Sequence[int] = ()) -> Batch:
    """Return the batch of the next step, seen from the state that was predicted.

    Args:
        batch: The step just made.
        data: The residual predicted for it, `{"fields": [B, C, H, W]}`.
        known: Positions of the prescribed channels.

    Returns:
        A batch whose history ends in the predicted state, and whose residual leads from there to
        the truth.

    Raises:
        InputError: The batch carries nothing of later steps.
    """
    history, scale = batch.cond["history"], batch.cond[SCALE]
    if LATER not in batch.cond or TARGETS not in batch.cond:
        raise InputError("roll-out: the batch holds no later states; set the domain's rollout")
    state = history[:, -1] + scale * data[FIELDS]
    forcing = batch.cond["forcing"]  # the prescribed channels last
    state = with_channels(state, known, forcing[:, forcing.shape[1] - len(known) :])
    truth, later = batch.cond[TARGETS][:, 0], batch.cond[LATER]
    cond = {**batch.cond, "forcing": later[:, 0], LATER: later[:, 1:]}
    if BOUNDARY in batch.cond:
        state = impose(state, batch.cond[BOUNDARY])
        cond[BOUNDARY] = prescribed(truth, batch.cond[BOUNDARY][0, -1])
    cond["history"] = torch.cat([history[:, 1:], state[:, None]], 1)
    residual = without((truth - state) / scale, known)
    return Batch({**batch.x, FIELDS: residual}, cond, batch.layouts, batch.size, batch.ids)

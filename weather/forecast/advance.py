"""From one step to the next inside a training batch: what the core's roll-out asks of a domain.

A batch holds standardised states `history [B, F, C, H, W]`, the forcings of the time to forecast,
and `scale [B, C, 1, 1]`, the standard deviation of a step in units of the state's.  Its leaf
`fields` is the residual, so that a state follows by

    x(n+1) = x(n) + scale * fields.

For roll-outs it also holds what comes later: the true states `targets [B, S, C, H, W]` and their
forcings `later [B, S, K, H, W]`.
"""

from __future__ import annotations

import torch

from sciddiff.errors import InputError
from sciddiff.objectives.rollout import TARGETS
from sciddiff.state import Batch, State

__all__ = ["FIELDS", "LATER", "SCALE", "advance"]

FIELDS = "fields"
"""The leaf of a forecast state."""

SCALE = "scale"
LATER = "later"


def advance(batch: Batch, data: State) -> Batch:
    """The batch of the next step, seen from the state that was predicted.

    Args:
        batch: The step just made.
        data: The residual predicted for it, `{"fields": [B, C, H, W]}`.

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
    truth, later = batch.cond[TARGETS][:, 0], batch.cond[LATER]
    cond = {
        **batch.cond,
        "history": torch.cat([history[:, 1:], state[:, None]], 1),
        "forcing": later[:, 0],
        LATER: later[:, 1:],
    }
    return Batch(
        {**batch.x, FIELDS: (truth - state) / scale}, cond, batch.layouts, batch.size, batch.ids
    )

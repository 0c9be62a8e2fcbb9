r"""One structure from several draws: for every residue one of its drawn side chains.

Draws are good locally and seldom everywhere. What the network says of every angle, averaged over
the draws, is an estimate of its marginal law. The candidates of a residue are its draws and the
modes of these laws; the structure is the combination of high probability that has few overlaps:

.. math:: E = -\sum_i \log p_i(c_i) + w \sum_i o_i(c_i) + w \sum_{i<j} o_{ij}(c_i, c_j),

by self-consistent mean field (Koehl & Delarue, *J. Mol. Biol.* 239, 249, 1994) with falling
temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protein.sidechains.contacts import Overlaps

__all__ = ["assembled"]

_ROUNDS = 40
_COLDEST = 0.1
_MIXED = 0.5


def assembled(scores: Tensor, overlaps: Overlaps, weight: float, free: Tensor) -> Tensor:
    """The candidate of every residue.

    Args:
        scores: log-probability of each candidate `[L, n]`, nats.
        overlaps: of the candidates.
        weight: nats for an overlap of 1 Å².
        free: residues that may choose `[L]`, bool; others take the first candidate.

    Returns:
        `[L]`, int64.
    """
    scores = scores.double()
    first = torch.zeros_like(scores)
    first[:, 0] = 1.0
    own = scores - weight * overlaps.own.double()
    between = weight * overlaps.between.double()
    i, j = overlaps.pairs.unbind(-1)
    share = torch.where(free[:, None], scores.softmax(-1), first)
    for step in range(_ROUNDS):
        warmth = _COLDEST ** (step / (_ROUNDS - 1))
        field = own.index_add(0, i, -(between @ share[j][..., None])[..., 0])
        field = field.index_add(0, j, -(between.mT @ share[i][..., None])[..., 0])
        fresh = (field / warmth).softmax(-1)
        share = torch.where(free[:, None], torch.lerp(share, fresh, _MIXED), first)
    return share.argmax(-1)

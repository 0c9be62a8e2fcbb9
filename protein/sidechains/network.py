"""The graph network of side chains: from backbone, residue types and side chains as they are, to
how fast each torsion turns.

A structure encoder reads the backbone, the residue types and the atoms around; it runs once a
template. A decoder reads the side chains that the state makes, as every residue sees those of its
neighbours, and passes messages along the same edges. The layers are those of inverse folding
(`protein.sequence`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from protein.sequence.alphabet import MASK
from protein.sequence.features import flat
from protein.sidechains.features import OWN, PAIR, own, pairs, side
from protein.sidechains.geometry import tables
from protein.sidechains.internal import MOST_CHI
from protein.sidechains.samples import CHI, angles_of, from_state
from protein.sidechains.structure import StructureNetwork, whole
from sciddiff.nn import TimeEmbedding
from sciddiff.state import Batch, State

__all__ = ["BINS", "LOGITS", "SideChainNetwork"]

LOGITS = "logits"
"""Output beside the leaf: log-probabilities of the angle of the data, up to a constant."""

BINS = 36
"""Angles at which these are given, evenly spaced from -pi on."""

_TIMES = 32


class SideChainNetwork(StructureNetwork):
    """Predicts how torsions of side chains turn.

    Args:
        node: channels of residues and edges.
        neighbours: nearest residues each one sees.
        encoder: layers of the structure encoder.
        decoder: layers of the decoder.
        widen: inner channels of the transitions, as a multiple.
        dropout: share of channels that layers drop while learning.
    """

    def __init__(
        self,
        node: int = 96,
        neighbours: int = 24,
        encoder: int = 2,
        decoder: int = 4,
        widen: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(node, neighbours, encoder, decoder, widen, dropout)
        self.kind = nn.Embedding(MASK + 1, node)
        self.time = TimeEmbedding(_TIMES, 8.0)
        self.state = nn.Linear(3 * MOST_CHI + 2 + _TIMES + OWN, node)
        self.seen = nn.ModuleList(nn.Linear(PAIR, node, bias=False) for _ in range(decoder))
        self.out = nn.Sequential(nn.LayerNorm(node), nn.Linear(node, node), nn.SiLU())
        self.velocity = nn.Linear(node, MOST_CHI)
        self.angle = nn.Linear(node, MOST_CHI * BINS)

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        """Velocities of all angles, and what their data are likely to be.

        Args:
            x_t: `chi [B, 4 N]`: angles of the leaf.
            t: times `[B]`.
            batch: `cond` as `protein.sidechains.samples` describes it; with `ENCODED`, what
                `encode` returned for it, only the decoder runs.

        Returns:
            `chi`: velocities `[B, 4 N]`; `logits [B, 4 N, 36]`.
        """
        encoded = self.encoded(batch)
        layout, residues = batch.layouts[CHI], batch.cond["residues"]
        angles = angles_of(x_t[CHI])
        b, n, _ = angles.shape
        has = tables().chi.to(residues.device)[residues]
        drawn = has if layout.mask is None else angles_of(layout.mask)
        held = torch.zeros_like(drawn) if layout.fixed is None else angles_of(layout.fixed)
        shown = (drawn | ~has).all(-1) & batch.cond["present"] & ~batch.cond["unknown"]
        backbone = whole(batch)[0]
        sides = side(backbone, residues, from_state(angles, residues), shown)
        told = torch.cat([angles.cos() * drawn, angles.sin() * drawn, drawn.to(angles)], dim=-1)
        flags = torch.stack([shown, held.any(-1)], dim=-1).to(angles)
        times = self.time(t.to(angles))[:, None].expand(b, n, _TIMES)
        state = torch.cat([told, flags, times, own(sides, encoded.near)], dim=-1)
        seen = pairs(sides, encoded.neighbours, flat(encoded.neighbours)).flatten(0, 1)
        read = (layer(seen) for layer in self.seen)
        nodes = self.out(self.decoded(encoded.nodes + self.state(state), encoded, read))
        return {
            CHI: self.velocity(nodes).flatten(1),
            LOGITS: self.angle(nodes).view(b, n * MOST_CHI, BINS),
        }

    def kinds(self, batch: Batch) -> Tensor:
        """See `StructureNetwork.kinds`."""
        return self.kind(torch.where(batch.cond["unknown"], MASK, batch.cond["residues"]))

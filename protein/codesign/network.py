"""The network of frames and tokens: the backbone network, which also reads and writes residues.

What is known of the residues is added to the first channels, and a head on the last channels says
which residue each one is. Everything else is the backbone network, with the same names of weights,
and what is added starts at zero: with the weights of a backbone model the frames are those of that
model, whatever the residues are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from protein.backbone.network import TRANSLATIONS, BackboneNetwork
from protein.sequence.alphabet import LETTERS, MASK
from protein.sequence.samples import SEQUENCE
from sciddiff.leaf_times import per_sample, time_of
from sciddiff.state import Batch, State


class CodesignNetwork(BackboneNetwork):
    """Predicts the clean frames and the residues of a protein.

    The frames have a time, and the residues need none: how many of them are hidden says it.

    Args:
        node: channels per residue.
        pair: channels per residue pair.
        blocks: attention blocks.
        heads: attention heads.
        pair_every: the pair representation is refreshed after every so many blocks.
        dropout: dropout of the transitions.
        local: an equivariant message-passing block before every second attention block.
    """

    def __init__(
        self,
        node: int = 128,
        pair: int = 32,
        blocks: int = 5,
        heads: int = 8,
        pair_every: int = 2,
        dropout: float = 0.0,
        local: bool = False,
    ) -> None:
        super().__init__(node, pair, blocks, heads, pair_every, dropout, local)
        self.residue = nn.Embedding(len(LETTERS) + 1, node)
        nn.init.zeros_(self.residue.weight)
        # Adam moves every weight alike, and the other channels are of order one.
        self.residue_scale = node**0.5
        self.residue_head = nn.Sequential(nn.LayerNorm(node), nn.Linear(node, node), nn.ReLU())
        self.residue_out = nn.Linear(node, len(LETTERS))
        nn.init.zeros_(self.residue_out.weight)
        nn.init.zeros_(self.residue_out.bias)

    def forward(
        self, x_t: State, t: Tensor | Mapping[str, Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        """Predicted clean frames, and logits of the residues.

        Args:
            x_t: `translations [B, N, 3]` in nm and `rotations [B, N, 3, 3]` at the time of the
                frames, and `sequence [B, N]`, tokens 0 to 20, of which 20 hides a residue.
            t: times `[B]`, or by leaf.
            batch: see `BackboneNetwork.forward`; besides, `cond` may hold `unknown [B, N]`,
                residues that are hidden whatever the sequence says.

        Returns:
            The predicted frames under their names, and `sequence [B, N, 20]`.
        """
        tokens, unknown = x_t[SEQUENCE], batch.cond.get("unknown")
        if unknown is not None:
            tokens = torch.where(unknown, MASK, tokens)
        known = self.residue_scale * self.residue(tokens)
        time = per_sample(time_of(t, TRANSLATIONS), x_t, batch.size)
        channels, frames = self.walk(x_t, time, batch, known)
        return {**frames, SEQUENCE: self.residue_out(self.residue_head(channels))}

"""Networks that draw residue types and side chains together, for a given backbone.

Both are the graph network of `protein.sidechains.structure`: `ResidueLatentNetwork` draws the
latents of `protein.sidechains.codec`, and `ResidueNetwork` the types and torsions themselves. The
first is compared with the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from protein.sequence.alphabet import LETTERS, MASK
from protein.sidechains.codec import LATENT
from protein.sidechains.geometry import tables
from protein.sidechains.internal import MOST_CHI
from protein.sidechains.residues import RESIDUES
from protein.sidechains.samples import CHI, angles_of
from protein.sidechains.structure import StructureNetwork
from sciddiff.errors import InputError
from sciddiff.leaf_times import per_sample, time_of
from sciddiff.nn import TimeEmbedding
from sciddiff.state import Batch, State

__all__ = ["ResidueLatentNetwork", "ResidueNetwork"]

_TIMES = 32


class _Network(StructureNetwork):
    """The structure encoder and its decoder, with a time and normalised channels at the end.

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
        neighbours: int = 20,
        encoder: int = 3,
        decoder: int = 4,
        widen: int = 3,
        dropout: float = 0.05,
    ) -> None:
        super().__init__(node, neighbours, encoder, decoder, widen, dropout)
        self.time = TimeEmbedding(_TIMES, 8.0)
        self.out = nn.Sequential(nn.LayerNorm(node), nn.Linear(node, node), nn.SiLU())


@final
class ResidueLatentNetwork(_Network):
    """Predicts the velocity of the latents of residues.

    Args:
        latents: numbers a residue, those of the codec.
        node, neighbours, encoder, decoder, widen, dropout: see `StructureNetwork`.
    """

    def __init__(
        self,
        latents: int = 8,
        node: int = 96,
        neighbours: int = 20,
        encoder: int = 3,
        decoder: int = 4,
        widen: int = 3,
        dropout: float = 0.05,
    ) -> None:
        super().__init__(node, neighbours, encoder, decoder, widen, dropout)
        self.latents = latents
        self.state = nn.Linear(latents + _TIMES, node)
        self.velocity = nn.Linear(node, latents)

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        """Velocities of the latents.

        Args:
            x_t: `latent [B, N, latents]`.
            t: times `[B]`.
            batch: `cond` as `protein.sidechains.samples` describes it, without `residues`; with
                `ENCODED`, what `encode` returned for it, only the decoder runs.

        Returns:
            `latent`: velocities `[B, N, latents]`.

        Raises:
            InputError: The latents are those of a codec with more or fewer numbers.
        """
        z = batch.layouts[LATENT].zero_padding(x_t[LATENT])
        if z.shape[-1] != self.latents:
            raise InputError(
                f"net.latents: {self.latents}, and the codec has {z.shape[-1]} numbers a residue; "
                "give net.latents those of domain.codec"
            )
        encoded = self.encoded(batch)
        times = self.time(t.to(z))[:, None].expand(*z.shape[:2], _TIMES)
        nodes = encoded.nodes + self.state(torch.cat([z, times], dim=-1))
        return {LATENT: self.velocity(self.out(self.decoded(nodes, encoded)))}


@final
class ResidueNetwork(_Network):
    """Predicts residue types, and how the torsions of residues of known type turn.

    Torsions are seen where the type of their residue is known and their time is above 0: at time 0
    they are noise that says nothing, while types are drawn.

    Args:
        node, neighbours, encoder, decoder, widen, dropout: see `StructureNetwork`.
    """

    def __init__(
        self,
        node: int = 96,
        neighbours: int = 20,
        encoder: int = 3,
        decoder: int = 4,
        widen: int = 3,
        dropout: float = 0.05,
    ) -> None:
        super().__init__(node, neighbours, encoder, decoder, widen, dropout)
        self.kind = nn.Embedding(MASK + 1, node)
        self.state = nn.Linear(3 * MOST_CHI + _TIMES, node)
        self.letters = nn.Linear(node, len(LETTERS))
        self.velocity = nn.Linear(node, MOST_CHI)

    def forward(self, x_t: State, t: Tensor | Mapping[str, Tensor], batch: Batch) -> State:
        """Logits of types, and velocities of torsions.

        Args:
            x_t: `residues [B, N]`, tokens, `MASK` where hidden; `chi [B, 4 N]`, angles.
            t: times `[B]`, or by leaf.
            batch: as for `ResidueLatentNetwork`.

        Returns:
            `residues`: logits `[B, N, 20]`; `chi`: velocities `[B, 4 N]`.
        """
        angles, encoded = angles_of(x_t[CHI]), self.encoded(batch)
        types, torsions = batch.layouts[RESIDUES].mask, batch.layouts[CHI].mask
        tokens = x_t[RESIDUES] if types is None else torch.where(types, x_t[RESIDUES], MASK)
        has = tables().chi.to(tokens.device)
        seen = torch.cat([has, torch.zeros_like(has[:1])])[tokens]
        seen = seen if torsions is None else seen & angles_of(torsions)
        time = per_sample(time_of(t, CHI), x_t, batch.size).to(angles)
        seen = (seen & (time > 0.0)[:, None, None]).to(angles)
        times = self.time(time)[:, None] * seen.amax(-1, keepdim=True)
        state = torch.cat([angles.cos() * seen, angles.sin() * seen, seen, times], dim=-1)
        nodes = encoded.nodes + self.kind(tokens) + self.state(state)
        nodes = self.out(self.decoded(nodes, encoded))
        return {RESIDUES: self.letters(nodes), CHI: self.velocity(nodes).flatten(1)}

"""A few numbers a residue for its type and side chain, beside explicit CA atoms (La-Proteina).

Encoder and decoder are small transformers over the residues of a structure (Geffner et al., 2025,
have twelve layers of 768 each). Both see how far the CA atoms are from each other and where
residues lie along their chains, and nothing else of the backbone: rigid motions change no latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from protein.sequence.alphabet import LETTERS
from protein.sidechains.geometry import tables
from protein.sidechains.internal import MOST_CHI
from protein.sidechains.residues import RESIDUES
from protein.sidechains.samples import CHI, angles_of
from protein.structures.distances import distances
from sciddiff.codecs import Codec, Encoding
from sciddiff.errors import InputError
from sciddiff.paths import ProductPath
from sciddiff.state import Batch, Layout, State

__all__ = ["LATENT", "ResidueCodec"]

LATENT = "latent"
"""The leaf of latents, `[B, N, latents]`."""

_BINS, _FARTHEST = 16, 20.0  # of distances between CA atoms, Å
_APART = 8  # residues along the chain, at most
_LEAST, _MOST = -12.0, 4.0  # of the logarithm of the variance of the noise of latents


@final
class ResidueCodec(Codec):
    """Residue type and side-chain torsions as `latents` numbers a residue.

    Args:
        latents: Numbers a residue; La-Proteina has 8.
        width: Features of a residue.
        layers: Of the encoder and of the decoder.
        heads: Of the attention of a layer.

    Raises:
        InputError: The width cannot be divided among the heads.
    """

    channel_dim = -1

    def __init__(
        self, latents: int = 8, width: int = 128, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"codec.width: {width} is no multiple of codec.heads {heads}")
        self.latents: Mapping[str, int] = {LATENT: latents}
        self.kind = nn.Embedding(len(LETTERS), width)
        self.angles = nn.Linear(3 * MOST_CHI, width)
        self.encoder = _Residues(width, layers, heads)
        self.code = nn.Linear(width, 2 * latents)
        self.open = nn.Linear(latents, width)
        self.decoder = _Residues(width, layers, heads)
        self.letters = nn.Linear(width, len(LETTERS))
        self.turn = nn.Linear(width, 2 * MOST_CHI)

    def encode(self, batch: Batch) -> dict[str, Encoding]:
        """See `Codec.encode`: from types `[B, N]` and angles `[B, 4 N]` to `[B, N, latents]`."""
        angles, known = angles_of(batch.x[CHI]), self._known(batch)
        told = torch.cat([angles.cos() * known, angles.sin() * known, known.to(angles)], dim=-1)
        h = self.encoder(self.kind(batch.x[RESIDUES]) + self.angles(told), batch)
        mean, log = self.code(h).chunk(2, dim=-1)
        layout = Layout(batch.size, mask=batch.layouts[RESIDUES].mask)
        return {LATENT: Encoding(mean, log.clamp(_LEAST, _MOST), layout)}

    def decode(self, latents: State, batch: Batch) -> State:
        """See `Codec.decode`: the likeliest type, and the angles that it has."""
        logits, turns = self._said(latents, batch)
        residues = logits.argmax(-1)
        angles = torch.atan2(turns[..., 1], turns[..., 0])
        angles = torch.where(tables().chi.to(angles.device)[residues], angles, 0.0)
        return {RESIDUES: residues, CHI: angles.flatten(1)}

    def error(self, latents: State, batch: Batch, path: ProductPath) -> dict[str, Tensor]:
        """See `Codec.error`: cross-entropy in nats a residue, and 1 - cos of angles."""
        logits, turns = self._said(latents, batch)
        nats = functional.cross_entropy(logits.mT, batch.x[RESIDUES], reduction="none")
        angles = angles_of(batch.x[CHI])
        away = 1.0 - turns[..., 0] * angles.cos() - turns[..., 1] * angles.sin()
        return {
            RESIDUES: batch.layouts[RESIDUES].free_mean_per_sample(nats),
            CHI: batch.layouts[CHI].free_mean_per_sample(away.flatten(1)),
        }

    def _said(self, latents: State, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of types `[B, N, 20]`, and cosine and sine of angles `[B, N, 4, 2]`."""
        h = self.decoder(self.open(latents[LATENT]), batch)
        turns = self.turn(h).unflatten(-1, (MOST_CHI, 2))
        return self.letters(h), functional.normalize(turns, dim=-1)

    def _known(self, batch: Batch) -> Tensor:
        """Which angles the data have `[B, N, 4]`."""
        mask = batch.layouts[CHI].mask
        return torch.ones_like(angles_of(batch.x[CHI])) if mask is None else angles_of(mask)


class _Residues(nn.Module):
    """Transformer over residues, biased by distances of CA atoms and places along the chain."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.near = nn.Linear(_BINS, heads)
        self.along = nn.Embedding(2 * _APART + 2, heads)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, h: Tensor, batch: Batch) -> Tensor:
        """From features `[B, N, width]` to such features."""
        alpha = batch.cond["atoms"][:, :, 1]
        missing = ~(batch.cond["present"] & alpha.isfinite().all(-1))
        alpha = torch.where(missing[..., None], 0.0, alpha)
        apart = distances(alpha, alpha)
        centres = torch.linspace(0.0, _FARTHEST, _BINS, device=h.device)
        bumps = torch.exp(-((apart[..., None] - centres) * (_BINS / _FARTHEST)).square())
        index, chain = batch.cond["residue_index"], batch.cond["chain_index"]
        steps = (index[:, None] - index[:, :, None]).clamp(-_APART, _APART) + _APART
        steps = torch.where(chain[:, None] == chain[:, :, None], steps, 2 * _APART + 1)
        bias = (self.near(bumps) + self.along(steps)).movedim(-1, 1)
        # A residue sees itself even where it lies nowhere: no row of the attention is empty.
        hidden = missing[:, None] & ~torch.eye(h.shape[1], dtype=torch.bool, device=h.device)
        bias = bias.masked_fill(hidden[:, None], -torch.inf)
        for layer in self.layers:
            h = layer(h, bias)
        return self.norm(h)


class _Layer(nn.Module):
    """Attention with a bias, then a perceptron, each of normalised features."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.answer = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor, bias: Tensor) -> Tensor:
        """From features `[B, N, width]`, with a bias `[B, heads, N, N]`."""
        split = self.ask(self.norm1(h)).unflatten(-1, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in split.unbind(2))
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        h = h + self.answer(seen.transpose(1, 2).flatten(2))
        return h + self.think(self.norm2(h))

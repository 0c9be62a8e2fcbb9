"""The backbone network: from noisy residue frames to the clean ones.

Input and output are frames (rotation, origin in nm). A pair representation is built once from the
sequence
separation, the geometry of the noisy frames and the previous prediction (self-conditioning, Chen
et al. 2022),
then blocks of invariant point attention, a transition and a frame update walk from the noisy
frames to the
predicted ones (Jumper et al. 2021; Yim et al. 2023, FrameDiff; Yim et al. 2023, FrameFlow). Every
feature is
invariant and every update is expressed in a residue's own frame, so the whole map commutes with
rigid motions;
it does not commute with reflections, so handedness is learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from protein.backbone.attention import (
    InvariantPointAttention,
    PairUpdate,
    added,
    attention_mask,
)
from protein.structures.distances import distances
from protein.structures.secondary import FOLDS
from sciddiff.manifolds.so3 import exp_map
from sciddiff.nn import SpanEmbedding, span_features
from sciddiff.state import Batch, State

TRANSLATIONS, ROTATIONS = "translations", "rotations"
_RELATIVE = 32
_BINS = 22


class BackboneNetwork(nn.Module):
    """Predicts the clean frames of a protein backbone.

    Args:
        node: channels per residue.
        pair: channels per residue pair.
        blocks: attention blocks.
        heads: attention heads.
        pair_every: the pair representation is refreshed after every so many blocks.
        dropout: dropout of the transitions.
        local: an equivariant message-passing block before every second attention block.
        flow_map: whether it predicts up to a later time (`sciddiff distill --shortcut`).
    """

    edges: Tensor
    frequencies: Tensor

    def __init__(
        self,
        node: int = 128,
        pair: int = 32,
        blocks: int = 5,
        heads: int = 8,
        pair_every: int = 2,
        dropout: float = 0.0,
        local: bool = False,
        flow_map: bool = False,
    ) -> None:
        super().__init__()
        self.pair_every = pair_every
        self.span = SpanEmbedding(node) if flow_map else None
        self.time = nn.Sequential(nn.Linear(2 * 16, node), nn.ReLU(), nn.Linear(node, node))
        self.fold = nn.Embedding(len(FOLDS), node)
        self.fixed = nn.Embedding(2, node)
        self.node_in = nn.LayerNorm(node)
        self.relative = nn.Embedding(2 * _RELATIVE + 2, pair)
        self.noisy_distance = nn.Embedding(_BINS, pair)
        self.seen_distance = nn.Embedding(_BINS + 1, pair)
        self.orientation = nn.Linear(12, pair, bias=False)
        self.pair_time = nn.Linear(node, pair)
        self.pair_in = nn.LayerNorm(pair)
        self.pair_mlp = nn.Sequential(
            nn.Linear(pair, pair), nn.ReLU(inplace=True), nn.Linear(pair, pair)
        )
        self.blocks = nn.ModuleList(
            _Block(node, pair, heads, dropout, local and i % 2 == 0) for i in range(blocks)
        )
        self.pair_updates = nn.ModuleList(
            PairUpdate(node, pair, _BINS) for _ in range((blocks - 1) // pair_every)
        )
        edges = torch.linspace(0.35, 2.2, _BINS - 1)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("frequencies", 2.0 ** torch.arange(16) * 0.1, persistent=False)

    def forward(
        self, x_t: State, t: Tensor, batch: Batch, until: Tensor | None = None
    ) -> State:
        """Predicted clean state.

        Args:
            x_t: `translations [B, N, 3]` in nm and `rotations [B, N, 3, 3]` at time t.
            t: times `[B]`.
            batch: `cond` may hold `residue_index [B, N]`, `chain_index [B, N]`, `fold [B]` and
                `self_condition` (a State); the layout of the translations holds `mask` and
                `fixed`.
            until: times `[B]` up to which it predicts, for flow maps.

        Returns:
            State with the same leaves and shapes: the predicted data.
        """
        return self.walk(x_t, t, batch, until=until)[1]

    def walk(
        self,
        x_t: State,
        t: Tensor,
        batch: Batch,
        known: Tensor | None = None,
        until: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """The last channels of the residues, and the predicted clean frames.

        Args:
            x_t: see `forward`.
            t: times of the frames `[B]`.
            batch: see `forward`.
            known: what else is known of the residues, added to their first channels
                `[B, N, node]`.
            until: see `forward`.

        Returns:
            Channels `[B, N, node]`, and the state that `forward` returns.
        """
        positions, rotations = x_t[TRANSLATIONS], x_t[ROTATIONS]
        b, n, _ = positions.shape
        layout = batch.layouts[TRANSLATIONS]
        mask = (
            layout.mask if layout.mask is not None else positions.new_ones(b, n, dtype=torch.bool)
        )
        fixed = layout.fixed if layout.fixed is not None else torch.zeros_like(mask)
        time = torch.where(fixed, 1.0, t.to(positions)[:, None])
        end = None if until is None else torch.where(fixed, 1.0, until.to(positions)[:, None])
        s = self._nodes(time, fixed, batch, known, end)
        z = self._pairs(s, positions, rotations, batch)
        hidden = attention_mask(mask)
        index, chain = batch.cond.get("residue_index"), batch.cond.get("chain_index")
        updates = iter(self.pair_updates)
        for i, block in enumerate(self.blocks):
            s, rotations, positions = block(
                s, z, rotations, positions, hidden, mask, ~fixed & mask, index, chain
            )
            if (i + 1) % self.pair_every == 0 and i + 1 < len(self.blocks):
                z = next(updates)(s, z, self._bins(positions))
        return s, {TRANSLATIONS: positions, ROTATIONS: rotations}

    def _nodes(
        self,
        time: Tensor,
        fixed: Tensor,
        batch: Batch,
        known: Tensor | None,
        end: Tensor | None,
    ) -> Tensor:
        phase = time[..., None] * self.frequencies
        s = self.time(torch.cat([phase.sin(), phase.cos()], -1)) + self.fixed(fixed.long())
        s = s + span_features(self.span, time, end)
        fold = batch.cond.get("fold")
        if fold is None:
            fold = torch.zeros(len(time), dtype=torch.long, device=time.device)
        s = s + self.fold(fold)[:, None]
        return self.node_in(s if known is None else s + known)

    def _bins(self, positions: Tensor) -> Tensor:
        fixed = positions.detach()
        return torch.bucketize(distances(fixed, fixed), self.edges)

    def _pairs(self, s: Tensor, positions: Tensor, rotations: Tensor, batch: Batch) -> Tensor:
        b, n, _ = positions.shape
        index = batch.cond.get("residue_index")
        if index is None:
            index = torch.arange(n, device=positions.device).expand(b, n)
        apart = (index[:, None, :] - index[:, :, None]).clamp(-_RELATIVE, _RELATIVE) + _RELATIVE
        chain = batch.cond.get("chain_index")
        if chain is not None:
            apart = torch.where(chain[:, None, :] == chain[:, :, None], apart, 2 * _RELATIVE + 1)
        # In place: fresh memory for pairs costs more than the sums themselves.
        z = self.relative(apart)
        z += self.noisy_distance(self._bins(positions))
        seen = batch.cond.get("self_condition")
        if seen is None:
            z += self.seen_distance.weight[_BINS]
            frames = (positions, rotations)
        else:
            z += self.seen_distance(self._bins(seen[TRANSLATIONS]))
            frames = (seen[TRANSLATIONS], seen[ROTATIONS])
        with torch.autocast(positions.device.type, enabled=False):
            seen_frames = _relative_frames(*frames)
        z += self.orientation(seen_frames)
        z += self.pair_time(s)[:, :, None]
        z = self.pair_in(z)
        return added(self.pair_mlp(z), z)


class _Block(nn.Module):
    """Attention, transition and frame update."""

    def __init__(self, node: int, pair: int, heads: int, dropout: float, local: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(node)
        self.attention = InvariantPointAttention(node, pair, heads)
        self.transition = nn.Sequential(
            nn.LayerNorm(node),
            nn.Linear(node, 2 * node),
            nn.ReLU(),
            nn.Linear(2 * node, node),
            nn.Dropout(dropout),
        )
        self.update_norm = nn.LayerNorm(node)
        self.update = nn.Linear(node, 6)
        nn.init.normal_(self.update.weight, std=1e-3)
        nn.init.zeros_(self.update.bias)
        self.local = None
        if local:
            from protein.backbone.local_block import LocalTensorBlock

            self.local = LocalTensorBlock(node)

    def forward(
        self,
        s: Tensor,
        z: Tensor,
        rotations: Tensor,
        positions: Tensor,
        hidden: Tensor,
        mask: Tensor,
        free: Tensor,
        index: Tensor | None,
        chain: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        shift = turn = None
        if self.local is not None:
            update, shift, turn = self.local(s, rotations, positions, mask, index, chain)
            s = s + update
        s = s + self.attention(self.norm(s), z, rotations, positions, hidden)
        s = s + self.transition(s)
        step = self.update(self.update_norm(s)).to(positions.dtype) * free[..., None]
        turned, moved = step[..., :3], step[..., 3:]
        if shift is not None and turn is not None:
            turned, moved = turned + turn * free[..., None], moved + shift * free[..., None]
        # Geometry keeps its precision whatever that of the trunk.
        with torch.autocast(s.device.type, enabled=False):
            positions = positions + torch.matmul(rotations, moved[..., None])[..., 0]
            return s, torch.matmul(rotations, exp_map(turned)), positions


def _relative_frames(positions: Tensor, rotations: Tensor) -> Tensor:
    """Where j lies seen from i (softened, nm) and how it is turned: `[B, N, N, 12]`."""
    b, n, _ = positions.shape
    offset = positions[:, None] - positions[:, :, None]
    local = torch.matmul(offset, rotations)
    local = local / (1.0 + local.square().sum(-1, keepdim=True)).sqrt()
    inverse = rotations.transpose(-1, -2).reshape(b, 3 * n, 3)
    columns = rotations.permute(0, 2, 1, 3).reshape(b, 3, 3 * n)
    turned = torch.matmul(inverse, columns).view(b, n, 3, n, 3).transpose(2, 3)
    return torch.cat([local, turned.reshape(b, n, n, 9)], -1)

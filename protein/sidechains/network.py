"""The graph network of side chains: from backbone, residue types and side chains as they are, to
how fast each torsion turns.

A structure encoder reads the backbone, the residue types and the atoms around; it runs once a
template. A decoder reads the side chains that the state makes, as every residue sees those of its
neighbours, and passes messages along the same edges. The layers are those of inverse folding
(`protein.sequence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from protein.sequence.alphabet import MASK
from protein.sequence.features import EDGE, NODE, OFFSETS, flat, geometry
from protein.sequence.layers import EdgeUpdate, Message, Transition
from protein.sidechains.features import (
    OWN,
    PAIR,
    STATIC_AROUND,
    Seen,
    around,
    own,
    pairs,
    side,
)
from protein.sidechains.geometry import tables
from protein.sidechains.internal import MOST_CHI
from protein.sidechains.samples import CHI, angles_of, from_state
from protein.structures.frames import oxygen_positions
from sciddiff.errors import InputError
from sciddiff.nn import TimeEmbedding
from sciddiff.state import Batch, State

__all__ = ["BINS", "ENCODED", "LOGITS", "Encoded", "SideChainNetwork"]

ENCODED = "encoded"
"""Condition that holds what `SideChainNetwork.encode` returned."""

LOGITS = "logits"
"""Output beside the leaf: log-probabilities of the angle of the data, up to a constant."""

BINS = 36
"""Angles at which these are given, evenly spaced from -pi on."""

_NOISES = (0.0, 0.1, 0.2, 0.3)
_TIMES = 32


@final
@dataclass(frozen=True, eq=False)
class Encoded:
    """Templates as the structure encoder leaves them; put into `Batch.cond` as `encoded`.

    Attributes:
        nodes: residues `[B, N, c]`.
        edges: edges as each layer of the decoder reads them, `[B, N, k, c]` each.
        neighbours: row of each neighbour in its sample, int64 `[B, N, k]`.
        linked: whether there is a neighbour `[B, N, k]`, bool.
        near: the atoms around, by residue; None where there are none.
    """

    nodes: Tensor
    edges: tuple[Tensor, ...]
    neighbours: Tensor
    linked: Tensor
    near: Seen | None

    def to(self, device: torch.device | str) -> Encoded:
        """The same templates on another device."""
        return self._each(lambda values: values.to(device))

    def select(self, indices: Tensor) -> Encoded:
        """Some of the templates, in the given order, repeats allowed: indices `[K]`."""
        return self._each(lambda values: values[indices])

    def _each(self, change: Any) -> Encoded:
        near = None if self.near is None else Seen(*map(change, self.near))
        edges = tuple(map(change, self.edges))
        return Encoded(
            change(self.nodes), edges, change(self.neighbours), change(self.linked), near
        )


class SideChainNetwork(nn.Module):
    """Predicts how torsions of side chains turn.

    Args:
        node: channels of residues and edges.
        neighbours: nearest residues each one sees.
        encoder: layers of the structure encoder.
        decoder: layers of the decoder.
        widen: inner channels of the transitions, as a multiple.
        dropout: share of channels that layers drop while learning.
    """

    noises: Tensor

    def __init__(
        self,
        node: int = 96,
        neighbours: int = 24,
        encoder: int = 2,
        decoder: int = 4,
        widen: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if neighbours < 1:
            raise InputError(f"net.neighbours: {neighbours} is below 1; give 24 or so")
        self.neighbours = neighbours
        self.residue = nn.Linear(NODE + len(_NOISES), node)
        self.kind = nn.Embedding(MASK + 1, node)
        self.edge = nn.Linear(EDGE, node)
        self.offset = nn.Embedding(OFFSETS, node)
        self.edge_in = nn.LayerNorm(node)
        self.around = nn.Sequential(nn.Linear(STATIC_AROUND, node), nn.SiLU())
        self.around_out = nn.Linear(node, node, bias=False)
        scale = float(neighbours)
        self.encoder = nn.ModuleList(
            nn.ModuleList(
                [Message(node, scale, dropout), Transition(node, widen, dropout), EdgeUpdate(node)]
            )
            for _ in range(encoder)
        )
        self.time = TimeEmbedding(_TIMES, 8.0)
        self.state = nn.Linear(3 * MOST_CHI + 2 + _TIMES + OWN, node)
        self.seen = nn.ModuleList(nn.Linear(PAIR, node, bias=False) for _ in range(decoder))
        self.decoder = nn.ModuleList(
            nn.ModuleList([Message(node, scale, dropout), Transition(node, widen, dropout)])
            for _ in range(decoder)
        )
        self.out = nn.Sequential(nn.LayerNorm(node), nn.Linear(node, node), nn.SiLU())
        self.velocity = nn.Linear(node, MOST_CHI)
        self.angle = nn.Linear(node, MOST_CHI * BINS)
        self.register_buffer("noises", torch.tensor(_NOISES), persistent=False)

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        """Velocities of all angles, and what their data are likely to be.

        Args:
            x_t: `chi [B, 4 N]`: angles of the leaf.
            t: times `[B]`.
            batch: `cond` as `protein.sidechains.samples` describes it; with `encoded`, what
                `encode` returned for it, only the decoder runs.

        Returns:
            `chi`: velocities `[B, 4 N]`; `logits [B, 4 N, 36]`.
        """
        found = batch.cond.get(ENCODED)
        encoded = self.encode(batch) if found is None else found
        layout, residues = batch.layouts[CHI], batch.cond["residues"]
        angles = angles_of(x_t[CHI])
        b, n, _ = angles.shape
        has = tables().chi.to(residues.device)[residues]
        drawn = has if layout.mask is None else angles_of(layout.mask)
        held = torch.zeros_like(drawn) if layout.fixed is None else angles_of(layout.fixed)
        shown = (drawn | ~has).all(-1) & batch.cond["present"] & ~batch.cond["unknown"]
        backbone = _whole(batch)[0]
        sides = side(backbone, residues, from_state(angles, residues), shown)
        told = torch.cat([angles.cos() * drawn, angles.sin() * drawn, drawn.to(angles)], dim=-1)
        flags = torch.stack([shown, held.any(-1)], dim=-1).to(angles)
        times = self.time(t.to(angles))[:, None].expand(b, n, _TIMES)
        state = torch.cat([told, flags, times, own(sides, encoded.near)], dim=-1)
        nodes = (encoded.nodes + self.state(state)).flatten(0, 1)
        rows = flat(encoded.neighbours)
        seen = pairs(sides, encoded.neighbours, rows).flatten(0, 1)
        linked = encoded.linked.flatten(0, 1).to(nodes)
        for (message, transition), read, edges in zip(
            _parts(self.decoder), self.seen, encoded.edges, strict=True
        ):
            nodes = transition(message(nodes, edges.flatten(0, 1) + read(seen), rows, linked))
        nodes = self.out(nodes)
        return {
            CHI: self.velocity(nodes).view(b, n * MOST_CHI),
            LOGITS: self.angle(nodes).view(b, n * MOST_CHI, BINS),
        }

    def encode(self, batch: Batch) -> Encoded:
        """The structure encoder alone, which reads no torsions.

        Args:
            batch: templates.

        Returns:
            What `forward` takes as `cond["encoded"]`.

        Raises:
            InputError: The batch has no backbones.
        """
        if "atoms" not in batch.cond:
            raise InputError("side chains: the batch has no condition 'atoms'; see collate")
        cond = batch.cond
        backbone, placed = _whole(batch)
        seen = geometry(
            cond["atoms"], cond["present"], cond["chain_index"], cond["residue_index"],
            self.neighbours,
        )  # fmt: skip
        b, n, k = seen.neighbours.shape
        noise = cond["noise"].to(backbone)
        told = torch.exp(-0.5 * ((noise[:, None] - self.noises) / 0.1).square())
        told = told[:, None].expand(b, n, len(_NOISES))
        kinds = torch.where(cond["unknown"], MASK, cond["residues"])
        nodes = self.residue(torch.cat([seen.nodes, told], dim=-1)) + self.kind(kinds)
        near = around(backbone, cond["around"], cond["around_elements"])
        if near is not None:
            there = near.kinds.sum(-1, keepdim=True)
            nodes = nodes + self.around_out((self.around(near.static) * there).sum(-2))
        nodes = (nodes * placed[..., None]).flatten(0, 1)
        edges = self.edge_in(self.edge(seen.edges) + self.offset(seen.offsets)).flatten(0, 1)
        rows, linked = flat(seen.neighbours), seen.linked.flatten(0, 1).to(nodes)
        for message, transition, update in _parts(self.encoder):
            nodes = transition(message(nodes, message.edge(edges), rows, linked))
            edges = update(nodes, edges, rows)
        readers = [message for message, _ in _parts(self.decoder)]
        read = tuple(message.edge(edges).unflatten(0, (b, n)) for message in readers)
        return Encoded(nodes.unflatten(0, (b, n)), read, seen.neighbours, seen.linked, near)


def _whole(batch: Batch) -> tuple[Tensor, Tensor]:
    """Backbones without gaps `[B, N, 4, 3]`, and which rows are those of the batch `[B, N]`.

    An oxygen that is missing is rebuilt; rows without N, CA or C hold a residue at the origin.
    """
    atoms = batch.cond["atoms"]
    placed = batch.cond["present"] & atoms[..., :3, :].isfinite().all(-1).all(-1)
    rest = torch.tensor([[-0.5, 1.4, 0.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.1, 1.1, 0.0]])
    atoms = torch.where(placed[..., None, None], atoms, rest.to(atoms))
    oxygen = atoms[..., 3:, :]
    if not bool(oxygen.isfinite().all()):
        index, chain = batch.cond["residue_index"], batch.cond["chain_index"]
        joined = (index[:, 1:] == index[:, :-1] + 1) & (chain[:, 1:] == chain[:, :-1])
        joined = nn.functional.pad(joined & placed[:, 1:] & placed[:, :-1], (0, 1))
        oxygen = torch.where(
            oxygen.isfinite(), oxygen, oxygen_positions(atoms, joined)[..., None, :]
        )
    return torch.cat([atoms[..., :3, :], oxygen], dim=-2), placed


def _parts(layers: nn.ModuleList) -> list[list[Any]]:
    """The modules of every layer."""
    return [list(layer) for layer in layers if isinstance(layer, nn.ModuleList)]

"""The graph network of inverse folding: from a backbone, and residues as far as they are known, to
the probabilities of those that are hidden.

A structure encoder passes messages between nearest residues and updates residues and edges; it
reads no residue type and runs once a template. A sequence decoder adds the tokens and passes
messages along the same edges; it alone runs at every step. As ProteinMPNN (Dauparas et al. 2022,
doi 10.1126/science.add2187), with fewer features, split linear maps, and a decoder that reads the
known residues of all rows instead of those before it in an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from protein.sequence.alphabet import LETTERS, MASK
from protein.sequence.features import EDGE, NODE, OFFSETS, flat, geometry
from protein.sequence.layers import EdgeUpdate, Message, Transition
from protein.sequence.samples import ATOMS, SEQUENCE
from sciddiff.errors import InputError
from sciddiff.state import Batch, State

ENCODED = "encoded"
"""Condition that holds what `GraphNetwork.encode` returned."""

ASKED = "asked"
"""Condition that says of which rows the logits are wanted, bool `[B, N]`; those of others are 0.

The last layer, a third of a call, then looks at these alone.
"""

_NOISES = (0.0, 0.1, 0.2, 0.3)


@final
@dataclass(frozen=True, eq=False)
class Encoded:
    """Templates as the structure encoder leaves them; put into `Batch.cond` as `encoded`.

    Attributes:
        nodes: residues `[B, N, c]`.
        edges: edges as each layer of the decoder reads them, `[B, N, k, c]` each.
        neighbours: row of each neighbour in its sample, int64 `[B, N, k]`; a residue's own row
            where there is none.
        linked: whether there is a neighbour `[B, N, k]`, bool.
    """

    nodes: Tensor
    edges: tuple[Tensor, ...]
    neighbours: Tensor
    linked: Tensor

    def to(self, device: torch.device | str) -> Encoded:
        """The same templates on another device."""
        edges = tuple(edge.to(device) for edge in self.edges)
        return Encoded(
            self.nodes.to(device), edges, self.neighbours.to(device), self.linked.to(device)
        )

    def select(self, indices: Tensor) -> Encoded:
        """Some of the templates, in the given order, repeats allowed: indices `[K]`."""
        edges = tuple(edge[indices] for edge in self.edges)
        return Encoded(
            self.nodes[indices], edges, self.neighbours[indices], self.linked[indices]
        )


class GraphNetwork(nn.Module):
    """Predicts hidden residues of given backbones.

    Args:
        node: channels of residues and edges.
        neighbours: nearest residues each one sees.
        encoder: layers of the structure encoder.
        decoder: layers of the sequence decoder.
        widen: inner channels of the transitions, as a multiple.
        dropout: share of channels that layers drop while learning.
    """

    noises: Tensor

    def __init__(
        self,
        node: int = 96,
        neighbours: int = 20,
        encoder: int = 3,
        decoder: int = 3,
        widen: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if neighbours < 1:
            raise InputError(f"net.neighbours: {neighbours} is below 1; give 20 or so")
        self.neighbours = neighbours
        self.residue = nn.Linear(NODE + len(_NOISES), node)
        self.edge = nn.Linear(EDGE, node)
        self.offset = nn.Embedding(OFFSETS, node)
        self.edge_in = nn.LayerNorm(node)
        self.token = nn.Embedding(MASK + 1, node)
        scale = float(neighbours)
        self.encoder = nn.ModuleList(
            nn.ModuleList(
                [Message(node, scale, dropout), Transition(node, widen, dropout), EdgeUpdate(node)]
            )
            for _ in range(encoder)
        )
        self.decoder = nn.ModuleList(
            nn.ModuleList([Message(node, scale, dropout), Transition(node, widen, dropout)])
            for _ in range(decoder)
        )
        self.out = nn.Sequential(nn.LayerNorm(node), nn.Linear(node, len(LETTERS)))
        self.register_buffer("noises", torch.tensor(_NOISES), persistent=False)

    def forward(self, x_t: State, t: Tensor, batch: Batch) -> State:
        """Logits of the residue of every row.

        Args:
            x_t: `sequence [B, N]`: tokens, `MASK` where hidden.
            t: times; not read, since the number of hidden rows says it.
            batch: `cond` as `protein.sequence.samples` describes it; with `encoded`, what `encode`
                returned for it, only the decoder runs; with `asked`, some logits are left out.

        Returns:
            `sequence`: logits `[B, N, 20]`.
        """
        found = batch.cond.get(ENCODED)
        encoded = self.encode(batch) if found is None else found
        tokens, unknown = x_t[SEQUENCE], batch.cond.get("unknown")
        if unknown is not None:
            tokens = torch.where(unknown, MASK, tokens)
        b, n, k = encoded.neighbours.shape
        rows = flat(encoded.neighbours)
        nodes = encoded.nodes.flatten(0, 1) + self.token(tokens.flatten())
        linked = _weights(encoded.linked, batch)
        asked, at = batch.cond.get(ASKED), None
        layers = list(zip(_parts(self.decoder), encoded.edges, strict=True))
        for number, ((message, transition), edges) in enumerate(layers, start=1):
            if asked is not None and number == len(layers):
                at = asked.flatten().nonzero().flatten()
            nodes = transition(message(nodes, edges.flatten(0, 1), rows, linked, at))
        logits = self.out(nodes)
        if at is not None:
            logits = logits.new_zeros(b * n, logits.shape[-1]).index_copy(0, at, logits)
        return {SEQUENCE: logits.unflatten(0, (b, n))}

    def encode(self, batch: Batch) -> Encoded:
        """The structure encoder alone, which reads no tokens.

        Args:
            batch: templates; `cond["atoms"]` is needed.

        Returns:
            What `forward` takes as `cond["encoded"]`.

        Raises:
            InputError: The batch has no atoms.
        """
        if ATOMS not in batch.cond:
            raise InputError("inverse folding: the batch has no condition 'atoms'; see collate")
        atoms = batch.cond[ATOMS]
        b, n = atoms.shape[:2]
        found, device = batch.layouts[SEQUENCE].mask, atoms.device
        mask = torch.ones(b, n, dtype=torch.bool, device=device) if found is None else found
        first, line = torch.zeros_like(mask, dtype=torch.int64), torch.arange(n, device=device)
        chain = batch.cond.get("chain_index", first)
        index = batch.cond.get("residue_index", line.expand(b, n))
        seen = geometry(atoms, mask, chain, index, self.neighbours)
        noise = batch.cond.get("noise")
        noise = atoms.new_zeros(b) if noise is None else noise.to(atoms)
        told = torch.exp(-0.5 * ((noise[:, None] - self.noises) / 0.1).square())
        told = told[:, None].expand(b, n, len(_NOISES))
        nodes = self.residue(torch.cat([seen.nodes, told], dim=-1)).flatten(0, 1)
        edges = self.edge_in(self.edge(seen.edges) + self.offset(seen.offsets)).flatten(0, 1)
        rows = flat(seen.neighbours)
        linked = _weights(seen.linked, batch)
        for message, transition, update in _parts(self.encoder):
            nodes = transition(message(nodes, message.edge(edges), rows, linked))
            edges = update(nodes, edges, rows)
        readers = [message for message, _ in _parts(self.decoder)]
        read = tuple(message.edge(edges).unflatten(0, (b, n)) for message in readers)
        return Encoded(nodes.unflatten(0, (b, n)), read, seen.neighbours, seen.linked)


def _weights(linked: Tensor, batch: Batch) -> Tensor | None:
    """1 for edges to a neighbour, else 0 `[R, k]`; None where all edges of real rows have one.

    Rows of padding are no one's neighbour: what their edges say does not matter.
    """
    mask = batch.layouts[SEQUENCE].mask
    known = linked if mask is None else linked | ~mask[..., None]
    return None if bool(known.all()) else linked.flatten(0, 1).float()


def _parts(layers: nn.ModuleList) -> list[list[Any]]:
    """The modules of every layer."""
    return [list(layer) for layer in layers if isinstance(layer, nn.ModuleList)]

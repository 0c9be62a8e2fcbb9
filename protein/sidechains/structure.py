"""What residues see of a backbone and of what lies around it: the structure encoder of networks of
side chains.

It runs once a template; what a network reads of the state enters its decoder alone, which passes
messages along the same edges. The layers are those of inverse folding (`protein.sequence`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, final

import torch
from torch import Tensor, nn

from protein.sequence.features import EDGE, NODE, OFFSETS, flat, geometry
from protein.sequence.layers import EdgeUpdate, Message, Transition
from protein.sidechains.features import STATIC_AROUND, Seen, around
from protein.structures.frames import oxygen_positions
from sciddiff.errors import InputError
from sciddiff.state import Batch

__all__ = ["ENCODED", "Encoded", "StructureNetwork", "whole"]

ENCODED = "encoded_structure"
"""Condition that holds what `StructureNetwork.encode` returned."""

_NOISES = (0.0, 0.1, 0.2, 0.3)


@final
@dataclass(frozen=True, eq=False)
class Encoded:
    """Templates as the structure encoder leaves them; put into `Batch.cond` under `ENCODED`.

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


class StructureNetwork(nn.Module):
    """The structure encoder, and the layers of a decoder along the same edges.

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
        node: int,
        neighbours: int,
        encoder: int,
        decoder: int,
        widen: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if neighbours < 1:
            raise InputError(f"net.neighbours: {neighbours} is below 1; give 24 or so")
        self.neighbours = neighbours
        self.residue = nn.Linear(NODE + len(_NOISES), node)
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
        self.decoder = nn.ModuleList(
            nn.ModuleList([Message(node, scale, dropout), Transition(node, widen, dropout)])
            for _ in range(decoder)
        )
        self.register_buffer("noises", torch.tensor(_NOISES), persistent=False)

    def kinds(self, batch: Batch) -> Tensor | None:
        """What is told of the types of the residues `[B, N, c]`; None: nothing."""
        return None

    def encode(self, batch: Batch) -> Encoded:
        """The structure encoder alone, which reads no state.

        Args:
            batch: templates.

        Returns:
            What `forward` takes as the condition `ENCODED`.

        Raises:
            InputError: The batch has no backbones.
        """
        if "atoms" not in batch.cond:
            raise InputError("side chains: the batch has no condition 'atoms'; see collate")
        cond = batch.cond
        backbone, placed = whole(batch)
        seen = geometry(
            cond["atoms"], cond["present"], cond["chain_index"], cond["residue_index"],
            self.neighbours,
        )  # fmt: skip
        b, n, k = seen.neighbours.shape
        noise = cond["noise"].to(backbone)
        told = torch.exp(-0.5 * ((noise[:, None] - self.noises) / 0.1).square())
        told = told[:, None].expand(b, n, len(_NOISES))
        nodes, kinds = self.residue(torch.cat([seen.nodes, told], dim=-1)), self.kinds(batch)
        nodes = nodes if kinds is None else nodes + kinds
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

    def encoded(self, batch: Batch) -> Encoded:
        """What the condition `ENCODED` of a batch holds, or else what `encode` returns for it."""
        found = batch.cond.get(ENCODED)
        return self.encode(batch) if found is None else found

    def decoded(
        self, nodes: Tensor, encoded: Encoded, extra: Iterable[Tensor] = ()
    ) -> Tensor:
        """Residues `[B, N, c]` after the layers of the decoder.

        Args:
            nodes: residues, with what is known of the state `[B, N, c]`.
            encoded: the templates.
            extra: what each layer reads of its edges beside them, `[B * N, k, c]` each; none, or
                one for every layer.
        """
        rows = flat(encoded.neighbours)
        linked = encoded.linked.flatten(0, 1).to(nodes)
        found = nodes.flatten(0, 1)
        layers = zip_longest(_parts(self.decoder), encoded.edges, extra)
        for (message, transition), edges, more in layers:
            edges = edges.flatten(0, 1)
            edges = edges if more is None else edges + more
            found = transition(message(found, edges, rows, linked))
        return found.unflatten(0, nodes.shape[:2])


def whole(batch: Batch) -> tuple[Tensor, Tensor]:
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

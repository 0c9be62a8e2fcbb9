"""Layers of the graph network: messages along edges, and what residues and edges do with them.

All are residual and normalise the residues that they read. The first linear map of a message reads
an edge, the residue and the neighbour; it is split into three, so that the parts of the residues
are computed once a residue and not once an edge (k times as often). Linear maps after the last
activation commute with the sum over edges and are applied to the sum.
"""

from __future__ import annotations

from torch import Tensor, nn

from protein.sequence.edges import heard, joined


class Message(nn.Module):
    """Residues read their edges and neighbours.

    Args:
        width: channels of residues and edges.
        scale: what the sum over edges is divided by.
        dropout: share of channels of the message that is dropped.
    """

    def __init__(self, width: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.scale = scale
        self.norm = nn.LayerNorm(width)
        self.own = nn.Linear(width, width)
        self.other = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(width, width, bias=False)
        self.hidden = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        nodes: Tensor,
        part: Tensor,
        rows: Tensor,
        linked: Tensor | None,
        at: Tensor | None = None,
    ) -> Tensor:
        """Residues `[R, c]`, or some of them `[A, c]`.

        Args:
            nodes: residues of all samples end to end `[R, c]`.
            part: `edge` of the edges `[R, k, c]`, which does not depend on the residues.
            rows: row of each neighbour `[R * k]`.
            linked: 1 where there is a neighbour, else 0 `[R, k]`; None: everywhere.
            at: rows of the residues that are wanted, int64 `[A]`; None: all.
        """
        seen = self.norm(nodes)
        other = self.other(seen)
        if at is not None:
            nodes, seen, rows = nodes[at], seen[at], rows.view(part.shape[:2])[at].flatten()
            part, linked = part[at], None if linked is None else linked[at]
        total = heard(self.own(seen), other, part, self.hidden.weight, rows, linked)
        return nodes + self.dropout(self.out(total / self.scale))


class Transition(nn.Module):
    """Every residue by itself.

    Args:
        width: channels.
        widen: channels inside, as a multiple.
        dropout: share of channels that is dropped.
    """

    def __init__(self, width: int, widen: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, widen * width),
            nn.SiLU(),
            nn.Linear(widen * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, nodes: Tensor) -> Tensor:
        """Residues `[R, c]`."""
        return nodes + self.layers(nodes)


class EdgeUpdate(nn.Module):
    """Edges read the two residues they join.

    Args:
        width: channels of residues and edges.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.own = nn.Linear(width, width)
        self.other = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, nodes: Tensor, edges: Tensor, rows: Tensor) -> Tensor:
        """Edges `[R, k, c]`."""
        seen = self.norm(nodes)
        return edges + self.out(joined(self.own(seen), self.other(seen), self.edge(edges), rows))

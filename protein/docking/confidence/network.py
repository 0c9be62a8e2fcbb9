r"""The ranker: learned contacts on top of a linear score of physical terms.

A contact of ligand atom i and pocket atom j sends

.. math:: m_{ij} = u(a_i) \odot v(b_j) \odot W\,[\phi(r), c_i\,\phi(r), c_j\,\phi(r)]

to the ligand atom, with :math:`\phi` Gaussians of their distance r and :math:`c` the cosines
between the contact and the directions in which the two atoms have no bonded neighbours (where
hydrogen bonds point). Ligand atoms exchange messages along bonds and with near atoms, get messages
from the pocket again, and are summed. A pose is then judged by that sum, by its energies, and by
how it differs from the Boltzmann mean of the poses of its ligand. The inputs are invariants, so
that the judgement does not depend on the frame.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from protein.docking.complexes.columns import Columns
from protein.docking.complexes.features import LIGAND_SIZES, POCKET_SIZES
from protein.docking.confidence.linear import LinearScore
from protein.docking.confidence.pose_set import OWN, REACH, SHARED, PoseBatch

HIGH = 10.0
"""Largest distance from the best linear score of a ligand that counts."""

_SHAPES = 16
_HOPS = 6


@final
class PoseRanker(nn.Module):
    """Network that judges poses.

    Args:
        width: features of an atom.
        hidden: width of the perceptron that judges.
        rounds: rounds of messages from the pocket.
        dropout: dropout during training.
    """

    def __init__(
        self, width: int = 32, hidden: int = 64, rounds: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.atom = Columns(LIGAND_SIZES, width)
        self.pocket_atom = Columns(POCKET_SIZES, width)
        self.rounds = nn.ModuleList(_Round(width, dropout) for _ in range(rounds))
        self.features = nn.Sequential(nn.Linear(OWN + SHARED, hidden), nn.SiLU())
        self.pool = nn.Linear(2 * width, hidden)
        self.judge = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, 2)
        )
        # What is learned is what the linear score gets wrong: it starts from that score's order.
        self.linear = LinearScore()
        self.trust = nn.Parameter(torch.ones(()))

    def forward(self, batch: PoseBatch, above: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Judge poses.

        Args:
            batch: poses of some ligands.
            above: ``linear.above`` among all poses of a ligand `[P]`, where the batch holds some
                of them only; None if it holds all.

        Returns:
            Logits of P(RMSD < 2 Å) and predicted logarithms of the RMSD in Å, each `[P]`.
        """
        nodes, pocket = self.atom(batch.atoms), self.pocket_atom(batch.pocket_atoms)
        shapes = _contact_shapes(batch.contact_shape), _inner_shapes(batch.inner_shape)
        for layer in self.rounds:
            nodes = layer(nodes, pocket, batch, shapes)
        count = len(batch.features)
        total = nodes.new_zeros(count, nodes.shape[-1]).index_add(0, batch.pose, nodes)
        size = torch.bincount(batch.pose, minlength=count).clamp(min=1).to(nodes).unsqueeze(-1)
        pooled = self.pool(torch.cat([total / size, total / 30.0], dim=-1))
        pooled = pooled + self.features(batch.features)
        ligands = int(batch.ligand.max()) + 1 if count else 0
        mean = pooled.new_zeros(ligands, pooled.shape[-1]).index_add(
            0, batch.ligand, batch.weight.unsqueeze(-1) * pooled
        )
        logit, rmsd = self.judge(torch.cat([pooled, pooled - mean[batch.ligand]], dim=-1)).unbind(
            -1
        )
        behind = self.linear.above(batch) if above is None else above
        return logit - self.trust * behind.clamp(max=HIGH), rmsd


@final
class Committee(nn.ModuleList):
    """Several `PoseRanker` networks whose judgements are averaged.

    Args:
        members: number of networks.
        width: width of each `PoseRanker`.
        hidden: width of the perceptron that judges.
        rounds: rounds of messages from the pocket.
        dropout: dropout during training.
    """

    def __init__(
        self,
        members: int = 5,
        width: int = 32,
        hidden: int = 64,
        rounds: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(PoseRanker(width, hidden, rounds, dropout) for _ in range(members))

    def forward(self, batch: PoseBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return means over the networks, each `[P]`.

        Args:
            batch: all poses of some ligands.

        Returns:
            What each network gives, and how far a pose is from the best linear score.
        """
        members = [member for member in self if isinstance(member, PoseRanker)]
        behind = [member.linear.above(batch) for member in members]
        given = [m(batch, b) for m, b in zip(members, behind, strict=True)]
        logit, rmsd = (torch.stack(each).mean(0) for each in zip(*given, strict=True))
        return logit, rmsd, torch.stack(behind).clamp(max=HIGH).mean(0)


@final
class _Round(nn.Module):
    """Contacts, then messages within the ligand."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.mine = nn.Linear(width, width)
        self.theirs = nn.Linear(width, width)
        self.shape = nn.Linear(3 * _SHAPES, width, bias=False)
        self.heard = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.inner_shape = nn.Linear(_SHAPES + _HOPS, width, bias=False)
        self.inner = nn.Linear(width, width)
        self.told = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.norm = nn.LayerNorm(width)
        self.inner_norm = nn.LayerNorm(width)

    def forward(
        self, nodes: Tensor, pocket: Tensor, batch: PoseBatch, shapes: tuple[Tensor, Tensor]
    ) -> Tensor:
        own = self.norm(nodes)
        to, source = batch.contact
        weights = self.shape(shapes[0])
        sent = self.theirs(pocket).index_select(0, source) * weights
        heard = torch.zeros_like(own).index_add(0, to, sent)
        nodes = nodes + self.heard(torch.cat([own, 0.2 * self.mine(own) * heard], dim=-1))
        own = self.inner_norm(nodes)
        first, second = batch.inner
        sent = self.inner(own).index_select(0, second) * self.inner_shape(shapes[1])
        told = torch.zeros_like(own).index_add(0, first, sent)
        return nodes + self.told(torch.cat([own, 0.3 * told], dim=-1))


def _contact_shapes(shape: Tensor) -> Tensor:
    """Gaussians of the length of contacts, and these times both cosines `[E, 48]`."""
    length, mine, theirs = shape.split(1, dim=-1)
    bells = _bells(length, 2.0, REACH) * _fade(length)
    return torch.cat([bells, mine * bells, theirs * bells], dim=-1)


def _inner_shapes(shape: Tensor) -> Tensor:
    """Gaussians of the length of inner pairs and the bonds between them, one-hot `[I, 22]`."""
    length, hops = shape.split(1, dim=-1)
    hot = functional.one_hot(hops.squeeze(-1).long().clamp(max=_HOPS - 1), _HOPS).to(length)
    return torch.cat([_bells(length, 1.0, 5.0), hot], dim=-1)


def _bells(length: Tensor, low: float, high: float) -> Tensor:
    """Gaussians on an even grid `[E, 16]` of lengths `[E, 1]`."""
    centres = torch.linspace(low, high, _SHAPES, dtype=length.dtype, device=length.device)
    return torch.exp(-0.5 * ((length - centres) * (_SHAPES - 1) / (high - low)).square())


def _fade(length: Tensor) -> Tensor:
    """1 up to 1 Å before the reach, 0 there."""
    return (REACH - length).clamp(0.0, 1.0)

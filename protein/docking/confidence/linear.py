r"""The linear score: a weighted sum of terms that orders the poses of a ligand.

.. math:: s = w_0\,\frac{1}{\sqrt N} \sum_{ij} u(a_i, b_j, r_{ij}) + \sum_k w_k x_k

:math:`x` are the columns of ``pose_set`` and u is a contact potential: minus the logarithm of how
often two types are found at a distance r in right poses over how often all types are (Sippl,
J. Mol. Biol. 213 (1990) 859; for ligands Gohlke et al., J. Mol. Biol. 295 (2000) 337). The weights
maximise the share that the right poses of a ligand have in a softmax over all of them. Some thirty
numbers that are learned from some hundred ligands hold on new ones, where networks learn much by
heart; so networks start from this score and add what it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from protein.docking.confidence.pose_set import COLUMNS, REACH, PoseBatch, PoseSet, pack
from protein.docking.molecules.atom_types import TYPES

RIGHT = 2.0
"""RMSD below which a pose is right, Å."""

_CLOSEST, _WIDTH = 2.0, 0.25
_BINS = round((REACH - _CLOSEST) / _WIDTH)
_PSEUDO, _STRONGEST = 20.0, 2.0
_PENALTY = 0.02
_TYPE, _POCKET_TYPE = -1, 0


@final
class LinearScore(nn.Module):
    """Linear score of poses.

    Attributes:
        potential: contact potential of ligand type, pocket type and distance
            `[types, types, bins]`.
        weight: weights of the potential and of each column `[1 + len(COLUMNS)]`.
    """

    potential: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        kinds = len(TYPES)
        self.register_buffer("potential", torch.zeros(kinds, kinds, _BINS))
        weight = torch.zeros(1 + len(COLUMNS))
        # Untrained, it orders by energy.
        weight[1 + COLUMNS.index("energy")] = -1.0
        self.register_buffer("weight", weight)

    def forward(self, batch: PoseBatch) -> Tensor:
        """Score of each pose, the higher the better `[P]`; only differences have a meaning."""
        return self._columns(batch) @ self.weight

    def above(self, batch: PoseBatch) -> Tensor:
        """How far each pose is below the best of its ligand, in units of the score `[P]`."""
        score = self(batch)
        ligands = int(batch.ligand.max()) + 1 if len(score) else 0
        best = score.new_full((ligands,), -torch.inf)
        best = best.scatter_reduce(0, batch.ligand, score, "amax")
        return best[batch.ligand] - score

    def _columns(self, batch: PoseBatch) -> Tensor:
        atom, other, place, inside = _contacts(batch)
        mine, theirs = batch.atoms[atom, _TYPE], batch.pocket_atoms[other, _POCKET_TYPE]
        energy = self.potential[mine, theirs, place]
        total = batch.columns.new_zeros(len(batch.columns))
        total = total.index_add(0, batch.pose[atom], energy * inside)
        atoms = torch.bincount(batch.pose, minlength=len(total)).clamp(min=1).to(total)
        return torch.cat([(total / atoms.sqrt()).unsqueeze(-1), batch.columns], dim=-1)


def fit_linear(
    sets: Sequence[PoseSet], rmsd: Sequence[Tensor], natives: Sequence[PoseSet]
) -> LinearScore:
    """Fit the potential to right poses, and then the weights to the order of poses.

    Args:
        sets: poses of each ligand.
        rmsd: their RMSD to the truth `[K]`, Å.
        natives: poses close to the truth, of the same ligands or others.
    """
    score = LinearScore()
    score.potential.copy_(_potential(natives))
    useful = [i for i, r in enumerate(rmsd) if len(r) > 1 and float(r.min()) < RIGHT]
    if not useful:
        return score
    columns = [score._columns(pack([sets[i]])).double() for i in useful]
    centred = [x - x.mean(0) for x in columns]
    scale = torch.cat(centred).std(0).clamp(min=1e-6)
    most = max(map(len, centred))
    x = torch.stack([functional.pad(c / scale, (0, 0, 0, most - len(c))) for c in centred])
    there = torch.tensor([[k < len(c) for k in range(most)] for c in centred])
    gaps = [most - len(rmsd[i]) for i in useful]
    right = torch.stack(
        [functional.pad(rmsd[i] < RIGHT, (0, gap)) for i, gap in zip(useful, gaps, strict=True)]
    )
    weight = x.new_zeros(x.shape[-1]).requires_grad_()
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logit = torch.log_softmax((x @ weight).masked_fill(~there, -torch.inf), 1)
        total = -torch.logsumexp(logit.masked_fill(~right, -torch.inf), 1).mean()
        total = total + _PENALTY * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    score.weight.copy_((weight.detach() / scale).float())
    return score


def _contacts(batch: PoseBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ligand atom, pocket atom, bin of the distance, and whether there is one, of each contact."""
    atom, other = batch.contact
    place = ((batch.contact_shape[:, 0] - _CLOSEST) / _WIDTH).floor()
    return atom, other, place.long().clamp(0, _BINS - 1), place >= 0


def _potential(natives: Sequence[PoseSet]) -> Tensor:
    """Contact potential `[types, types, bins]`: every ligand counts once, whatever its poses."""
    kinds = len(TYPES)
    counts = torch.zeros(kinds * kinds * _BINS, dtype=torch.float64)
    for poses in natives:
        if len(poses) == 0:
            continue
        batch = pack([poses])
        atom, other, place, inside = _contacts(batch)
        pair = batch.atoms[atom, _TYPE] * kinds + batch.pocket_atoms[other, _POCKET_TYPE]
        counts.index_add_(0, pair * _BINS + place, inside.double() / len(poses))
    counts = counts.view(1, kinds * kinds, _BINS)
    smooth = functional.pad(counts, (1, 1), mode="replicate")[0]
    smooth = 0.25 * smooth[:, :-2] + 0.5 * smooth[:, 1:-1] + 0.25 * smooth[:, 2:]
    if not float(smooth.sum()):
        return torch.zeros(kinds, kinds, _BINS)
    usual = smooth.sum(0) / smooth.sum()
    expected = smooth.sum(1, keepdim=True) * usual
    odds = (smooth + _PSEUDO * usual) / (expected + _PSEUDO * usual).clamp(min=1e-12)
    potential = -odds.clamp(min=1e-12).log()
    return potential.clamp(-_STRONGEST, _STRONGEST).float().view(kinds, kinds, _BINS)

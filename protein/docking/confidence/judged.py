r"""Judgements of poses whose answer is known, and what makes probabilities of them.

Because networks are too sure of themselves, the weight of the linear score beside them is fitted
to the logits of ligands that they never saw. Platt's scaling (Platt 1999) then turns the sum into
a probability. It is fitted to the poses that a user of a search would see: the first nine that
differ from each other. Poses that a user gives, of any number and any origin, have no search
beside them: their scaling is fitted to one to sixteen poses out of each search, the best or any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.confidence.linear import RIGHT
from protein.docking.confidence.network import HIGH, PoseRanker
from protein.docking.confidence.pose_set import PoseSet, pack
from protein.docking.confidence.ranker import Calibration, Platt
from protein.docking.search.ranking import spread_out
from sciddiff.calibration import auroc, brier, expected_calibration_error

__all__ = [
    "Judged",
    "REPORTED",
    "calibration",
    "few_of",
    "judge",
    "linear_weight",
    "platt",
    "summary",
]

REPORTED = 9
"""Number of poses that a user sees."""

FEW = (1, 2, 4, 8, 16)
"""Numbers of poses that users give."""

_SHARP = 3.0
_WEIGHTS = [0.05 * i for i in range(61)]


@dataclass(frozen=True, eq=False)
class Judged:
    """Judgement of the poses that a search found for a ligand, in the order of their energy.

    Attributes:
        logit: logit of P(RMSD < 2 Å) `[K]`.
        rmsd: `[K]`, Å.
        above: how far each is below the best linear score `[K]`.
        apart: RMSD between poses `[K, K]`, Å.
    """

    logit: NDArray[np.float64]
    rmsd: NDArray[np.float64]
    above: NDArray[np.float64]
    apart: NDArray[np.float64]

    def ordered_by(self, logit: NDArray[np.float64]) -> Judged:
        """The same poses with other logits `[K]`."""
        return replace(self, logit=logit)

    def reported(self, poses: int = REPORTED) -> list[int]:
        """The poses that a user sees, the best first."""
        order = np.argsort(-self.logit, kind="stable").tolist()
        return self._apart(order, poses)

    def by_energy(self, poses: int = REPORTED) -> float:
        """Least RMSD of as many poses that a user sees without a ranker, Å."""
        return float(self.rmsd[self._apart(range(len(self.rmsd)), poses)].min())

    def _apart(self, order: Sequence[int], poses: int) -> list[int]:
        return spread_out(order, lambda i, kept: self.apart[i, kept], poses)


@torch.no_grad()
def judge(net: PoseRanker, poses: PoseSet, rmsd: Tensor) -> Judged:
    """Judge the poses of a ligand.

    Args:
        net: a network.
        poses: the poses.
        rmsd: symmetry-corrected, to the crystal pose `[K]`, Å.
    """
    batch = pack([poses])
    behind = net.linear.above(batch).clamp(max=HIGH)
    logit, _ = net(batch, behind)
    found = (logit, rmsd, behind, poses.apart)
    return Judged(*(x.double().numpy() for x in found))


def few_of(net: PoseRanker, poses: PoseSet, rmsd: Tensor, seed: int) -> Iterator[Judged]:
    """Judge few of the poses of a ligand as if they were all: those of least energy, and any.

    Args:
        net: a network.
        poses: the poses of a search, in the order of their energy.
        rmsd: symmetry-corrected, to the crystal pose `[K]`, Å.
        seed: seed of the choice.
    """
    rng = np.random.default_rng(seed)
    for number in FEW:
        if number <= len(poses):
            for places in (np.arange(number), np.sort(rng.permutation(len(poses))[:number])):
                chosen = torch.from_numpy(places)
                yield judge(net, poses.taken(chosen), rmsd[chosen])


def platt(
    columns: NDArray[np.floating],
    right: NDArray[np.bool_],
    share: NDArray[np.floating] | None = None,
) -> Platt:
    """Logistic regression, by Newton's method.

    Args:
        columns: `[n, F]`.
        right: `[n]`.
        share: how much each row counts `[n]`; None: all alike.
    """
    count = np.ones(len(right)) if share is None else np.asarray(share, np.float64)
    ones = np.ones((len(columns), 1))
    x = np.concatenate([np.asarray(columns, np.float64), ones], axis=-1)
    # Platt's targets: a finite slope even if the two kinds do not overlap.
    yes, no = int(right.sum()), int((~right).sum())
    y = np.where(right, (yes + 1) / (yes + 2), 1 / (no + 2))
    w = np.zeros(x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        hessian = (x * (count * p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(len(w))
        step = np.linalg.solve(hessian, x.T @ (count * (p - y)))
        w = w - step * min(1.0, 2.0 / max(1e-9, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-10:
            break
    return Platt(tuple(w[:-1].tolist()), float(w[-1]))


def linear_weight(judged: Sequence[Judged]) -> float:
    r"""Weight of the linear score beside the logits when the poses of a ligand are ordered.

    The w for which a sharp softmax of :math:`\mathrm{logit} - w\,\mathrm{above}` puts a right pose
    first most often.

    Args:
        judged: ligands that the networks never saw.
    """
    useful = [j for j in judged if float(j.rmsd.min()) < RIGHT <= float(j.rmsd.max())]

    def success(w: float) -> float:
        shares = [torch.softmax(_SHARP * torch.from_numpy(j.logit - w * j.above), 0)
                  for j in useful]  # fmt: skip
        pairs = zip(shares, useful, strict=True)
        return sum(float(share[torch.from_numpy(j.rmsd < RIGHT)].sum()) for share, j in pairs)

    return max(_WEIGHTS, key=success) if useful else 0.0


def calibration(judged: Sequence[Judged], few: Sequence[Judged]) -> Calibration:
    """The probability of the poses that a search reports, and of poses that are given.

    Args:
        judged: ligands that the networks never saw.
        few: few poses of such ligands, see ``few_of``.
    """
    trust = linear_weight(judged)
    plain = Calibration(trust)
    each = [(j, plain.columns(j.logit, j.above)) for j in judged]
    seen = [(j.ordered_by(x[:, 0]).reported(), j, x) for j, x in each]
    right = np.concatenate([j.rmsd[k] for k, j, _ in seen]) < RIGHT
    found = platt(np.concatenate([x[k] for k, _, x in seen]), right)
    columns = [plain.columns(j.logit, j.above) for j in few]
    right = np.concatenate([j.rmsd for j in few]) < RIGHT
    share = np.concatenate([np.full(len(j.rmsd), 1.0 / len(j.rmsd)) for j in few])
    return Calibration(trust, found, platt(np.concatenate(columns), right, share))


def summary(judged: Sequence[Judged], best_of: int = REPORTED) -> dict[str, Any]:
    """Success by energy and by confidence, and the quality of the probabilities.

    Args:
        judged: judgements, one per ligand.
        best_of: number of poses that a user looks at.
    """
    seen = [j.reported(best_of) for j in judged]
    pairs = list(zip(judged, seen, strict=True))
    logit = np.concatenate([j.logit[k] for j, k in pairs])
    right = np.concatenate([j.rmsd[k] for j, k in pairs]) < RIGHT
    p = 1 / (1 + np.exp(-np.clip(logit, -500.0, 500.0)))
    return {
        "ligands": len(judged),
        "top1_energy": float(np.mean([j.rmsd[0] < RIGHT for j in judged])),
        "top1_linear": float(np.mean([j.rmsd[j.above.argmin()] < RIGHT for j in judged])),
        "top1": float(np.mean([j.rmsd[k[0]] < RIGHT for j, k in pairs])),
        f"best{best_of}_energy": float(np.mean([j.by_energy(best_of) < RIGHT for j in judged])),
        f"best{best_of}": float(np.mean([j.rmsd[k].min() < RIGHT for j, k in pairs])),
        "any": float(np.mean([j.rmsd.min() < RIGHT for j in judged])),
        "reported": len(right),
        "auroc": auroc(p, right),
        "calibration_error": expected_calibration_error(p, right),
        "brier": brier(p, right),
    }

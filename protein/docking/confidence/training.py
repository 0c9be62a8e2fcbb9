r"""Training of the ranker on poses that our search finds for complexes with known answers.

Three losses: the cross-entropy of :math:`P(\mathrm{RMSD} < 2\,\text{Å})`, the share of the right
poses in a softmax over the poses of a ligand, and the logarithm of the RMSD. Every network starts
from a linear score (``linear``) that was fitted to the same complexes. Complexes of one cluster
are in one fold, and the logits of a fold come from networks that never saw its clusters. Because
networks are too sure of themselves, the weight of the linear score beside them is fitted to these
logits. Platt's scaling (Platt 1999) then turns the sum into a probability. It is fitted to the
poses that a user would see: the first nine that differ from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from protein.docking.confidence.linear import RIGHT, fit_linear
from protein.docking.confidence.network import HIGH, Committee, PoseRanker
from protein.docking.confidence.pose_set import PoseSet, pack
from protein.docking.confidence.ranker import Calibration, Ranker
from protein.docking.search.ranking import spread_out
from sciddiff.calibration import auroc, brier, expected_calibration_error
from sciddiff.errors import InputError

REPORTED = 9
"""Number of poses that a user sees."""

_REACHED = 12.0
_SHARP = 3.0
_WEIGHTS = [0.05 * i for i in range(61)]


@dataclass(frozen=True, eq=False)
class Example:
    """Poses of a complex whose answer is known.

    Attributes:
        name: name of the complex.
        poses: the poses that the search found, as the ranker sees them.
        rmsd: symmetry-corrected, to the crystal pose `[K]`, Å.
        native: poses that were started from the crystal pose and stayed close to it, from whose
            contacts the potential of the linear score is learned. They are never ranked: their
            conformers were fitted to the answer, and their energies are not those of a search.
        cluster: complexes of one cluster are never on both sides of a split.
    """

    name: str
    poses: PoseSet
    rmsd: Tensor
    native: PoseSet
    cluster: str


@dataclass(frozen=True)
class RankerSettings:
    """Settings of the training.

    Attributes:
        width: width of the network.
        dropout: dropout of the network.
        epochs: number of passes over the complexes.
        ligands: number of ligands in a batch.
        poses: number of poses of each ligand in a batch.
        rate: highest learning rate.
        decay: weight decay.
        listwise: weight of the softmax over the poses of a ligand.
        distance: weight of the loss of log RMSD.
        folds: number of folds into which the clusters are divided.
        seed: seed of the network and of all random draws.
    """

    width: int = 32
    dropout: float = 0.2
    epochs: int = 6
    ligands: int = 8
    poses: int = 12
    rate: float = 2e-3
    decay: float = 0.2
    listwise: float = 1.0
    distance: float = 0.2
    folds: int = 5
    seed: int = 0


OnEpoch = Callable[[int, float], None]
"""Called with the number of an epoch and its mean loss."""


def fit(
    examples: Sequence[Example],
    settings: RankerSettings = RankerSettings(),
    on_epoch: OnEpoch | None = None,
) -> PoseRanker:
    """Train one network, whose parameters are averaged over the last third of the steps.

    Args:
        examples: examples to learn from.
        settings: how to train.
        on_epoch: called after every epoch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = PoseRanker(settings.width, dropout=settings.dropout)
        net.linear = fit_linear(
            [e.poses for e in examples], [e.rmsd for e in examples], [e.native for e in examples]
        )
        behind = [net.linear.above(pack([e.poses])) for e in examples]
        optimizer = torch.optim.AdamW(net.parameters(), settings.rate, (0.9, 0.99),
                                      weight_decay=settings.decay)  # fmt: skip
        steps = settings.epochs * -(-len(examples) // settings.ligands)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.rate, total_steps=steps + 1, pct_start=0.15
        )
        mean = torch.optim.swa_utils.AveragedModel(net)
        rng = np.random.default_rng(settings.seed)
        step = 0
        for epoch in range(settings.epochs):
            total = 0.0
            for group in _groups(len(examples), settings.ligands, rng):
                chosen = [(examples[i], behind[i]) for i in group]
                loss = _loss(net, chosen, settings, rng)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                step += 1
                if step > 2 * steps // 3:
                    mean.update_parameters(net)
                total += float(loss.detach()) * len(group)
            if on_epoch is not None:
                on_epoch(epoch, total / len(examples))
    averaged: PoseRanker = mean.module  # type: ignore[assignment]
    return averaged.eval()


@torch.no_grad()
def judge(net: PoseRanker, example: Example) -> Judged:
    """Judge the poses of a ligand."""
    batch = pack([example.poses])
    behind = net.linear.above(batch).clamp(max=HIGH)
    logit, _ = net(batch, behind)
    found = (logit, example.rmsd, behind, example.poses.apart)
    return Judged(*(x.double().numpy() for x in found))


def folds(clusters: Sequence[str], count: int) -> NDArray[np.int64]:
    """Fold of each complex; whole clusters go into the emptiest fold, the largest first.

    Args:
        clusters: clusters of the complexes.
        count: number of folds.
    """
    names, inverse, sizes = np.unique(
        np.asarray(clusters), return_inverse=True, return_counts=True
    )
    fold = np.zeros(len(names), dtype=np.int64)
    filled = np.zeros(count, dtype=np.int64)
    for i in np.argsort(-sizes, kind="stable"):
        fold[i] = filled.argmin()
        filled[fold[i]] += sizes[i]
    return fold[inverse]


def platt(
    columns: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Weights and shift of a logistic regression, by Newton's method.

    Args:
        columns: `[n, F]`.
        right: `[n]`.

    Returns:
        Weights `[F]` and the shift.
    """
    ones = np.ones((len(columns), 1))
    x = np.concatenate([np.asarray(columns, np.float64), ones], axis=-1)
    # Platt's targets: a finite slope even if the two kinds do not overlap.
    yes, no = int(right.sum()), int((~right).sum())
    y = np.where(right, (yes + 1) / (yes + 2), 1 / (no + 2))
    w = np.zeros(x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(len(w))
        step = np.linalg.solve(hessian, x.T @ (p - y))
        w = w - step * min(1.0, 2.0 / max(1e-9, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-10:
            break
    return w[:-1], float(w[-1])


def train_ranker(
    examples: Sequence[Example],
    settings: RankerSettings = RankerSettings(),
    on_epoch: OnEpoch | None = None,
    further: Sequence[Example] = (),
) -> tuple[Ranker, dict[str, Any]]:
    """Train one network for each fold on the others, and calibrate them.

    Together the networks are the ranker. The judgement of each on its own fold, which it never
    saw, measures how good and how certain they are.

    Args:
        examples: examples with their clusters.
        settings: how to train.
        on_epoch: called after every epoch; epochs are counted through all folds.
        further: other poses of the same complexes, which are not among the scored ones.

    Returns:
        The ranker, and scores on the folds that were left out; those of the further poses, by the
        same calibration, have names that begin with ``further_``.

    Raises:
        InputError: there are fewer clusters than folds.
    """
    fold = folds([e.cluster for e in examples], settings.folds)
    if len(np.unique(fold)) < settings.folds:
        raise InputError(
            f"examples: {len(set(e.cluster for e in examples))} clusters for {settings.folds} "
            "folds; give more complexes, or fewer --folds"
        )
    committee = Committee(settings.folds, settings.width, dropout=settings.dropout).eval()
    judged: list[Judged] = []
    others: list[Judged] = []
    for k in range(settings.folds):
        chosen = [e for e, f in zip(examples, fold, strict=True) if f != k]
        names = {e.name for e in chosen}
        left = {e.name for e in examples} - names
        chosen += [e for e in further if e.name in names]

        def tell(epoch: int, loss: float, first: int = k * settings.epochs) -> None:
            if on_epoch is not None:
                on_epoch(first + epoch, loss)

        net = fit(chosen, replace(settings, seed=settings.seed + k), tell)
        committee[k] = net
        for example, f in zip(examples, fold, strict=True):
            if f == k and len(example.rmsd):
                judged.append(judge(net, example))
        others += [judge(net, e) for e in further if e.name in left and len(e.rmsd)]
    found = calibration(judged)
    scores = _scores(judged, found)
    if others:
        scores |= {f"further_{name}": value for name, value in _scores(others, found).items()}
    return Ranker(committee, found, {}), scores


def _scores(judged: Sequence[Judged], found: Calibration) -> dict[str, Any]:
    return summary([j.ordered_by(found.logits(j.logit, j.above)) for j in judged])


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


def calibration(judged: Sequence[Judged]) -> Calibration:
    """The probability of reported poses.

    Args:
        judged: ligands that the networks never saw.
    """
    trust = linear_weight(judged)
    each = [(j, Calibration(trust).columns(j.logit, j.above)) for j in judged]
    seen = [(j.ordered_by(x[:, 0]).reported(), j, x) for j, x in each]
    right = np.concatenate([j.rmsd[k] for k, j, _ in seen]) < RIGHT
    weights, shift = platt(np.concatenate([x[k] for k, _, x in seen]), right)
    return Calibration(trust, tuple(weights.tolist()), shift)


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


def _groups(total: int, size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    order = rng.permutation(total).tolist()
    for start in range(0, total, size):
        yield order[start : start + size]


def _loss(
    net: PoseRanker,
    given: Sequence[tuple[Example, Tensor]],
    settings: RankerSettings,
    rng: np.random.Generator,
) -> Tensor:
    chosen = [_choice(*each, settings.poses, rng) for each in given]
    examples = [example for example, _ in given]
    batch = pack([e.poses for e in examples], chosen)
    rmsd = torch.cat([e.rmsd[c] for e, c in zip(examples, chosen, strict=True)])
    logit, distance = net(batch, torch.cat([x[1][c] for x, c in zip(given, chosen, strict=True)]))
    right = (rmsd < RIGHT).to(logit)
    loss = functional.binary_cross_entropy_with_logits(logit, right)
    loss = loss + settings.distance * functional.smooth_l1_loss(
        distance, rmsd.clamp(0.3, 10.0).log()
    )
    listwise = logit.new_zeros(())
    for number in range(len(examples)):
        mine = batch.ligand == number
        near = rmsd[mine]
        if float(near.min()) < RIGHT:
            shares = functional.log_softmax(logit[mine], 0)
            listwise = listwise - torch.logsumexp(shares[near < RIGHT], 0)
    return loss + settings.listwise * listwise / len(examples)


def _choice(example: Example, behind: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """Poses for one batch, the best by the linear score most often: what is ranked later is the
    top of the list. A right pose is among them, if there is one."""
    place = behind.argsort().argsort().numpy()
    keys = rng.gumbel(size=len(place)) - place / _REACHED
    picked = np.argsort(-keys)[:most]
    right = np.flatnonzero((example.rmsd < RIGHT).numpy())
    if len(right) and not np.isin(picked, right).any():
        picked[-1] = rng.choice(right)
    return torch.from_numpy(picked)

r"""Training of the ranker on poses that our search finds for complexes with known answers.

Three losses: the cross-entropy of :math:`P(\mathrm{RMSD} < 2\,\text{Å})`, the share of the right
poses in a softmax over the poses of a ligand, and the logarithm of the RMSD. Every network starts
from a linear score (``linear``) that was fitted to the same complexes. Complexes of one cluster
are in one fold, and the logits of a fold come from networks that never saw its clusters; to these
the probabilities are fitted (``judged``).
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

from protein.docking.confidence.judged import Judged, calibration, few_of, judge, summary
from protein.docking.confidence.linear import RIGHT, fit_linear
from protein.docking.confidence.network import Committee, PoseRanker
from protein.docking.confidence.pose_set import PoseSet, pack
from protein.docking.confidence.ranker import Calibration, Ranker
from sciddiff.errors import InputError
from sciddiff.streams import seed_of

_REACHED = 12.0


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
    few: list[Judged] = []
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
                judged.append(judge(net, example.poses, example.rmsd))
                seed = seed_of(settings.seed, "few", example.name)
                few += few_of(net, example.poses, example.rmsd, seed)
        others += [judge(net, e.poses, e.rmsd) for e in further if e.name in left and len(e.rmsd)]
    found = calibration(judged, few)
    scores = _scores(judged, found)
    if others:
        scores |= {f"further_{name}": value for name, value in _scores(others, found).items()}
    return Ranker(committee, found, {}), scores


def _scores(judged: Sequence[Judged], found: Calibration) -> dict[str, Any]:
    return summary([j.ordered_by(found.logits(j.logit, j.above)) for j in judged])


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

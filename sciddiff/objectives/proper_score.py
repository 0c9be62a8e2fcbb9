r"""ProperScore: a network learns to draw in one step, by being scored as a forecaster.

K members are drawn from pure noise by one evaluation of the denoiser each,
:math:`x^k = \hat x_1(\sigma(0)\, x_0^k, t = 0)`, and the ensemble is scored against the truth with
a proper score (`sciddiff.objectives.scores`), so that its members are draws from the law of the
data given the conditions (FGN, Alet et al. 2025; AIFS-CRPS, Lang et al. 2024). It is the same
denoiser that `Denoising` trains: to draw with the result, sample with a grid of one step.

A score of single entries knows nothing of how they go together. `ScoreTerm` adds scores of
transformed fields (spectra, differences, regional means), which do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.leaf_times import time_dtype
from sciddiff.objectives.base import LossOutput, Objective
from sciddiff.objectives.rollout import Rollout
from sciddiff.objectives.scores import Distance, energy_score, fair_crps
from sciddiff.paths.base import Path
from sciddiff.state import Batch, Layout, State
from sciddiff.streams import Generator

__all__ = ["ProperScore", "ScoreTerm", "energy_score", "fair_crps"]


@final
@dataclass(frozen=True)
class ScoreTerm:
    """A further score, of a transform of one leaf.

    Attributes:
        transform: From data ``[n, ...]`` to ``[n, ...]`` of any other shape, real or complex,
            sample by sample. The score is of degree one in its output: weights of single
            coefficients are factors there.
        weight: Factor of the score.
        leaf: Which leaf; empty: the first.
        distance: Score whole points by this distance (``[B]``); None: CRPS, entry by entry.
        name: Name in logs.
    """

    transform: Callable[[Tensor], Tensor]
    weight: float = 0.1
    leaf: str = ""
    distance: Distance | None = None
    name: str = "transform"


@final
@dataclass(frozen=True)
class ProperScore(Objective):
    """Draw an ensemble in one step, and score it.

    The loss of a sample is, summed over leaves, their score averaged over real, free rows and
    their entries, plus the terms; averaged over the steps of a roll-out. Entries are weighted by
    the path's ``loss_weight`` where they are scored one by one.

    Attributes:
        members: Size of the ensembles, K; the batch is repeated as often.
        alpha: 1: fair score, 0: biased, between: almost fair.
        weights: Weight of each leaf; 1 if left out.
        distances: Leaves scored as points by a distance, instead of entry by entry (CRPS). It
            gets two tensors ``[n, B, ...]`` and returns ``[n, B]``, or ``[n, B, N]`` with one
            number per row. Curved leaves need one; it should be of negative type (the
            geodesic distance of rotations is not, the chordal one is).
        terms: Further scores, of transforms.
        rollout: Practise several steps in a row; None: one.

    Raises:
        InputError: Fewer than two members, or alpha outside [0, 1].
    """

    members: int = 2
    alpha: float = 0.95
    weights: dict[str, float] = field(default_factory=dict)
    distances: dict[str, Distance] = field(default_factory=dict)
    terms: Sequence[ScoreTerm] = ()
    rollout: Rollout | None = None

    def __post_init__(self) -> None:
        if self.members < 2:
            raise InputError(f"ProperScore.members: {self.members}; a spread needs two or more")
        if not 0.0 <= self.alpha <= 1.0:
            raise InputError(f"ProperScore.alpha: {self.alpha} is not in [0, 1]")

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The score of an ensemble for every sample of a batch.

        Args:
            denoiser: What learns.
            batch: Data, and with a roll-out the truth of later steps.
            generator: Random source of the noise and of the number of steps.
            teacher: Not used.

        Raises:
            InputError: A leaf cannot be scored, or targets of a roll-out are missing.
        """
        self._check(denoiser)
        steps = 1 if self.rollout is None else self.rollout.draw(batch, generator)
        # Ragged rows are put in the order of their samples, as in the repeated batch.
        numbers = torch.arange(batch.size, device=batch.device)
        batch = batch.select(numbers)
        wide, data = batch.select(numbers.repeat(self.members)), {}
        total, metrics = torch.zeros((), device=batch.device), {}
        for step in range(steps):
            if step and self.rollout is not None:
                wide = self.rollout.next(wide, data)
            data = self._predict(denoiser, wide, batch, generator)
            loss, told = self._score(denoiser, data, wide, batch)
            total, metrics = total + loss / steps, metrics or told
        loss = total.mean()
        metrics["loss"] = loss.detach()
        return LossOutput(loss, metrics, total.detach())

    def _check(self, denoiser: Denoiser) -> None:
        paths = denoiser.path.paths
        named = [*self.weights, *self.distances, *(t.leaf for t in self.terms if t.leaf)]
        for name in named:
            if name not in paths:
                raise InputError(f"ProperScore: unknown leaf {name!r}; leaves: {', '.join(paths)}")
        for name, path in paths.items():
            if name not in self.distances and not path.flat:
                raise InputError(
                    f"ProperScore: leaf {name!r} is on a {type(path).__name__} and has no entries "
                    "to score; give distances a function for it"
                )
            if path.first_time > 0.0:
                raise InputError(
                    f"ProperScore: no data follow at t = 0 from what is predicted for leaf "
                    f"{name!r} (its parametrization is noise or score); use data, velocity, v or "
                    "edm"
                )

    def _predict(
        self, denoiser: Denoiser, wide: Batch, batch: Batch, generator: Generator | None
    ) -> State:
        """One draw of every member from pure noise: leaves ``[K * B, ...]``."""
        path = denoiser.path
        # One draw after the other: a member is the same whatever the size of its ensemble.
        draws = [path.prior(batch.x, generator, batch.layouts) for _ in range(self.members)]
        x = {}
        for name, one in path.paths.items():
            first = one.first_state(torch.cat([draw[name] for draw in draws]))
            x[name] = wide.layouts[name].hold(first, wide.x[name])
        some = next(iter(x.values()))
        t = torch.zeros(wide.size, dtype=time_dtype(x), device=some.device)
        predictions = denoiser(x, t, wide)
        return {name: prediction.data for name, prediction in predictions.items()}

    def _score(
        self, denoiser: Denoiser, data: State, wide: Batch, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Score of each sample ``[B]``, and numbers for logs."""
        total, metrics = torch.zeros((), device=batch.device), {}
        ensembles = {
            name: _ensemble(data[name], wide.x[name], self.members, path)
            for name, path in denoiser.path.paths.items()
        }
        for name, path in denoiser.path.paths.items():
            members, truth = ensembles[name]
            layout = batch.layouts[name]
            plain = self._leaf_score(name, path, members, truth, layout)
            metrics[f"loss/{name}"] = plain.detach().mean()
            if name not in self.distances:
                metrics[f"spread_skill/{name}"] = _spread_skill(members, truth, layout)
            total = total + self.weights.get(name, 1.0) * plain
        for term in self.terms:
            name = term.leaf or next(iter(ensembles))
            members, truth = ensembles[name]
            if batch.layouts[name].ragged:
                raise InputError(f"ProperScore.terms: leaf {name!r} is ragged; use dense batches")
            scored = self._term_score(term, members, truth)
            metrics[f"loss/{term.name}"] = scored.detach().mean()
            total = total + term.weight * scored
        return total, metrics

    def _leaf_score(
        self, name: str, path: Path, members: Tensor, truth: Tensor, layout: Layout
    ) -> Tensor:
        if name in self.distances:
            score = energy_score(members, truth, self.distances[name], self.alpha)
            if score.ndim == 1 and not layout.ragged:
                return score
            return layout.free_mean_per_sample(score)
        score = fair_crps(members, truth, self.alpha)
        weight = path.entry_weight(score)
        return layout.free_mean_per_sample(score if weight is None else weight * score)

    def _term_score(self, term: ScoreTerm, members: Tensor, truth: Tensor) -> Tensor:
        everything = term.transform(torch.cat([members.flatten(0, 1), truth]))
        size = len(truth)
        seen = everything[:-size].unflatten(0, (self.members, size))
        if term.distance is not None:
            return energy_score(seen, everything[-size:], term.distance, self.alpha)
        score = fair_crps(seen, everything[-size:], self.alpha)
        return score.reshape(size, -1).mean(1)


def _ensemble(data: Tensor, targets: Tensor, count: int, path: Path) -> tuple[Tensor, Tensor]:
    """Members ``[K, B, ...]`` and their truth ``[B, ...]``.

    After the first step of a roll-out every member may have its own frame of reference and so its
    own target (increments from its own state). Members are compared where they are: the errors
    ``data - target``, put back in the frame of the first.
    """
    members = data.unflatten(0, (count, -1))
    truth = targets.unflatten(0, (count, -1))
    if not path.flat:
        return members, truth[0]
    return members - (truth - truth[:1]), truth[0]


@torch.no_grad()
def _spread_skill(members: Tensor, truth: Tensor, layout: Layout) -> Tensor:
    """Spread of the members over the error of their mean; 1 for members like the truth."""
    count = len(members)
    spread = layout.free_mean_per_sample(members.var(0)).mean() * (1.0 + 1.0 / count)
    error = layout.free_mean_per_sample((members.mean(0) - truth) ** 2).mean()
    return (spread / error).sqrt()

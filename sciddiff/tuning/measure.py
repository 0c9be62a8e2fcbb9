"""What tuning has come to: rewards beside what they cost, as one row a model.

A reward alone says nothing: the surest way to raise it is to draw one sample again and again. So
every row has the divergence from the reference, the entropy and the share of distinct samples, and
a *judge*, a reward that nothing was tuned on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.state import Batch, State
from sciddiff.steering import Reward, steer
from sciddiff.tuning.policy import Tuned
from sciddiff.tuning.trajectories import Trajectories, lawful, log_probs, path_divergence
from sciddiff.tuning.weighted import best_of

__all__ = ["Figures", "Row", "measure", "measure_best_of"]


@final
@dataclass(frozen=True)
class Figures:
    """A mean and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Tensor) -> Figures:
        """Those of independent numbers ``[n]``; without an error for one of them."""
        values = values.double()
        spread = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        return cls(float(values.mean()), spread)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.error:.3f}"


@final
@dataclass(frozen=True)
class Row:
    """How the samples of one model are.

    Attributes:
        name: What drew them.
        samples: How many there are.
        reward: What was tuned on.
        judge: A reward that was not; None if there is none.
        path_kl: Divergence of trajectories from those of the reference, nats of a sample; None
            where it is not known.
        bound: Whether that is only a bound from above of the divergence of samples that no
            trajectory has.
        entropy: Nats of a drawn row of tokens, by the model's own probabilities; None for others.
        distinct: Share of the samples that differ from all before them.
    """

    name: str
    samples: int
    reward: Figures
    judge: Figures | None
    path_kl: Figures | None
    bound: bool
    entropy: float | None
    distinct: float

    HEADER = ("", "samples", "reward", "judge", "path KL", "entropy", "distinct")

    def cells(self) -> tuple[str, ...]:
        """The cells of a table under `HEADER`."""
        sign = "≤ " if self.bound else ""
        divergence = "-" if self.path_kl is None else f"{sign}{self.path_kl}"
        return (
            self.name, str(self.samples), str(self.reward),
            "-" if self.judge is None else str(self.judge), divergence,
            "-" if self.entropy is None else f"{self.entropy:.2f}", f"{self.distinct:.3f}",
        )  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """Plain values, for records."""
        figures = {"reward": self.reward, "judge": self.judge, "path_kl": self.path_kl}
        told: dict[str, Any] = {"name": self.name, "samples": self.samples}
        for name, one in figures.items():
            told[name] = None if one is None else round(one.mean, 4)
            told[f"{name}_error"] = None if one is None else round(one.error, 4)
        entropy = None if self.entropy is None else round(self.entropy, 4)
        return {**told, "bound": self.bound, "entropy": entropy, "distinct": self.distinct}


@dataclass
class _Seen:
    """What was collected of samples."""

    rewards: list[Tensor] = field(default_factory=list)
    judged: list[Tensor] = field(default_factory=list)
    apart: list[Tensor] = field(default_factory=list)
    nats: list[Tensor] = field(default_factory=list)
    rows: int = 0
    known: set[bytes] = field(default_factory=set)
    count: int = 0

    def add(self, batch: Batch, x: State, reward: Reward, judge: Reward | None) -> None:
        self.rewards.append(reward(x, batch))
        if judge is not None:
            self.judged.append(judge(x, batch))
        for k in range(batch.size):
            rows = [batch.layouts[name].rows_of(leaf, k) for name, leaf in sorted(x.items())]
            self.known.add(b"|".join(row.detach().cpu().numpy().tobytes() for row in rows))
        self.count += batch.size

    def row(self, name: str, bound: bool = False) -> Row:
        return Row(
            name, self.count, Figures.of(torch.cat(self.rewards)),
            Figures.of(torch.cat(self.judged)) if self.judged else None,
            Figures.of(torch.cat(self.apart)) if self.apart else None, bound,
            -float(torch.cat(self.nats).sum()) / self.rows if self.rows else None,
            len(self.known) / self.count,
        )  # fmt: skip


def measure(
    name: str,
    denoiser: Denoiser,
    tuned: Tuned,
    templates: Iterable[Batch],
    judge: Reward | None,
    seed: int,
) -> Row:
    """Draw one sample for each template, and say how they are.

    Args:
        name: What is measured.
        denoiser: The model.
        tuned: What it was tuned by, and from which reference.
        templates: Templates that nothing was tuned on.
        judge: A reward that nothing was tuned on.
        seed: Seed of the samples.
    """
    seen = _Seen()
    for batch in templates:
        numbers = torch.arange(seen.count, seen.count + batch.size)
        drawn = tuned.draw(tuned.policy(denoiser, batch), batch, seed, numbers)
        seen.add(batch, drawn.x, tuned.reward, judge)
        try:
            reference = tuned.policy(tuned.reference, batch)
            seen.apart.append(path_divergence(drawn, reference).sum(1))
            _add_nats(seen, drawn)
        except InputError:  # the laws of its steps are not known
            seen.apart.clear()
    return seen.row(name)


def _add_nats(seen: _Seen, drawn: Trajectories) -> None:
    """Log-probabilities of trajectories of tokens, and how many rows they drew."""
    start, rows = drawn.states[0], 0
    for name, path in drawn.path.paths.items():
        hidden, layout = path.hidden(start[name]), drawn.like.layouts[name]
        if hidden is None:
            return
        free = layout.free(hidden)
        free = hidden if free is None else hidden & free
        rows += int((free if layout.ties is None else free & layout.ties.leading).sum())
    seen.nats.append(log_probs(drawn).sum(1))
    seen.rows += rows


def measure_best_of(
    tuned: Tuned, templates: Iterable[Batch], judge: Reward | None, seed: int
) -> Row:
    """The same of the reference, of whose samples one of a group is kept by its weight.

    The divergence is bounded by that of all samples and the choice together, the mean of
    :math:`\\sum_i w_i \\log(n w_i)`. It takes the calls of so many samples for each.

    Args:
        tuned: The reference, the reward, the temperature and the size of groups.
        templates: Templates.
        judge: A reward that nothing was tuned on.
        seed: Seed of the samples.
    """
    seen = _Seen()
    for batch in templates:
        policy = tuned.policy(tuned.reference, batch)
        sampler = best_of(
            lawful(tuned.drawing.sampler, policy), tuned.reward, tuned.group, tuned.beta
        )
        numbers = torch.arange(seen.count, seen.count + batch.size)
        found = steer(policy, batch, sampler, tuned.times(batch), seed, indices=numbers)
        seen.add(batch, found.x, tuned.reward, judge)
        weights = found.weights
        seen.apart.append((torch.xlogy(weights, weights * tuned.group)).sum(1))
    return seen.row(f"best of {tuned.group}", bound=True)

r"""Learning from weighted samples: the baselines that every other way of tuning must beat.

`best_of` draws several samples for each one and keeps one of them by its weight
:math:`e^{R/\beta}`; it changes no network, and costs so many times the calls. `RewardedSamples`
shows the training of a model its own samples as often as their weights say (filtered or
reward-weighted regression; Peters & Schaal, 2007; Dong et al., *RAFT*, 2023), so that the network
fits the tilted law itself. It needs no law of steps, so that any model can learn so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from sciddiff.distillation import OwnSamples, StandIn, shuffled
from sciddiff.rare_events import effective_sizes, systematic
from sciddiff.samplers import Sampler
from sciddiff.state import Batch
from sciddiff.steering import Reward, Steered
from sciddiff.streams import Streams, seed_of, uniform_per_sample

__all__ = ["GROUP", "RewardedSamples", "best_of", "group_weights"]

GROUP = "tuning_group"
"""Key of ``batch.cond`` with the number of the template of each sample, int64 ``[B]``."""


def best_of(sampler: Sampler, reward: Reward, n: int, beta: float) -> Steered:
    """Keep one of n finished samples of a template, by its weight ``exp(reward / beta)``.

    With a small beta it is the best of them, whose divergence from the model is at most
    ``log(n) - (n - 1) / n`` nats; with many samples the law is the tilted one.

    Args:
        sampler: How samples are drawn.
        reward: What is wanted.
        n: Samples of which one is kept.
        beta: The temperature, in units of the reward for one nat.
    """
    finished = Reward(reward.of, finished_only=True, differentiable=reward.differentiable)
    return Steered(sampler, finished, n, 1.0 / beta, every=1)


def group_weights(rewards: Tensor, group: Tensor, beta: float) -> Tensor:
    """Weights ``exp(reward / beta)`` that add up to 1 in every group, float64 ``[B]``.

    >>> group_weights(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([7, 7, 8]), 1.0)
    tensor([0.5000, 0.5000, 1.0000], dtype=torch.float64)

    Args:
        rewards: ``[B]``.
        group: Number of the group of each, int64 ``[B]``.
        beta: The temperature.
    """
    _, own = group.unique(return_inverse=True)
    tilt = rewards.double() / beta
    most = torch.full((int(own.max()) + 1,), -torch.inf, dtype=torch.float64)
    most = most.scatter_reduce(0, own, tilt, "amax")
    weight = (tilt - most[own]).exp()
    return weight / torch.zeros_like(most).index_add(0, own, weight)[own]


@final
class RewardedSamples(StandIn):
    """Samples of a model as training data, each as often as its weight says.

    Every epoch draws them anew, systematically, as many as there are. Weights of a template's
    samples add up to the number of these, so that no template is preferred.

    Args:
        own: The samples; their batches have the condition `GROUP`.
        reward: What is wanted.
        beta: The temperature, in units of the reward for one nat.
    """

    def __init__(self, own: OwnSamples, reward: Reward, beta: float) -> None:
        super().__init__(own.domain)
        self._batches: list[Batch] = []
        self._weights: list[Tensor] = []
        self._told: list[tuple[Tensor, Tensor, Tensor]] = []
        for batch in own.train_batches(0, 0, 0, 1):
            rewards, group = reward(batch.x, batch), batch.cond[GROUP].cpu()
            weights = group_weights(rewards, group, beta)
            _, number, size = group.unique(return_inverse=True, return_counts=True)
            self._batches.append(batch)
            self._weights.append(weights * size[number] / batch.size)
            self._told.append((rewards, weights, group))

    def train_batches(self, epoch: int, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """One batch for each that was drawn, with samples by their weights."""
        count = len(self._batches)
        u = uniform_per_sample(count, Streams.first(seed_of(seed, "rewarded", epoch), count))
        for number in shuffled(count, epoch, seed, rank, world):
            chosen = systematic(self._weights[number], float(u[number]))
            yield self._batches[number].select(chosen)

    @property
    def effective(self) -> float:
        """Mean over templates of the effective number of their samples."""
        sizes = [
            float(effective_sizes(weights[group == one].log()))
            for _, weights, group in self._told
            for one in group.unique()
        ]
        return sum(sizes) / len(sizes)

    @property
    def wanted(self) -> float:
        """The mean reward that the tilted law has, by these samples."""
        each = [float((rewards * weights).sum()) for rewards, weights, _ in self._told]
        groups = [len(group.unique()) for _, _, group in self._told]
        return sum(each) / sum(groups)

"""How a model is tuned: the method, what it learns from, and how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch

from sciddiff.checkpoint import Model
from sciddiff.distillation import OwnSamples, learning_of
from sciddiff.domains import Domain
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.objectives import Objective
from sciddiff.state import Batch
from sciddiff.steering import Reward, particles_of
from sciddiff.streams import seed_of
from sciddiff.tuning.gradient import RewardGradient
from sciddiff.tuning.policy import PolicyGradient, Tuned
from sciddiff.tuning.templates import Templates, split
from sciddiff.tuning.trajectories import path_divergence
from sciddiff.tuning.weighted import GROUP, RewardedSamples

__all__ = ["METHODS", "TuningPlan", "in_groups", "measured_seed"]

METHODS = ("reward-weighted", "policy-gradient", "reward-gradient")
"""Ways to tune a model."""


@final
@dataclass(frozen=True)
class TuningPlan:
    """How a model is tuned.

    Attributes:
        method: One of `METHODS`.
        beta: The temperature, in units of the reward for one nat of divergence.
        group: Samples of each template.
        together: Templates of one step of training.
        updates: Steps that the trajectories of a policy gradient serve.
        clip: How far from 1 a ratio of probabilities may push.
        chosen: Steps of a trajectory that one step of training looks at; 0 for all.
        calls: Steps that samples are drawn with; None: as the model's are.
    """

    method: str
    beta: float
    group: int = 8
    together: int = 4
    updates: int = 1
    clip: float = 0.2
    chosen: int = 0
    calls: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"--method {self.method}: is unknown; choose {', '.join(METHODS)}")
        if not self.beta > 0.0:
            raise InputError(f"--beta {self.beta}: is not above 0; try 1")

    @property
    def weighted(self) -> bool:
        """Whether samples are drawn once, before the training, by the reference."""
        return self.method == "reward-weighted"

    def tuned(self, model: Model, reward: Reward) -> Tuned:
        """What is tuned: the model, as it is drawn from without feeding predictions back."""
        drawing = replace(model.drawing, self_condition=False)
        if self.calls is not None:
            drawing = replace(drawing, grid=uniform(self.calls))
        path = model.domain.path()
        return Tuned(model.denoiser, path, drawing, reward, self.beta, self.group)

    def check(self, tuned: Tuned, templates: Sequence[Batch]) -> None:
        """Refuse a model whose trajectories have no probabilities, where these are needed.

        Raises:
            InputError: A law of steps is not known, or there is no template.
        """
        if not templates:
            raise InputError("--request: gives no template; ask for one or more")
        if self.weighted:
            return
        like = templates[0].select(torch.zeros(1, dtype=torch.int64))
        policy = tuned.policy(tuned.reference, like)
        try:
            first = tuned.draw(policy, like, 0)
            path_divergence(first, tuned.policy(tuned.reference, like))
        except InputError as error:
            raise InputError(
                f"--method {self.method}: {error}; --method reward-weighted tunes any model"
            ) from error

    def objective(self, model: Model, tuned: Tuned, trust: Iterable[str] = ()) -> Objective:
        """What is learned by.

        Raises:
            InputError: The reward is not differentiable where it has to be.
        """
        if self.weighted:
            return learning_of(model, trust)
        if self.method == "policy-gradient":
            return PolicyGradient(tuned, self.updates, self.clip, self.chosen)
        return RewardGradient(tuned, chosen=self.chosen)

    def data(self, domain: Domain, templates: Sequence[Batch]) -> Domain:
        """Templates in the place of the data of a domain, for methods that draw as they learn."""
        return Templates(domain, templates, self.together, self.updates)

    def rewarded(self, own: OwnSamples, tuned: Tuned) -> RewardedSamples:
        """Samples of the reference in the place of the data, by their weights."""
        return RewardedSamples(own, tuned.reward, self.beta)


def in_groups(templates: Sequence[Batch], group: int, together: int = 4) -> list[Batch]:
    """Templates, each once for every sample of its group, with the condition `GROUP`.

    Args:
        templates: Templates.
        group: Samples of each.
        together: Templates of a batch, at most.
    """
    found, first = [], 0
    for batch in split(templates, together):
        numbers = torch.arange(first, first + batch.size)
        spread = particles_of(batch, numbers, group)[0]
        own = numbers.repeat_interleave(group).to(batch.device)
        found.append(spread.with_cond(**{GROUP: own}))
        first += batch.size
    return found


def measured_seed(seed: int) -> int:
    """The seed of templates and samples that are measured, which nothing is tuned on."""
    return seed_of(seed, "measured", bits=31)

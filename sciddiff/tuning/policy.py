r"""PolicyGradient: learn from rewards of what a model draws itself.

The objective :math:`J = \mathbb E_p R(x) - \beta\,\mathrm{KL}(p\,\|\,q)` of trajectories p of the
model and q of a reference has its optimum at :math:`q\,e^{R/\beta}` over its mean. Its gradient is

.. math:: \nabla J = \mathbb E_p \sum_k \bigl[\nabla\log p(x_{k+1}|x_k)\, A_k
    - \beta\,\nabla \mathrm{KL}_k\bigr], \qquad A_k = R - \beta\sum_{j>k} \mathrm{KL}_j - b_k

with the divergences :math:`\mathrm{KL}_k` of the steps in closed form, and as baseline b the mean
of the same number over the other samples of the template, which leaves the gradient unbiased
(Kool et al., *Buy 4 REINFORCE samples, get a baseline for free!*, 2019). Advantages are not
divided by their deviation, which would favour templates that are easy or hopeless.

Trajectories may serve several updates. The model has moved away from the one that drew them then,
and the ratio of their probabilities of each step, exact for a masked path too, takes the place of
:math:`\log p`; it is clipped as in Schulman et al. (*Proximal policy optimization*, 2017). In the
first update it is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.denoiser import Denoiser
from sciddiff.drawing import Drawing
from sciddiff.errors import InputError
from sciddiff.guidance import DenoiserLike
from sciddiff.guidance.base import evaluation_mode
from sciddiff.objectives import LossOutput, Objective
from sciddiff.paths import ProductPath
from sciddiff.samplers.base import Grid
from sciddiff.state import Batch, State
from sciddiff.steering import Reward, particles_of
from sciddiff.streams import Generator, uniform_per_sample
from sciddiff.tuning.trajectories import (
    Trajectories,
    draw_trajectories,
    lawful,
    log_probs,
    path_divergence,
)

__all__ = ["PolicyGradient", "Tuned", "others_mean", "pick_steps", "seed_from", "surrogate"]


@final
@dataclass(frozen=True, eq=False)
class Tuned:
    """What is tuned, and against what.

    Attributes:
        reference: The denoiser that is started from, unguided; gradients do not reach it.
        path: The path that samplers move on.
        drawing: How samples are drawn.
        reward: What is wanted.
        beta: The temperature, in units of the reward for one nat.
        group: Samples of each template.
    """

    reference: Denoiser
    path: ProductPath
    drawing: Drawing
    reward: Reward
    beta: float
    group: int = 8

    def policy(self, denoiser: Denoiser, like: Batch) -> DenoiserLike:
        """A denoiser as it is drawn from: on the path of samplers, under the drawing's guide."""
        own = Denoiser(denoiser.net, self.path)
        return own if self.drawing.guide is None else self.drawing.guide(own, like)

    def spread(self, batch: Batch) -> Batch:
        """Templates, each once for each sample of its group."""
        return particles_of(batch, torch.arange(batch.size), self.group)[0]

    def times(self, like: Batch) -> Grid:
        """The times of the drawing, for templates."""
        grid, clocks = self.drawing.grid, self.drawing.clocks
        return grid if clocks is None else clocks(grid, like)

    def draw(
        self, policy: DenoiserLike, like: Batch, seed: int, indices: Tensor | None = None
    ) -> Trajectories:
        """Samples of a policy, with the states that they passed."""
        sampler = lawful(self.drawing.sampler, policy)
        return draw_trajectories(policy, like, sampler, self.times(like), seed, indices=indices)

    def rewards(self, like: Batch, x: State) -> Tensor:
        """Rewards of samples, on their device ``[B]``."""
        return self.reward(x, like).to(like.device)


@final
class PolicyGradient(Objective):
    """Learn from rewards of trajectories that the model draws while it learns.

    A batch is one of templates; each is drawn for `Tuned.group` times. Where trajectories serve
    several updates, batches must come as often, one after the other (see `Templates`).

    Args:
        tuned: What is tuned.
        updates: Steps of the optimiser that trajectories serve.
        clip: How far from 1 a ratio may push.
        chosen: Steps of a trajectory that an update learns from, drawn evenly; 0 for all.

    Raises:
        InputError: Settings that are out of range.
    """

    def __init__(
        self, tuned: Tuned, updates: int = 1, clip: float = 0.2, chosen: int = 0
    ) -> None:
        if tuned.group < 2 or updates < 1 or chosen < 0 or not clip > 0.0:
            raise InputError(
                f"PolicyGradient: groups of {tuned.group}, {updates} updates, clip {clip}, "
                f"{chosen} steps; give at least 2 samples, 1 update and a clip above 0"
            )
        self.tuned, self.updates, self.clip, self.chosen = tuned, updates, clip, chosen
        self._memory: dict[str, Any] = {}

    def memory(self) -> dict[str, Any]:
        """See `Objective.memory`: the trajectories, while they serve further updates."""
        return {} if self._memory.get("left", 0) == 0 else dict(self._memory)

    def recall(self, memory: Mapping[str, Any]) -> None:
        """See `Objective.recall`."""
        self._memory = dict(memory)

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on templates, whose gradient is that of -J.

        Args:
            denoiser: What learns.
            batch: Templates.
            generator: Random source.
            teacher: Not used.

        Raises:
            InputError: Laws of the sampler's steps are not known.
        """
        like = self.tuned.spread(batch)
        policy = self.tuned.policy(denoiser, like)
        seed = seed_from(generator)
        with evaluation_mode(policy):
            if self._memory.get("left", 0) == 0:
                self._draw(policy, like, seed)
            told = {name: value.to(like.device) for name, value in self._memory["told"].items()}
            trajectories = self._trajectories(policy, like)
            self._memory["left"] -= 1
            loss, ratio = self._loss(policy, trajectories, told, generator)
        metrics = {
            "reward": told["rewards"].mean(),
            "path_kl": told["divergence"].sum(1).mean(),
            "ratio": ratio,
            "loss": loss.detach(),
        }
        return LossOutput(loss, metrics)

    def _draw(self, policy: DenoiserLike, like: Batch, seed: int) -> None:
        """Draw trajectories, and remember what later updates need of them."""
        drawn = self.tuned.draw(policy, like, seed)
        rewards = self.tuned.rewards(like, drawn.x)
        reference = self.tuned.policy(self.tuned.reference, like)
        divergence = path_divergence(drawn, reference)
        told = {"rewards": rewards, "divergence": divergence}
        if self.updates > 1:  # else the model is still the one that drew them
            told["log_prob"] = log_probs(drawn)
        self._memory = {"left": self.updates, "told": told, "states": list(drawn.states)}

    def _trajectories(self, policy: DenoiserLike, like: Batch) -> Trajectories:
        states = [
            {name: leaf.to(like.device) for name, leaf in state.items()}
            for state in self._memory["states"]
        ]
        sampler = lawful(self.tuned.drawing.sampler, policy)
        times = sampler.times(self.tuned.times(like), like)
        return Trajectories(like, tuple(states), sampler, times, policy.path)

    def _loss(
        self,
        policy: DenoiserLike,
        trajectories: Trajectories,
        told: Mapping[str, Tensor],
        generator: Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the largest ratio of probabilities."""
        tuned, steps = self.tuned, trajectories.steps
        reference = tuned.policy(tuned.reference, trajectories.like)
        later = told["divergence"].flip(1).cumsum(1).flip(1) - told["divergence"]
        gains = told["rewards"][:, None] - tuned.beta * later
        advantages = gains - others_mean(gains, tuned.group)
        own, other = trajectories.walk(policy), trajectories.walk(reference)
        losses, largest = [], torch.ones((), device=trajectories.like.device)
        picked = pick_steps(steps, self.chosen, generator)
        for k in picked:
            stage = trajectories.stage(own, k)
            with torch.no_grad():
                meant = trajectories.stage(other, k)
            log_prob = trajectories.log_prob(trajectories.laws(own, k, stage), k)
            before = told["log_prob"][:, k] if "log_prob" in told else log_prob.detach()
            gain, ratio = surrogate(log_prob, before, advantages[:, k], self.clip)
            apart = trajectories.divergence(own, k, stage, meant)
            losses.append((tuned.beta * apart - gain).mean())
            largest = torch.maximum(largest, ratio.detach().max())
        return torch.stack(losses).sum() * (steps / len(picked)), largest


def surrogate(
    log_prob: Tensor, before: Tensor, advantage: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """What an update raises for each step, and the ratio of probabilities, ``[B]`` each.

    Args:
        log_prob: Log-probability of the step now, with a gradient.
        before: The same by the model that drew it.
        advantage: How much better than others the step turned out.
        clip: How far from 1 the ratio may push.
    """
    ratio = torch.exp(log_prob - before)
    near = ratio.clamp(1.0 - clip, 1.0 + clip)
    return torch.minimum(ratio * advantage, near * advantage), ratio


def others_mean(values: Tensor, group: int) -> Tensor:
    """The mean over the other samples of each one's group, in the shape of ``values [B, ...]``.

    >>> others_mean(torch.tensor([1.0, 2.0, 3.0, 5.0]), 2)
    tensor([2., 1., 5., 3.])
    """
    grouped = values.reshape(-1, group, *values.shape[1:])
    total = grouped.sum(1, keepdim=True)
    return ((total - grouped) / (group - 1)).reshape(values.shape)


def seed_from(generator: Generator | None) -> int:
    """A seed of streams, drawn from a random source."""
    return int(float(uniform_per_sample(1, generator, torch.float64, "cpu")) * 2**53)


def pick_steps(steps: int, chosen: int, generator: Generator | None) -> list[int]:
    """Numbers of the steps that are learned from."""
    if chosen == 0 or chosen >= steps:
        return list(range(steps))
    order = uniform_per_sample(steps, generator, torch.float64).argsort()
    return sorted(order[:chosen].tolist())



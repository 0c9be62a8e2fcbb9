r"""RewardGradient: follow the gradient of a differentiable reward through what is drawn.

Flat leaves: the last steps of a trajectory are drawn again with a gradient, and the reward of the
sample is differentiated through them (Clark et al., *DRaFT*, 2024). Tokens: at states of a
trajectory the rows that are still hidden are drawn, and the reward of the whole is differentiated
*straight through* the draw, as that of its Gumbel-softmax (Wang et al., *DRAKES*, 2025). Networks
read symbols, which have no gradient, so that it ends at the prediction and does not pass on to
earlier steps: it raises the reward of what is predicted. The divergence from the reference, in
closed form, holds either back.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.guidance import DenoiserLike
from sciddiff.guidance.base import evaluation_mode
from sciddiff.objectives import LossOutput, Objective
from sciddiff.prediction import Prediction
from sciddiff.samplers.leaves import Stage
from sciddiff.state import Batch, State
from sciddiff.streams import Generator, Streams
from sciddiff.tuning.policy import Tuned, pick_steps, seed_from
from sciddiff.tuning.trajectories import Trajectories

__all__ = ["RewardGradient"]


@final
class RewardGradient(Objective):
    """Raise a differentiable reward by its gradient.

    A reward of tokens is given them as numbers ``[B, N, V]``: ones and zeros with the gradient of
    probabilities.

    Args:
        tuned: What is tuned.
        last: Steps at the end of a trajectory of flat leaves that are differentiated.
        chosen: Steps of a trajectory at which the divergence counts, and where tokens are drawn;
            0 for all.
        temperature: Of the Gumbel-softmax whose gradient stands for that of a draw.

    Raises:
        InputError: The reward is not differentiable, or settings are out of range.
    """

    def __init__(
        self, tuned: Tuned, last: int = 4, chosen: int = 0, temperature: float = 0.5
    ) -> None:
        if not tuned.reward.differentiable:
            raise InputError(
                "RewardGradient: the reward is not differentiable; use PolicyGradient, or mark "
                "its function by the attribute differentiable = True"
            )
        if last < 1 or chosen < 0 or not temperature > 0.0:
            raise InputError(
                f"RewardGradient: {last} last steps, {chosen} chosen, temperature {temperature}; "
                "give at least 1 step and a temperature above 0"
            )
        self.tuned, self.last, self.chosen, self.temperature = tuned, last, chosen, temperature

    def __call__(
        self,
        denoiser: Denoiser,
        batch: Batch,
        generator: Generator | None,
        teacher: Denoiser | None = None,
    ) -> LossOutput:
        """The loss on templates.

        Args:
            denoiser: What learns.
            batch: Templates.
            generator: Random source.
            teacher: Not used.

        Raises:
            InputError: A leaf is neither flat nor made of tokens that are hidden, or both kinds
                are there.
        """
        tuned, like = self.tuned, self.tuned.spread(batch)
        policy, reference = tuned.policy(denoiser, like), tuned.policy(tuned.reference, like)
        source = Streams.first(seed_from(generator), like.size).to(like.device)
        with evaluation_mode(policy):
            drawn = tuned.draw(policy, like, seed_from(generator))
            hidden = self._tokens(drawn)
            own, other = drawn.walk(policy), drawn.walk(reference)
            picked = pick_steps(drawn.steps, self.chosen, generator)
            apart, gains = [], []
            for k in picked:
                stage = drawn.stage(own, k)
                with torch.no_grad():
                    meant = drawn.stage(other, k)
                apart.append(drawn.divergence(own, k, stage, meant))
                if hidden:
                    gains.append(self._relaxed(drawn, stage, source))
            if not hidden:
                gains = [self._followed(drawn, policy, source)]
        gain = torch.stack(gains).mean()
        divergence = torch.stack(apart).sum(0).mean() * (drawn.steps / len(picked))
        loss = tuned.beta * divergence - gain
        reward = tuned.rewards(like, drawn.x).mean()
        metrics = {"reward": reward, "path_kl": divergence.detach(), "loss": loss.detach()}
        return LossOutput(loss, metrics)

    def _tokens(self, drawn: Trajectories) -> bool:
        """Whether leaves are tokens that are hidden; else they are flat."""
        hidden = [
            path.hidden(drawn.states[0][name]) is not None
            for name, path in drawn.path.paths.items()
        ]
        flat = [path.flat for path in drawn.path.paths.values()]
        if not all(hidden) and not all(flat):
            raise InputError(
                "RewardGradient: leaves must all be flat, or all be tokens that are hidden; use "
                "RewardWeighted or PolicyGradient"
            )
        return all(hidden)

    def _relaxed(self, drawn: Trajectories, stage: Stage, source: Streams) -> Tensor:
        """Rewards of states with hidden rows drawn, differentiable ``[B]``."""
        meant = {}
        for name, said in stage.predictions.items():
            meant[name] = self._straight_through(drawn, name, stage.x[name], said, source)
        return self.tuned.reward.of(meant, drawn.like)

    def _straight_through(
        self, drawn: Trajectories, name: str, x: Tensor, said: Prediction, source: Streams
    ) -> Tensor:
        """A state as numbers ``[B, N, V]``, its hidden rows drawn with a gradient."""
        log_probs, layout = said.symbol_log_probs(), drawn.like.layouts[name]
        u = streams.uniform(log_probs.detach().double(), source).clamp_min(1e-12)
        noisy = log_probs + (-(-u.log()).log()).to(log_probs.dtype)
        if layout.ties is not None:
            noisy = layout.ties.lead(noisy)
        soft = (noisy / self.temperature).softmax(-1)
        hard = torch.nn.functional.one_hot(noisy.argmax(-1), soft.shape[-1]).to(soft.dtype)
        hidden = drawn.path[name].hidden(x)
        free = layout.free(x)
        if hidden is None:
            raise InputError(f"RewardGradient: leaf {name!r} hides no rows")
        known = torch.where(hidden, 0, x).clamp(0, soft.shape[-1] - 1)
        there = torch.nn.functional.one_hot(known, soft.shape[-1]).to(soft.dtype)
        there = there * ~hidden[..., None]
        chosen = hidden if free is None else hidden & free
        return torch.where(chosen[..., None], hard + soft - soft.detach(), there)

    def _followed(
        self, drawn: Trajectories, policy: DenoiserLike, source: Streams
    ) -> Tensor:
        """Rewards of samples whose last steps are drawn again, differentiable ``[B]``."""
        walk = drawn.walk(policy)
        begin = max(0, drawn.steps - self.last)
        x: State = drawn.states[begin]
        for k in range(begin, drawn.steps):
            stage = walk.predict(x, walk.times[k])
            moved = dict(x)
            for name, move in drawn.sampler.moves(walk, k, stage).items():
                leaf, layout = walk.leaves[name], drawn.like.layouts[name]
                end = leaf.path.step(move, source, layout)
                moved[name] = layout.hold(end, drawn.x[name])
            x = moved
        return self.tuned.reward.of(x, drawn.like)

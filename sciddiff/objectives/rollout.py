"""Rollout: learning through several forecasts in a row, each from the one before.

A model of one step is used many times over, and sees its own output from the second step on. A
`Rollout` lets it practise that: the objective predicts, the domain's `Advance` turns the
prediction into the batch of the next step, and so on, gradients and all.

Training batches carry the truth of later steps in ``batch.cond["targets"]``, a tensor (or a dict
of tensors by leaf) ``[B, S, ...]``: the target of step ``1 + s`` at position ``s``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, final

from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.state import Batch, State
from sciddiff.streams import Generator, uniform_per_sample

__all__ = ["TARGETS", "Advance", "Rollout"]

TARGETS = "targets"
"""Key of ``batch.cond`` that holds the truth of later steps."""


class Advance(Protocol):
    """A domain's way from one step to the next."""

    def __call__(self, batch: Batch, data: State) -> Batch:
        """The batch of the next step.

        Args:
            batch: The step just made. The next truth is the first of ``batch.cond["targets"]``,
                ``[:, 0]`` of each tensor.
            data: What was predicted for it, in the shapes of ``batch.x``; gradients flow through.

        Returns:
            A batch of the same samples and layouts whose conditions hold the step just made and
            whose ``x`` is the next truth, in the frame of those conditions (if data are
            increments, those that lead from the *predicted* state to the next truth). Targets
            are left as they are: the caller drops the first.
        """
        ...


@final
@dataclass(frozen=True)
class Rollout:
    """How many steps a model practises at once, and how one leads to the next.

    Attributes:
        advance: The domain's step.
        steps: Law of the number of steps, ``{number: probability}``; one draw per batch.
        detach: Stop gradients between steps: less memory, and no blame for earlier steps.

    Raises:
        InputError: The law names no step, or its probabilities do not add up to 1.
    """

    advance: Advance
    steps: dict[int, float] = field(default_factory=lambda: {1: 0.5, 2: 0.3, 4: 0.2})
    detach: bool = False

    def __post_init__(self) -> None:
        if not self.steps or min(self.steps) < 1 or min(self.steps.values()) < 0.0:
            raise InputError(
                f"Rollout.steps: {self.steps}; give numbers of steps from 1 up with their "
                "probabilities, such as {1: 0.5, 2: 0.5}"
            )
        if abs(sum(self.steps.values()) - 1.0) > 1e-6:
            raise InputError(
                f"Rollout.steps: probabilities add up to {sum(self.steps.values()):g}; make it 1"
            )

    def draw(self, batch: Batch, generator: Generator | None) -> int:
        """The number of steps for a batch.

        Raises:
            InputError: The batch does not carry enough targets for the longest roll-out.
        """
        longest, later = max(self.steps), _count(batch)
        if longest > 1 + later:
            raise InputError(
                f"Rollout.steps: up to {longest} steps need {longest - 1} later targets in "
                f'batch.cond["{TARGETS}"]; it holds {later}'
            )
        left = float(uniform_per_sample(batch.size, generator)[0])
        for number, share in sorted(self.steps.items()):
            left -= share
            if left < 0.0:
                return number
        return longest

    def next(self, batch: Batch, data: State) -> Batch:
        """The batch of the next step, its first target taken off."""
        if self.detach:
            data = {name: leaf.detach() for name, leaf in data.items()}
        moved = self.advance(batch, data)
        if moved.size != batch.size:
            raise InputError(
                f"Rollout.advance: returned {moved.size} samples of {batch.size}; keep them all"
            )
        rest = _map(batch.cond[TARGETS], lambda targets: targets[:, 1:])
        return moved.with_cond(**{TARGETS: rest})


def _count(batch: Batch) -> int:
    """How many later targets a batch carries."""
    targets = batch.cond.get(TARGETS)
    if targets is None:
        return 0
    tensors = list(targets.values()) if isinstance(targets, Mapping) else [targets]
    return min((tensor.shape[1] for tensor in tensors), default=0)


def _map(targets: Any, function: Any) -> Any:  # noqa: ANN401 - a tensor, or a dict of them
    if isinstance(targets, Tensor):
        return function(targets)
    return {name: function(tensor) for name, tensor in targets.items()}

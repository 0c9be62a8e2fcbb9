r"""Twisted steps: drawn towards higher rewards, with the ratio of laws that weights need.

The law of a step on a flat leaf is normal about a mean that is linear in the predicted data. It is
drawn from with these moved by the gradient of the tilt of the data that a state means (Wu et al.,
*Practical and asymptotically exact conditional sampling*, TDS, 2023, eq. 10),

.. math:: \hat x_1 \to \hat x_1 + (\sigma^2/\alpha)\,\Sigma\,\nabla_{x_t} \lambda R(\hat x_1(x_t)),

and the log-ratio of the true law to the one that was drawn from makes up for it. Where the data
are Gaussian and the reward linear the gradient is exact, and weights hardly vary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from sciddiff.prediction import Prediction
from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import Stage
from sciddiff.state import State

__all__ = ["bent_step", "pull_of"]


def pull_of(
    walk: Walk, k: int, x: State, tilt: Callable[[State], Tensor]
) -> tuple[Stage, dict[str, Tensor]]:
    """What is said of a state, and the gradient of the tilt by each of its flat leaves.

    Args:
        walk: The run.
        k: Number of the step that starts there.
        x: The state.
        tilt: From predicted data to nats of each sample ``[B]``, differentiable.

    Returns:
        The stage, without a gradient, and tangent vectors in the shapes of the leaves.
    """
    flat = [name for name, leaf in walk.leaves.items() if leaf.path.flat and not leaf.rests]
    with torch.enable_grad():
        at = {**x, **{name: x[name].detach().requires_grad_() for name in flat}}
        said = walk.predict(at, walk.times[k]).predictions
        nats = tilt({name: one.data for name, one in said.items()})
        found = torch.autograd.grad(nats.sum(), [at[n] for n in flat], allow_unused=True)
    pull = {}
    for name, value in zip(flat, found, strict=True):
        if value is not None:
            leaf = walk.leaves[name]
            pull[name] = leaf.path.project_tangent(x[name], value, leaf.layout)
    plain = {name: _detached(one, x[name]) for name, one in said.items()}
    return Stage(x, plain, walk.times[k]), pull


def bent_step(
    walk: Walk, sampler: Sampler, k: int, x: State, stage: Stage, pull: Mapping[str, Tensor]
) -> tuple[State, Tensor]:
    """The end of a step that is drawn towards where a tilt rises.

    Args:
        walk: The run.
        sampler: One whose moves are its steps.
        k: Number of the step.
        x: The state where it starts.
        stage: What is said of it.
        pull: Gradient of the tilt, by leaf.

    Returns:
        The state, and the log-ratio of the true law to that drawn from, nats ``[B]``.
    """
    moved = dict(x)
    ratio = torch.zeros(next(iter(walk.leaves.values())).layout.size, dtype=torch.float64)
    for name, move in sampler.moves(walk, k, stage).items():
        leaf = walk.leaves[name]
        path, layout = leaf.path, leaf.layout
        law = path.step_law(move, layout) if name in pull else None
        if law is None:  # it is not pulled, or nothing is drawn
            moved[name] = path.step(move, leaf.generator, layout)
            continue
        shift = path.from_score(pull[name], leaf.time(stage.t), layout)
        said = move.prediction.with_coordinates(move.prediction.coordinates + shift)
        bent = replace(move, stages=(replace(move.stages[0], prediction=said),))
        end = moved[name] = path.step(bent, leaf.generator, layout)
        drawn = path.step_law(bent, layout)
        if drawn is not None:
            ratio = ratio + (law.log_prob(end) - drawn.log_prob(end)).to("cpu", torch.float64)
    return moved, ratio


def _detached(said: Prediction, x: Tensor) -> Prediction:
    """The prediction without a gradient; one of tokens has none at all."""
    value = said.coordinates
    return said.with_coordinates(value.detach(), x) if value.requires_grad else said

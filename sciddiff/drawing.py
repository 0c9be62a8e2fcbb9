"""How a model's samples are drawn unless the user asks for something else.

A `Drawing` holds what `sciddiff.sampling.sample` takes beside the denoiser, the template and the
seed. A domain returns its own from `Domain.drawing`, and the command line, `Model.sample` and the
domain's own verbs all draw with it, so that the same seed gives the same samples everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.denoiser import Denoiser
from sciddiff.grids import uniform
from sciddiff.guidance import DenoiserLike
from sciddiff.samplers import Ancestral, Sampler
from sciddiff.samplers.base import Grid
from sciddiff.sampling import sample
from sciddiff.state import Batch, State
from sciddiff.steering import Steered, Steering, steer
from sciddiff.streams import streams_of

__all__ = ["Drawing", "draw", "noise_of"]


@final
@dataclass(frozen=True)
class Drawing:
    """Sampler, times and guidance.

    Attributes:
        sampler: How to step.
        grid: Times from 0 to 1, ``[steps + 1]``.
        guide: From the denoiser and a template to the denoiser that is sampled; None for none.
        clocks: From these times and a template to the times of each leaf, where leaves keep their
            own; None: all share these.
        number: From a template to the number of each of its samples ``[B]``, on which their noise
            depends; None counts the samples in the order of the templates.
        self_condition: Whether the network sees its last prediction; None: as it was trained.
        prior_scale: Scale of the initial noise of Gaussian leaves.

    >>> Drawing().grid.shape
    torch.Size([51])
    """

    sampler: Sampler = field(default_factory=lambda: Ancestral(0.0))
    grid: Tensor = field(default_factory=lambda: uniform(50))
    guide: Callable[[Denoiser, Batch], DenoiserLike] | None = None
    clocks: Callable[[Tensor, Batch], Grid] | None = None
    number: Callable[[Batch], Tensor] | None = None
    self_condition: bool | None = None
    prior_scale: float = 1.0


def draw(
    denoiser: Denoiser,
    like: Batch,
    drawing: Drawing,
    seed: int,
    first: int = 0,
    on_steering: Callable[[Steering], None] | None = None,
    **options: Any,
) -> State:
    """Draw the samples of one template.

    A drawing whose sampler is `Steered` draws several particles of every sample; see
    `sciddiff.steering.steer`.

    Args:
        denoiser: Network and path.
        like: The template, on any device.
        drawing: How.
        seed: Seed of the noise.
        first: Number of the template's first sample, where the drawing does not number them.
        on_steering: Told of rewards and weights, where the samples are steered.
        options: Further arguments of `sciddiff.sampling.sample`.

    Returns:
        The samples, on the device of the network.
    """
    numbers = _numbers(like, drawing, first)
    grid = drawing.grid if drawing.clocks is None else drawing.clocks(drawing.grid, like)
    parameter = next(denoiser.parameters(), None)
    like = like if parameter is None else like.to(parameter.device)
    guided = denoiser if drawing.guide is None else drawing.guide(denoiser, like)
    options |= {
        "indices": numbers,
        "self_condition": bool(drawing.self_condition),
        "prior_scale": drawing.prior_scale,
    }
    if not isinstance(drawing.sampler, Steered):
        return sample(guided, like, drawing.sampler, grid, seed, **options).x
    steered = steer(guided, like, drawing.sampler, grid, seed, **options)
    if on_steering is not None:
        on_steering(steered)
    return steered.x


def noise_of(
    denoiser: Denoiser, like: Batch, drawing: Drawing, seed: int, first: int = 0
) -> State:
    """The noise that `draw` starts from with these arguments."""
    streams = streams_of(seed, like.size, _numbers(like, drawing, first), like.device)
    noise = denoiser.path.prior(like.x, streams, like.layouts)
    return {
        name: path.scale_noise(noise[name], drawing.prior_scale)
        for name, path in denoiser.path.paths.items()
    }


def _numbers(like: Batch, drawing: Drawing, first: int) -> Tensor:
    """The number of each sample of a template."""
    if drawing.number is not None:
        return drawing.number(like)
    return torch.arange(first, first + like.size)

"""The sampling loop that users call: `sample`.

It makes the first state, derives one random stream per sample from ``(seed, sample index)``, holds
fixed rows at their data, feeds predictions back to networks that condition on them, and leaves the
steps to a sampler. A sample depends on its seed and index alone: not on the batch it is drawn
with, nor on padding, nor on the device count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, evaluations, networks
from sciddiff.paths.base import Path
from sciddiff.paths.brownian import BrownianPath
from sciddiff.paths.gaussian import GaussianPath
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.samplers.base import SampleOutput, Sampler
from sciddiff.samplers.leaves import Stage
from sciddiff.state import Batch, Layout, State
from sciddiff.streams import Generator, Streams

__all__ = ["Progress", "sample"]

_REPROJECT = 10  # steps between returns to the manifold: rounding drifts slowly


@final
@dataclass(frozen=True)
class Progress:
    """What a callback is told after each step.

    Attributes:
        step: Steps done, from 1.
        steps: All steps.
        t: Time reached.
        x: The state at that time.
        data: The data as predicted at the beginning of the step.
    """

    step: int
    steps: int
    t: float
    x: State
    data: State


def sample(
    denoiser: DenoiserLike,
    like: Batch,
    sampler: Sampler,
    grid: Tensor,
    seed: int | torch.Generator,
    *,
    indices: Tensor | None = None,
    start_t: float = 0.0,
    x_start: State | None = None,
    x_init: State | None = None,
    prior_scale: float | Mapping[str, float] = 1.0,
    replace: Literal["data", "noised"] = "data",
    self_condition: bool = False,
    keep_trajectory: bool = False,
    callback: Callable[[Progress], None] | None = None,
) -> SampleOutput:
    """Draw one sample for each entry of a batch.

    Args:
        denoiser: The (guided) denoiser; put in evaluation mode for the duration.
        like: Template: shapes, types, layouts and conditions of what to draw, and the data of
            fixed rows.
        sampler: How to step.
        grid: Increasing times from 0 (noise) to 1 (data), ``[n + 1]``; see `sciddiff.grids`.
        seed: Seed of the per-sample streams, or one generator for the whole batch.
        indices: Global number of each sample, int64 ``[B]``; default 0 to B - 1.
        start_t: Start at this time instead of from pure noise (partial diffusion): the grid's
            times after it are kept.
        x_start: Data that are noised to ``start_t``; default ``like.x``. Used if ``start_t > 0``.
        x_init: The exact state to start with; neither noised nor scaled.
        prior_scale: Scale of the initial noise, of all Gaussian leaves or by leaf; below 1 lowers
            the temperature.
        replace: What the network sees in fixed rows: their ``"data"``, or the data ``"noised"`` to
            the present time with the sample's own initial noise.
        self_condition: Give the network its last predicted data, a state, as
            ``batch.cond["self_condition"]``; absent in the first evaluation.
        keep_trajectory: Return the states at all times too.
        callback: Called after each step.

    Returns:
        The samples. Fixed rows equal their data exactly.

    Raises:
        InputError: ``start_t`` leaves no step, or ``indices`` do not number the batch.
    """
    path = denoiser.path
    generator = _generator(seed, indices, like)
    times = _late_part(grid, start_t)
    steps = len(times) - 1
    with torch.no_grad(), _evaluation_mode(denoiser):
        noise = _noise(path, like, generator, prior_scale)
        x = x_init or _first_state(path, like, noise, float(times[0]), x_start, generator)
        eyes = _Eyes(denoiser, like, noise if replace == "noised" else None, self_condition)

        def after(step: int, t: float, x: State, stage: Stage) -> State:
            if step == steps:
                x = eyes.denoised(x, t)
            elif step % _REPROJECT == 0:
                x = _project(path, x, like)
            x = eyes.hold(x, 1.0 if step == steps else t)
            if callback is not None:
                callback(Progress(step, steps, t, x, _data(stage.predictions)))
            return x

        x = eyes.hold(x, float(times[0]))
        output = sampler(
            eyes, path, x, times, generator, layouts=like.layouts, after=after,
            keep=keep_trajectory,
        )  # fmt: skip
    return SampleOutput(output.x, output.trajectory, eyes.evaluations)


@final
class _Eyes:
    """The denoiser as a sampler sees it: its batch known, fixed rows held, calls counted.

    Args:
        denoiser: The (guided) denoiser.
        batch: Conditions, layouts and the data of fixed rows.
        noise: Noise of the fixed rows, if they are to be noised; None shows their data.
        self_condition: Feed the last predicted data back.
    """

    def __init__(
        self, denoiser: DenoiserLike, batch: Batch, noise: State | None, self_condition: bool
    ) -> None:
        self._denoiser = denoiser
        self._batch = batch
        self._noise = noise
        self._self_condition = self_condition
        self._fixed = [name for name in batch.x if batch.layouts[name].fixed is not None]
        self.evaluations = 0

    def __call__(self, x: State, t: Tensor) -> dict[str, Prediction]:
        x = self.hold(x, t)
        predictions = self._denoiser(x, t, self._batch)
        self.evaluations += evaluations(self._denoiser, t)
        if self._self_condition:
            self._batch = self._batch.with_cond(self_condition=_data(predictions))
        return predictions

    def hold(self, x: State, t: float | Tensor) -> State:
        """``x`` with its fixed rows as they are at time ``t``."""
        if not self._fixed:
            return x
        return {**x, **{name: self._held(name, x[name], t) for name in self._fixed}}

    def _held(self, name: str, x: Tensor, t: float | Tensor) -> Tensor:
        batch = self._batch
        data, layout, path = batch.x[name], batch.layouts[name], self._denoiser.path.paths[name]
        if self._noise is None or (isinstance(t, float) and t == 1.0):
            return layout.hold(x, data)
        times = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(batch.size)
        return layout.hold(x, _noised(path, data, times, self._noise[name], layout))

    def denoised(self, x: State, t: float) -> State:
        """``x`` with the noise removed that some schedules leave at ``t = 1``."""
        path, batch = self._denoiser.path, self._batch
        noisy = [name for name, one in path.paths.items() if t == 1.0 and _ends_noisy(one)]
        if noisy:
            some = x[noisy[0]]
            predictions = self(x, some.new_full((batch.size,), t))
            x = {**x, **{name: predictions[name].data for name in noisy}}
        return _project(path, x, batch)


def _noised(path: Path, data: Tensor, t: Tensor, noise: Tensor, layout: Layout) -> Tensor:
    """Data on their way from given noise, fixed rows and frame of reference included."""
    if isinstance(path, GaussianPath):
        alpha, sigma = (layout.spread(level.to(data), data) for level in path.schedule.values(t))
        return alpha * data + sigma * noise
    free = Layout(layout.size, layout.mask, layout.index)
    return path.sample(data, t, None, noise, free).x_t


def _data(predictions: dict[str, Prediction]) -> State:
    return {name: prediction.data for name, prediction in predictions.items()}


def _ends_noisy(path: Path) -> bool:
    if not isinstance(path, GaussianPath | BrownianPath):
        return False
    alpha, sigma = path.schedule.values(torch.ones(()))
    return bool(sigma > 1e-6 * alpha)


def _generator(seed: int | torch.Generator, indices: Tensor | None, like: Batch) -> Generator:
    if isinstance(seed, torch.Generator):
        return seed
    if indices is None:
        indices = torch.arange(like.size)
    if indices.shape != (like.size,):
        raise InputError(
            f"indices: shape {tuple(indices.shape)}; give one number per sample, [{like.size}]"
        )
    return Streams(seed, indices.to(like.device))


def _late_part(grid: Tensor, start_t: float) -> Tensor:
    """``start_t`` and the grid's times after it, float64."""
    grid = grid.detach().to("cpu", torch.float64)
    if start_t <= 0.0:
        return grid
    later = grid[grid > start_t + 1e-9]
    if len(later) == 0:
        raise InputError(f"start_t: {start_t} is at or after the last time; choose one in (0, 1)")
    return torch.cat([later.new_tensor([start_t]), later])


def _noise(
    path: ProductPath, like: Batch, generator: Generator, scale: float | Mapping[str, float]
) -> State:
    """The initial noise of every leaf."""
    scales = dict(scale) if isinstance(scale, Mapping) else dict.fromkeys(path.paths, scale)
    noise = {}
    for name, one in path.paths.items():
        noise[name] = one.prior(like.x[name], generator, like.layouts[name])
        if isinstance(one, GaussianPath):
            noise[name] = noise[name] * scales.get(name, 1.0)
    return noise


def _first_state(
    path: ProductPath,
    like: Batch,
    noise: State,
    start: float,
    data: State | None,
    generator: Generator,
) -> State:
    """Pure noise, or the data noised to ``start``."""
    x = {}
    for name, one in path.paths.items():
        leaf, layout = (data or like.x)[name], like.layouts[name]
        times = noise[name].new_full((like.size,), start)
        if start > 0.0:
            x[name] = one.sample(leaf, times, generator, noise[name], layout).x_t
        else:
            x[name] = one.first_state(noise[name])
    return x


def _project(path: ProductPath, x: State, like: Batch) -> State:
    """Return every leaf to its manifold."""
    return {
        name: path.paths[name].manifold.project(leaf, like.layouts[name])
        for name, leaf in x.items()
    }


@contextmanager
def _evaluation_mode(denoiser: DenoiserLike) -> Iterator[None]:
    """Evaluation mode for the modules behind a denoiser, restored afterwards."""
    training = [module for module in networks(denoiser) if module.training]
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for module in training:
            module.train()

"""The sampling loop that users call: `sample`.

It makes the first state, derives one random stream per sample from ``(seed, sample index)``, holds
fixed rows at their data, feeds predictions back to networks that condition on them, and leaves the
steps to a sampler. A sample depends on its seed and index alone: not on the batch it is drawn
with, nor on padding, nor on the device count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, ask, evaluation_mode, evaluations
from sciddiff.leaf_times import Time, per_sample, time_of
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.samplers.base import Grid, SampleOutput, Sampler, times_of
from sciddiff.samplers.leaves import Stage
from sciddiff.state import Batch, State
from sciddiff.streams import Generator, Streams, streams_of

__all__ = ["Progress", "sample"]


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
    grid: Grid,
    seed: int | Generator,
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
        grid: Increasing times from 0 (noise) to 1 (data), ``[n + 1]``; see `sciddiff.grids`. A
            mapping of such times by leaf lets leaves keep their own; a leaf whose times are all 1
            stays at the data of ``like.x``.
        seed: Seed of the per-sample streams, those streams, or one generator for the whole batch.
        indices: Global number of each sample, int64 ``[B]``; default 0 to B - 1.
        start_t: Start at this time instead of from pure noise (partial diffusion): the grid's
            times after it are kept.
        x_start: Data that are noised to ``start_t``; default ``like.x``. Used if ``start_t > 0``.
        x_init: The exact state to start with; neither noised nor scaled.
        prior_scale: Scale of the initial noise, of all leaves whose noise has a scale or by leaf;
            below 1 lowers the temperature.
        replace: What the network sees in fixed rows: their ``"data"``, or the data ``"noised"`` to
            the present time with the sample's own initial noise (with fresh noise on a path that
            does not go through given noise).
        self_condition: Give the network its last predicted data, a state, as
            ``batch.cond["self_condition"]``; absent in the first evaluation.
        keep_trajectory: Return the states at all times too.
        callback: Called after each step.

    Returns:
        The samples. Fixed rows equal their data exactly.

    Raises:
        InputError: ``start_t`` leaves no step, ``indices`` do not number the batch, or the network
            returned numbers that are not finite.

    >>> from sciddiff import GaussianPath
    >>> from sciddiff.grids import uniform
    >>> from sciddiff.samplers import Heun
    >>> from sciddiff.testing import AnalyticDenoiser, GaussianMixture
    >>> law = GaussianMixture.standard()
    >>> denoiser = AnalyticDenoiser({"x": GaussianPath()}, {"x": law})
    >>> drawn = sample(denoiser, Batch({"x": torch.zeros(5, 2)}), Heun(), uniform(10), seed=0)
    >>> drawn.x["x"].shape, drawn.nfe
    (torch.Size([5, 2]), 20)
    """
    path = denoiser.path
    generator = streams_of(seed, like.size, indices, like.device)
    times = _late_part(sampler.times(grid, like), start_t)
    walk_times, own = times_of(times, path)
    starts = {name: walk_times[0] if own is None else own[name][0] for name in path.paths}
    steps = len(walk_times) - 1
    with torch.no_grad(), evaluation_mode(denoiser):
        noise = _noise(path, like, generator, prior_scale)
        x = x_init or _first_state(path, like, noise, starts, x_start, generator)
        template, held = sampler.template(denoiser, like), noise if replace == "noised" else None
        seen = _Conditioned(denoiser, template, held, generator, self_condition)

        def after(step: int, t: float, x: State, stage: Stage) -> State:
            now = t if own is None else {name: times[step] for name, times in own.items()}
            if step == steps:
                x, now = seen.finished(x, now), 1.0
            x = seen.hold(x, now)
            if callback is not None:
                callback(Progress(step, steps, t, x, _data(stage.predictions)))
            return x

        x = seen.hold(x, walk_times[0] if own is None else starts)
        output = sampler(
            seen, path, x, times, generator, layouts=like.layouts, cond=like.cond, after=after,
            keep=keep_trajectory,
        )  # fmt: skip
    _check_finite(output.x, like)
    return SampleOutput(output.x, output.trajectory, seen.evaluations, output.facts)


@final
class _Conditioned:
    """The denoiser as a sampler sees it: its batch known, fixed rows held, calls counted.

    Args:
        denoiser: The (guided) denoiser.
        batch: Conditions, layouts and the data of fixed rows.
        noise: Noise of the fixed rows, if they are to be noised; None shows their data.
        generator: Random source of fixed rows whose path does not go through given noise.
        self_condition: Feed the last predicted data back.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        batch: Batch,
        noise: State | None,
        generator: Generator,
        self_condition: bool,
    ) -> None:
        self._denoiser = denoiser
        self._batch = batch
        self._noise = noise
        named = isinstance(generator, Streams)
        self._generator = generator.purpose("replace") if named else generator
        self._self_condition = self_condition
        self._fixed = [name for name in batch.x if batch.layouts[name].fixed is not None]
        self.evaluations = 0

    def __call__(self, x: State, t: Time, until: Time | None = None) -> dict[str, Prediction]:
        x = self.hold(x, t)
        predictions = ask(self._denoiser, x, t, self._batch, until)
        self.evaluations += evaluations(self._denoiser, t)
        if self._self_condition:
            self._batch = self._batch.with_cond(self_condition=_data(predictions))
        return predictions

    def select(self, indices: Tensor) -> None:
        """Go on from other samples ``[B]``, each from one of the same template."""
        if self._noise is not None:
            layouts = self._batch.layouts
            rows = {name: layouts[name].select(indices)[1] for name in self._noise}
            self._noise = {name: leaf[rows[name]] for name, leaf in self._noise.items()}
        self._batch = self._batch.select(indices)

    def hold(self, x: State, t: Time) -> State:
        """``x`` with its fixed rows as they are at time ``t``."""
        if not self._fixed:
            return x
        return {**x, **{name: self._held(name, x, t) for name in self._fixed}}

    def _held(self, name: str, x: State, t: Time) -> Tensor:
        batch, own = self._batch, time_of(t, name)
        data, layout, path = batch.x[name], batch.layouts[name], self._denoiser.path.paths[name]
        if self._noise is None or (isinstance(own, float) and own == 1.0):
            return layout.hold(x[name], data)
        times = per_sample(own, x, batch.size)
        moved = path.noised(data, times, self._noise[name], self._generator, layout)
        return layout.hold(x[name], moved)

    def finished(self, x: State, t: Time) -> State:
        """``x`` on its manifolds, without the noise that some schedules leave at ``t = 1``."""
        paths, batch = self._denoiser.path.paths, self._batch
        noisy = [
            name for name, one in paths.items() if time_of(t, name) == 1.0 and not one.ends_clean
        ]
        if noisy:
            said = self(x, t)
            done = {name: paths[name].finish(said[name], batch.layouts[name]) for name in noisy}
            x = {**x, **done}
        return _project(self._denoiser.path, x, batch)


def _data(predictions: dict[str, Prediction]) -> State:
    return {name: prediction.data for name, prediction in predictions.items()}


def _late_part(grid: Grid, start_t: float) -> Grid:
    """``start_t`` and the grid's times after it, float64."""
    if start_t <= 0.0:
        return grid
    if isinstance(grid, Mapping):
        raise InputError("start_t: leaves keep their own times; begin these where they should")
    times = grid.detach().to("cpu", torch.float64)
    later = times[times > start_t + 1e-9]
    if len(later) == 0:
        raise InputError(f"start_t: {start_t} is at or after the last time; choose one in (0, 1)")
    return torch.cat([later.new_tensor([start_t]), later])


def _noise(
    path: ProductPath, like: Batch, generator: Generator, scale: float | Mapping[str, float]
) -> State:
    """The initial noise of every leaf."""
    scales = dict(scale) if isinstance(scale, Mapping) else dict.fromkeys(path.paths, scale)
    return {
        name: one.scale_noise(
            one.prior(like.x[name], generator, like.layouts[name]), scales.get(name, 1.0)
        )
        for name, one in path.paths.items()
    }


def _first_state(
    path: ProductPath,
    like: Batch,
    noise: State,
    starts: Mapping[str, float],
    data: State | None,
    generator: Generator,
) -> State:
    """Pure noise where a leaf starts at its first time, or the data noised to a later one."""
    x = {}
    for name, one in path.paths.items():
        leaf, layout = (data or like.x)[name], like.layouts[name]
        if starts[name] > one.first_time:
            times = per_sample(starts[name], noise, like.size)
            x[name] = one.sample(leaf, times, generator, noise[name], layout).x_t
        else:
            x[name] = one.first_state(noise[name])
    return x


def _project(path: ProductPath, x: State, like: Batch) -> State:
    """Return every leaf to its manifold, in the frame of its fixed rows."""
    return {name: path.paths[name].project(leaf, like.layouts[name]) for name, leaf in x.items()}


def _check_finite(x: State, like: Batch) -> None:
    """Refuse samples that are not numbers, once for all leaves.

    Raises:
        InputError: The first leaf and sample that holds one.
    """
    real = {name: like.layouts[name].zero_padding(leaf) for name, leaf in x.items()}
    sound = torch.stack([leaf.isfinite().all() for leaf in real.values()])
    if bool(sound.all()):
        return
    name = list(real)[sound.tolist().index(False)]
    broken = like.layouts[name].sum_per_sample((~real[name].isfinite()).float())
    number = broken.tolist().index(max(broken.tolist()))
    raise InputError(
        f"sample: the network gave numbers that are not finite, first in leaf {name!r} of sample "
        f"{number}; check its weights and conditions, or use a grid with smaller steps"
    )

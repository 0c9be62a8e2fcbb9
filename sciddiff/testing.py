r"""Checks for those who write their own paths, samplers and networks.

The judges are *analytic denoisers*: for a known law of the data, the exact mean of the data given
a state, so that a sampler's order, the marginals it keeps and a likelihood can be compared with
closed forms rather than with another program.

Checks raise `AssertionError` with the measured number, and return it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.analytic import (
    AnalyticDenoiser,
    EnumeratedDenoiser,
    GaussianMixture,
    Law,
    TorusMixture,
    markov_chain,
)
from sciddiff.guidance.base import DenoiserLike, ask
from sciddiff.paths.gaussian import GaussianPath
from sciddiff.samplers.base import Sampler
from sciddiff.sampling import sample
from sciddiff.schedules import Schedule
from sciddiff.state import Batch, State
from sciddiff.streams import Streams

__all__ = [
    "AnalyticDenoiser",
    "EnumeratedDenoiser",
    "GaussianMixture",
    "Law",
    "TorusMixture",
    "assert_batch_independent",
    "assert_equivariant",
    "assert_marginals",
    "assert_order",
    "markov_chain",
]

_REFERENCE_STEPS = 200


def assert_order(
    sampler: Sampler,
    expected: float,
    schedule: Schedule,
    *,
    steps: Sequence[int] = (16, 32, 64),
    span: float = 2.5,
    tolerance: float = 0.3,
) -> float:
    """Check the order of a deterministic sampler on the flow of a Gaussian mixture.

    Args:
        sampler: The sampler.
        expected: Its order: the error falls as ``steps ** -expected``.
        schedule: Schedule of the Gaussian path.
        steps: Numbers of steps to compare.
        span: Log-SNR runs from ``-span`` to ``span``, in even steps.
        tolerance: How far below ``expected`` the slope may be.

    Returns:
        The measured order.

    Raises:
        AssertionError: The order is lower.
    """
    denoiser = AnalyticDenoiser({"x": GaussianPath(schedule)}, {"x": GaussianMixture.standard()})
    ends = torch.tensor([-span, span], dtype=torch.float64)
    start, end = schedule.inverse(ends).unbind()
    alpha, sigma = schedule.values(start)
    z = streams.normal(torch.empty(64, 2, dtype=torch.float64), Streams.first(0, 64))
    x = {"x": torch.sqrt(alpha**2 + sigma**2) * z}
    batch = Batch(x)

    def run(solver: Sampler, n: int) -> Tensor:
        grid = schedule.inverse(torch.linspace(-span, span, n + 1, dtype=torch.float64))
        grid[0], grid[-1] = start, end
        output = solver(lambda x, t: ask(denoiser, x, t, batch), denoiser.path, x, grid)
        return output.x["x"]

    reference = _flow(denoiser, schedule, batch, span)
    errors = [(run(sampler, n) - reference).square().mean().sqrt().log2() for n in steps]
    logs = torch.tensor(steps, dtype=torch.float64).log2()
    logs = logs - logs.mean()
    order = -float((logs * torch.stack(errors)).sum() / (logs**2).sum())
    if order < expected - tolerance:
        raise AssertionError(f"{sampler}: measured order {order:.2f}; expected {expected}")
    return order


def _flow(denoiser: AnalyticDenoiser, schedule: Schedule, batch: Batch, span: float) -> Tensor:
    """The end of the flow ``d(x / sigma) = data d(alpha / sigma)``, by Runge--Kutta.

    Shares no formula with the samplers; the error is far below theirs.
    """
    h = 2.0 * span / _REFERENCE_STEPS

    def rate(y: Tensor, log_snr: float) -> Tensor:
        t = schedule.inverse(torch.tensor(log_snr, dtype=torch.float64))
        x = {"x": y * schedule.values(t)[1]}
        data = denoiser(x, t.expand(batch.size), batch)["x"].data
        return math.exp(log_snr) * data

    def noise_level(log_snr: float) -> Tensor:
        return schedule.values(schedule.inverse(torch.tensor(log_snr, dtype=torch.float64)))[1]

    y = batch.x["x"] / noise_level(-span)
    for k in range(_REFERENCE_STEPS):
        at = -span + k * h
        k1 = rate(y, at)
        k2 = rate(y + 0.5 * h * k1, at + 0.5 * h)
        k3 = rate(y + 0.5 * h * k2, at + 0.5 * h)
        k4 = rate(y + h * k3, at + h)
        y = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return y * noise_level(span)


def assert_marginals(
    sampler: Sampler,
    schedule: Schedule,
    grid: Tensor,
    *,
    count: int = 8192,
    tolerance: float = 0.05,
    seed: int = 0,
) -> float:
    """Check that a sampler ends in the law of the data, a Gaussian mixture in the plane.

    Compares means, covariances (each in units of the law's standard deviation) and the mean
    log-density (in nats) of the samples with those of the law.

    Args:
        sampler: The sampler.
        schedule: Schedule of the Gaussian path.
        grid: Times, ``[n + 1]``.
        count: Samples to draw.
        tolerance: Largest deviation allowed beyond four standard errors.
        seed: Seed.

    Returns:
        The largest deviation.

    Raises:
        AssertionError: A deviation is larger.
    """
    law = GaussianMixture.standard()
    denoiser = AnalyticDenoiser({"x": GaussianPath(schedule)}, {"x": law})
    like = Batch({"x": torch.zeros(count, 2, dtype=torch.float64)})
    x = sample(denoiser, like, sampler, grid, seed).x["x"]
    exact = law.sample(x, Streams.first(seed + 1, count))
    scale = law.covariance.diagonal().sqrt()
    deviations = {
        "mean": ((x.mean(0) - law.mean) / scale).abs().max(),
        "covariance": ((x.T.cov() - law.covariance) / torch.outer(scale, scale)).abs().max(),
        "log-density": (law.log_prob(x).mean() - law.log_prob(exact).mean()).abs(),
    }
    worst = max(deviations, key=lambda name: float(deviations[name]))
    deviation, error = float(deviations[worst]), 4.0 * math.sqrt(2.0 / count)
    if deviation > tolerance + error:
        raise AssertionError(f"{sampler}: {worst} is off by {deviation:.3f} > {tolerance}")
    return deviation


def assert_equivariant(
    function: Callable[[State], State],
    x: State,
    act: Callable[[State], State],
    act_out: Callable[[State], State] | None = None,
    *,
    tolerance: float = 1e-4,
) -> float:
    """Check that a function commutes with an action: ``f(g x) = g f(x)``.

    Args:
        function: From a state to a state.
        x: A state to try.
        act: The action on the input.
        act_out: The action on the output; default ``act``. The identity checks invariance.
        tolerance: Largest error allowed, relative to the largest output of each leaf.

    Returns:
        The largest relative error.

    Raises:
        AssertionError: The error is larger.
    """
    left, right = function(act(x)), (act_out or act)(function(x))
    worst = 0.0
    for name, expected in right.items():
        size = float(expected.abs().max()) or 1.0
        error = float((left[name] - expected).abs().max()) / size
        if not error <= tolerance:
            raise AssertionError(
                f"leaf {name!r}: not equivariant; relative error {error:.2e} > {tolerance:.0e}"
            )
        worst = max(worst, error)
    return worst


def assert_batch_independent(
    denoiser: DenoiserLike,
    like: Batch,
    sampler: Sampler,
    grid: Tensor,
    *,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> float:
    """Check that samples do not depend on the batch they are drawn with, nor on their order.

    Args:
        denoiser: The denoiser.
        like: A batch of at least two samples.
        sampler: The sampler.
        grid: Times, ``[n + 1]``.
        seed: Seed.
        tolerance: Largest difference allowed in real rows; different batch sizes round
            differently.

    Returns:
        The largest difference.

    Raises:
        AssertionError: The difference is larger.
    """
    together = sample(denoiser, like, sampler, grid, seed).x
    worst = 0.0
    for i in reversed(range(like.size)):
        index = torch.tensor([i])
        single = like.select(index)
        alone = sample(denoiser, single, sampler, grid, seed, indices=index).x
        for name, leaf in alone.items():
            _, rows = like.layouts[name].select(index)
            difference = single.layouts[name].zero_padding((leaf - together[name][rows]).abs())
            worst = max(worst, float(difference.max()))
    if not worst <= tolerance:
        raise AssertionError(f"samples change with their batch by {worst:.2e} > {tolerance:.0e}")
    return worst

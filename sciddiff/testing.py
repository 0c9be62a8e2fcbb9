r"""Checks for those who write their own paths, samplers and networks.

The judges are *analytic denoisers*: for a known law of the data, the exact mean of the data given
a state, so that a sampler's order, the marginals it keeps and a likelihood can be compared with
closed forms rather than with another program.

Checks raise `AssertionError` with the measured number, and return it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.guidance.base import DenoiserLike
from sciddiff.guidance.combine import levels
from sciddiff.manifolds.torus import wrap
from sciddiff.paths.base import Path
from sciddiff.paths.gaussian import GaussianPath
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.samplers.base import Sampler
from sciddiff.sampling import sample
from sciddiff.schedules import Schedule
from sciddiff.state import Batch, Layout, State
from sciddiff.streams import Generator, Streams

__all__ = [
    "AnalyticDenoiser",
    "GaussianMixture",
    "Law",
    "TorusMixture",
    "assert_batch_independent",
    "assert_equivariant",
    "assert_marginals",
    "assert_order",
]

_REFERENCE_STEPS = 200


class Law(ABC):
    """A law of the data of one leaf, the same and independent for every row."""

    @abstractmethod
    def data(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """Mean of the data given the state; on a manifold, the exponential of the mean logarithm.

        Args:
            x_t: ``[..., *event]``.
            alpha: Signal level, broadcastable against ``x_t``.
            sigma: Noise level, broadcastable against ``x_t``.
        """

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of points ``x`` in nats, one number per point."""

    @abstractmethod
    def sample(
        self, like: Tensor, generator: Generator, layout: Layout | None = None
    ) -> Tensor:
        """Draw points in the shape of ``like``."""


@final
class GaussianMixture(Law):
    r"""A mixture of Gaussians in :math:`\mathbb R^d`, each with any covariance.

    Args:
        means: ``[K, d]``.
        covariances: ``[K, d, d]``, positive definite.
        weights: ``[K]``, of sum 1; default equal.
    """

    def __init__(
        self, means: Tensor, covariances: Tensor, weights: Tensor | None = None
    ) -> None:
        self.means = means.double()
        self.variances, self.axes = torch.linalg.eigh(covariances.double())
        count = len(means)
        uniform = torch.full((count,), 1.0 / count, dtype=torch.float64)
        self.weights = uniform if weights is None else weights.double()

    @classmethod
    def standard(cls, dimension: int = 2) -> GaussianMixture:
        """Three components of different shape and weight, of about unit size."""
        generator = torch.Generator().manual_seed(dimension)
        means = torch.randn(3, dimension, generator=generator, dtype=torch.float64)
        root = torch.randn(3, dimension, dimension, generator=generator, dtype=torch.float64)
        covariances = 0.05 * torch.eye(dimension, dtype=torch.float64) + 0.1 * root @ root.mT
        return cls(means, covariances, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))

    @property
    def mean(self) -> Tensor:
        """``[d]``."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Tensor:
        """``[d, d]``."""
        within = (self.axes * self.variances[:, None, :]) @ self.axes.mT
        offsets = self.means - self.mean
        between = offsets[:, :, None] * offsets[:, None, :]
        return (self.weights[:, None, None] * (within + between)).sum(0)

    def _project(self, x: Tensor, alpha: Tensor | float) -> Tensor:
        """Offsets from the scaled means along the axes of each component, ``[..., K, d]``."""
        offsets = x.double()[..., None, :] - torch.as_tensor(alpha)[..., None] * self.means
        return torch.einsum("...kd,kde->...ke", offsets, self.axes)

    def _log_joint(self, x: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Tensor:
        """Log-density of ``x_t`` and component, ``[..., K]``."""
        variances = torch.as_tensor(alpha)[..., None] ** 2 * self.variances
        variances = variances + torch.as_tensor(sigma)[..., None] ** 2
        square = self._project(x, alpha) ** 2 / variances
        logs = -0.5 * (square + torch.log(2.0 * math.pi * variances)).sum(-1)
        return logs + self.weights.log()

    def data(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        alpha, sigma = torch.as_tensor(alpha).double(), torch.as_tensor(sigma).double()
        share = torch.softmax(self._log_joint(x_t, alpha, sigma), dim=-1)
        variances = alpha[..., None] ** 2 * self.variances + sigma[..., None] ** 2
        gain = alpha[..., None] * self.variances / variances
        shift = torch.einsum("...ke,kde->...kd", gain * self._project(x_t, alpha), self.axes)
        return (share[..., None] * (self.means + shift)).sum(-2).to(x_t.dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        return torch.logsumexp(self._log_joint(x, one, zero), dim=-1)

    def log_prob_at(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """Log-density of the state at signal level ``alpha`` and noise level ``sigma``."""
        levels = (torch.tensor(level, dtype=torch.float64) for level in (alpha, sigma))
        return torch.logsumexp(self._log_joint(x_t, *levels), dim=-1)

    def sample(
        self, like: Tensor, generator: Generator, layout: Layout | None = None
    ) -> Tensor:
        uniform = streams.uniform(like[..., :1].double(), generator, layout)[..., 0]
        which = torch.searchsorted(self.weights.cumsum(0), uniform).clamp(max=len(self.means) - 1)
        z = streams.normal(like.double(), generator, layout) * self.variances[which].sqrt()
        shift = torch.einsum("...e,...de->...d", z, self.axes[which])
        return (self.means[which] + shift).to(like.dtype)


@final
class TorusMixture(Law):
    r"""A mixture of wrapped normals on the circle, under a geodesic flow from the uniform law.

    Given the data, the state is uniform on the arc of half-width :math:`(1-\kappa)\pi` around it,
    so the posterior is a wrapped normal cut to an arc, whose mean is in closed form.

    Args:
        means: Radians, ``[K]``.
        scales: Standard deviations before wrapping, radians, ``[K]``.
        weights: ``[K]``, of sum 1; default equal.
    """

    def __init__(self, means: Tensor, scales: Tensor, weights: Tensor | None = None) -> None:
        self.means = means.double()
        self.scales = scales.double()
        count = len(means)
        uniform = torch.full((count,), 1.0 / count, dtype=torch.float64)
        self.weights = uniform if weights is None else weights.double()
        self._turns = 2.0 * math.pi * torch.arange(-3, 4, dtype=torch.float64)

    def _images(self, x: Tensor) -> Tensor:
        """Offsets of every image of every mean from ``x``, ``[..., K, 7]``."""
        return (self.means[:, None] + self._turns) - x.double()[..., None, None]

    def data(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        half = (math.pi * torch.as_tensor(sigma).double())[..., None, None].clamp(min=1e-12)
        scale = self.scales[:, None]
        centre = self._images(x_t)
        low, high = (-half - centre) / scale, (half - centre) / scale
        mass = torch.special.ndtr(high) - torch.special.ndtr(low)
        density = torch.exp(-0.5 * high**2) - torch.exp(-0.5 * low**2)
        first = centre * mass - scale * density / math.sqrt(2.0 * math.pi)
        weights = self.weights[:, None]
        total = (weights * mass).sum((-2, -1))
        towards = (weights * first).sum((-2, -1)) / total
        return wrap(x_t + towards.to(x_t.dtype))

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density with respect to the normalised uniform measure."""
        square = (self._images(x) / self.scales[:, None]) ** 2
        logs = -0.5 * square - torch.log(self.scales * math.sqrt(2.0 * math.pi))[:, None]
        logs = logs + self.weights.log()[:, None]
        return torch.logsumexp(logs.flatten(-2), dim=-1) + math.log(2.0 * math.pi)

    def sample(
        self, like: Tensor, generator: Generator, layout: Layout | None = None
    ) -> Tensor:
        uniform = streams.uniform(like.double(), generator, layout)
        which = torch.searchsorted(self.weights.cumsum(0), uniform).clamp(max=len(self.means) - 1)
        z = streams.normal(like.double(), generator, layout)
        return wrap(self.means[which] + self.scales[which] * z).to(like.dtype)


@final
class AnalyticDenoiser:
    """The exact denoiser of known laws; used wherever a `Denoiser` is.

    Args:
        paths: One path per leaf, Gaussian or geodesic.
        laws: One law per leaf.
    """

    def __init__(self, paths: dict[str, Path], laws: dict[str, Law]) -> None:
        self.path = ProductPath(paths)
        self.laws = laws

    def __call__(self, x_t: State, t: Tensor, batch: Batch) -> dict[str, Prediction]:
        """Exact predictions at times ``t [B]``."""
        result = {}
        for name, path in self.path.paths.items():
            x, layout = x_t[name], batch.layouts[name]
            alpha, sigma = (layout.spread(level, x) for level in levels(path, t.double()))
            data = self.laws[name].data(x, alpha, sigma)
            result[name] = path.predict(x, x, t, layout).with_data(data)
        return result


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
        output = solver(lambda x, t: denoiser(x, t, batch), denoiser.path, x, grid)
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

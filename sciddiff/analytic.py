r"""Analytic denoisers: laws of the data for which the best prediction is known in closed form.

For a known law the exact mean of the data given a state is known too, so that a sampler's order,
the marginals it keeps and a likelihood can be compared with closed forms rather than with another
program.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.leaf_times import Time, time_of, time_tensors
from sciddiff.manifolds.torus import wrap
from sciddiff.paths.base import Path
from sciddiff.paths.product import ProductPath
from sciddiff.paths.tokens import TokenPath
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import Batch, Layout, State
from sciddiff.streams import Generator

__all__ = [
    "AnalyticDenoiser", "EnumeratedDenoiser", "GaussianMixture", "Law", "TorusMixture",
    "markov_chain",
]  # fmt: skip


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

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        """Exact predictions at a time; ``until`` changes nothing.

        Raises:
            InputError: A path has no signal and noise level.
        """
        result = {}
        times = time_tensors(t, x_t, batch.size)
        for name, path in self.path.paths.items():
            x, layout = x_t[name], batch.layouts[name]
            own = torch.as_tensor(time_of(times, name))
            levels = path.levels(own.double())
            if levels is None:
                raise InputError(f"leaf {name!r}: {type(path).__name__} has no levels")
            alpha, sigma = (layout.spread(level, x) for level in levels)
            data = self.laws[name].data(x, alpha, sigma)
            result[name] = path.predict(x, x, own, layout).with_data(data)
        return result


@final
class EnumeratedDenoiser:
    """The exact denoiser of a law of words that are few enough to enumerate.

    Args:
        path: A path of tokens.
        words: Every word, int64 ``[W, L]``.
        log_p: Their log-probabilities, ``[W]``.
        leaf: Name of the leaf.
        kind: What is said of each row: the posterior, or the cavity.

    >>> from sciddiff import MaskPath
    >>> words, log_p = markov_chain(3, 4)
    >>> denoiser = EnumeratedDenoiser(MaskPath(3), words, log_p)
    >>> hidden = torch.full((1, 4), 3)
    >>> said = denoiser({"word": hidden}, 0.0, Batch({"word": hidden}))["word"]
    >>> said.posterior.exp().sum(-1).round(decimals=6).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(
        self,
        path: TokenPath,
        words: Tensor,
        log_p: Tensor,
        leaf: str = "word",
        kind: Literal["posterior", "cavity"] = "posterior",
    ) -> None:
        self.path = ProductPath({leaf: path})
        self._path, self._words, self._log_p = path, words, log_p.double()
        self._leaf = leaf
        self._kind: Literal["posterior", "cavity"] = kind

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> Predictions:
        """Exact predictions by Bayes' rule; ``until`` changes nothing."""
        x, layout = x_t[self._leaf], batch.layouts[self._leaf]
        own = time_of(time_tensors(t, x_t, batch.size), self._leaf)
        likelihood = self._path.log_likelihood(x, own, layout).double()
        rows = likelihood[:, torch.arange(x.shape[1], device=x.device), self._words]
        if self._kind == "cavity":
            others = rows[:, :, None, :].repeat(1, 1, x.shape[1], 1)
            others.diagonal(dim1=-2, dim2=-1).zero_()
            joint = others.sum(-1) + self._log_p[:, None]
        else:
            joint = (rows.sum(-1) + self._log_p)[..., None].expand(-1, -1, x.shape[1])
        is_symbol = self._words[..., None] == torch.arange(self._path.size, device=x.device)
        joint = joint[..., None].masked_fill(~is_symbol, -torch.inf)
        # A finite number in the place of log 0, so that guidance can weigh it.
        said = torch.logsumexp(joint, 1).clamp(min=-1e3)
        prediction = self._path.say(self._kind, said, x, own, layout)
        return Predictions({self._leaf: prediction})


def markov_chain(symbols: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Every word of a random Markov chain, int64 ``[W, length]``, and their log-probabilities."""
    g = torch.Generator().manual_seed(seed)
    start = torch.randn(symbols, generator=g, dtype=torch.float64).log_softmax(-1)
    step = (1.5 * torch.randn(symbols, symbols, generator=g, dtype=torch.float64)).log_softmax(-1)
    words = torch.cartesian_prod(*[torch.arange(symbols)] * length)
    return words, start[words[:, 0]] + step[words[:, :-1], words[:, 1:]].sum(-1)

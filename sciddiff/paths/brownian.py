r"""BrownianPath: score diffusion on SO(3) and on tori.

Data are carried away by Brownian motion for the variance :math:`\sigma(t)^2`, which shrinks to
:math:`\sigma_{min}^2` at t = 1 (De Bortoli et al., 2022; Yim et al., *SE(3) diffusion*, 2023):

.. math:: x_t = \exp_{x_1}(v), \qquad v \sim p_{\sigma(t)} \text{ (heat kernel)},

so that the probability flow is :math:`\dot x = \tfrac12 g^2 s` with the score s and
:math:`g^2 = -\mathrm d\sigma^2/\mathrm dt`. A step is DDIM's in the tangent space at the state,
with the data where Tweedie's formula puts them,
:math:`\log_{x_t}\hat x_1 = \sigma_t^2 s`, and :math:`\tau = \eta(1 - \sigma_s^2/\sigma_t^2)`:

.. math:: x_s = \exp_{x_t}\!\Big(\big(1 - \tfrac{\sigma_s}{\sigma_t}\sqrt{1-\tau}\big)
    \sigma_t^2 s + \sigma_s\sqrt\tau z\Big).

Steps of second order use a weighted mean of such logarithms, all at the state where they start.
In the limit of small steps it is the geodesic random walk of the reverse equation (eta = 1) or the
probability flow (eta = 0), and keeps the marginals for any eta; steps must be small against the
size of the manifold. The prior is uniform, which ``sigma(0)`` must be large enough to reach: the
slowest mode is left with ``exp(-sigma^2)`` on SO(3) and ``exp(-sigma^2 / 2)`` on the circle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.so3 import SO3
from sciddiff.paths.base import Path, PathSample
from sciddiff.paths.heat_kernels import HeatKernel, heat_kernel
from sciddiff.paths.move import NOISE_FREE, Move
from sciddiff.prediction import Prediction
from sciddiff.schedules import Logarithmic, Schedule
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["BrownianPath", "BrownianPrediction"]


@final
class BrownianPrediction(Prediction):
    """A prediction on a Brownian path.

    Data from a score follow Tweedie's formula, which is exact where the manifold looks flat
    (``sigma`` small). A score from data is that of the heat kernel about them.

    Args:
        kind: What ``value`` is.
        value: Points of the manifold, or tangent vectors at ``x_t``.
        x_t: State the network saw.
        t: Time of each sample, ``[B]``.
        path: The path.
        layout: How the rows are grouped in samples; None: dense.
    """

    def __init__(
        self,
        kind: Literal["score", "data"],
        value: Tensor,
        x_t: Tensor,
        t: LeafTime,
        path: BrownianPath,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(x_t, t, layout)
        if kind not in ("score", "data"):
            raise InputError(f"parametrization: {kind!r} is unknown; choose score or data")
        self.kind = kind
        self.value = value
        self.path = path

    @cached_property
    def data(self) -> Tensor:
        """Expected data: points of the manifold."""
        if self.kind == "data":
            return self.value
        return self.path.manifold.exp(self.x_t, self.displacement)

    @cached_property
    def score(self) -> Tensor:
        """Gradient of the log-density of the state, a tangent vector."""
        if self.kind == "score":
            return self.value
        return self.path.kernel_score(self.value, self.x_t, self.t, self.layout)

    @cached_property
    def displacement(self) -> Tensor:
        """The way to the data by Tweedie's formula, ``sigma^2`` times the score."""
        return self._sigma(self.score) ** 2 * self.score

    @cached_property
    def velocity(self) -> Tensor:
        """Time derivative of the state along the probability flow, a tangent vector."""
        if isinstance(self.t, Tensor):
            rates = self.path.schedule.rates(self.t)
            return self.spread(-rates.sigma * rates.sigma_rate, self.score) * self.score
        now = self.path.schedule.at(self.t)
        return -now.sigma * now.sigma_rate * self.score

    def _sigma(self, like: Tensor) -> LeafTime:
        """Sigma, a number or broadcast against a tangent vector."""
        if isinstance(self.t, Tensor):
            return self.spread(self.path.schedule.sigma(self.t.double()), like)
        return self.path.schedule.at(self.t).sigma

    def with_data(self, data: Tensor) -> BrownianPrediction:
        """The prediction for the same state and time that says ``data`` instead.

        A score stays a score, and moves by what Tweedie's formula makes of the way from the old
        data to the new: read off the new data alone, it would forget turns of more than half.
        """
        if self.kind == "data":
            return BrownianPrediction("data", data, self.x_t, self.t, self.path, self.layout)
        log = self.path.manifold.log
        change = log(self.x_t, data) - log(self.x_t, self.data)
        return self.with_coordinates(self.value + change / self._sigma(change) ** 2)

    @property
    def coordinates(self) -> Tensor:
        """See `Prediction.coordinates`: the score."""
        return self.score

    def with_coordinates(self, value: Tensor, x_t: Tensor | None = None) -> BrownianPrediction:
        """See `Prediction.with_coordinates`."""
        x_t = self.x_t if x_t is None else x_t
        return BrownianPrediction("score", value, x_t, self.t, self.path, self.layout)


@final
@dataclass(frozen=True, eq=False)
class BrownianPath(Path):
    """A leaf that diffuses on its manifold.

    Attributes:
        manifold: `SO3` or `Torus`.
        schedule: One with ``alpha = 1``; its sigma is in radians.
        parametrization: What the network's output is: points, or the score in units of its root
            mean square at that noise level, so that outputs are of order one.

    Raises:
        InputError: The manifold has no heat kernel here, or the schedule scales the data.

    >>> path, data = BrownianPath(SO3()), torch.eye(3).expand(2, 3, 3)
    >>> on_the_way = path.sample(data, torch.tensor([0.9, 1.0]), torch.Generator().manual_seed(0))
    >>> on_the_way.x_t.shape
    torch.Size([2, 3, 3])
    """

    numeric_times = True
    uses_noise = False
    jumps = True

    manifold: Manifold = field(default_factory=SO3)
    schedule: Schedule = field(default_factory=Logarithmic)
    parametrization: Literal["score", "data"] = "score"

    def __post_init__(self) -> None:
        heat_kernel(self.manifold)
        if bool((self.schedule.alpha(torch.tensor([0.0, 0.5, 1.0])) != 1.0).any()):
            raise InputError(
                f"BrownianPath.schedule: {type(self.schedule).__name__} scales the data; "
                "use Logarithmic, VE or EDM"
            )

    @property
    def kernel(self) -> HeatKernel:
        """The heat kernel of the manifold."""
        return heat_kernel(self.manifold)

    def _tangent_like(self, x: Tensor) -> Tensor:
        """An empty tensor in the shape of tangent vectors at the points ``x``."""
        lead = x.shape[: x.ndim - self.manifold.event_ndim]
        tail = (self.manifold.tangent_dim,) if self.manifold.tangent_ndim else ()
        return x.new_empty(*lead, *tail)

    def _sigma(self, t: LeafTime, tangent: Tensor, layout: Layout | None) -> Tensor:
        """Sigma of each point, broadcast to ``[...]`` of ``tangent [..., *tangent]``."""
        if not isinstance(t, Tensor):
            return tangent.new_tensor(self.schedule.at(t).sigma)
        sigma = self.schedule.sigma(t.double()).to(tangent)
        points = tangent[..., 0] if self.manifold.tangent_ndim else tangent
        return (layout or Layout(len(points))).spread(sigma, points)

    def prior(
        self, like: Tensor, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.prior`: uniform."""
        return self.manifold.uniform(like, generator, layout)

    def sample(
        self,
        x1: Tensor,
        t: Tensor,
        generator: Generator | None,
        x0: Tensor | None = None,
        layout: Layout | None = None,
    ) -> PathSample:
        """See `Path.sample`. The walk starts from the data, so noise that is given is not used;
        the sample's ``x0`` is the state itself."""
        like = self._tangent_like(x1)
        step = self.kernel.sample(like, self._sigma(t, like, layout), generator, layout)
        x_t = self.manifold.exp(x1, step)
        x_t = x_t if layout is None else layout.hold(x_t, x1)
        return PathSample(x_t, x_t, x1, t)

    def kernel_score(
        self, x1: Tensor, x_t: Tensor, t: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """Score of the state if the data are known, a tangent vector at ``x_t``."""
        step = -self.manifold.log(x_t, x1)
        return self.kernel.score(step, self._sigma(t, step, layout))

    def _score_scale(
        self, t: LeafTime, like: Tensor, layout: Layout | None
    ) -> LeafTime:
        """Root mean square of one component of the score: a number, or broadcast to ``like``."""
        if not isinstance(t, Tensor):
            return self._rms(self.schedule.at(t).sigma)
        # One quadrature for every sample of a batch of training.
        norm = self.kernel.score_norm(self.schedule.sigma(t.double()))
        layout = layout or Layout(len(like))
        return layout.spread((norm / self.kernel.dimension).sqrt().to(like), like)

    @cached_property
    def _rms(self) -> Callable[[float], float]:
        """Root mean square of one component of the score, remembered by noise level."""

        @lru_cache(maxsize=4096)
        def rms(sigma: float) -> float:
            norm = self.kernel.score_norm(torch.tensor([sigma], dtype=torch.float64))
            return math.sqrt(float(norm) / self.kernel.dimension)

        return rms

    def predict(
        self, raw: Tensor, x_t: Tensor, t: LeafTime, layout: Layout | None = None
    ) -> BrownianPrediction:
        """See `Path.predict`."""
        raw = raw.to(x_t.dtype)
        if self.parametrization == "score":
            raw = raw * self._score_scale(t, raw, layout)
        return BrownianPrediction(self.parametrization, raw, x_t, t, self, layout)

    def loss(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """Squared error of the score over its mean square: 1 at all times if nothing is known."""
        predicted, sample = _brownian(prediction), path_sample
        with torch.no_grad():
            target = self.kernel_score(sample.x1, sample.x_t, sample.t, layout)
        error = predicted.score - target
        return (error / self._score_scale(sample.t, error, layout)) ** 2

    def match(
        self, prediction: Prediction, target: Prediction, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.match`: as `loss`, with the score that the target says."""
        wanted = _brownian(target)
        error = _brownian(prediction).score - wanted.score
        return (error / self._score_scale(wanted.t, error, layout)) ** 2

    @property
    def ends_clean(self) -> bool:
        """Whether the schedule leaves no noise at t = 1."""
        return float(self.schedule.sigma(torch.ones((), dtype=torch.float64))) <= NOISE_FREE

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Path.levels`: 1 and sigma."""
        return self.schedule.values(t)

    def step(
        self, move: Move, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Move` and the module; all differences are logarithms at the first state."""
        noise, start = move.noise, move.stages[0]
        share = 0.0 if noise is None else min(noise.curved * noise.add**2, 1.0)
        left = 0.0 if move.clean else move.end[1] / start.levels[1]
        gain, step = 1.0 - left * math.sqrt(1.0 - share), None
        for weight, stage in move.terms:
            way = _brownian(stage.prediction).displacement
            if stage is not start:
                way = self.manifold.log(start.x, self.manifold.exp(stage.x, way))
            step = gain * weight * way if step is None else step + gain * weight * way
        if share > 0.0 and not move.clean:
            fresh = self.manifold.randn_tangent(start.x, generator, layout)
            fresh = move.end[1] * math.sqrt(share) * fresh
            step = fresh if step is None else step + fresh
        return start.x if step is None else self.manifold.exp(start.x, step)

    def jump(
        self, prediction: Prediction, s: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.jump`."""
        way = _brownian(prediction).displacement
        part = self._fraction(prediction.t, s, way, layout)
        return self.manifold.exp(prediction.x_t, part * way)

    def arriving(
        self, prediction: Prediction, x_s: Tensor, s: LeafTime, layout: Layout | None = None
    ) -> BrownianPrediction:
        """See `Path.arriving`, in the tangent space at the state."""
        way = self.manifold.log(prediction.x_t, x_s)
        way = way / self._fraction(prediction.t, s, way, layout)
        sigma = _spread(self.schedule.sigma(_double(prediction.t, way)), way, layout)
        return _brownian(prediction).with_coordinates(way / sigma**2)

    def _fraction(
        self, t: LeafTime, s: LeafTime, like: Tensor, layout: Layout | None
    ) -> Tensor:
        """The part of the way to the data that is left at t and walked by s."""
        now, then = (self.schedule.sigma(_double(one, like)) for one in (t, s))
        return _spread(1.0 - then / now, like, layout)

    def from_score(
        self, change: Tensor, t: float | Tensor, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.from_score`: the coordinates are the score itself."""
        return change

    def log_prior(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Zero: densities are with respect to the uniform law."""
        return x.new_zeros(x.shape[0] if layout is None else layout.size)


def _double(t: LeafTime, like: Tensor) -> Tensor:
    return torch.as_tensor(t, dtype=torch.float64, device=like.device)


def _spread(values: Tensor, like: Tensor, layout: Layout | None) -> Tensor:
    return (layout or Layout(like.shape[0])).spread(values.to(like.dtype), like)


def _brownian(prediction: Prediction) -> BrownianPrediction:
    if not isinstance(prediction, BrownianPrediction):
        raise InputError(
            f"prediction: {type(prediction).__name__} on a BrownianPath; expected one that "
            "its predict() returned"
        )
    return prediction

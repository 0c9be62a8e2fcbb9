r"""GaussianPath: diffusion and flow matching on flat leaves, for any schedule.

.. math:: x_t = \alpha(t)\,x_1 + \sigma(t)\,x_0, \qquad x_0 \sim \mathcal N(0, c^2\Sigma)

The step from t to s is DDIM's with stochasticity eta (Song et al., 2021, eq. 12 and 16, in the
form for any alpha and sigma):

.. math:: \tau = \eta\,(1 - (\alpha_t\sigma_s/\alpha_s\sigma_t)^2), \quad
    x_s = \alpha_s\hat x_1 + \sigma_s\sqrt{1-\tau}\,\hat x_0 + \sigma_s\sqrt\tau\,z .

On `ZeroCenterOfMass` data, noise and predictions are centred. Samples that hold a *fixed* row are
left where they are: the fixed rows are the frame, and moving it would move them off their data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.euclidean import Euclidean, ZeroCenterOfMass
from sciddiff.noise import NoiseLaw, White
from sciddiff.paths.base import Path, PathSample
from sciddiff.paths.laws import Normal
from sciddiff.paths.move import NOISE_FREE, Move
from sciddiff.prediction import GaussianPrediction, Parametrization, Prediction
from sciddiff.schedules import Linear, Schedule
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["GaussianPath"]

_FAINT = 1e-3  # signal level below which a prediction of noise no longer determines the data


@final
@dataclass(frozen=True, eq=False)
class GaussianPath(Path):
    """A leaf that is data times alpha plus noise times sigma.

    Attributes:
        schedule: alpha and sigma.
        manifold: `Euclidean` or `ZeroCenterOfMass`.
        noise: Law of the noise.
        parametrization: What the network's output is.
        sigma_data: Standard deviation of the data, a number or one per trailing dimension; scales
            the input and output of the network with ``"edm"`` and is unused otherwise.
        prior_scale: Scale c of the noise, in units of the data.
        loss_space: Quantity whose squared error is the loss; ``"native"`` is the network's own
            output. The score is compared as whitened noise, which is its usual weight sigma^2.

    Raises:
        InputError: The manifold is not flat.

    >>> path, x1, x0 = GaussianPath(), torch.tensor([[2.0]]), torch.tensor([[-2.0]])
    >>> path.sample(x1, torch.tensor([0.75]), None, x0).x_t  # 0.75 x1 + 0.25 x0
    tensor([[1.]])
    >>> path.predict(x1, x0, torch.tensor([0.0])).velocity  # by default the network says the data
    tensor([[4.]])
    """

    numeric_times = True
    jumps = True

    schedule: Schedule = field(default_factory=Linear)
    manifold: Manifold = field(default_factory=Euclidean)
    noise: NoiseLaw = field(default_factory=White)
    parametrization: Parametrization = "data"
    sigma_data: float | list[float] | Tensor = 1.0
    prior_scale: float = 1.0
    loss_space: Literal["native", "data", "noise", "velocity", "score", "v", "edm"] = "native"
    loss_weight: float | list[Any] | Tensor = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.manifold, Euclidean | ZeroCenterOfMass):
            raise InputError(
                f"GaussianPath.manifold: {type(self.manifold).__name__} is curved; "
                "use GeodesicPath or BrownianPath"
            )
        if self.prior_scale <= 0:
            raise InputError(f"GaussianPath.prior_scale: {self.prior_scale} is not positive")
        if isinstance(self.sigma_data, list):
            object.__setattr__(self, "sigma_data", torch.tensor(self.sigma_data))
        object.__setattr__(self, "loss_weight", _weight(self.loss_weight))

    def _levels(
        self, t: LeafTime, like: Tensor, layout: Layout | None
    ) -> tuple[LeafTime, LeafTime]:
        """``alpha`` and ``sigma``: numbers, or tensors broadcast to the rows of a leaf."""
        if not isinstance(t, Tensor):
            now = self.schedule.at(t)
            return now.alpha, now.sigma
        alpha, sigma = self.schedule.values(t)
        layout = layout or Layout(like.shape[0])
        return layout.spread(alpha.to(like), like), layout.spread(sigma.to(like), like)

    def prior(
        self, like: Tensor, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.prior`: unit noise times ``prior_scale``; the state at t = 0 is that times
        ``sigma(0)``."""
        noise = self.project(self.noise.sample(like, generator, layout), layout)
        return noise if self.prior_scale == 1.0 else self.prior_scale * noise

    @property
    def first_time(self) -> float:
        """Where the schedule starts from pure noise, a prediction of noise or of a score says
        nothing about the data there; such a leaf starts where a thousandth of it is data."""
        if self.parametrization not in ("noise", "score") or self._ends[0][0] > 0.0:
            return 0.0
        return float(self.schedule.inverse(torch.tensor(math.log(_FAINT), dtype=torch.float64)))

    @property
    def ends_clean(self) -> bool:
        """Whether the schedule leaves no noise at t = 1."""
        alpha, sigma = self._ends[1]
        return sigma <= NOISE_FREE * alpha

    @cached_property
    def _ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Signal and noise level at t = 0 and at t = 1."""
        alpha, sigma = self.schedule.values(torch.tensor([0.0, 1.0], dtype=torch.float64))
        return (float(alpha[0]), float(sigma[0])), (float(alpha[1]), float(sigma[1]))

    def first_state(self, noise: Tensor) -> Tensor:
        """The state at `first_time` that is noise alone: ``sigma`` times it."""
        start = torch.tensor(self.first_time, dtype=torch.float64)
        return float(self.schedule.values(start)[1]) * noise

    def scale_noise(self, noise: Tensor, scale: float) -> Tensor:
        """Noise of ``scale`` times the standard deviation."""
        return noise if scale == 1.0 else scale * noise

    def noised(
        self,
        x1: Tensor,
        t: Tensor,
        noise: Tensor,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """See `Path.noised`; nothing is centred."""
        alpha, sigma = self._levels(t, x1, layout)
        return alpha * x1 + sigma * noise

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Path.levels`: those of the schedule."""
        return self.schedule.values(t)

    def time_at(self, log_snr: float) -> float:
        """See `Path.time_at`."""
        return float(self.schedule.inverse(torch.tensor(log_snr, dtype=torch.float64)))

    def sample(
        self,
        x1: Tensor,
        t: Tensor,
        generator: Generator | None,
        x0: Tensor | None = None,
        layout: Layout | None = None,
    ) -> PathSample:
        """See `Path.sample`; data are centred first if the manifold is."""
        x1 = self.project(x1, layout)
        x0 = self.prior(x1, generator, layout) if x0 is None else x0
        alpha, sigma = self._levels(t, x1, layout)
        x_t = alpha * x1 + sigma * x0
        return PathSample(x_t if layout is None else layout.hold(x_t, x1), x0, x1, t)

    def net_input(self, x_t: Tensor, t: LeafTime, layout: Layout | None = None) -> Tensor:
        """The state, of unit variance if the parametrization is ``"edm"``."""
        if self.parametrization != "edm":
            return x_t
        alpha, sigma = self._levels(t, x_t, layout)
        d = self.sigma_data
        if not isinstance(d, int | float):
            d = torch.as_tensor(d, dtype=x_t.dtype, device=x_t.device)
        return x_t / ((alpha * d) ** 2 + (self.prior_scale * sigma) ** 2) ** 0.5

    def predict(
        self, raw: Tensor, x_t: Tensor, t: LeafTime, layout: Layout | None = None
    ) -> GaussianPrediction:
        """See `Path.predict`; the output is centred if the manifold is."""
        return self._predict(self.parametrization, raw, x_t, t, layout)

    def _predict(
        self,
        kind: Parametrization,
        raw: Tensor,
        x_t: Tensor,
        t: LeafTime,
        layout: Layout | None,
    ) -> GaussianPrediction:
        raw = self.project(raw.to(x_t.dtype), layout)
        return GaussianPrediction(
            kind, raw, x_t, t, self.schedule, self.noise, self.prior_scale,
            self.sigma_data, layout,
        )  # fmt: skip

    def loss(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """Squared error in ``loss_space`` times `entry_weight`, in the shape of the leaf."""
        error = self._squared_error(prediction, path_sample, layout)
        weight = self.entry_weight(error)
        return error if weight is None else weight * error

    def entry_weight(self, like: Tensor) -> Tensor | None:
        """``loss_weight`` in the type of the leaf ``like [B, ...]``; None if it is 1.

        Returns:
            A tensor that broadcasts against ``like`` and leaves its shape as it is.

        Raises:
            InputError: The shape of the weights does not fit the leaf.
        """
        weight = self.loss_weight
        if not isinstance(weight, Tensor):
            return None if weight == 1.0 else like.new_tensor(weight)
        mine, leaf = tuple(weight.shape), tuple(like.shape[1:])
        tail = leaf[len(leaf) - len(mine) :]
        if len(mine) > len(leaf) or any(m not in (1, n) for m, n in zip(mine, tail, strict=True)):
            raise InputError(
                f"GaussianPath.loss_weight: shape {mine} does not broadcast against {leaf}, the "
                "dimensions of the leaf after the first; give each as 1 or of that size"
            )
        return weight.to(like)

    def match(
        self, prediction: Prediction, target: Prediction, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.match`: the squared difference in ``loss_space`` times `entry_weight`."""
        predicted, wanted = _gaussian(prediction), _gaussian(target)
        kind: Parametrization = predicted.kind if self.loss_space == "native" else self.loss_space
        if kind == "score":
            difference = self.noise.whiten(predicted.noise - wanted.noise, layout)
            error = (difference / self.prior_scale) ** 2
        else:
            error = (predicted.as_kind(kind) - wanted.as_kind(kind)) ** 2
        weight = self.entry_weight(error)
        return error if weight is None else weight * error

    def _squared_error(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None
    ) -> Tensor:
        predicted = _gaussian(prediction)
        kind: Parametrization = predicted.kind if self.loss_space == "native" else self.loss_space
        if kind == "score":
            error = predicted.noise - path_sample.x0
            return (self.noise.whiten(error, layout) / self.prior_scale) ** 2
        return (predicted.as_kind(kind) - self._target(kind, path_sample, layout)) ** 2

    def _target(self, kind: Parametrization, sample: PathSample, layout: Layout | None) -> Tensor:
        """The value of ``kind`` when data and noise are known; regular at both ends."""
        if kind == "data":
            return sample.x1
        if kind == "noise":
            return sample.x0
        if kind == "velocity":
            rates, rows = self.schedule.rates(sample.t), layout or Layout(len(sample.x1))
            alpha_rate = rows.spread(rates.alpha_rate.to(sample.x1), sample.x1)
            sigma_rate = rows.spread(rates.sigma_rate.to(sample.x1), sample.x1)
            return alpha_rate * sample.x1 + sigma_rate * sample.x0
        alpha, sigma = self._levels(sample.t, sample.x1, layout)
        if kind == "v":
            return (alpha * sample.x0 - sigma * sample.x1) / (alpha**2 + sigma**2) ** 0.5
        d, c = torch.as_tensor(self.sigma_data).to(sample.x1), self.prior_scale
        scale = ((alpha * d) ** 2 + (c * sigma) ** 2) ** 0.5
        return (c * sigma * sample.x1 / d - alpha * d * sample.x0 / c) / scale

    def step(
        self, move: Move, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Move`: DDIM at ``eta = 0``, ancestral DDPM at ``eta = 1``."""
        gain, result = move.gain, move.keep * move.x
        for weight, stage in move.terms:
            result = torch.add(result, stage.prediction.data, alpha=gain * weight)
        if move.added > 0.0:
            result = torch.add(result, self.prior(move.x, generator, layout), alpha=move.added)
        return result

    def step_law(self, move: Move, layout: Layout | None = None) -> Normal | None:
        scaled = lambda z, rows: self.noise.whiten(z, rows) / self.prior_scale  # noqa: E731
        return Normal(move, scaled, layout) if move.added > 0.0 else None

    def jump(
        self, prediction: Prediction, s: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.jump`."""
        kept, gain = self._way(prediction, s, layout)
        return kept * prediction.x_t + gain * prediction.data

    def arriving(
        self, prediction: Prediction, x_s: Tensor, s: LeafTime, layout: Layout | None = None
    ) -> Prediction:
        """See `Path.arriving`."""
        kept, gain = self._way(prediction, s, layout)
        return prediction.with_data((x_s - kept * prediction.x_t) / gain)

    def _way(
        self, prediction: Prediction, s: LeafTime, layout: Layout | None
    ) -> tuple[LeafTime, LeafTime]:
        """Factors of the state and of the data in a jump."""
        alpha, sigma = self._levels(prediction.t, prediction.x_t, layout)
        alpha_s, sigma_s = self._levels(s, prediction.x_t, layout)
        kept = sigma_s / sigma
        return kept, alpha_s - kept * alpha

    def renoise(
        self,
        x: Tensor,
        start: tuple[float, float],
        earlier: tuple[float, float],
        scale: float,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """See `Path.renoise`: ``x / alpha`` gains the difference of the variances."""
        ratio = earlier[0] / start[0]
        added = math.sqrt(max(earlier[1] ** 2 - (ratio * start[1]) ** 2, 0.0))
        return torch.add(ratio * x, self.prior(x, generator, layout), alpha=scale * added)

    def from_score(
        self, change: Tensor, t: float | Tensor, layout: Layout | None = None
    ) -> Tensor:
        r"""See `Path.from_score`: :math:`\sigma^2 c^2 \Sigma s / \alpha`, by Tweedie's formula.

        Where there is hardly any signal, :math:`\alpha` is taken as a thousandth.
        """
        alpha, sigma = self.schedule.values(torch.as_tensor(t, dtype=torch.float64))
        gain = (self.prior_scale * sigma) ** 2 / alpha.clamp(min=_FAINT)
        coloured = self.noise.covariance(change, layout)
        coloured = self.project_tangent(coloured, coloured, layout)
        layout = layout or Layout(change.shape[0])
        return layout.spread(gain.to(coloured.dtype), coloured) * coloured

    def enter(
        self, x1: Tensor, t: float, layout: Layout | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Path.enter`: the data times alpha."""
        rows = layout or Layout(x1.shape[0])
        alpha = float(self.schedule.values(torch.tensor(t, dtype=torch.float64))[0])
        dimension = rows.count(x1)
        if isinstance(self.manifold, ZeroCenterOfMass):
            dimension = dimension - x1.shape[-1]
        return alpha * self.project(x1, layout), dimension * math.log(alpha)

    def log_prior(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Log-density in nats of the state at t = 0, ``[B]``.

        On `ZeroCenterOfMass` it is the density on the centred subspace (white noise only), with d
        dimensions fewer than entries. Data contribute nothing at t = 0 if ``alpha(0) = 0``;
        otherwise (VP, VE, EDM) they are neglected against the noise.

        Args:
            x: State at t = 0.
            layout: How the rows are grouped in samples.
        """
        rows = layout or Layout(x.shape[0])
        start = torch.tensor(self.first_time, dtype=torch.float64)
        scale = self.prior_scale * float(self.schedule.values(start)[1])
        dimension = rows.count(x)
        result = self.noise.log_prob(x / scale, layout) - dimension * math.log(scale)
        if isinstance(self.manifold, ZeroCenterOfMass):
            if not isinstance(self.noise, White):
                raise InputError("GaussianPath.log_prior: centred correlated noise has no density")
            lost = dimension / rows.rows_per_sample(x).clamp(min=1.0)
            result = result + lost * (0.5 * math.log(2 * math.pi) + math.log(scale))
        return result


def _weight(weight: float | list[Any] | Tensor) -> float | Tensor:
    """Weights of a loss as a number or a tensor, checked."""
    try:
        values = torch.as_tensor(weight, dtype=None if isinstance(weight, Tensor) else torch.float)
    except (TypeError, ValueError) as error:
        raise InputError(
            "GaussianPath.loss_weight: is not an array of numbers; give one per entry, or 1.0"
        ) from error
    if not bool((values.isfinite() & (values >= 0)).all()) or not bool((values > 0).any()):
        raise InputError(
            "GaussianPath.loss_weight: holds negative or non-finite numbers, or zeros alone; "
            "weights are at least 0"
        )
    return float(values) if values.ndim == 0 else values


def _gaussian(prediction: Prediction) -> GaussianPrediction:
    if not isinstance(prediction, GaussianPrediction):
        raise InputError(
            f"prediction: {type(prediction).__name__} on a GaussianPath; expected one that "
            "its predict() returned"
        )
    return prediction

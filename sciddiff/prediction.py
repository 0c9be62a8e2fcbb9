r"""Predictions: what a network said about a leaf, converted only when asked.

A `GaussianPrediction` keeps the network's native output and states it as data
:math:`\hat x_1`, noise :math:`\hat x_0`, velocity u, score s or v. On
:math:`x_t = \alpha x_1 + \sigma x_0`, with :math:`x_0 \sim \mathcal N(0, \Sigma)` and
:math:`D = \dot\alpha\sigma - \alpha\dot\sigma`, native outputs are affine in data and noise::

    data      x1 = P                                   x0 = (x - alpha P) / sigma
    noise     x1 = (x - sigma P) / alpha               x0 = P
    velocity  x1 = (sigma P - sigma' x) / D            x0 = (alpha' x - alpha P) / D
    score     x1 = (x + sigma^2 Sigma P) / alpha       x0 = -sigma Sigma P
    v         x1 = (alpha x - sigma r P) / r^2         x0 = (sigma x + alpha r P) / r^2
    edm       x1 = (alpha d^2 x + c sigma d q P) / q^2 x0 = (c^2 sigma x - c alpha d q P) / q^2

with r^2 = alpha^2 + sigma^2, q^2 = alpha^2 d^2 + c^2 sigma^2, d the data's standard deviation and
c that of the noise; the last is the preconditioning of Karras et al. (2022) applied to x / alpha.
The others follow: ``u = alpha' x1 + sigma' x0``, ``s = -Sigma^-1 x0 / sigma``,
``v = (alpha x0 - sigma x1) / r`` (Salimans & Ho, 2022).

Singular ends, where a quantity does not follow from what was said: data from noise or score where
alpha = 0, noise (and so velocity) from data or score where sigma = 0, and any score where
sigma = 0. There the result is not finite; ask at times inside, or for the native quantity.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Literal, final, get_args

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.noise import NoiseLaw, White
from sciddiff.schedules import Schedule
from sciddiff.state import Layout

if TYPE_CHECKING:
    from sciddiff.manifolds.base import Manifold
    from sciddiff.schedules import Kappa

__all__ = [
    "GaussianPrediction",
    "Parametrization",
    "Prediction",
    "Predictions",
    "TangentPrediction",
]

Parametrization = Literal["data", "noise", "velocity", "score", "v", "edm"]


class Prediction(ABC):
    """What is believed about one leaf at one time.

    A subclass says what `data` are expected. What else the core asks of a prediction follows from
    that, or is refused by name: guidance adds up `coordinates`, likelihoods need a `velocity`.

    Args:
        x_t: State the network saw, ``[B, ...]`` or ragged ``[rows, ...]``.
        t: Time of each sample, ``[B]``.
        layout: How the rows are grouped in samples; None: dense.
    """

    def __init__(self, x_t: Tensor, t: Tensor, layout: Layout | None = None) -> None:
        self.x_t = x_t
        self.t = t
        self.layout = layout

    @property
    @abstractmethod
    def data(self) -> Tensor:
        """The data expected at the end of the path, in the shape of the leaf."""

    def with_data(self, data: Tensor) -> Prediction:
        """The prediction for the same state and time that says ``data`` instead.

        Raises:
            InputError: Predictions of this kind cannot be changed.
        """
        raise self._lacks("cannot be changed; leave the leaf unguided")

    @property
    def coordinates(self) -> Tensor:
        """What adds up when predictions for one state are combined.

        The data on a flat leaf; a tangent vector at the state on a curved one; log-probabilities
        of tokens. A combination with weights of sum 1 must be a prediction again.
        """
        return self.data

    def with_coordinates(self, value: Tensor, x_t: Tensor | None = None) -> Prediction:
        """The prediction with other `coordinates`, and no memory of how they were computed.

        Args:
            value: The new coordinates.
            x_t: The state it is about, if that was differentiated; default: the same.
        """
        return self.with_data(value)

    @property
    def velocity(self) -> Tensor:
        """Time derivative of the state along the probability flow.

        Raises:
            InputError: The leaf does not flow; it jumps.
        """
        raise self._lacks("has no velocity, so the leaf has no density by a flow")

    @property
    def score(self) -> Tensor:
        """Gradient of the log-density of the state.

        Raises:
            InputError: The leaf has none.
        """
        raise self._lacks("has no score")

    def spread(self, values: Tensor, like: Tensor | None = None) -> Tensor:
        """``values [B]`` broadcast to the rows of the leaf, in its type."""
        like = self.x_t if like is None else like
        layout = self.layout or Layout(self.x_t.shape[0])
        return layout.spread(values.to(like.dtype), like)

    def _lacks(self, what: str) -> InputError:
        return InputError(f"{type(self).__name__}: {what}")


@final
class Predictions(dict[str, Prediction]):
    """One prediction per leaf, with what else the network gave.

    Attributes:
        extras: Raw outputs that belong to no leaf (auxiliary heads), by name.
    """

    def __init__(
        self, predictions: Mapping[str, Prediction], extras: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__(predictions)
        self.extras: dict[str, Tensor] = dict(extras or {})


@final
class GaussianPrediction(Prediction):
    """A prediction on a Gaussian path; see the module for the conversions.

    Args:
        kind: What ``value`` is.
        value: The native output, in the shape of the leaf.
        x_t: State the network saw.
        t: Time of each sample, ``[B]``.
        schedule: Schedule of the path.
        noise: Law of the noise, up to ``prior_scale``.
        prior_scale: Standard deviation of white noise on this path.
        sigma_data: Standard deviation of the data; a number or one per trailing dimension
            (``"edm"`` only).
        layout: How the rows are grouped in samples; None: dense.

    Raises:
        InputError: ``kind`` is unknown.
    """

    def __init__(
        self,
        kind: Parametrization,
        value: Tensor,
        x_t: Tensor,
        t: Tensor,
        schedule: Schedule,
        noise: NoiseLaw | None = None,
        prior_scale: float = 1.0,
        sigma_data: float | list[float] | Tensor = 1.0,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(x_t, t, layout)
        if kind not in get_args(Parametrization):
            known = ", ".join(get_args(Parametrization))
            raise InputError(f"parametrization: {kind!r} is unknown; choose one of {known}")
        self.kind: Parametrization = kind
        self.value = value
        self.schedule = schedule
        self.noise_law = noise if noise is not None else White()
        self.prior_scale = prior_scale
        self.sigma_data = sigma_data

    @cached_property
    def _levels(self) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.schedule.values(self.t)
        return self.spread(alpha), self.spread(sigma)

    @cached_property
    def _rates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rates of alpha and sigma, and D."""
        rates = self.schedule.rates(self.t)
        spread = self.spread
        return spread(rates.alpha_rate), spread(rates.sigma_rate), spread(rates.wronskian)

    def _sigma_data(self) -> Tensor:
        return torch.as_tensor(self.sigma_data, dtype=self.x_t.dtype, device=self.x_t.device)

    @cached_property
    def data(self) -> Tensor:
        """Expected data, in the shape of the leaf."""
        if self.kind == "data":
            return self.value
        x, p, (alpha, sigma) = self.x_t, self.value, self._levels
        if self.kind == "velocity":
            _, sigma_rate, wronskian = self._rates
            return (sigma * p - sigma_rate * x) / wronskian
        if self.kind == "v":
            square = alpha**2 + sigma**2
            return (alpha * x - sigma * square.sqrt() * p) / square
        if self.kind == "edm":
            d = self._sigma_data()
            scaled = self.prior_scale * sigma
            square = (alpha * d) ** 2 + scaled**2
            return (alpha * d**2 * x + scaled * d * square.sqrt() * p) / square
        return (x - sigma * self.noise) / alpha

    @cached_property
    def noise(self) -> Tensor:
        """Expected noise, in the shape of the leaf and with the prior's scale."""
        if self.kind == "noise":
            return self.value
        x, p, (alpha, sigma) = self.x_t, self.value, self._levels
        if self.kind == "score":
            return -sigma * self.prior_scale**2 * self.noise_law.covariance(p, self.layout)
        if self.kind == "velocity":
            alpha_rate, _, wronskian = self._rates
            return (alpha_rate * x - alpha * p) / wronskian
        if self.kind == "v":
            square = alpha**2 + sigma**2
            return (sigma * x + alpha * square.sqrt() * p) / square
        if self.kind == "edm":
            d, c = self._sigma_data(), self.prior_scale
            square = (alpha * d) ** 2 + (c * sigma) ** 2
            return (c**2 * sigma * x - c * alpha * d * square.sqrt() * p) / square
        return (x - alpha * self.value) / sigma

    @cached_property
    def velocity(self) -> Tensor:
        """Expected time derivative of the state, in the shape of the leaf."""
        if self.kind == "velocity":
            return self.value
        alpha_rate, sigma_rate, _ = self._rates
        return alpha_rate * self.data + sigma_rate * self.noise

    @cached_property
    def score(self) -> Tensor:
        """Gradient of the log-density of the state, in the shape of the leaf."""
        if self.kind == "score":
            return self.value
        whitened = self.noise_law.precision(self.noise, self.layout)
        return -whitened / (self.prior_scale**2 * self._levels[1])

    @cached_property
    def v(self) -> Tensor:
        """The v of Salimans & Ho, in the shape of the leaf."""
        if self.kind == "v":
            return self.value
        alpha, sigma = self._levels
        return (alpha * self.noise - sigma * self.data) / (alpha**2 + sigma**2).sqrt()

    @cached_property
    def edm(self) -> Tensor:
        """The network output that EDM preconditioning would need, in the shape of the leaf."""
        if self.kind == "edm":
            return self.value
        alpha, sigma = self._levels
        d, c = self._sigma_data(), self.prior_scale
        square = (alpha * d) ** 2 + (c * sigma) ** 2
        return (c * sigma * self.data / d - alpha * d * self.noise / c) / square.sqrt()

    def as_kind(self, kind: Parametrization) -> Tensor:
        """The quantity named ``kind``, in the shape of the leaf."""
        return getattr(self, kind)

    def with_value(self, kind: Parametrization, value: Tensor) -> GaussianPrediction:
        """The prediction for the same state and time that says something else."""
        return GaussianPrediction(
            kind, value, self.x_t, self.t, self.schedule, self.noise_law, self.prior_scale,
            self.sigma_data, self.layout,
        )  # fmt: skip

    def with_data(self, data: Tensor) -> GaussianPrediction:
        """The prediction for the same state and time that says ``data`` instead."""
        return self.with_value("data", data)

    def with_coordinates(self, value: Tensor, x_t: Tensor | None = None) -> GaussianPrediction:
        """See `Prediction.with_coordinates`: the data."""
        return GaussianPrediction(
            "data", value, self.x_t if x_t is None else x_t, self.t, self.schedule,
            self.noise_law, self.prior_scale, self.sigma_data, self.layout,
        )  # fmt: skip


@final
class TangentPrediction(Prediction):
    r"""A prediction on a geodesic path :math:`x_t = \exp_{x_0}(\kappa(t)\log_{x_0}x_1)`.

    Data, displacement :math:`\log_{x_t}\hat x_1` and velocity
    :math:`\dot\kappa/(1-\kappa)\log_{x_t}\hat x_1` follow from each other, but for the velocity
    from data where :math:`\kappa = 1`.

    Args:
        kind: What ``value`` is.
        value: The native output: points ``[..., *event]``, or tangents at ``x_t``.
        x_t: State the network saw.
        t: Time of each sample, ``[B]``.
        manifold: Where the leaf lives.
        kappa: Progress along the geodesic.
        layout: How the rows are grouped in samples; None: dense.
    """

    def __init__(
        self,
        kind: Literal["data", "displacement", "velocity"],
        value: Tensor,
        x_t: Tensor,
        t: Tensor,
        manifold: Manifold,
        kappa: Kappa,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(x_t, t, layout)
        if kind not in ("data", "displacement", "velocity"):
            raise InputError(
                f"parametrization: {kind!r} is unknown; choose data, displacement or velocity"
            )
        self.kind = kind
        self.value = value
        self.manifold = manifold
        self.kappa = kappa

    def _speed(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rate of kappa, and 1 - kappa, broadcast against a tangent vector."""
        value, rate = self.kappa.rate(self.t)
        return self.spread(rate, like), self.spread(1.0 - value, like)

    @cached_property
    def data(self) -> Tensor:
        """Expected data: points of the manifold."""
        if self.kind == "data":
            return self.value
        return self.manifold.exp(self.x_t, self.displacement)

    @cached_property
    def displacement(self) -> Tensor:
        """Tangent vector at the state whose geodesic ends in the data after unit time."""
        if self.kind == "displacement":
            return self.value
        if self.kind == "velocity":
            rate, left = self._speed(self.value)
            return self.value * (left / rate)
        return self.manifold.log(self.x_t, self.value)

    @cached_property
    def velocity(self) -> Tensor:
        """Expected time derivative of the state, a tangent vector."""
        if self.kind == "velocity":
            return self.value
        rate, left = self._speed(self.displacement)
        return self.displacement * (rate / left)

    def with_data(self, data: Tensor) -> TangentPrediction:
        """The prediction for the same state and time that says ``data`` instead."""
        return TangentPrediction(
            "data", data, self.x_t, self.t, self.manifold, self.kappa, self.layout
        )

    @property
    def coordinates(self) -> Tensor:
        """See `Prediction.coordinates`: the displacement."""
        return self.displacement

    def with_coordinates(self, value: Tensor, x_t: Tensor | None = None) -> TangentPrediction:
        """See `Prediction.with_coordinates`."""
        x_t = self.x_t if x_t is None else x_t
        return TangentPrediction(
            "displacement", value, x_t, self.t, self.manifold, self.kappa, self.layout
        )

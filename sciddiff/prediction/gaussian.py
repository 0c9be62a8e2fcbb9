r"""Predictions on Gaussian paths, converted only when asked.

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

from functools import cached_property
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.noise import NoiseLaw, White
from sciddiff.prediction.base import Prediction
from sciddiff.schedules import Schedule
from sciddiff.schedules.base import Coefficients
from sciddiff.state import Layout

__all__ = ["GaussianPrediction", "Parametrization"]

Parametrization = Literal["data", "noise", "velocity", "score", "v", "edm"]


@final
class GaussianPrediction(Prediction):
    """A prediction on a Gaussian path; see the module for the conversions.

    Args:
        kind: What ``value`` is.
        value: The native output, in the shape of the leaf.
        x_t: State the network saw.
        t: Time of each sample, ``[B]``, or one number for all.
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
        t: LeafTime,
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
    def _rates(self) -> Coefficients[Any]:
        """Levels and rates of the schedule: numbers, or tensors broadcast to the rows."""
        if not isinstance(self.t, Tensor):
            return self.schedule.at(self.t)
        return Coefficients(*(self.spread(value) for value in self.schedule.rates(self.t)))

    @cached_property
    def _levels(self) -> tuple[Any, Any]:
        """``alpha`` and ``sigma``: numbers, or tensors broadcast to the rows."""
        if not isinstance(self.t, Tensor):
            return self._rates.alpha, self._rates.sigma
        alpha, sigma = self.schedule.values(self.t)
        return self.spread(alpha), self.spread(sigma)

    @cached_property
    def _native(self) -> tuple[Any, Any, Any, Any]:
        """Factors of state and output in the data, and in the noise: see the module."""
        (alpha, sigma), c = self._levels, self.prior_scale
        if self.kind == "velocity":
            r, whole = self._rates, self._rates.wronskian
            return (
                -r.sigma_rate / whole, sigma / whole, r.alpha_rate / whole, -alpha / whole,
            )  # fmt: skip
        if self.kind == "v":
            square = alpha**2 + sigma**2
            return alpha / square, -sigma / square**0.5, sigma / square, alpha / square**0.5
        d = self._sigma_data()
        square = (alpha * d) ** 2 + (c * sigma) ** 2
        cross = c * d / square**0.5
        return (
            alpha * d**2 / square, sigma * cross, c**2 * sigma / square, -alpha * cross,
        )  # fmt: skip

    def _sigma_data(self) -> Any:  # noqa: ANN401 - a number, or one per trailing dimension
        if isinstance(self.sigma_data, int | float):
            return self.sigma_data
        return torch.as_tensor(self.sigma_data, dtype=self.x_t.dtype, device=self.x_t.device)

    @cached_property
    def data(self) -> Tensor:
        """Expected data, in the shape of the leaf."""
        if self.kind == "data":
            return self.value
        if self.kind in ("noise", "score"):
            alpha, sigma = self._levels
            return (self.x_t - sigma * self.noise) / alpha
        return _affine(self.x_t, self.value, *self._native[:2])

    @cached_property
    def noise(self) -> Tensor:
        """Expected noise, in the shape of the leaf and with the prior's scale."""
        if self.kind == "noise":
            return self.value
        alpha, sigma = self._levels
        if self.kind == "data":
            return (self.x_t - alpha * self.value) / sigma
        if self.kind == "score":
            coloured = self.noise_law.covariance(self.value, self.layout)
            return -sigma * self.prior_scale**2 * coloured
        return _affine(self.x_t, self.value, *self._native[2:])

    @cached_property
    def velocity(self) -> Tensor:
        """Expected time derivative of the state, in the shape of the leaf."""
        if self.kind == "velocity":
            return self.value
        return self._rates.alpha_rate * self.data + self._rates.sigma_rate * self.noise

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
        return (alpha * self.noise - sigma * self.data) / (alpha**2 + sigma**2) ** 0.5

    @cached_property
    def edm(self) -> Tensor:
        """The network output that EDM preconditioning would need, in the shape of the leaf."""
        if self.kind == "edm":
            return self.value
        alpha, sigma = self._levels
        d, c = self._sigma_data(), self.prior_scale
        square = (alpha * d) ** 2 + (c * sigma) ** 2
        return (c * sigma * self.data / d - alpha * d * self.noise / c) / square**0.5

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


def _affine(x: Tensor, p: Tensor, of_x: Any, of_p: Any) -> Tensor:  # noqa: ANN401 - see below
    """``of_x x + of_p p``, in two operations where the factors are numbers, else in three."""
    if isinstance(of_x, float):
        return torch.add(of_p * p, x, alpha=of_x)
    return of_x * x + of_p * p

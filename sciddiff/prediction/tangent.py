"""Predictions on geodesic paths."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, final

from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.prediction.base import Prediction
from sciddiff.state import Layout

if TYPE_CHECKING:
    from sciddiff.manifolds.base import Manifold
    from sciddiff.schedules import Kappa

__all__ = ["TangentPrediction"]


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
        t: Time of each sample, ``[B]``, or one number for all.
        manifold: Where the leaf lives.
        kappa: Progress along the geodesic.
        layout: How the rows are grouped in samples; None: dense.
    """

    def __init__(
        self,
        kind: Literal["data", "displacement", "velocity"],
        value: Tensor,
        x_t: Tensor,
        t: LeafTime,
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

    def _speed(self, like: Tensor) -> tuple[Any, Any]:
        """Rate of kappa, and 1 - kappa: numbers, or tensors broadcast against a tangent vector."""
        if not isinstance(self.t, Tensor):
            now, speed = self.kappa.at(self.t)
            return speed, 1.0 - now
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

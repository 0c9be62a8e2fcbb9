r"""Energy guidance: towards states of low energy, by the gradient of a function of the data.

Weighing the data by :math:`e^{-E(x_1)}` adds the gradient of
:math:`\log \mathbb E[e^{-E(x_1)} \mid x_t]` to the score. With Tweedie's formula that is a shift
of the predicted data, for which there are two approximations:

- *through the network* (DPS, Chung et al., 2023): E is taken at the predicted data,
  :math:`\hat x_1 \leftarrow \hat x_1 - w\,(\sigma^2/\alpha)\,\nabla_{x_t} E(\hat x_1(x_t))`; exact
  for linear E where the data are Gaussian;
- *at the data*: the Jacobian is replaced by a variance c of the data given the state,
  :math:`\hat x_1 \leftarrow \hat x_1 - w\,c(t)\,\nabla E(\hat x_1)`; no gradient of the network.

On a manifold the gradient is a tangent vector: at the predicted data, which it moves along a
geodesic, or at the state, where it adds to the tangent that points to the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, evaluations
from sciddiff.guidance.combine import levels, stated, strength
from sciddiff.manifolds.base import Manifold
from sciddiff.prediction import Prediction
from sciddiff.state import Batch, State

__all__ = ["Energy", "EnergyFn"]

EnergyFn = Callable[[State, Batch], Tensor]
"""``(data, batch) -> energy [B]`` in units of kT: differentiable, one number per sample."""

_FAINT = 1e-3  # alpha below which sigma^2 / alpha is not allowed to grow further


@final
@dataclass(frozen=True)
class Energy(Guidance):
    """Towards data of low energy.

    Attributes:
        energy: ``(predicted data, batch) -> [B]``.
        weight: Inverse temperature; 0 means no guidance.
        through_network: Differentiate the network too: better founded, about three times the cost.
        variance: Variance c of the data given the state, ``t [B] -> [B]``; default that of data of
            unit variance, ``sigma^2 / (alpha^2 + sigma^2)``. Not used ``through_network``. For an
            observation of noise variance g of Gaussian data, ``c g / (c + g)`` is exact.
        interval: Guide at times in ``[low, high]`` only.
    """

    energy: EnergyFn
    weight: float = 1.0
    through_network: bool = False
    variance: Callable[[Tensor], Tensor] | None = None
    interval: tuple[float, float] = (0.0, 1.0)

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""
        return _Energy(self, denoiser)


@final
class _Energy(Guided):
    def __init__(self, settings: Energy, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self._settings = settings

    def __call__(self, x_t: State, t: Tensor, batch: Batch) -> dict[str, Prediction]:
        (denoiser,), settings = self.parts, self._settings
        weight = strength(settings.weight, settings.interval, t, idle=0.0)
        if not bool((weight != 0.0).any()):
            return denoiser(x_t, t, batch)
        if settings.through_network:
            return self._through_network(x_t, t, batch, weight)
        return self._at_data(x_t, t, batch, weight)

    def evaluations(self, t: Tensor) -> int:
        return evaluations(self.parts[0], t)

    def _at_data(
        self, x_t: State, t: Tensor, batch: Batch, weight: Tensor
    ) -> dict[str, Prediction]:
        predictions = self.parts[0](x_t, t, batch)
        data = {name: prediction.data.detach() for name, prediction in predictions.items()}
        gradient = self._gradient(data, batch, lambda state: state)[0]
        result = {}
        for name, direction in gradient.items():
            path = self.path.paths[name]
            if self._settings.variance is not None:
                variance = self._settings.variance(t)
            else:
                alpha, sigma = levels(path, t)
                variance = sigma**2 / (alpha**2 + sigma**2)
            step = batch.layouts[name].spread((weight * variance).to(direction), direction)
            moved = path.manifold.exp(data[name], -step * direction)
            result[name] = predictions[name].with_data(moved)
        return {**predictions, **result}

    def _through_network(
        self, x_t: State, t: Tensor, batch: Batch, weight: Tensor
    ) -> dict[str, Prediction]:
        denoiser = self.parts[0]

        def predicted(state: State) -> State:
            predictions = denoiser(state, t, batch)
            return {name: prediction.data for name, prediction in predictions.items()}

        gradient, data = self._gradient(x_t, batch, predicted)
        result = {}
        for name, direction in gradient.items():
            path = self.path.paths[name]
            alpha, sigma = levels(path, t)
            gain = weight * sigma**2 / alpha.clamp(min=_FAINT)
            step = batch.layouts[name].spread(gain.to(direction), direction)
            towards = path.manifold.log(x_t[name], data[name]) - step * direction
            moved = path.manifold.exp(x_t[name], towards)
            result[name] = stated(path, x_t[name], t, moved, batch.layouts[name])
        return result

    def _gradient(
        self, at: State, batch: Batch, data_of: Callable[[State], State]
    ) -> tuple[State, State]:
        """Riemannian gradient of the energy at ``at``, and the data it was taken of."""
        manifolds = {name: self.path.paths[name].manifold for name in at}
        with torch.enable_grad():
            shifts = {name: _no_shift(manifolds[name], x) for name, x in at.items()}
            data = data_of({name: manifolds[name].exp(at[name], shifts[name]) for name in at})
            energy = self._settings.energy(data, batch)
            if energy.shape != (batch.size,):
                raise InputError(
                    f"Energy.energy: returned shape {tuple(energy.shape)}; "
                    f"return one number per sample, [{batch.size}]"
                )
            found = torch.autograd.grad(energy.sum(), list(shifts.values()), allow_unused=True)
        gradient = {}
        for name, value in zip(shifts, found, strict=True):
            value = torch.zeros_like(shifts[name]) if value is None else value
            layout = batch.layouts[name]
            gradient[name] = manifolds[name].project_tangent(at[name], value, layout)
        return gradient, {name: leaf.detach() for name, leaf in data.items()}


def _no_shift(manifold: Manifold, x: Tensor) -> Tensor:
    """A zero tangent vector at every point of ``x``, to differentiate by."""
    shape = x.shape[: x.ndim - manifold.event_ndim + manifold.tangent_ndim]
    return x.new_zeros(shape).requires_grad_()

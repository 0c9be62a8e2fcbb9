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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, evaluations
from sciddiff.guidance.combine import coordinates, levels, restated, strength
from sciddiff.manifolds.base import Manifold
from sciddiff.paths.base import Path
from sciddiff.paths.brownian import BrownianPath
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
        gradient, _ = self._gradient(data, batch, lambda state: predictions, moves_data=True)
        result = {}
        for name, direction in gradient.items():
            path, prediction = self.path.paths[name], predictions[name]
            alpha, sigma = levels(path, t)
            variance = sigma**2 / (alpha**2 + sigma**2)
            if self._settings.variance is not None:
                variance = self._settings.variance(t)
            step = prediction.spread(weight * variance, direction)
            moved = path.manifold.exp(data[name], -step * direction)
            result[name] = _with_moved_data(path, prediction, moved, sigma)
        return result

    def _through_network(
        self, x_t: State, t: Tensor, batch: Batch, weight: Tensor
    ) -> dict[str, Prediction]:
        denoiser = self.parts[0]
        gradient, predictions = self._gradient(
            x_t, batch, lambda state: denoiser(state, t, batch), moves_data=False
        )
        result = {}
        for name, direction in gradient.items():
            path, prediction = self.path.paths[name], predictions[name]
            gain = weight
            if not isinstance(path, BrownianPath):  # whose coordinates are the score itself
                alpha, sigma = levels(path, t)
                gain = weight * sigma**2 / alpha.clamp(min=_FAINT)
            value = coordinates(prediction).detach()
            value = value - prediction.spread(gain, direction) * direction
            result[name] = restated(prediction, value, x_t[name])
        return result

    def _gradient(
        self,
        at: State,
        batch: Batch,
        predict: Callable[[State], Mapping[str, Prediction]],
        moves_data: bool,
    ) -> tuple[State, Mapping[str, Prediction]]:
        """Riemannian gradient of the energy at a state, and the predictions it was taken of.

        Args:
            at: The data (``moves_data``) or the state that is moved to differentiate.
            batch: Passed to the energy.
            predict: The predictions for the moved state.
            moves_data: The energy is that of the moved state itself, not of predicted data.
        """
        manifolds = {name: self.path.paths[name].manifold for name in self.path.paths}
        with torch.enable_grad():
            shifts = {name: _no_shift(one, at[name]) for name, one in manifolds.items()}
            moved = {name: one.exp(at[name], shifts[name]) for name, one in manifolds.items()}
            predictions = predict(moved)
            data = {name: prediction.data for name, prediction in predictions.items()}
            energy = self._settings.energy(moved if moves_data else data, batch)
            if energy.shape != (batch.size,):
                raise InputError(
                    f"Energy.energy: returned shape {tuple(energy.shape)}; "
                    f"return one number per sample, [{batch.size}]"
                )
            found = torch.autograd.grad(energy.sum(), list(shifts.values()), allow_unused=True)
        gradient = {}
        for name, value in zip(shifts, found, strict=True):
            value = torch.zeros_like(shifts[name]) if value is None else value
            one, layout = manifolds[name], batch.layouts[name]
            gradient[name] = one.project_tangent(at[name], value, layout)
        return gradient, predictions


def _with_moved_data(
    path: Path, prediction: Prediction, moved: Tensor, sigma: Tensor
) -> Prediction:
    """The prediction that says ``moved`` data."""
    if not isinstance(path, BrownianPath):
        return prediction.with_data(moved)
    # A score from data is the heat kernel's, which is not the network's: move the score instead.
    x_t, data = prediction.x_t, prediction.data
    change = path.manifold.log(x_t, moved) - path.manifold.log(x_t, data)
    value = coordinates(prediction) + change / prediction.spread(sigma, change) ** 2
    return restated(prediction, value, x_t)


def _no_shift(manifold: Manifold, x: Tensor) -> Tensor:
    """A zero tangent vector at every point of ``x``, to differentiate by."""
    shape = x.shape[: x.ndim - manifold.event_ndim + manifold.tangent_ndim]
    return x.new_zeros(shape).requires_grad_()

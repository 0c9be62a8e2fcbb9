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
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, ask, evaluations
from sciddiff.guidance.combine import Strength
from sciddiff.leaf_times import LeafTime, Time, time_of
from sciddiff.manifolds.base import Manifold
from sciddiff.paths.base import Path
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import Batch, State

__all__ = ["Energy", "EnergyFn"]

EnergyFn = Callable[[State, Batch], Tensor]
"""``(data, batch) -> energy [B]`` in units of kT: differentiable, one number per sample."""

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

    def __post_init__(self) -> None:
        Strength(self.weight, self.interval, idle=0.0).check("Energy")

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""
        return _Energy(self, denoiser)


@final
class _Energy(Guided):
    def __init__(self, settings: Energy, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self._settings = settings
        self._strength = Strength(settings.weight, settings.interval, idle=0.0)

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        (denoiser,), settings = self.parts, self._settings

        def predict(state: State) -> dict[str, Prediction]:
            return ask(denoiser, state, t, batch, until)

        if not self._strength.acts(t):
            return predict(x_t)
        if settings.through_network:
            return self._through_network(x_t, t, batch, predict)
        return self._at_data(t, batch, predict(x_t))

    def evaluations(self, t: Time) -> int:
        return evaluations(self.parts[0], t)

    def _at_data(
        self, t: Time, batch: Batch, predictions: Mapping[str, Prediction]
    ) -> dict[str, Prediction]:
        data = {name: prediction.data.detach() for name, prediction in predictions.items()}
        gradient, _ = self._gradient(data, batch, lambda state: predictions, moves_data=True)
        result = dict(predictions)
        for name, direction in gradient.items():
            path, prediction, own = self.path.paths[name], predictions[name], time_of(t, name)
            gain = self._strength.at(own) * self._variance(path, own)
            step = prediction.spread(gain, direction)
            moved = _manifold(path).exp(data[name], -step * direction)
            result[name] = prediction.with_data(moved)
        return Predictions.beside(predictions, result)

    def _variance(self, path: Path, t: LeafTime) -> Tensor:
        """Variance of the data given the state at a time, a number or ``[B]``."""
        if self._settings.variance is not None:
            return self._settings.variance(torch.as_tensor(t))
        levels = path.levels(torch.as_tensor(t, dtype=torch.float64))
        if levels is None:
            raise InputError(
                f"Energy.variance: {type(path).__name__} has no noise level to take it from; "
                "give a function of time"
            )
        alpha, sigma = levels
        return sigma**2 / (alpha**2 + sigma**2)

    def _through_network(
        self, x_t: State, t: Time, batch: Batch,
        predict: Callable[[State], Mapping[str, Prediction]],
    ) -> dict[str, Prediction]:  # fmt: skip
        gradient, predictions = self._gradient(x_t, batch, predict, moves_data=False)
        result = dict(predictions)
        for name, direction in gradient.items():
            prediction, own = predictions[name], time_of(t, name)
            weight = torch.as_tensor(self._strength.at(own))
            pull = prediction.spread(weight, direction) * direction
            shift = self.path.paths[name].from_score(pull, own, batch.layouts[name])
            value = prediction.coordinates.detach() - shift
            result[name] = prediction.with_coordinates(value, x_t[name])
        return Predictions.beside(predictions, result)

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
        guided = [name for name, path in self.path.paths.items() if path.manifold is not None]
        manifolds = {name: _manifold(self.path.paths[name]) for name in guided}
        with torch.enable_grad():
            shifts = {
                name: one.zero_tangent(at[name]).requires_grad_()
                for name, one in manifolds.items()
            }
            moved = {name: one.exp(at[name], shifts[name]) for name, one in manifolds.items()}
            moved = {**at, **moved}
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
            path, layout = self.path.paths[name], batch.layouts[name]
            gradient[name] = path.project_tangent(at[name], value, layout)
        return gradient, predictions


def _manifold(path: Path) -> Manifold:
    """The manifold of a leaf that has one.

    Raises:
        InputError: The leaf has none, so nothing there has a gradient.
    """
    if path.manifold is None:
        raise InputError(f"Energy: {type(path).__name__} is on no manifold; leave its leaf out")
    return path.manifold

r"""Posterior guidance: towards data that agree with observations.

Observations :math:`y = H(x_1) + e`, :math:`e \sim \mathcal N(0, R)`, R diagonal, add the gradient
of :math:`\log p(y \mid x_t)` to the score, and with Tweedie's formula a shift to the predicted
data. Where the data given the state are normal with covariance V,

.. math:: \hat x_1 \leftarrow \hat x_1 + V H^\top (R + H V H^\top)^{-1} (y - H\hat x_1), \qquad
    V = \frac{\sigma^2}{\alpha}\,\frac{\partial \hat x_1}{\partial x_t}\,\Sigma ,

which is one step of a Kalman filter at every time of the path; products with V are gradients
through the network. What is left to choose is :math:`HVH^\top` in the brackets:

- `iterations = 0`, *SDA* (Rozet & Louppe, 2023; DPS of Chung et al. 2023 has R alone): a diagonal

  .. math:: HVH^\top \approx \Bigl(\frac{\alpha^2}{\gamma\sigma^2} + \frac1{p^2}\Bigr)^{-1},

  :math:`\gamma\,\sigma^2/\alpha^2` where the prior deviation p is infinite. Exact for Gaussian
  data of covariance :math:`p^2 I`, :math:`\gamma = 1` and orthonormal rows of H; otherwise
  approximate (too small: too close to the observations and too sure; too large: the reverse);
- `iterations = n`, *MMPS* (Rozet et al., 2024): the true matrix, with the brackets inverted by n
  steps of conjugate gradients, a gradient each. Exact for linear H, Gaussian data of any
  covariance and n at least the number of observations; fewer suffice where they say the same. For
  other data V is still the exact covariance, and the approximation is that the data given the
  state are taken as normal.

Only for flat leaves. H may be nonlinear; it is linearised at the predicted data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, Guidance, Guided, ask, evaluations
from sciddiff.guidance.combine import Strength
from sciddiff.leaf_times import Time, time_of
from sciddiff.paths.base import Path
from sciddiff.prediction import Prediction, Predictions
from sciddiff.state import Batch, State

__all__ = ["ObserveFn", "Posterior"]

ObserveFn = Callable[[State, Batch], Tensor]
"""``(data, batch) -> observed quantities [B, K]``, differentiable."""

_FAINT = 1e-3  # alpha below which sigma^2 / alpha is not allowed to grow further


@final
@dataclass(frozen=True, eq=False)
class Posterior(Guidance):
    """Condition on observations ``values = observe(data) + noise``.

    Attributes:
        observe: H: ``(data, batch) -> [B, K]``.
        values: Observed values y, ``[K]`` or ``[B, K]``.
        errors: Standard deviations of their errors, positive, ``[K]`` or ``[B, K]``.
        gamma: Variance of the observed data given the state, in units of ``sigma^2 / alpha^2``;
            used without iterations.
        prior: Standard deviation of the observed quantities before anything is known, which bounds
            that variance; used without iterations.
        iterations: Steps of conjugate gradients with the true variance; each costs a gradient
            through the network.
        interval: Guide at times in ``[low, high]`` only.

    Raises:
        InputError: Values and errors do not fit each other, or a setting is out of range.
    """

    observe: ObserveFn
    values: Tensor
    errors: Tensor
    gamma: float = 1.0
    prior: float = math.inf
    iterations: int = 0
    interval: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.values.ndim not in (1, 2) or self.values.shape[-1] != self.errors.shape[-1]:
            raise InputError(
                f"Posterior: values of shape {tuple(self.values.shape)} and errors of shape "
                f"{tuple(self.errors.shape)}; give [K] or [B, K] of both"
            )
        if not bool((self.errors > 0).all()) or not bool(self.values.isfinite().all()):
            raise InputError("Posterior: errors must be positive and values finite")
        if not (self.gamma >= 0 and self.prior > 0 and self.iterations >= 0):
            raise InputError(
                f"Posterior: gamma {self.gamma}, prior {self.prior}, iterations "
                f"{self.iterations}; none may be negative"
            )

    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance.

        Raises:
            InputError: A leaf is not on a Gaussian path.
        """
        return _Posterior(self, denoiser)


@final
class _Posterior(Guided):
    def __init__(self, settings: Posterior, denoiser: DenoiserLike) -> None:
        super().__init__(denoiser)
        self._settings = settings
        self._strength = Strength(1.0, settings.interval, idle=0.0)
        self._paths = dict(denoiser.path.paths)
        for name, path in self._paths.items():
            if not path.flat or path.levels(torch.zeros((), dtype=torch.float64)) is None:
                raise InputError(
                    f"Posterior: leaf {name!r} is on a {type(path).__name__}; "
                    "only Gaussian paths can be conditioned on observations"
                )

    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        (denoiser,), settings = self.parts, self._settings
        if not self._strength.acts(t):
            return ask(denoiser, x_t, t, batch, until)
        with torch.enable_grad():
            moved = {name: x_t[name].detach().requires_grad_() for name in self._paths}
            predictions = ask(denoiser, {**x_t, **moved}, t, batch, until)
            data = {name: predictions[name].data for name in self._paths}
            seen = settings.observe(data, batch)
        wanted = (batch.size, settings.values.shape[-1])
        if seen.shape != wanted:
            raise InputError(
                f"Posterior.observe: returned shape {tuple(seen.shape)}; return {list(wanted)}"
            )
        pull = _Pull(self._paths, moved, t, batch, seen)
        plain = {name: value.detach() for name, value in data.items()}
        noise = settings.errors.to(seen) ** 2
        innovation = settings.values.to(seen) - seen.detach()
        if settings.iterations == 0:
            solved = innovation / (noise + self._variance(t).reshape(-1, 1).to(seen))
        else:
            solved = _conjugate_gradients(
                lambda v: noise * v + _push(settings.observe, plain, pull(v), batch),
                innovation,
                settings.iterations,
            )
        result = dict(predictions)
        for name, shift in pull(solved).items():
            model = predictions[name]
            weight = torch.as_tensor(self._strength.at(time_of(t, name)))
            value = model.coordinates.detach() + model.spread(weight, shift) * shift
            result[name] = model.with_coordinates(value, x_t[name])
        return Predictions.beside(predictions, result)

    def evaluations(self, t: Time) -> int:
        return evaluations(self.parts[0], t)

    def _variance(self, t: Time) -> Tensor:
        """Variance of the observed data given the state, a number or ``[B]``."""
        settings, (name, path) = self._settings, next(iter(self._paths.items()))
        levels = path.levels(torch.as_tensor(time_of(t, name), dtype=torch.float64))
        alpha, sigma = levels or (torch.ones(()), torch.zeros(()))
        ratio = (path.prior_scale * sigma / alpha.clamp(min=_FAINT)) ** 2 * settings.gamma
        return ratio / (1.0 + ratio / settings.prior**2)


@final
class _Pull:
    """Products ``V H^T v``: a gradient through observation and network, coloured by the noise."""

    def __init__(
        self,
        paths: dict[str, Path],
        moved: State,
        t: Time,
        batch: Batch,
        seen: Tensor,
    ) -> None:
        self._paths, self._moved, self._batch = paths, moved, batch
        self._t, self._seen = t, seen

    def __call__(self, v: Tensor) -> State:
        leaves = list(self._moved.values())
        found = torch.autograd.grad(
            self._seen, leaves, v.to(self._seen), retain_graph=True, allow_unused=True
        )
        result = {}
        for (name, leaf), gradient in zip(self._moved.items(), found, strict=True):
            if gradient is None:
                result[name] = torch.zeros_like(leaf)
                continue
            layout = self._batch.layouts[name]
            result[name] = self._paths[name].from_score(gradient, time_of(self._t, name), layout)
        return result


def _push(observe: ObserveFn, data: State, change: State, batch: Batch) -> Tensor:
    """Change of what is observed for a small change of the data, ``[B, K]``."""
    names = list(data)

    def seen(*leaves: Tensor) -> Tensor:
        return observe(dict(zip(names, leaves, strict=True)), batch)

    at = tuple(data[name] for name in names)
    return torch.func.jvp(seen, at, tuple(change[name] for name in names))[1]


def _conjugate_gradients(
    product: Callable[[Tensor], Tensor], wanted: Tensor, iterations: int
) -> Tensor:
    """Solve ``S v = wanted`` for each row, S symmetric and positive.

    A row stops where the matrix, which comes from a network, turns out not to be positive there.

    Args:
        product: ``v [B, K] -> S v [B, K]``.
        wanted: ``[B, K]``.
        iterations: Steps.
    """
    solution = torch.zeros_like(wanted)
    residual, direction = wanted, wanted
    square = (residual**2).sum(-1, keepdim=True)
    done = 1e-12 * square
    for _ in range(iterations):
        image = product(direction)
        curvature = (direction * image).sum(-1, keepdim=True)
        active = (square > done) & (curvature > 0)
        if not bool(active.any()):
            break
        step = torch.where(active, square / curvature.clamp(min=1e-30), torch.zeros_like(square))
        solution = solution + step * direction
        residual = residual - step * image
        after = (residual**2).sum(-1, keepdim=True)
        turn = torch.where(active, after / square.clamp(min=1e-30), torch.zeros_like(square))
        square = torch.where(active, after, square)
        direction = torch.where(active, residual + turn * direction, direction)
    return solution

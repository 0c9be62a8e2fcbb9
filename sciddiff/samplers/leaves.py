r"""How one leaf of a state moves from time t to a later time s.

On a path :math:`x_t = \alpha(t) x_1 + \sigma(t) x_0` the exact solution between two times, were
the predicted data :math:`D` constant, is linear in the state and in the data::

    x_s = k x_t + (alpha_s - k alpha_t) D + sigma_s sqrt(tau) z
    k = sqrt(1 - tau) sigma_s / sigma_t

with a share ``tau`` of the noise replaced by fresh noise ``z`` (Song et al., *DDIM*, 2021, eq. 12;
Lu et al., *DPM-Solver++*, 2022, eq. 9 and 14). Every solver of this package is this one move, with
``D`` a weighted sum of data predicted at several times: a solver *is* its weights. Rates of the
schedule are never needed, straight trajectories are followed exactly by all of them, and the ends
``alpha = 0`` and ``sigma = 0`` are regular.

A geodesic flow is the same with ``alpha = kappa``, ``sigma = 1 - kappa``, differences replaced by
logarithms at the point the step starts from, all of them in one tangent space::

    x_s = exp_x(sum_i w_i (kappa_s - kappa_t) / (1 - kappa_t) log_x(D_i)) .

A leaf with neither structure moves by the transition that its path gives.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths.base import Path
from sciddiff.paths.gaussian import GaussianPath
from sciddiff.paths.geodesic import GeodesicPath
from sciddiff.prediction import Prediction, TangentPrediction
from sciddiff.state import Layout, State
from sciddiff.streams import Generator

__all__ = ["AffineLeaf", "Fresh", "Leaf", "Stage", "TransitionLeaf", "first_order", "leaf_of"]

_NOISE_FREE = 1e-6  # sigma / alpha below which no noise is left: cos(pi / 2) is not exactly 0


@final
@dataclass(frozen=True)
class Stage:
    """What is known at one time of a step.

    Attributes:
        x: The state the network saw.
        predictions: What it said, one prediction per leaf.
        t: The time.
    """

    x: State
    predictions: dict[str, Prediction]
    t: float


@final
@dataclass(frozen=True)
class Fresh:
    """Fresh noise of one move.

    Attributes:
        split: From a leaf to the factors of the predicted and of the fresh noise,
            ``sqrt(1 - tau)`` and ``sqrt(tau)`` where a share ``tau`` is replaced.
        scale: Standard deviation of the fresh noise; below 1 lowers the temperature.
        eta: Stochasticity of curved leaves, which move by their own transition; 0: none.
    """

    split: Callable[[AffineLeaf], tuple[float, float]]
    scale: float = 1.0
    eta: float = 1.0

    @staticmethod
    def share(tau: float) -> tuple[float, float]:
        """The factors that replace a share ``tau`` in [0, 1] of the noise."""
        return math.sqrt(1.0 - tau), math.sqrt(tau)


class Leaf(ABC):
    """One leaf of a state under way.

    Args:
        name: Its key in the state.
        path: Its path.
        layout: How its rows are grouped in samples.
        generator: Random source.
    """

    def __init__(self, name: str, path: Path, layout: Layout, generator: Generator | None) -> None:
        self.name = name
        self.path = path
        self.layout = layout
        self.generator = generator

    @abstractmethod
    def move(
        self,
        stages: tuple[Stage, ...],
        s: float,
        weights: Callable[[AffineLeaf], tuple[float, ...]],
        fresh: Fresh | None,
    ) -> Tensor:
        """The leaf at time ``s``.

        Args:
            stages: Where the step starts, then the other times whose predictions it uses.
            s: Where it ends.
            weights: From a leaf to one weight per stage, of sum 1.
            fresh: Fresh noise; None for none.
        """

    def transition(self, stage: Stage, s: float, eta: float) -> Tensor:
        """The leaf at time ``s`` by its path's own transition; ``eta``: stochasticity."""
        x = stage.x[self.name]
        like = x.new_empty(self.layout.size)
        t = torch.full_like(like, stage.t)
        then = torch.full_like(like, s)
        prediction = stage.predictions[self.name]
        return self.path.transition(x, prediction, t, then, eta, self.generator, self.layout)

    def continued(self, stages: tuple[Stage, ...], s: float, eta: float) -> Tensor:
        """The leaf at ``s`` by its path's transition from the latest stage of a step."""
        latest = max(stages, key=lambda stage: stage.t)
        if latest.t >= s:  # the first half of the step brought the leaf there already
            return latest.x[self.name]
        return self.transition(latest, s, eta)

    @abstractmethod
    def renoise(self, x: Tensor, t: float, earlier: float, scale: float) -> Tensor:
        """Go back to an ``earlier`` time by adding noise of ``scale`` times the due size."""


class AffineLeaf(Leaf):
    """A leaf with a signal level ``alpha(t)`` and a noise level ``sigma(t)``."""

    def __init__(self, name: str, path: Path, layout: Layout, generator: Generator | None) -> None:
        super().__init__(name, path, layout, generator)
        self._levels: dict[float, tuple[float, float]] = {}

    @abstractmethod
    def _evaluate(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """``alpha`` and ``sigma`` at float64 ``times [K]``."""

    @abstractmethod
    def _combine(
        self, x: Tensor, keep: float, terms: list[tuple[float, Prediction]], noise: float
    ) -> Tensor:
        """``keep x + sum of coefficient times data + noise z``, or its like on a manifold."""

    def prepare(self, times: Iterable[float]) -> None:
        """Evaluate the schedule at all times at once; steps then only look numbers up."""
        missing = [t for t in dict.fromkeys(times) if t not in self._levels]
        if missing:
            alpha, sigma = self._evaluate(torch.tensor(missing, dtype=torch.float64))
            pairs = zip(alpha.tolist(), sigma.tolist(), strict=True)
            self._levels.update(zip(missing, pairs, strict=True))

    def levels(self, t: float) -> tuple[float, float]:
        """``(alpha, sigma)`` at a time."""
        if t not in self._levels:
            self.prepare((t,))
        return self._levels[t]

    def log_snr(self, t: float) -> float:
        """``log(alpha / sigma)``, infinite at the ends."""
        alpha, sigma = self.levels(t)
        if alpha <= 0.0:
            return -math.inf
        return math.inf if self.clean(t) else math.log(alpha / sigma)

    def clean(self, t: float) -> bool:
        """Whether no noise is left at a time."""
        alpha, sigma = self.levels(t)
        return sigma <= _NOISE_FREE * alpha

    def move(
        self,
        stages: tuple[Stage, ...],
        s: float,
        weights: Callable[[AffineLeaf], tuple[float, ...]],
        fresh: Fresh | None,
    ) -> Tensor:
        """See `Leaf.move`."""
        start = stages[0]
        (alpha, sigma), (alpha_s, sigma_s) = self.levels(start.t), self.levels(s)
        kept, added = (1.0, 0.0) if fresh is None else fresh.split(self)
        clean = self.clean(s)
        keep = 0.0 if clean else kept * sigma_s / sigma
        gain = alpha_s - keep * alpha
        terms = [
            (gain * weight, stage.predictions[self.name])
            for weight, stage in zip(weights(self), stages, strict=True)
            if weight != 0.0
        ]
        noise = 0.0 if clean or fresh is None else fresh.scale * added * sigma_s
        return self._combine(start.x[self.name], keep, terms, noise)


@final
class GaussianLeaf(AffineLeaf):
    """A leaf on a `GaussianPath`: levels of its schedule, noise of its prior."""

    path: GaussianPath

    def _evaluate(self, times: Tensor) -> tuple[Tensor, Tensor]:
        return self.path.schedule.values(times)

    def _combine(
        self, x: Tensor, keep: float, terms: list[tuple[float, Prediction]], noise: float
    ) -> Tensor:
        result = keep * x
        for coefficient, prediction in terms:
            result = torch.add(result, prediction.data, alpha=coefficient)
        if noise > 0.0:
            result = torch.add(
                result, self.path.prior(x, self.generator, self.layout), alpha=noise
            )
        return result

    def transition(self, stage: Stage, s: float, eta: float) -> Tensor:
        """See `Leaf.transition`: `GaussianPath.transition`, with levels looked up."""
        (alpha, sigma), (alpha_s, sigma_s) = self.levels(stage.t), self.levels(s)
        share = eta * _natural_share(alpha, sigma, alpha_s, sigma_s)
        keep = sigma_s / sigma * math.sqrt(1.0 - share)
        terms = [(alpha_s - keep * alpha, stage.predictions[self.name])]
        return self._combine(stage.x[self.name], keep, terms, sigma_s * math.sqrt(share))

    def renoise(self, x: Tensor, t: float, earlier: float, scale: float) -> Tensor:
        """See `Leaf.renoise`: ``x / alpha`` gains the difference of the variances."""
        (alpha, sigma), (alpha_e, sigma_e) = self.levels(t), self.levels(earlier)
        ratio = alpha_e / alpha
        added = math.sqrt(max(sigma_e**2 - (ratio * sigma) ** 2, 0.0))
        z = self.path.prior(x, self.generator, self.layout)
        return torch.add(ratio * x, z, alpha=scale * added)


@final
class GeodesicLeaf(AffineLeaf):
    """A leaf on a `GeodesicPath`: levels ``kappa`` and ``1 - kappa``, data met by logarithms."""

    path: GeodesicPath

    def _evaluate(self, times: Tensor) -> tuple[Tensor, Tensor]:
        kappa = self.path.step_kappa(times)
        return kappa, 1.0 - kappa

    def _combine(
        self, x: Tensor, keep: float, terms: list[tuple[float, Prediction]], noise: float
    ) -> Tensor:
        manifold = self.path.manifold
        coefficients = [coefficient for coefficient, _ in terms]
        if any(isinstance(said, TangentPrediction) and said.kind != "data" for _, said in terms):
            steps = [coefficient * self._displacement(x, said) for coefficient, said in terms]
            return manifold.exp(x, sum(steps[1:], steps[0]))
        # From points a manifold may know a shorter way than log and exp.
        points = [said.data for _, said in terms]
        if len(points) == 1:
            return manifold.geodesic(x, points[0], coefficients[0])
        return manifold.toward(x, points, coefficients)

    def _displacement(self, x: Tensor, prediction: Prediction) -> Tensor:
        """The way from ``x`` to the predicted data; known already if the prediction is about x."""
        if isinstance(prediction, TangentPrediction) and prediction.x_t is x:
            return prediction.displacement
        return self.path.manifold.log(x, prediction.data)

    def move(
        self,
        stages: tuple[Stage, ...],
        s: float,
        weights: Callable[[AffineLeaf], tuple[float, ...]],
        fresh: Fresh | None,
    ) -> Tensor:
        """See `Leaf.move`; fresh noise enters by the path's own transition, at full scale."""
        share = 0.0 if fresh is None else fresh.eta * fresh.split(self)[1] ** 2
        if share <= 0.0:
            return super().move(stages, s, weights, None)
        most = _natural_share(*self.levels(stages[0].t), *self.levels(s))
        return self.continued(stages, s, min(share / most, 1.0))

    def transition(self, stage: Stage, s: float, eta: float) -> Tensor:
        """See `Leaf.transition`: `GeodesicPath.transition`, with levels looked up."""
        if eta <= 0.0:
            return super().move((stage,), s, first_order(1), None)
        (kappa, left), (kappa_s, left_s) = self.levels(stage.t), self.levels(s)
        stretch, scale = self.path.detour_sizes(
            left, eta * _natural_share(kappa, left, kappa_s, left_s)
        )
        return self.path.manifold.detour(
            stage.predictions[self.name].data, stage.x[self.name],
            stretch, scale, left_s, self.generator, self.layout,
        )  # fmt: skip

    def renoise(self, x: Tensor, t: float, earlier: float, scale: float) -> Tensor:
        """Not defined.

        Raises:
            InputError: Always.
        """
        raise _no_way_back(self.name)


@final
class TransitionLeaf(Leaf):
    """A leaf that moves by `Path.transition`, from the last time before ``s``."""

    def move(
        self,
        stages: tuple[Stage, ...],
        s: float,
        weights: Callable[[AffineLeaf], tuple[float, ...]],
        fresh: Fresh | None,
    ) -> Tensor:
        """See `Leaf.move`."""
        return self.continued(stages, s, 0.0 if fresh is None else fresh.eta)

    def renoise(self, x: Tensor, t: float, earlier: float, scale: float) -> Tensor:
        """Not defined.

        Raises:
            InputError: Always.
        """
        raise _no_way_back(self.name)


def first_order(stages: int) -> Callable[[AffineLeaf], tuple[float, ...]]:
    """Weights that use the first stage alone."""
    weights = (1.0, *(0.0,) * (stages - 1))
    return lambda leaf: weights


def _natural_share(alpha: float, sigma: float, alpha_s: float, sigma_s: float) -> float:
    """The share of the noise that a step with ``eta = 1`` replaces."""
    whole = alpha_s * sigma
    ratio = alpha * sigma_s / whole if whole > 0.0 else 0.0
    return min(max(1.0 - ratio**2, 0.0), 1.0)


def _no_way_back(name: str) -> InputError:
    return InputError(
        f"leaf {name!r}: its path cannot add noise back; set churn = 0, or use EulerMaruyama"
    )


def leaf_of(name: str, path: Path, layout: Layout, generator: Generator | None) -> Leaf:
    """The rule by which a leaf moves, from the kind of its path."""
    if isinstance(path, GaussianPath):
        return GaussianLeaf(name, path, layout, generator)
    if isinstance(path, GeodesicPath):
        return GeodesicLeaf(name, path, layout, generator)
    return TransitionLeaf(name, path, layout, generator)

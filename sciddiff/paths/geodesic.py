r"""GeodesicPath: flow matching on a manifold (Chen & Lipman, 2024).

.. math:: x_t = \exp_{x_0}(\kappa(t) \log_{x_0} x_1), \qquad
    u = \frac{\dot\kappa}{1-\kappa} \log_{x_t} x_1,

from :math:`x_0` of the manifold's uniform law. A step walks the fraction
:math:`(\kappa_s-\kappa_t)/(1-\kappa_t)` of the geodesic to the predicted data.

**Stochastic steps.** With ``eta > 0`` the noise end of the geodesic is moved before the step. It
is found by prolonging the geodesic from the predicted data through the state, walks by an
isotropic random step, and the state at s is taken from the geodesic of the moved end to the data.
Isotropic steps leave the uniform law as it is, so that the marginals are kept whatever the size of
the step *where the data are known*. Where they are uncertain this is an approximation: noise that
is uniform, unlike normal noise, is not determined by the mean of the data, so that the law widens
as stochastic steps become many (by a third for a wrapped normal of deviation 0.3 at 400 steps).
Deterministic steps of second order on `sciddiff.grids.compact` come within 2 % of it in twenty;
use noise early and little, if at all. The size follows the flat rule: with
:math:`\tau = \eta (1 - (\kappa_t(1-\kappa_s) / \kappa_s(1-\kappa_t))^2)` the walk lasts until the
slowest mode of the manifold has decayed by :math:`\sqrt{1-\tau}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.so3 import SO3
from sciddiff.paths.base import Path, PathSample
from sciddiff.paths.move import LeafStage, Move, natural_share
from sciddiff.prediction import Prediction, TangentPrediction
from sciddiff.schedules import Kappa, LinearKappa
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["GeodesicPath"]

_FORGOTTEN = 1e-6  # 1 - tau is kept above it: by then the noise end is a fresh one
_FAINT = 1e-3  # kappa below which the gain of a gradient does not grow further


@final
@dataclass(frozen=True, eq=False)
class GeodesicPath(Path):
    """A leaf that walks along the geodesic from noise to data.

    Attributes:
        manifold: A compact manifold.
        kappa: Progress along the geodesic, in training.
        parametrization: What the network's output is: points, or tangent vectors at the state that
            lead to the data in unit time (``"displacement"``) or at the path's speed.
        scale_loss: Divide the error of the displacement by ``1 - min(t, 0.9)``, so that it weighs
            as an error of the velocity away from the data (FrameFlow).
        sampling_kappa: Progress while sampling, if other than ``kappa``. The network is still told
            the time t of the grid, as in FrameFlow.

    Raises:
        InputError: The manifold is not compact.

    >>> from sciddiff import Torus
    >>> path = GeodesicPath(Torus())
    >>> half = path.sample(torch.tensor([1.0]), torch.tensor([0.5]), None, torch.tensor([0.0]))
    >>> half.x_t
    tensor([0.5000])
    """

    numeric_times = True
    jumps = True

    manifold: Manifold = field(default_factory=SO3)
    kappa: Kappa = field(default_factory=LinearKappa)
    parametrization: Literal["data", "displacement", "velocity"] = "data"
    scale_loss: bool = True
    sampling_kappa: Kappa | None = None

    def __post_init__(self) -> None:
        if not self.manifold.compact:
            raise InputError(
                f"GeodesicPath.manifold: {type(self.manifold).__name__} has no uniform law; "
                "use GaussianPath"
            )

    @property
    def step_kappa(self) -> Kappa:
        """Progress that samplers follow: ``sampling_kappa``, else ``kappa``."""
        return self.sampling_kappa or self.kappa

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
        """See `Path.sample`."""
        x0 = self.prior(x1, generator, layout) if x0 is None else x0
        whole = self.manifold.log(x0, x1)
        x_t = self.manifold.exp(x0, _spread(self.kappa(t), whole, layout) * whole)
        return PathSample(x_t if layout is None else layout.hold(x_t, x1), x0, x1, t)

    def predict(
        self, raw: Tensor, x_t: Tensor, t: LeafTime, layout: Layout | None = None
    ) -> TangentPrediction:
        """See `Path.predict`; data must be points of the manifold, tangents are projected."""
        raw = raw.to(x_t.dtype)
        if self.parametrization != "data":
            raw = self.project_tangent(x_t, raw, layout)
        return TangentPrediction(
            self.parametrization, raw, x_t, t, self.manifold, self.kappa, layout
        )

    def loss(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """Squared error of the displacement at the state, in the shape of a tangent vector."""
        predicted = _tangent(prediction)
        with torch.no_grad():
            target = self.manifold.log(path_sample.x_t, path_sample.x1)
        return self._square(predicted.displacement - target, path_sample.t, layout)

    def match(
        self, prediction: Prediction, target: Prediction, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.match`: as `loss`, with the displacement that the target says."""
        wanted = _tangent(target)
        error = _tangent(prediction).displacement - wanted.displacement
        return self._square(error, torch.as_tensor(wanted.t), layout)

    def _square(self, error: Tensor, t: Tensor, layout: Layout | None) -> Tensor:
        if self.scale_loss:
            error = error / _spread(1.0 - t.clamp(max=0.9), error, layout)
        return error**2

    @property
    def sampling_path(self) -> GeodesicPath:
        """See `Path.sampling_path`; one whose outputs are velocities keeps its own progress."""
        if self.sampling_kappa is None or self.parametrization == "velocity":
            return self
        return replace(self, kappa=self.sampling_kappa, sampling_kappa=None)

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `Path.levels`: ``kappa`` and ``1 - kappa`` of the progress that samplers follow."""
        kappa = self.step_kappa(t)
        return kappa, 1.0 - kappa

    def step(
        self, move: Move, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Move`, with logarithms at the state for differences; and the module for noise.

        Fresh noise enters from the latest stage, in a step of first order.
        """
        noise = move.noise
        share = 0.0 if noise is None else noise.curved * noise.add**2
        if share <= 0.0:
            return self._deterministic(move)
        stage = move.latest
        if stage.t >= move.s:  # the first half of the step brought the leaf there already
            return stage.x
        # The same part of what can be forgotten, on the way that is left from the latest stage.
        part = min(share / natural_share(move.stages[0].levels, move.end), 1.0)
        share = part * natural_share(stage.levels, move.end)
        walked = -math.log1p(-min(share, 1.0 - _FORGOTTEN))
        return self.manifold.detour(
            stage.prediction.data, stage.x, 1.0 / max(stage.levels[1], 1e-6),
            math.sqrt(walked / self.manifold.slowest_eigenvalue), move.end[1], generator, layout,
        )  # fmt: skip

    def _deterministic(self, move: Move) -> Tensor:
        """``exp(sum of weight times gain times log of the data)``, all at the first state.

        ``keep`` of the noise is ``1 - kappa_s`` over ``1 - kappa_t``, so that ``gain`` is the
        fraction of the way that is left at t and walked by s.
        """
        start = move.stages[0]
        fraction = 1.0 - move.end[1] / start.levels[1]
        terms = [(fraction * weight, stage) for weight, stage in move.terms]
        if all(isinstance(p := stage.prediction, TangentPrediction) and p.kind == "data"
               for _, stage in terms):  # fmt: skip
            # From points a manifold may know a shorter way than log and exp.
            points = [stage.prediction.data for _, stage in terms]
            if len(points) == 1:
                return self.manifold.geodesic(move.x, points[0], terms[0][0])
            return self.manifold.toward(move.x, points, [weight for weight, _ in terms])
        steps = [weight * self._displacement(start, stage) for weight, stage in terms]
        return self.manifold.exp(move.x, sum(steps[1:], steps[0]))

    def _displacement(self, start: LeafStage, stage: LeafStage) -> Tensor:
        """The way from the state where a step starts to the data that one of its stages predicts.

        What was predicted about that state itself is taken as it is: a displacement may be longer
        than half a turn, and the logarithm of where it leads is another.
        """
        if stage is start:
            return _tangent(stage.prediction).displacement
        return self.manifold.log(start.x, stage.prediction.data)

    def jump(
        self, prediction: Prediction, s: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.jump`: a fraction of the displacement, walked from the state."""
        way = _tangent(prediction).displacement
        part = self._fraction(prediction.t, s, way, layout)
        return self.manifold.exp(prediction.x_t, part * way)

    def arriving(
        self, prediction: Prediction, x_s: Tensor, s: LeafTime, layout: Layout | None = None
    ) -> TangentPrediction:
        """See `Path.arriving`, in the tangent space at the state.

        Where the network says points, the displacement ends short of the cut locus.
        """
        way = self.manifold.log(prediction.x_t, x_s)
        way = way / self._fraction(prediction.t, s, way, layout)
        if self.parametrization == "data":
            length = self.manifold.norm(way).clamp(min=1e-12)
            length = length.reshape(*length.shape, *(1,) * (way.ndim - length.ndim))
            way = way * (self.manifold.reach / length).clamp(max=1.0)
        return _tangent(prediction).with_coordinates(way)

    def _fraction(
        self, t: LeafTime, s: LeafTime, like: Tensor, layout: Layout | None
    ) -> Tensor:
        """The part of the way that is left at t and walked by s."""
        now, then = (
            self.step_kappa(torch.as_tensor(one, dtype=torch.float64, device=like.device))
            for one in (t, s)
        )
        return _spread((then - now) / (1.0 - now), like, layout)

    def from_score(
        self, change: Tensor, t: float | Tensor, layout: Layout | None = None
    ) -> Tensor:
        r"""See `Path.from_score`: a displacement of :math:`(1 - \kappa)^2 / \kappa` times it.

        That is Tweedie's formula of the flat path with the same levels, good near the data, where
        the manifold looks flat.
        """
        kappa, left = self.levels(torch.as_tensor(t, dtype=torch.float64))
        return _spread(left**2 / kappa.clamp(min=_FAINT), change, layout) * change

    def log_prior(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Zero: densities are with respect to the uniform law."""
        return x.new_zeros(x.shape[0] if layout is None else layout.size)


def _spread(values: Tensor, like: Tensor, layout: Layout | None) -> Tensor:
    layout = layout or Layout(like.shape[0])
    return layout.spread(values.to(like.dtype), like)


def _tangent(prediction: Prediction) -> TangentPrediction:
    if not isinstance(prediction, TangentPrediction):
        raise InputError(
            f"prediction: {type(prediction).__name__} on a GeodesicPath; expected one that "
            "its predict() returned"
        )
    return prediction

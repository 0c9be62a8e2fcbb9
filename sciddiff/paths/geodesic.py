r"""GeodesicPath: flow matching on a manifold (Chen & Lipman, 2024).

.. math:: x_t = \exp_{x_0}(\kappa(t) \log_{x_0} x_1), \qquad
    u = \frac{\dot\kappa}{1-\kappa} \log_{x_t} x_1,

from :math:`x_0` of the manifold's uniform law. A step walks the fraction
:math:`(\kappa_s-\kappa_t)/(1-\kappa_t)` of the geodesic to the predicted data.

**Stochastic steps.** With ``eta > 0`` the noise end of the geodesic is moved before the step. It
is found by prolonging the geodesic from the predicted data through the state, walks by an
isotropic random step, and the state at s is taken from the geodesic of the moved end to the data.
Isotropic steps leave the uniform law as it is, so that the marginals are kept whatever the size of
the step, exactly as DDIM with eta keeps them on flat space. The size follows the flat rule: with
:math:`\tau = \eta (1 - (\kappa_t(1-\kappa_s) / \kappa_s(1-\kappa_t))^2)` the walk lasts until the
slowest mode of the manifold has decayed by :math:`\sqrt{1-\tau}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.so3 import SO3
from sciddiff.paths.base import Path, PathSample
from sciddiff.prediction import Prediction, TangentPrediction
from sciddiff.schedules import Kappa, LinearKappa
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["GeodesicPath"]

_FORGOTTEN = 1e-6  # 1 - tau is kept above it: by then the noise end is a fresh one


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
    """

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
        self, raw: Tensor, x_t: Tensor, t: Tensor, layout: Layout | None = None
    ) -> TangentPrediction:
        """See `Path.predict`; data must be points of the manifold, tangents are projected."""
        raw = raw.to(x_t.dtype)
        if self.parametrization != "data":
            raw = self.manifold.project_tangent(x_t, raw, layout)
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
        error = predicted.displacement - target
        if self.scale_loss:
            left = 1.0 - path_sample.t.clamp(max=0.9)
            error = error / _spread(left, error, layout)
        return error**2

    def transition(
        self,
        x_t: Tensor,
        prediction: Prediction,
        t: Tensor,
        s: Tensor,
        eta: float,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """See `Path.transition` and the module."""
        now, then = self.step_kappa(t), self.step_kappa(s)
        if eta == 0.0:
            step = _tangent(prediction).displacement
            fraction = (then - now) / (1.0 - now)
            return self.manifold.exp(x_t, _spread(fraction, step, layout) * step)
        ratio = (now * (1.0 - then) / (then * (1.0 - now))).nan_to_num(0.0)
        share = (eta * (1.0 - ratio**2)).clamp(0.0, 1.0 - _FORGOTTEN)
        like = x_t if self.manifold.event_ndim == self.manifold.tangent_ndim else x_t[..., 0]
        sizes = (
            1.0 / (1.0 - now).clamp(min=1e-6),
            torch.sqrt(-torch.log1p(-share) / self._eigenvalue),
            1.0 - then,
        )
        stretch, scale, fraction = (_spread(size, like, layout) for size in sizes)
        return self.manifold.detour(
            prediction.data, x_t, stretch, scale, fraction, generator, layout
        )

    def detour_sizes(self, left: float, share: float) -> tuple[float, float]:
        """How far the noise end is, and how long it walks, in a stochastic step.

        Args:
            left: ``1 - kappa`` where the step starts.
            share: Share of the noise to replace.

        Returns:
            The length of the whole geodesic over that of its end ahead, and the standard deviation
            of the random walk that takes the slowest mode down by ``sqrt(1 - share)``.
        """
        decay = -math.log1p(-min(max(share, 0.0), 1.0 - _FORGOTTEN))
        return 1.0 / max(left, 1e-6), math.sqrt(decay / self._eigenvalue)

    @property
    def _eigenvalue(self) -> float:
        """Of the Laplacian, on the slowest mode."""
        # A mode of Laplace eigenvalue e decays as exp(-e variance / 2). The slowest has e = 1 on
        # the circle, 2 on SO(3) (l = 1, character form l (l + 1)) and d on the d-sphere.
        return 2.0 if isinstance(self.manifold, SO3) else float(self.manifold.tangent_dim)

    def velocity(self, prediction: Prediction) -> Tensor:
        """Time derivative of the state, a tangent vector."""
        return _tangent(prediction).velocity

    def log_prior(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Zero: densities are with respect to the uniform law."""
        return x.new_zeros(x.shape[0] if layout is None else layout.size)


def _spread(values: Tensor, like: Tensor, layout: Layout | None) -> Tensor:
    layout = layout or Layout(like.shape[0])
    return layout.spread(values.to(like), like)


def _tangent(prediction: Prediction) -> TangentPrediction:
    if not isinstance(prediction, TangentPrediction):
        raise InputError(
            f"prediction: {type(prediction).__name__} on a GeodesicPath; expected one that "
            "its predict() returned"
        )
    return prediction

r"""DPM-Solver++: exponential solvers in the log-SNR (Lu et al., 2022).

With :math:`\lambda = \log(\alpha/\sigma)` and :math:`h = \lambda_s - \lambda_t`,

.. math:: x_s = \frac{\sigma_s}{\sigma_t}x_t - \alpha_s(e^{-h}-1)\,D, \qquad
    x_s = \frac{\sigma_s}{\sigma_t}e^{-h}x_t + \alpha_s(1-e^{-2h})\,D
    + \sigma_s\sqrt{1-e^{-2h}}\,z

for the ODE and for the reverse SDE. ``D`` extrapolates the predicted data to the middle of the
step, linearly in :math:`\lambda`: from the previous step (*2M*, algorithm 2) or from a second
evaluation where sigma / alpha is the geometric mean of its values at the ends (*2S*, algorithm 1).
Second order holds where the steps are even in :math:`\lambda` or nearly; prefer such a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from sciddiff.errors import InputError
from sciddiff.paths.move import FreshNoise
from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import Leaf, NoiseRule, Stage, WeightRule
from sciddiff.state import State

__all__ = ["DPMSolverPP"]

_FEW_STEPS = 15  # below this the last step of 2M is first order, as its authors advise


@final
@dataclass(frozen=True)
class DPMSolverPP(Sampler):
    """Second-order exponential sampling.

    Steps from pure noise and to pure data are first order, where log-SNR is infinite.

    Attributes:
        variant: ``"2M"``: one evaluation a step, uses the previous one; ``"2S"``: two evaluations.
        stochastic: Solve the reverse SDE instead of the ODE.
        noise_scale: Standard deviation of its noise; below 1 lowers the temperature.
    """

    variant: Literal["2M", "2S"] = "2M"
    stochastic: bool = False
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.variant not in ("2M", "2S"):
            raise InputError(f"DPMSolverPP.variant: {self.variant!r} is neither '2M' nor '2S'")

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        t, s = walk.times[k], walk.times[k + 1]
        start = walk.predict(x, t)
        noise = self._noise(t, s)
        other = self._middle(walk, start, s) if self.variant == "2S" else previous
        if self.variant == "2M" and k == walk.steps - 1 and walk.steps < _FEW_STEPS:
            other = None
        if other is None:
            return walk.move(start, s=s, noise=noise), start
        weights = _extrapolate(t, other.t, s)
        return walk.move(start, other, s=s, weights=weights, noise=noise), start

    def _noise(self, t: float, s: float) -> NoiseRule | None:
        """All noise that the step from ``t`` to ``s`` may replace: ``tau = 1 - exp(-2h)``."""
        if not self.stochastic:
            return None
        return lambda leaf: FreshNoise.replacing(
            -math.expm1(-2.0 * _width(leaf, t, s)) if leaf.levelled else 1.0,
            scale=self.noise_scale,
        )

    def _middle(self, walk: Walk, start: Stage, s: float) -> Stage | None:
        """The second evaluation of 2S; None where one end has infinite log-SNR."""
        ends = walk.log_snr(start.t), walk.log_snr(s)
        if any(math.isinf(end) for end in ends):
            return None
        middle = walk.time_at(0.5 * sum(ends), 0.5 * (start.t + s))
        return walk.predict(walk.move(start, s=middle), middle)


def _width(leaf: Leaf, t: float, s: float) -> float:
    return leaf.log_snr(s) - leaf.log_snr(t)


def _extrapolate(t: float, other: float, s: float) -> WeightRule:
    """Weights that extend the line through two predictions to the middle of the step."""

    def weights(leaf: Leaf) -> tuple[float, float]:
        span, width = _width(leaf, t, other), _width(leaf, t, s)
        if math.isinf(width) or math.isinf(span) or math.isnan(span):
            return 1.0, 0.0
        ratio = 0.5 * width / span
        return 1.0 - ratio, ratio

    return weights

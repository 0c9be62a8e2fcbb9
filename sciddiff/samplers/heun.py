r"""Heun's method with churn (Karras et al., *Elucidating the design space*, 2022, algorithm 2).

The trapezoidal rule on :math:`dx = \hat x_1\,d\alpha + \hat x_0\,d\sigma`,

.. math:: x_s = x_t + \tfrac12(\alpha_s-\alpha_t)(\hat x_1^t + \hat x_1^s)
    + \tfrac12(\sigma_s-\sigma_t)(\hat x_0^t + \hat x_0^s),

is EDM's own step where :math:`\alpha = 1`, Heun on the velocity on the linear path, and second
order on every schedule, without its rates and without a division by alpha. Written with predicted
data alone it weighs the two predictions by

.. math:: w_s = \frac{\tfrac12(\Delta\alpha - \Delta\sigma\,\alpha_s/\sigma_s)}
    {\alpha_s - \alpha_t\sigma_s/\sigma_t}, \qquad w_t = 1 - w_s ,

and so it serves curved leaves too. On the step on which the noise ends the noise there is unknown;
that step follows the midpoint rule, or is of first order as in the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

from sciddiff.errors import InputError
from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import Leaf, Stage
from sciddiff.samplers.midpoint import midpoint_step
from sciddiff.state import State

__all__ = ["Heun"]


@final
@dataclass(frozen=True)
class Heun(Sampler):
    """Second-order sampling, two evaluations a step; optionally stochastic by churn.

    Churn first raises the noise level sigma / alpha by a factor ``1 + gamma`` with
    ``gamma = min(churn / steps, sqrt(2) - 1)``, which only Gaussian leaves can do.

    Attributes:
        churn: EDM's S_churn, over all steps; 0 is deterministic.
        noise_min: EDM's S_tmin: no churn below this sigma / alpha.
        noise_max: EDM's S_tmax: no churn above this sigma / alpha.
        noise_scale: EDM's S_noise: standard deviation of the added noise.
        last_step: The step on which the noise ends: ``"midpoint"`` is of second order;
            ``"euler"`` saves an evaluation, and suffices where the grid ends in a tiny step.
    """

    churn: float = 0.0
    noise_min: float = 0.0
    noise_max: float = math.inf
    noise_scale: float = 1.0
    last_step: Literal["midpoint", "euler"] = "midpoint"

    def __post_init__(self) -> None:
        if self.churn < 0.0:
            raise InputError(f"Heun.churn: {self.churn} is negative")
        if self.last_step not in ("midpoint", "euler"):
            raise InputError(f"Heun.last_step: {self.last_step!r} is neither midpoint nor euler")

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        t, s = walk.times[k], walk.times[k + 1]
        if self.churn > 0.0:
            x, t = self._raise(walk, x, t)
        start = walk.predict(x, t)
        clean = [leaf.clean(s) for leaf in walk.levelled if not leaf.rests]
        if any(clean) and self.last_step == "midpoint":
            return midpoint_step(walk, start, s), start
        proposal = walk.move(start, s=s)
        if all(clean):
            return proposal, start
        end = walk.predict(proposal, s)
        return walk.move(start, end, s=s, weights=lambda leaf: _trapezoid(leaf, t, s)), start

    def _raise(self, walk: Walk, x: State, t: float) -> tuple[State, float]:
        """The state at the earlier time where the noise level is ``1 + gamma`` as large."""
        log_snr = walk.log_snr(t)
        if math.isinf(log_snr) or not self.noise_min <= math.exp(-log_snr) <= self.noise_max:
            return x, t
        gamma = min(self.churn / walk.steps, math.sqrt(2.0) - 1.0)
        earlier = min(walk.time_at(log_snr - math.log1p(gamma), t), t)
        renoised = {
            name: leaf.renoise(x[name], t, earlier, self.noise_scale)
            for name, leaf in walk.leaves.items()
        }
        return renoised, earlier


def _trapezoid(leaf: Leaf, t: float, s: float) -> tuple[float, float]:
    """Weights of the predictions at ``t`` and at ``s``."""
    if leaf.clean(s):
        return 1.0, 0.0
    (alpha, sigma), (alpha_s, sigma_s) = leaf.levels(t), leaf.levels(s)
    rise = 0.5 * (alpha_s - alpha - (sigma_s - sigma) * alpha_s / sigma_s)
    late = rise / (alpha_s - alpha * sigma_s / sigma)
    return 1.0 - late, late

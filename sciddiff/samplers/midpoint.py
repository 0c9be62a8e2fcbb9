r"""The midpoint rule, on :math:`dx = \hat x_1\,d\alpha + \hat x_0\,d\sigma`.

.. math:: x_s = x_t + (\alpha_s-\alpha_t)\,\hat x_1^m + (\sigma_s-\sigma_t)\,\hat x_0^m

with data and noise as predicted in the middle m of the step, where a step of first order leads. On
the linear path this is the midpoint rule for the velocity, the usual solver of flow matching
(Lipman et al., *Flow Matching Guide and Code*, 2024). Written with predicted data alone it weighs
the two predictions by

.. math:: w_m = \frac{\Delta\alpha - \Delta\sigma\,\alpha_m/\sigma_m}
    {\alpha_s - \alpha_t\sigma_s/\sigma_t}, \qquad w_t = 1 - w_m ,

which is regular where the noise ends, and serves curved leaves too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import Leaf, Stage
from sciddiff.state import State

__all__ = ["Midpoint", "midpoint_step"]


@final
@dataclass(frozen=True)
class Midpoint(Sampler):
    """Deterministic second-order sampling, two evaluations a step, the last one included."""

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        start = walk.predict(x, walk.times[k])
        return midpoint_step(walk, start, walk.times[k + 1]), start


def midpoint_step(walk: Walk, start: Stage, s: float) -> State:
    """The state at time ``s``, by the midpoint rule from a stage."""
    middle = 0.5 * (start.t + s)
    halfway = walk.predict(walk.move(start, s=middle), middle)
    return walk.move(
        start, halfway, s=s, weights=lambda leaf: _weights(leaf, start.t, middle, s)
    )


def _weights(leaf: Leaf, t: float, middle: float, s: float) -> tuple[float, float]:
    """Weights of the predictions at ``t`` and in the middle."""
    (alpha, sigma), (alpha_s, sigma_s) = leaf.levels(t), leaf.levels(s)
    alpha_m, sigma_m = leaf.levels(middle)
    keep = 0.0 if leaf.clean(s) else sigma_s / sigma
    late = (alpha_s - alpha - (sigma_s - sigma) * alpha_m / sigma_m) / (alpha_s - alpha * keep)
    return 1.0 - late, late

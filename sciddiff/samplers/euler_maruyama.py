r"""Stochastic sampling with a free amount of noise.

For any :math:`w(t) \ge 0` the equation (Ma et al., *SiT*, 2024, eq. 4)

.. math:: dx = \bigl(u + \tfrac12 w\,\Sigma s\bigr)\,dt + \sqrt{w}\,\Sigma^{1/2}\,dW

has the same marginals as the flow. Its score half is an Ornstein--Uhlenbeck process on the noise
part of the state, which is integrated exactly over a step: a share
:math:`\tau = 1 - e^{-w\,\Delta t/\sigma^2}` of the noise is replaced. To first order in
:math:`\Delta t` this is Euler--Maruyama; where w diverges (:math:`\alpha \to 0`) the plain form
needs a clip or an ODE step, and this one replaces all noise, which is right because there is
nothing else. With the natural w, :math:`2\sigma D/\alpha` (the reverse SDE of Anderson, 1982), it
is the ancestral sampler with eta = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from sciddiff.errors import InputError
from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import AffineLeaf, Fresh, Stage
from sciddiff.state import State

__all__ = ["EulerMaruyama", "Reciprocal"]


@final
@dataclass(frozen=True)
class Reciprocal:
    """``w(t) = scale / (t + offset)``; the defaults are Proteina's ``2 g(t)``.

    Attributes:
        scale: Numerator.
        offset: Keeps it finite at t = 0.
    """

    scale: float = 2.0
    offset: float = 0.01

    def __call__(self, t: float) -> float:
        """The diffusion at a time."""
        return self.scale / (t + self.offset)


@final
@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    """First-order stochastic sampling.

    Leaves that are not Gaussian move by their path's transition with eta = 1.

    Attributes:
        w: Diffusion as a function of time; None: the natural one of each leaf. Zero is the ODE.
        noise_scale: Standard deviation of the fresh noise. Below 1 it lowers the temperature:
            samples of higher density and less variety (Proteina: 0.35 to 0.6 as a variance, the
            square of this number).
        start: No noise is added in steps that begin before this time.
        end: No noise is added in steps that begin at or after this time.
    """

    w: Callable[[float], float] | None = None
    noise_scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if self.noise_scale < 0.0:
            raise InputError(f"EulerMaruyama.noise_scale: {self.noise_scale} is negative")

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        t, s = walk.times[k], walk.times[k + 1]
        stage = walk.predict(x, t)
        fresh = None
        if self.start <= t < self.end:
            fresh = Fresh(lambda leaf: self._share(leaf, t, s), self.noise_scale)
        return walk.move(stage, s=s, fresh=fresh), stage

    def _share(self, leaf: AffineLeaf, t: float, s: float) -> float:
        """Share of the noise that the step replaces."""
        (alpha, sigma), (alpha_s, sigma_s) = leaf.levels(t), leaf.levels(s)
        if self.w is None:
            return 1.0 - (alpha * sigma_s / (alpha_s * sigma)) ** 2
        return -math.expm1(-self.w(t) * (s - t) / sigma**2)

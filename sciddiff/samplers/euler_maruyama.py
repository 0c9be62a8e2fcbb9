r"""Stochastic sampling with a free amount of noise.

For any :math:`w(t) \ge 0` the equation (Ma et al., *SiT*, 2024, eq. 4)

.. math:: dx = \bigl(u + \tfrac12 w\,\Sigma s\bigr)\,dt + \sqrt{w}\,\Sigma^{1/2}\,dW

has the same marginals as the flow. The natural w, :math:`2\sigma D/\alpha`, is the reverse SDE of
Anderson (1982); over a step it amounts to :math:`\int w/\sigma^2\,dt = 2h`, twice the change of
log-SNR, and diverges at :math:`\alpha = 0`. So w is used in two parts:

- up to the natural amount the score half is an Ornstein--Uhlenbeck process on the noise of the
  state, integrated exactly: a share :math:`\tau = 1 - e^{-w\,\Delta t/\sigma^2}` of the noise is
  replaced. With the natural w this is the ancestral sampler with eta = 1, and from pure noise,
  where the plain form needs a clip or an ODE step, all of it is replaced;
- what w exceeds it by is a plain Euler--Maruyama step, which is the better of the two where the
  state is certain; it is clipped at :math:`w\,\Delta t/\sigma^2 = 1`, short of instability.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from sciddiff.errors import InputError
from sciddiff.paths.move import FreshNoise
from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import Leaf, NoiseRule, Stage
from sciddiff.state import State

__all__ = ["EulerMaruyama", "Reciprocal"]

_MOST = 1.0  # largest excess w dt / sigma^2 of one step


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

    Curved leaves move by their path's transition, with the share of fresh noise that w asks for up
    to the natural one. Fresh noise there has no temperature: it leaves the uniform law as it is.

    Attributes:
        w: Diffusion as a function of time; None: the natural one of each leaf. Zero is the ODE.
        noise_scale: Standard deviation of the fresh noise. Below 1 it lowers the temperature:
            samples of higher density and less variety (Proteina: 0.35 to 0.6 as a variance, the
            square of this number).
        curved_eta: Stochasticity of curved leaves relative to that; 0: none.
        start: No noise is added in steps that begin before this time.
        end: No noise is added in steps that begin at or after this time.
    """

    w: Callable[[float], float] | None = None
    noise_scale: float = 1.0
    curved_eta: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if self.noise_scale < 0.0:
            raise InputError(f"EulerMaruyama.noise_scale: {self.noise_scale} is negative")

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        t, s = walk.times[k], walk.times[k + 1]
        stage = walk.predict(x, t)
        rule: NoiseRule = lambda leaf: self._noise(leaf, t, s)  # noqa: E731
        return walk.move(stage, s=s, noise=rule if self.start <= t < self.end else None), stage

    def _noise(self, leaf: Leaf, t: float, s: float) -> FreshNoise:
        """What becomes of the noise of a leaf between two times of the walk."""
        scale, curved = self.noise_scale, self.curved_eta
        if not leaf.levelled:
            return FreshNoise(eta=min(curved, 1.0))
        (alpha, sigma), (alpha_s, sigma_s) = leaf.levels(t), leaf.levels(s)
        natural = (alpha * sigma_s / (alpha_s * sigma)) ** 2  # exp(-2h)
        if self.w is None:
            return FreshNoise.replacing(1.0 - natural, scale=scale, curved=curved)
        t, s = leaf.time(t), leaf.time(s)
        amount = self.w(t) * (s - t) / sigma**2
        decay = max(math.exp(-amount), natural)
        excess = min(amount + math.log(decay), _MOST) if decay > 0.0 else 0.0
        kept, added = math.sqrt(decay), math.sqrt(1.0 - decay)
        return FreshNoise(
            keep=kept - 0.5 * excess, add=math.sqrt(added**2 + excess), scale=scale, curved=curved
        )

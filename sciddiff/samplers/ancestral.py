r"""Ancestral sampling: every leaf by one first-order step of its path.

On Gaussian paths this is DDIM (Song et al., 2021, eq. 12 and 16): with
:math:`\tau = \eta\,(1 - (\alpha_t\sigma_s/\alpha_s\sigma_t)^2)`

.. math:: x_s = \alpha_s \hat x_1 + \sigma_s\sqrt{1-\tau}\,\hat x_0 + \sigma_s\sqrt\tau\, z .

``eta = 0`` is the deterministic first-order solver (Euler in sigma / alpha), ``eta = 1`` is DDPM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sciddiff.errors import InputError
from sciddiff.paths.move import Move
from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import Stage
from sciddiff.state import State

__all__ = ["Ancestral"]


@final
@dataclass(frozen=True)
class Ancestral(Sampler):
    """First-order sampling that works on every path.

    Attributes:
        eta: Stochasticity, 0 (deterministic) to 1 (ancestral, DDPM).
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.eta <= 1.0:
            raise InputError(f"Ancestral.eta: {self.eta} is not in [0, 1]")

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        stage = walk.predict(x, walk.times[k])
        return walk.transition(stage, walk.times[k + 1], self.eta), stage

    def moves(self, walk: Walk, k: int, stage: Stage) -> dict[str, Move]:
        """See `Sampler.moves`."""
        return walk.plan(stage, walk.times[k + 1], self.eta)

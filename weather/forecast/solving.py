"""How the diffusion head of a forecast is drawn: steps, times and sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciddiff import grids
from sciddiff.errors import InputError
from sciddiff.paths import GaussianPath
from sciddiff.samplers import DPMSolverPP, FlowMap, Heun, Sampler

__all__ = ["SAMPLERS", "SamplingSettings"]

SAMPLERS = ("dpm", "heun", "sde", "map")
"""Of the diffusion head: DPM-Solver++ 2M, Heun, the stochastic DPM-Solver++, and jumps."""


@final
@dataclass(frozen=True)
class SamplingSettings:
    """How the diffusion head is sampled; the one-step head has nothing to set.

    Attributes:
        steps: Network calls per forecast step.
        sampler: One of `SAMPLERS`; `heun` makes two calls at each of its steps, and `map` jumps,
            for weights that are a flow map.
        noise_min: Last noise level sigma / alpha before the end.
        noise_max: First noise level after pure noise.
    """

    steps: int = 10
    sampler: str = "dpm"
    noise_min: float = 0.03
    noise_max: float = 80.0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise InputError(f"steps {self.steps}: must lie between 1 and 1000; try 10")
        if self.sampler not in SAMPLERS:
            raise InputError(f"sampler {self.sampler!r}: unknown; use {', '.join(SAMPLERS)}")

    def build(self) -> Sampler:
        """Build the sampler of the core."""
        if self.sampler == "map":
            return FlowMap()
        if self.sampler == "heun":
            return Heun(last_step="euler")  # the last of these grids is tiny
        return DPMSolverPP("2M", stochastic=self.sampler == "sde")

    def times(self, path: GaussianPath) -> Tensor:
        """Return the times of the path at which the network is called, from 0 to 1."""
        # Heun's last step is of first order: 2 n - 1 calls in n steps.
        steps = max(1, (self.steps + 1) // 2) if self.sampler == "heun" else self.steps
        if steps < 3 or self.sampler == "map":
            return grids.uniform(steps)
        return grids.karras(steps, path.schedule, self.noise_min, self.noise_max)

"""How the diffusion head of a forecast is drawn: steps, times and sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciddiff import grids
from sciddiff.errors import InputError
from sciddiff.paths import GaussianPath
from sciddiff.samplers import DPMSolverPP, FlowMap, Heun, Midpoint, Sampler

__all__ = ["SAMPLERS", "SamplingSettings"]

SAMPLERS = ("dpm", "midpoint", "heun", "sde", "map")
"""Of the diffusion head: DPM-Solver++ 2M, the midpoint rule, Heun, the stochastic DPM-Solver++,
and jumps."""


@final
@dataclass(frozen=True)
class SamplingSettings:
    """How the diffusion head is sampled; the one-step head has nothing to set.

    Attributes:
        steps: Network calls per forecast step.
        sampler: One of `SAMPLERS`; `midpoint` and `heun` make two calls at each of their steps,
            and `map` jumps, for weights that are a flow map.
        noise_min: Last noise level sigma / alpha before the end, of five calls or more.
        noise_max: First noise level after pure noise, of five calls or more.
    """

    steps: int = 6
    sampler: str = "dpm"
    noise_min: float = 0.05
    noise_max: float = 3.0  # what lies above is almost noise, and one call sees it from pure noise

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise InputError(f"steps {self.steps}: must lie between 1 and 1000; try 6")
        if self.sampler not in SAMPLERS:
            raise InputError(f"sampler {self.sampler!r}: unknown; use {', '.join(SAMPLERS)}")

    @classmethod
    def of_analyses(cls, steps: int) -> SamplingSettings:
        """Settings for analyses, which observations pull from the highest noise levels on.

        Args:
            steps: Network calls per analysis.
        """
        return cls(steps, noise_min=0.03, noise_max=80.0)

    def build(self) -> Sampler:
        """Build the sampler of the core."""
        if self.sampler == "map":
            return FlowMap()
        if self.sampler == "midpoint":
            return Midpoint()
        if self.sampler == "heun":
            return Heun(last_step="euler")  # the last of these grids is tiny
        return DPMSolverPP("2M", stochastic=self.sampler == "sde")

    def times(self, path: GaussianPath) -> Tensor:
        """Return the times of the path at which the network is called, from 0 to 1."""
        if self.sampler == "midpoint":  # even steps of the straight path have good noise levels
            return grids.uniform(max(1, self.steps // 2))
        # Heun's last step is of first order: 2 n - 1 calls in n steps.
        steps = max(1, (self.steps + 1) // 2) if self.sampler == "heun" else self.steps
        if steps < 5 or self.sampler == "map":
            return grids.uniform(steps)
        return grids.karras(steps, path.schedule, self.noise_min, self.noise_max, inside=True)

r"""FlowMap: jumps of any length, for networks that predict up to a later time.

Such a network is told where the step ends (``until``), and its prediction makes a first-order step
exact (`Path.jump`). One jump draws; more refine.

With ``renoise = gamma`` a jump goes beyond its end, to where the noise is
:math:`\sqrt{1-\gamma^2}` times as large, and comes back by adding fresh noise (Kim et al.,
*Consistency trajectory models*, 2024, algorithm 3): 1 jumps to the data every time, as consistency
models are sampled in several steps, 0 adds nothing. It forgets errors of earlier jumps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from sciddiff.errors import InputError
from sciddiff.samplers.base import Sampler, Walk
from sciddiff.samplers.leaves import Stage
from sciddiff.state import State

__all__ = ["FlowMap"]


@final
@dataclass(frozen=True)
class FlowMap(Sampler):
    """One jump of a flow map from each time of the grid to the next.

    Leaves that do not flow (tokens) take a first-order step of their path.

    Attributes:
        renoise: Gamma of the module, 0 to 1; above 0 all leaves must be able to go back.
    """

    renoise: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.renoise <= 1.0:
            raise InputError(f"FlowMap.renoise: {self.renoise} is not in [0, 1]")

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        t, s = walk.times[k], walk.times[k + 1]
        beyond = self._beyond(walk, s) if self.renoise > 0.0 else s
        stage = walk.predict(x, t, until=beyond)
        reached = walk.move(stage, s=beyond)
        if beyond == s:
            return reached, stage
        back = {
            name: leaf.renoise(reached[name], beyond, s, 1.0) for name, leaf in walk.leaves.items()
        }
        return back, stage

    def _beyond(self, walk: Walk, s: float) -> float:
        """The time that a jump goes to before it comes back to ``s``."""
        log_snr = walk.log_snr(s)
        if math.isinf(log_snr):
            return s
        if self.renoise == 1.0:
            return 1.0
        return max(s, walk.time_at(log_snr - 0.5 * math.log1p(-(self.renoise**2)), 1.0))

r"""Damped persistence, dressed with its own past errors.

The anomaly fades as it did on average, :math:`\rho_n x'_0`, and each member adds the whole field
of the error this rule made from another day of the same season,
:math:`x'_{d+n}-\rho_n x'_d`: errors have the right size, and the right pattern in space, between
variables and along time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from weather.verification.baselines.base import Baseline, Fields
from weather.verification.baselines.climate import Climate
from weather.verification.baselines.climatology import draw_season

__all__ = ["DampedPersistence"]


@final
class DampedPersistence(Baseline):
    """Fading anomalies with the errors of the past.

    Args:
        climate: Of the training states.
        window: Days of the year on either side from which errors are taken.
    """

    name = "damped persistence"

    def __init__(self, climate: Climate, window: float = 30.0) -> None:
        self.climate, self.history, self._window = climate, climate.history, window
        self._memory: dict[int, Fields] = {}

    def memory(self, step: int) -> Fields:
        """Correlation after `step` steps, `[C, H, W]`, computed once."""
        if step not in self._memory:
            self._memory[step] = self.climate.memory(step)
        return self._memory[step]

    def rollout(
        self, initial: Fields, time: int, steps: int, members: int, generator: np.random.Generator
    ) -> Iterator[Fields]:
        drawn = draw_season(self.history, time, self._window, steps, members, generator)
        start = initial - self.climate.mean_at(time)
        past = self.climate.anomalies_of(drawn)
        for step in range(1, steps + 1):
            memory = self.memory(step)
            error = self.climate.anomalies_of(drawn + step) - memory * past
            fields = self.climate.mean_at(time + step * self.history.step) + memory * start + error
            yield clip_positive(fields.astype(np.float32, copy=False), self.history.channels)


def clip_positive(fields: Fields, channels: tuple[str, ...]) -> Fields:
    """Raise negative values of channels that cannot be negative to 0, in place."""
    from sciddiff.errors import InputError
    from weather.data.channels import parse_channel

    for place, name in enumerate(channels):
        try:
            positive = parse_channel(name).positive
        except InputError:
            positive = False
        if positive:
            np.maximum(fields[:, place], 0.0, out=fields[:, place])
    return fields

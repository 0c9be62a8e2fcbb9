r"""Analogues: what followed the training states most like the initial one.

The k nearest states of the season, by distance in the space of the leading patterns, are found,
and their futures are the ensemble (Lorenz 1969).  No state of a large space has a near twin, so
the difference from the analogue is carried along as it fades:
:math:`x'_n = x'_{d+n} + \rho_n(x'_0 - x'_d)`; without it an analogue begins far from the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.verification.baselines.base import Baseline, Fields
from weather.verification.baselines.patterns import Patterns
from weather.verification.baselines.persistence import DampedPersistence, clip_positive

__all__ = ["Analogues"]


@final
class Analogues(Baseline):
    """Futures of the nearest training states.

    Args:
        patterns: In whose space states are compared.
        persistence: Tells how differences fade; None leaves them out.
        window: Days of the year on either side from which analogues are taken.
        apart: Steps between analogues at least, so that they are different weather.
    """

    name = "analogues"

    def __init__(
        self, patterns: Patterns, persistence: DampedPersistence | None,
        window: float = 90.0, apart: int = 2,
    ) -> None:  # fmt: skip
        self.patterns, self.climate = patterns, patterns.climate
        self.history, self._window, self._apart = patterns.climate.history, window, apart
        self._persistence = persistence

    def nearest(self, initial: Fields, time: int, steps: int, count: int) -> NDArray[np.int64]:
        """Indices of the nearest training states, nearest first, `[count]`.

        Raises:
            InputError: The season has too few states.
        """
        season = self.history.season(time, self._window, steps)
        start = self.patterns.project((initial - self.climate.mean_at(time))[None])[0]
        gap = np.square(self.patterns.amplitudes[season] - start).sum(-1)
        chosen: list[int] = []
        for index in season[np.argsort(gap, kind="stable")]:
            if all(abs(index - other) >= self._apart for other in chosen):
                chosen.append(int(index))
            if len(chosen) == count:
                return np.array(chosen)
        raise InputError(
            f"training store: {len(chosen)} separate states of the season, {count} analogues "
            "wanted; prepare more years or lower --baseline-members"
        )

    def rollout(
        self, initial: Fields, time: int, steps: int, members: int, generator: np.random.Generator
    ) -> Iterator[Fields]:
        chosen = self.nearest(initial, time, steps, members)
        start = initial - self.climate.mean_at(time)
        gap = start - self.climate.anomalies_of(chosen)
        for step in range(1, steps + 1):
            fields = self.climate.anomalies_of(chosen + step)
            if self._persistence is not None:
                fields += self._persistence.memory(step) * gap
            fields += self.climate.mean_at(time + step * self.history.step)
            yield clip_positive(fields, self.history.channels)

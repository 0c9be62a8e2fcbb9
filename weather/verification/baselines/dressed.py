"""A deterministic forecast dressed with its own past errors.

The same roll-out is run from other days, of the same season where there are enough, and the fields
of its errors are added to the new forecast: member k is the forecast plus what went wrong from
past day k.  It is the honest test of whether drawing from a generative model adds anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.verification.baselines.base import Baseline, Fields
from weather.verification.baselines.history import History
from weather.verification.baselines.persistence import clip_positive
from weather.verification.instants import day_of_year, days_apart

__all__ = ["DressedForecast", "Rollout"]

Rollout = Callable[[Fields, Fields, int, int], Iterator[Fields]]
"""Takes the states before and at the initial time `[C, H, W]`, the time in seconds and the number
of steps; yields the state after every step."""


@final
class DressedForecast(Baseline):
    """One trajectory, many errors.

    Args:
        rollout: The deterministic forecast.
        history: States the errors are taken from; best ones the network was not trained on.
        before: State one step before a time in seconds, `[C, H, W]`.
        steps: Steps of the error archive.
        archive: Number of past days, spread over the period.
        name: As the tables call it.

    Raises:
        InputError: The period is too short.
    """

    def __init__(
        self, rollout: Rollout, history: History, before: Callable[[int], Fields], steps: int,
        archive: int = 100, name: str = "dressed deterministic",
    ) -> None:  # fmt: skip
        self.name, self.history, self._rollout, self._before = name, history, rollout, before
        usable = np.flatnonzero(history.continues(steps))
        usable = usable[(usable > 0) & history.continues(1)[np.maximum(usable - 1, 0)]]
        if len(usable) < 2:
            raise InputError("error archive: the period is too short; give a longer one")
        picks = np.linspace(0, len(usable) - 1, min(archive, len(usable))).astype(int)
        self._days = usable[np.unique(picks)]
        self._errors = np.empty((len(self._days), steps, *history.shape[1:]), dtype=np.float32)
        for row, index in enumerate(self._days):
            states = history.read(int(index) - 1, int(index) + steps + 1)
            time = int(history.times.seconds[index])
            made = rollout(states[0], states[1], time, steps)
            for step, field in enumerate(made):
                self._errors[row, step] = states[step + 2] - field

    def rollout(
        self, initial: Fields, time: int, steps: int, members: int, generator: np.random.Generator
    ) -> Iterator[Fields]:
        chosen = self._choose(time, members)
        previous = self._before(time - self.history.step)
        for step, field in enumerate(self._rollout(previous, initial, time, steps)):
            if step >= self._errors.shape[1]:
                raise InputError(f"error archive: ends after {step} steps; make it longer")
            yield clip_positive(field + self._errors[chosen, step], self.history.channels)

    def _choose(self, time: int, members: int) -> NDArray[np.int64]:
        """Past days nearest in season, not of the period that is forecast."""
        seconds = self.history.times.seconds[self._days]
        far = np.flatnonzero(np.abs(seconds - time) >= 30 * 86400)
        if len(far) < members:
            raise InputError(
                f"error archive: {len(far)} past days, {members} members wanted; enlarge it"
            )
        day = day_of_year(np.array([time]), self.history.times.calendar)[0]
        gap = days_apart(self.history.days[self._days[far]], float(day))
        return far[np.argsort(gap, kind="stable")[:members]]

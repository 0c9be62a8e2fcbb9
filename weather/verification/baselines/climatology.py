"""Climatology: training states of the same season, drawn without regard to the initial state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from sciddiff.errors import InputError
from weather.verification.baselines.base import Baseline, Fields
from weather.verification.baselines.history import History

__all__ = ["Climatology", "draw_season"]


@final
class Climatology(Baseline):
    """Trajectories of training states that begin within some days of the day of the year.

    Args:
        history: The training states.
        window: Days on either side of the initial day.
    """

    name = "climatology"

    def __init__(self, history: History, window: float = 15.0) -> None:
        self.history, self._window = history, window

    def rollout(
        self, initial: Fields, time: int, steps: int, members: int, generator: np.random.Generator
    ) -> Iterator[Fields]:
        drawn = draw_season(self.history, time, self._window, steps, members, generator)
        for step in range(1, steps + 1):
            yield self.history.take(drawn + step)


def draw_season(
    history: History, time: int, window: float, steps: int, count: int,
    generator: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Draw training states of a season that are followed by `steps` more, all different.

    Raises:
        InputError: There are fewer than `count`.
    """
    season = history.season(time, window, steps)
    if len(season) < count:
        raise InputError(
            f"training store: {len(season)} states within {window:g} days of the season, "
            f"{count} members wanted; prepare more years or lower --baseline-members"
        )
    return np.sort(generator.choice(season, count, replace=False))

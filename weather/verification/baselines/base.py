"""What a baseline is, and how one is scored like any other forecast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.verification.baselines.history import History
from weather.verification.ensembles import Ensemble, Reader
from weather.verification.instants import Instants

__all__ = ["Analyses", "Baseline", "BaselineEnsemble", "analyses_of"]

Fields = NDArray[np.float32]

Analyses = Callable[[int], Fields]
"""Gives the state `[C, H, W]` at a time in seconds."""


class Baseline(ABC):
    """A rule that makes an ensemble from one state and the training states.

    Attributes:
        name: As the tables call it.
        history: The training states.
    """

    name: str
    history: History

    @abstractmethod
    def rollout(
        self, initial: Fields, time: int, steps: int, members: int, generator: np.random.Generator
    ) -> Iterator[Fields]:
        """Yield the members `[M, C, H, W]` after 1, 2, ... `steps` steps.

        Args:
            initial: State at the initial time, physical units, `[C, H, W]`.
            time: Initial time in seconds.
            steps: Number of steps of the training store.
            members: M.
            generator: Of all draws.

        Raises:
            InputError: The training states are too few.
        """


@final
class BaselineEnsemble(Ensemble):
    """A baseline's forecasts, made while they are read.

    Args:
        baseline: The rule.
        analyses: States at the initial times.
        times: Initial times.
        leads: Seconds, multiples of the training store's step, ascending, `[L]`.
        members: M.
        channels: Verified channels.
        seed: Forecasts depend on (seed, name, initial time) only.

    Raises:
        InputError: A lead is no multiple of the step.
    """

    def __init__(
        self, baseline: Baseline, analyses: Analyses, times: Instants, leads: NDArray[np.int64],
        members: int, channels: Sequence[str], seed: int = 0,
    ) -> None:  # fmt: skip
        history = baseline.history
        self.name, self.times, self.leads, self.members = baseline.name, times, leads, members
        self.lat, self.lon = history.lat, history.lon
        self.channels = tuple(name for name in channels if name in history.channels)
        if (leads % history.step).any() or (leads <= 0).any():
            raise InputError(
                f"baseline {baseline.name}: leads must be multiples of the training store's step, "
                f"{history.step / 3600:g} h; verify those only"
            )
        self._baseline, self._analyses, self._seed = baseline, analyses, seed
        self._steps = leads // history.step

    def open(self, case: int, leads: Sequence[int]) -> Reader:
        history = self._baseline.history
        time = int(self.times.seconds[case])
        words = [self._seed, *self._baseline.name.encode(), time & 0xFFFFFFFF, time >> 32]
        trajectory = self._baseline.rollout(
            self._analyses(time), time, int(self._steps[leads[-1]]), self.members,
            np.random.default_rng(words),
        )  # fmt: skip
        done, fields = 0, np.empty(0, dtype=np.float32)

        def read(lead: int, channel: str) -> Fields:
            nonlocal done, fields
            while done < self._steps[lead]:
                fields = next(trajectory)
                done += 1
            return fields[:, history.channels.index(channel)]

        return read


def analyses_of(history: History, channels: Sequence[str], name: str) -> Analyses:
    """States of a store at given times, in the order of other channels.

    Args:
        history: Holds the states, for example the verification year's.
        channels: Wanted, in order.
        name: Of the store, for messages.

    Raises:
        InputError: A channel is missing; on reading, a time is.
    """
    missing = [channel for channel in channels if channel not in history.channels]
    if missing:
        raise InputError(f"{name}: has no {', '.join(missing)}, which the baselines start from")
    order = [history.channels.index(channel) for channel in channels]
    index = {int(second): i for i, second in enumerate(history.times.seconds)}

    def state(time: int) -> Fields:
        if time not in index:
            text = Instants(np.array([time]), history.times.calendar).text(0)
            raise InputError(f"{name}: has no state at {text}, where a forecast begins")
        return history.read(index[time], index[time] + 1)[0][order]

    return state

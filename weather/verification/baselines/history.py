"""The training states as baselines need them: by season, in pairs, as anomalies.

Archives of up to `RESIDENT` bytes are kept in memory; larger ones are read piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.verification.instants import DAY, Instants, day_of_year, days_apart
from weather.verification.truths import States, channel_names

__all__ = ["RESIDENT", "History"]

RESIDENT = 1 << 30
"""Bytes of states kept in memory at most."""

_PIECE = 64


@final
class History:
    """States along time, with their days of the year.

    Args:
        states: A prepared store.
        resident: Bytes of states kept in memory at most.

    Raises:
        InputError: Fewer than two states.
    """

    def __init__(self, states: States, resident: int = RESIDENT) -> None:
        self._states = states
        self.channels = channel_names(states)
        self.times = Instants.of(states.times)
        if len(self.times) < 2:
            raise InputError("training store: fewer than two states; prepare more files")
        self.step = int(round(float(states.step_hours) * 3600))
        self.grid = states.grid
        self.lat = np.asarray(states.grid.lat, dtype=np.float64)
        self.lon = np.asarray(states.grid.lon, dtype=np.float64)
        self.rows = np.asarray(states.grid.weights, dtype=np.float64)
        shape = (len(self.times), len(self.channels), len(self.lat), len(self.lon))
        self.shape = shape
        small = 4 * int(np.prod(shape)) <= resident
        self._fields = np.asarray(states.read(0, shape[0]), np.float32) if small else None

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def days(self) -> NDArray[np.float64]:
        """Day of the year of each state, `[T]`."""
        return self.times.day_of_year()

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """States `[n, C, H, W]`."""
        if self._fields is not None:
            return self._fields[start:stop]
        return np.asarray(self._states.read(start, stop), dtype=np.float32)

    def pieces(self, overlap: int = 0) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Yield (start, stop, states from start to stop + overlap) through the whole period."""
        for start in range(0, len(self), _PIECE):
            stop = min(start + _PIECE, len(self))
            yield start, stop, self.read(start, min(stop + overlap, len(self)))

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """States at some indices, `[n, C, H, W]`, read in runs of neighbours."""
        wanted = np.asarray(indices, dtype=np.int64)
        if self._fields is not None:
            return self._fields[wanted]
        out = np.empty((len(wanted), *self.shape[1:]), dtype=np.float32)
        order = np.argsort(wanted, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(wanted[order]) > 4) + 1):
            first, last = wanted[run[0]], wanted[run[-1]]
            out[run] = self.read(int(first), int(last) + 1)[wanted[run] - first]
        return out

    def continues(self, steps: int) -> NDArray[np.bool_]:
        """Which states are followed by `steps` more without a gap in time, `[T]`."""
        whole = np.zeros(len(self), dtype=bool)
        if steps < len(self):
            gaps = self.times.seconds[steps:] - self.times.seconds[: len(self) - steps]
            whole[: len(self) - steps] = gaps == steps * self.step
        return whole

    def season(
        self, time: int, window: float, steps: int = 0, apart: float = 60.0
    ) -> NDArray[np.int64]:  # fmt: skip
        """States of the same season, with a future, and not of the very period that is forecast.

        Args:
            time: Seconds; whose season.
            window: Days of the year on either side.
            steps: Steps the states must be followed by.
            apart: Days around `time` itself that are left out, so that nothing of the truth is
                known to a baseline that is verified inside its own training period.

        Returns:
            Ascending indices, `[n]`.
        """
        day = day_of_year(np.array([time]), self.times.calendar)[0]
        near = days_apart(self.days, float(day)) <= window
        same = np.abs(self.times.seconds - time) < apart * DAY
        return np.flatnonzero(near & ~same & self.continues(steps))

    def around(self, time: int, window: float, channels: tuple[str, ...]) -> NDArray[np.float32]:
        """All states of the season of a time, `[n, c, H, W]`.

        Raises:
            InputError: There are fewer than ten.
        """
        found = self.season(time, window)
        if len(found) < 10:
            raise InputError(
                f"training store: {len(found)} states within {window:g} days of the season; "
                "prepare more years"
            )
        return self.take(found)[:, [self.channels.index(name) for name in channels]]

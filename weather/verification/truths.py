"""What a forecast is scored by: analyses along time, or ensembles of equally valid truths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.verification.ensembles import Ensemble, Reader
from weather.verification.instants import Instants

__all__ = ["EnsembleTruth", "SeriesTruth", "States", "Truth"]


class States(Protocol):
    """Fields along time in physical units; a prepared store is one."""

    @property
    def channels(self) -> Sequence[Any]:
        """Channels in order, each with a ``name`` or a plain string."""
        ...

    @property
    def grid(self) -> Any:
        """Grid with ``lat [H]``, ``lon [W]`` and quadrature ``weights [H]``."""
        ...

    @property
    def times(self) -> Any:
        """Dates of the fields, ascending, `[T]`."""
        ...

    @property
    def step_hours(self) -> float:
        """Hours between neighbouring fields."""
        ...

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Fields `[T, C, H, W]`, south to north."""
        ...


def channel_names(states: States) -> tuple[str, ...]:
    """Names of the channels of a store."""
    return tuple(str(getattr(channel, "name", channel)) for channel in states.channels)


class Truth(ABC):
    """Fields that did happen, or K that may equally well have happened.

    Attributes:
        channels: Canonical names of the fields.
        members: K.
        calendar: Of its times.
        lat, lon: Degrees, as in `Ensemble`.
    """

    channels: tuple[str, ...]
    members: int
    calendar: str
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]

    @abstractmethod
    def covers(self, time: int, lead: int) -> bool:
        """Whether it knows the fields `lead` seconds after the initial time."""

    @abstractmethod
    def open(self, time: int, leads: Sequence[int]) -> Reader:
        """Return a reader of fields `[K, H, W]` by index into `leads` (seconds) and channel."""

    @abstractmethod
    def variance(self, channel: str, rows: NDArray[np.float64]) -> float:
        """Variance over time (or members and starts) at a point, averaged over the area.

        Args:
            channel: Name.
            rows: Area of the rows `[H]`.
        """


@final
class SeriesTruth(Truth):
    """Analyses along time: one truth for every valid time.

    Args:
        states: A prepared store.
    """

    members = 1

    def __init__(self, states: States) -> None:
        self._states = states
        times = Instants.of(states.times)
        self.calendar = times.calendar
        self._index = {int(s): i for i, s in enumerate(times.seconds)}
        self.channels = channel_names(states)
        self._place = {name: i for i, name in enumerate(self.channels)}
        self.lat = np.asarray(states.grid.lat, dtype=np.float64)
        self.lon = np.asarray(states.grid.lon, dtype=np.float64)
        # What prepare filled in did not happen.
        observed = getattr(states, "observed", None)
        self._filled = None if observed is None or observed.all() else ~observed

    def _read(self, index: int) -> NDArray[np.float32]:
        """Fields of a time `[C, H, W]`, NaN where none was observed."""
        fields = self._states.read(index, index + 1)[0]
        if self._filled is None:
            return fields
        return np.where(self._filled, np.float32(np.nan), fields)

    def covers(self, time: int, lead: int) -> bool:
        return time + lead in self._index

    def open(self, time: int, leads: Sequence[int]) -> Reader:
        kept: dict[int, NDArray[np.float32]] = {}

        def read(lead: int, channel: str) -> NDArray[np.float32]:
            index = self._index[time + int(leads[lead])]
            if index not in kept:
                kept.clear()
                kept[index] = self._read(index)
            return kept[index][self._place[channel]][None]

        return read

    def variance(self, channel: str, rows: NDArray[np.float64]) -> float:
        place = self._place[channel]
        some = _spread(len(self._index))
        return _area_variance((self._read(i)[place] for i in some), rows)


@final
class EnsembleTruth(Truth):
    """Ensembles of equally valid truths, integrated from perturbed states.

    Args:
        ensemble: Initial times, members and leads of the truths.

    Raises:
        InputError: Fewer than two members.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self.channels, self.members = ensemble.channels, ensemble.members
        self.calendar = ensemble.times.calendar
        self.lat, self.lon = ensemble.lat, ensemble.lon
        self._case = {int(s): i for i, s in enumerate(ensemble.times.seconds)}
        self._lead = {int(s): i for i, s in enumerate(ensemble.leads)}

    @property
    def times(self) -> Instants:
        """Initial times of the truths."""
        return self._ensemble.times

    @property
    def leads(self) -> NDArray[np.int64]:
        """Leads in seconds, `[L]`."""
        return self._ensemble.leads

    def covers(self, time: int, lead: int) -> bool:
        return time in self._case and int(lead) in self._lead

    def open(self, time: int, leads: Sequence[int]) -> Reader:
        if time not in self._case:
            raise InputError("truth: has no ensemble from this initial time")
        places = [self._lead[int(lead)] for lead in leads]
        inner = self._ensemble.open(self._case[time], places)
        return lambda lead, channel: inner(places[lead], channel)

    def variance(self, channel: str, rows: NDArray[np.float64]) -> float:
        last = len(self._ensemble.leads) - 1
        some = _spread(len(self._ensemble.times))
        drawn = (self._ensemble.open(case, [last])(last, channel) for case in some)
        return _area_variance((field for members in drawn for field in members), rows)


def _spread(count: int, most: int = 200) -> list[int]:
    """At most so many of `count` indices, spread over all."""
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))]


def _area_variance(
    fields: Iterable[NDArray[np.float32]], rows: NDArray[np.float64]
) -> float:
    """Variance at each point, averaged over the area, of fields that come one by one."""
    origin, total, square, count = None, 0.0, 0.0, 0
    for field in fields:
        origin = field.astype(np.float64) if origin is None else origin
        gap = field - origin
        total, square, count = total + gap, square + np.square(gap), count + 1
    variance = square / count - np.square(total / count)
    weights = np.where(np.isfinite(variance), rows[:, None], 0.0)
    return float((np.nan_to_num(variance) * weights).sum() / weights.sum())

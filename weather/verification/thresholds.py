"""Events whose probabilities are scored: a value, or a quantile of the local climate, is reached.

``tas>303.15`` is the event that 2 m temperature reaches 303.15 K; ``z500>q0.9`` that 500 hPa
height reaches what is exceeded at this place and season on one day in ten; ``>q0.9`` the same for
every channel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

if TYPE_CHECKING:
    from weather.verification.baselines.history import History

__all__ = ["CLIMATE_EVENTS", "Event", "Quantiles", "parse_event"]

_FORM = re.compile(r"(\w*)\s*>=?\s*(q?)(-?\d+(?:\.\d+)?(?:e-?\d+)?)")


@final
@dataclass(frozen=True)
class Event:
    """At least a value.

    Attributes:
        channel: Of which channel; empty for every channel.
        value: In the channel's units, or a probability where `quantile` is true.
        quantile: Whether `value` is the level of a quantile of the climate.
    """

    channel: str
    value: float
    quantile: bool = False

    @property
    def name(self) -> str:
        """As the tables call it: ``>q0.9`` or ``>303.15``."""
        return f">{'q' if self.quantile else ''}{self.value:g}"


CLIMATE_EVENTS = (Event("", 0.1, True), Event("", 0.9, True))
"""Scored where a training store tells the climate and the user names no event."""


def parse_event(text: str) -> Event:
    """Read ``tas>303.15``, ``z500>q0.9`` or ``>q0.9``.

    Raises:
        InputError: Neither, a quantile outside (0, 1), or a value for every channel at once.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--threshold {text}: not an event; write 'tas>303.15' or 'z500>q0.9'")
    event = Event(match[1], float(match[3]), bool(match[2]))
    if event.quantile and not 0 < event.value < 1:
        raise InputError(f"--threshold {text}: a quantile lies between 0 and 1; write q0.9")
    if not event.quantile and not event.channel:
        raise InputError(f"--threshold {text}: a value of which field? write 'tas{text}'")
    return event


@final
class Quantiles:
    """Thresholds at every point for a valid time, quantiles from the days around it.

    Args:
        events: Which events.
        history: Training states; needed if an event is a quantile.
        window: Days on either side of the valid day.

    Raises:
        InputError: A quantile without a training store.
    """

    def __init__(
        self, events: tuple[Event, ...], history: History | None, window: float = 15.0
    ) -> None:
        if history is None and any(event.quantile for event in events):
            raise InputError("--threshold: a quantile needs the climate; add --train data.zarr")
        self.events, self._history, self._window = events, history, window

    def names(self) -> tuple[str, ...]:
        """Names of the events, in order, each once."""
        return tuple(dict.fromkeys(event.name for event in self.events))

    def fields(self, time: int, channels: tuple[str, ...], points: int) -> NDArray[np.float32]:
        """Thresholds of all channels at a valid time; NaN where an event is not of a channel.

        Args:
            time: Valid time in seconds.
            channels: Canonical names.
            points: P.

        Returns:
            `[C, Q, P]`.
        """
        names = self.names()
        found = np.full((len(channels), len(names), points), np.nan, dtype=np.float32)
        levels = sorted({event.value for event in self.events if event.quantile})
        climate = {}
        if levels and self._history is not None:
            wanted = tuple(c for c in channels if c in self._history.channels)
            states = self._history.around(time, self._window, wanted)
            drawn = np.quantile(states, levels, axis=0).astype(np.float32)
            climate = {
                (channel, level): drawn[i, c].reshape(-1)
                for c, channel in enumerate(wanted)
                for i, level in enumerate(levels)
            }
        for event in self.events:
            for c, channel in enumerate(channels):
                if event.channel not in ("", channel):
                    continue
                value = climate.get((channel, event.value)) if event.quantile else event.value
                if value is not None:
                    found[c, names.index(event.name)] = value
        return found

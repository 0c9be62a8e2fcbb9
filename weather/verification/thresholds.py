"""Events whose probabilities are scored: a value, or a quantile of the local climate, is passed.

``tas>303.15`` is the event that 2 m temperature reaches 303.15 K, as is ``tas>30degC``;
``mslp<980hPa`` that pressure stays below a value; ``z500>q0.9`` that 500 hPa height reaches what
is exceeded at this place and season on one day in ten; ``>q0.9`` the same for every channel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.channels import parse_channel
from weather.data.units import conversion

if TYPE_CHECKING:
    from weather.verification.baselines.history import History

__all__ = ["CLIMATE_EVENTS", "Event", "Quantiles", "of_channels", "parse_event"]

_FORM = re.compile(
    r"(\w*)\s*([<>])=?\s*(q?)([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([^\d\s.].*)?"
)
_HELP = "write 'tas>303.15', 'mslp<980hPa' or 'z500>q0.9'"


@final
@dataclass(frozen=True)
class Event:
    """At least a value, or less.

    Attributes:
        channel: Of which channel; empty for every channel.
        value: In the channel's units, or a probability where `quantile` is true.
        quantile: Whether `value` is the level of a quantile of the climate.
        below: Whether the event is to be below the value.
    """

    channel: str
    value: float
    quantile: bool = False
    below: bool = False

    @property
    def name(self) -> str:
        """As the tables call it: ``>q0.9``, ``>303.15`` or ``<98000``."""
        return f"{'<' if self.below else '>'}{'q' if self.quantile else ''}{self.value:g}"


CLIMATE_EVENTS = (Event("", 0.1, True), Event("", 0.9, True))
"""Scored where a training store tells the climate and the user names no event."""


def parse_event(text: str) -> Event:
    """Read ``tas>303.15``, ``mslp<980hPa``, ``z500>q0.9`` or ``>q0.9``.

    Raises:
        InputError: None of these, a quantile outside (0, 1), a value for every channel at once,
            or units that the channel does not have.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or (match[3] and match[5]):
        raise InputError(f"--threshold {text}: not an event; {_HELP}")
    event = Event(match[1], float(match[4]), bool(match[3]), match[2] == "<")
    if match[5] and event.channel:
        event = replace(event, value=_converted(text, event, match[5].strip()))
    if event.quantile and not 0 < event.value < 1:
        raise InputError(f"--threshold {text}: a quantile lies between 0 and 1; write q0.9")
    if not event.quantile and not event.channel:
        raise InputError(f"--threshold {text}: a value of which field? write 'tas{text}'")
    return event


def of_channels(text: str, channels: Sequence[str]) -> Event:
    """Read an event of one of the channels that are scored, by its name or an alias.

    Args:
        text: As for `parse_event`.
        channels: Canonical names.

    Raises:
        InputError: As `parse_event`, or the channel is not scored.
    """
    event = parse_event(text)
    if event.channel in ("", *channels):
        return event
    with suppress(InputError):
        own = parse_channel(event.channel).name
        if own in channels:
            return replace(event, channel=own)
    raise InputError(
        f"--threshold {text}: {event.channel} is not among the channels that are scored; there "
        f"are {', '.join(channels)}"
    )


def _converted(text: str, event: Event, units: str) -> float:
    """The value of an event in the units of its channel."""
    own = parse_channel(event.channel).units
    known = conversion(units, own)
    if known is None:
        raise InputError(f"--threshold {text}: {event.channel} is in {own}, not in {units}")
    return known.scale * event.value + known.offset


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

    def below(self) -> NDArray[np.bool_]:
        """Which events are to be below the value, `[Q]`, in the order of `names`."""
        return np.asarray([name.startswith("<") for name in self.names()], dtype=bool)

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

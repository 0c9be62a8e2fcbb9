"""From short steps to long ones: sums and means over the period that ends at each time.

Amounts (precipitation) and extremes (the warmest hour) are of a period. Keeping one hour in 24 of
an hourly sum loses the other 23, so that such channels are aggregated or refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.channels import Channel
from weather.data.matching import Match
from weather.data.times import TimeAxis, label, labels

__all__ = ["METHODS", "Windows", "check_thinning", "method_of", "parse_aggregate"]

METHODS: Final[dict[str, str]] = {
    "sum": "time: sum", "mean": "time: mean", "min": "time: minimum", "max": "time: maximum",
}  # fmt: skip
"""Ways to aggregate, with what CF calls them in ``cell_methods``."""

_REDUCE: Final[dict[str, Callable[..., Any]]] = {
    "sum": np.sum, "mean": np.mean, "min": np.min, "max": np.max,
}  # fmt: skip
_OF_PERIODS: Final = {"tp": "sum", "tasmax": "max", "tasmin": "min"}


@final
@dataclass(frozen=True, eq=False)
class Windows:
    """Which times of the files lie in the period that ends at each chosen time.

    Attributes:
        index: Places in the files `[T, k]`, the last of each row at the chosen time itself.
        hours: Length of a period.
        lost: What a user should know about periods between the others that lack fields; empty if
            there are none.
    """

    index: NDArray[np.int64]
    hours: float
    lost: str = ""

    @classmethod
    def ending_at(
        cls, index: NDArray[np.int64], times: NDArray[Any], every: float
    ) -> tuple[Windows, NDArray[np.int64]]:
        """Periods of `every` hours that end at multiples of it, counted from midnight.

        Args:
            index: Places of the times in the files, in order `[N]`.
            times: Of the files.
            every: Length of a period, hours.

        Returns:
            The periods that the files hold whole, and the places of their last times.

        Raises:
            InputError: The distance of the times does not divide the period.
        """
        hours = TimeAxis.encode(times[index]).hours
        if len(hours) < 2:
            raise InputError("--aggregate: the files hold a single time; add those of a period")
        own = float(np.median(np.diff(hours)))
        count = round(every / own)
        if count < 1 or abs(count * own - every) > 1e-3:
            raise InputError(
                f"--step {every:g}h: fields {own:g} h apart do not make periods of {every:g} h; "
                "choose a multiple"
            )
        clock = labels(times[index[:1]])[0][11:]
        hour, minute, second = (int(part) for part in clock.split(":"))
        since_midnight = hours + hour + minute / 60.0 + second / 3600.0
        ends = np.flatnonzero(np.abs((since_midnight + 1e-3) % every - 1e-3) < 1e-3)
        ends = ends[ends >= count - 1]
        whole = np.abs(hours[ends] - hours[ends - count + 1] - (every - own)) < 1e-3
        ends = ends[whole]
        if not len(ends):
            raise InputError(
                f"--aggregate: no whole period of {every:g} h between {label(times[index[0]])} "
                f"and {label(times[index[-1]])}; shorten --step or add files"
            )
        places = index[ends[:, None] + np.arange(-count + 1, 1)]
        # Those that the files cut off at either end are expected; those with holes are not.
        low = np.ceil((since_midnight[0] - own + every) / every - 1e-6)
        held = np.arange(low, np.floor(since_midnight[-1] / every + 1e-6) + 1)
        lacking = held[~np.isin(held, np.round(since_midnight[ends] / every))]
        lost = ""
        if len(lacking):
            after = index[np.searchsorted(since_midnight, (lacking[0] - 1) * every - 1e-3)]
            lost = f"{len(lacking)} of {len(held)} periods of {every:g} h lack fields"
            lost += f", the first from {label(times[after])} on"
        return cls(places, every, lost), index[ends]


def parse_aggregate(words: Sequence[str]) -> dict[str, str]:
    """Read ``tp=sum`` and the like.

    Raises:
        InputError: Not of that form.
    """
    rules = {}
    for word in words:
        name, equals, method = word.partition("=")
        if not (name and equals and method in METHODS):
            raise InputError(
                f"--aggregate {word}: write NAME=METHOD with {', '.join(METHODS)}, such as tp=sum"
            )
        rules[name] = method
    return rules


def method_of(c: Channel, rules: Mapping[str, str]) -> str:
    """How a channel is aggregated; empty where it is taken as it is at each time."""
    return rules.get(c.name) or rules.get(c.variable) or rules.get("all", "")


def reduce(fields: NDArray[Any], method: str) -> NDArray[Any]:
    """Aggregate `[T, k, ...]` over k; missing where any part is."""
    return np.asarray(_REDUCE[method](fields, axis=1))


def check_thinning(
    matches: Sequence[Match], rules: Mapping[str, str], stated: Mapping[str, str],
    own_hours: float, every: float,
) -> None:  # fmt: skip
    """Refuse to keep one field in several where each is of the time since the one before.

    Args:
        matches: The channels.
        rules: Those that are aggregated.
        stated: ``cell_methods`` of the variables in the files.
        own_hours: Distance of the times in the files.
        every: Distance of those that are kept.

    Raises:
        InputError: A channel is an amount, or an extreme, over the shorter step.
    """
    if own_hours <= 0 or every < own_hours * 1.001:
        return
    for m in matches:
        c = m.channel
        cell = re.search(r"time:\s*(sum|maximum|minimum)", stated.get(m.source, ""))
        named = {"sum": "sum", "maximum": "max", "minimum": "min"}
        how = _OF_PERIODS.get(c.variable) or (named[cell[1]] if cell else "")
        if not how or method_of(c, rules):
            continue
        period = re.search(r"_(\d+)\s*h(?:r|ours?)?$", m.source.lower())
        if period is not None and float(period[1]) >= every * 0.999:
            continue
        raise InputError(
            f"{m.source}: {c.name} is of the {own_hours:g} h up to each time, and --step "
            f"{every:g}h would keep one such period in {every / own_hours:g}; say --aggregate "
            f"{c.name}={how}, or leave it out of --variables"
        )

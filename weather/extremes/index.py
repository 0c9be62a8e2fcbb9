r"""The observable of an extreme: a small language, read without running anything.

    mean(tas, europe, 5..8)                 area and time mean, days 5 to 8
    max(mean(tas, 35:70,-10:40), 5..8)      largest daily area mean
    sum(tp, north=45:55,0:20, 1..10)        sum over the days of the area mean
    min(mslp, globe, 3)                     lowest value anywhere on day 3

One function over both space and time, or one of time around one of space: ``mean``, ``max`` and
``min``, and ``sum`` over days (of the area mean). Area means use the quadrature of the grid. A
minus in front asks for small values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sciddiff.errors import InputError
from weather.data.channels import parse_channel
from weather.forecast.spec import ForecastSpec
from weather.verification.regions import GLOBE, NAMED_REGIONS, Region, parse_region

__all__ = ["Index", "IndexMeter", "parse_index"]

_FUNCTIONS = ("mean", "max", "min", "sum")
_DAYS = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(?:\.\.|-|to)\s*(\d+(?:\.\d+)?))?\s*d?")
_HELP = 'write "mean(tas, europe, 5..8)" or "max(mean(tas, 35:70,-10:40), 5..8)"'


@final
@dataclass(frozen=True)
class Index:
    """A definition of the quantity whose extremes are sought.

    Attributes:
        text: As written.
        channel: Name of the channel.
        region: Where.
        space: ``mean``, ``max`` or ``min`` over the points.
        time: ``mean``, ``max``, ``min`` or ``sum`` over the days.
        days: First and last day, both included.
        sign: -1 where small values are meant.
    """

    text: str
    channel: str
    region: Region
    space: str
    time: str
    days: tuple[float, float]
    sign: float = 1.0


def parse_index(text: str) -> Index:
    """Read an index.

    Raises:
        InputError: It is not of the language.
    """
    plain = " ".join(text.split())
    sign = -1.0 if plain.startswith("-") else 1.0
    function, inside = _call(plain.removeprefix("-").strip(), text)
    nested = re.fullmatch(r"(\w+\(.*\))\s*,\s*([^,()]+)", inside)
    if nested is not None:
        space, arguments = _call(nested[1], text)
        if space == "sum":
            raise _wrong(text, "sum is over days; use mean inside")
        parts, days = [part.strip() for part in arguments.split(",")], nested[2]
        time = function
    else:
        *parts, days = [part.strip() for part in inside.split(",")]
        time, space = function, "mean" if function == "sum" else function
    if not parts or not parts[0]:
        raise _wrong(text, "no channel and days")
    region = _region(", ".join(parts[1:]), text)
    return Index(text, parts[0], region, space, time, _days(days, text), sign)


def _call(text: str, whole: str) -> tuple[str, str]:
    match = re.fullmatch(r"(\w+)\s*\((.*)\)", text)
    if match is None or match[1] not in _FUNCTIONS:
        raise _wrong(whole, f"does not begin with one of {', '.join(_FUNCTIONS)}(...)")
    return match[1], match[2].strip()


def _region(text: str, whole: str) -> Region:
    if not text:
        return GLOBE
    try:
        return parse_region(text)
    except InputError as error:
        raise _wrong(
            whole,
            f"region {text!r} is none of {', '.join(NAMED_REGIONS)} nor a box "
            "south:north,west:east",
        ) from error


def _days(text: str, whole: str) -> tuple[float, float]:
    plain = re.sub(r"^(days?|leads?)\s*=?\s*", "", text.strip())
    match = _DAYS.fullmatch(plain)
    if match is None:
        raise _wrong(whole, f"days {text!r} are not of the form 5..8")
    first = float(match[1])
    last = float(match[2]) if match[2] is not None else first
    if last < first or last <= 0:
        raise _wrong(whole, f"days {text!r} do not increase")
    return first, last


def _wrong(text: str, what: str) -> InputError:
    return InputError(f"--index {text!r}: {what}; {_HELP}")


@final
class IndexMeter:
    """Measures an index along a roll-out.

    Before the end the score is what the index would be if the days to come were like the present
    one, which says how far a particle has come; at the end it is the index itself, times its sign.

    Args:
        index: What is measured.
        spec: Channels, grid and step of the forecast.

    Raises:
        InputError: No such channel, no step within the days, or no point in the region.
    """

    def __init__(self, index: Index, spec: ForecastSpec) -> None:
        self.index = index
        self.channel = _find(index, spec)
        self.units = spec.channels[self.channel].units
        step = spec.step_hours / 24.0
        first = max(1, int(np.ceil(index.days[0] / step - 1e-6)))
        self.window = range(first, int(np.floor(index.days[1] / step + 1e-6)) + 1)
        if not len(self.window):
            raise InputError(
                f"--index {index.text!r}: no step of {step:g} days within days "
                f"{index.days[0]:g} to {index.days[1]:g}; widen them"
            )
        grid = spec.area
        mask = index.region.mask(grid.lat, grid.lon)
        weights = np.broadcast_to(grid.weights[:, None], mask.shape)[mask]
        self._mask = torch.from_numpy(mask)
        self._weights = torch.from_numpy(weights / weights.sum())

    @property
    def steps(self) -> int:
        """Steps until the index is known."""
        return self.window[-1]

    def points(self, field: Tensor) -> Tensor:
        """Return the values of the index's channel in its region, ``[B, P]``.

        Args:
            field: The channel, physical, ``[B, H, W]``.
        """
        return field[:, self._mask.to(field.device)]

    def present(self, points: Tensor) -> Tensor:
        """Return the spatial part of the index, float64 ``[B]``.

        Args:
            points: Values in the region, physical, ``[B, P]``.
        """
        inside = points.double()
        if self.index.space == "mean":
            return (inside * self._weights.to(inside)).sum(-1)
        return inside.amax(-1) if self.index.space == "max" else inside.amin(-1)

    def begin(self, size: int) -> Tensor:
        """Return the measurement before the first step, float64 ``[B]``."""
        start = {"max": -torch.inf, "min": torch.inf}.get(self.index.time, 0.0)
        return torch.full((size,), start, dtype=torch.float64)

    def add(self, so_far: Tensor, points: Tensor, number: int) -> Tensor:
        """Return the measurement after step `number`, from 1, which led to `points`."""
        if number not in self.window:
            return so_far
        return self.add_present(so_far, self.present(points))

    def add_present(self, so_far: Tensor, value: Tensor) -> Tensor:
        """Return the measurement after one more step, whose spatial part is ``[B]``."""
        return self._join(so_far, value.to(so_far), 1)

    def score(self, so_far: Tensor, points: Tensor, number: int) -> Tensor:
        """Score after `number` steps, which led to `points`, float64 ``[B]``; see the class."""
        left = len([n for n in self.window if n > number])
        total = so_far
        if left:
            total = self._join(so_far, self.present(points).to(so_far), left)
        return self.finish(total)

    def finish(self, total: Tensor) -> Tensor:
        """Return the score of what was measured over the whole window, float64 ``[B]``."""
        if self.index.time == "mean":
            total = total / len(self.window)
        return self.index.sign * total

    def _join(self, so_far: Tensor, value: Tensor, times: int) -> Tensor:
        if self.index.time == "max":
            return torch.maximum(so_far, value)
        if self.index.time == "min":
            return torch.minimum(so_far, value)
        return so_far + times * value


def _find(index: Index, spec: ForecastSpec) -> int:
    name = index.channel
    if name not in spec.names:
        try:
            name = parse_channel(name).name
        except InputError:
            name = index.channel
    if name not in spec.names:
        raise InputError(
            f"--index {index.text!r}: the model has no {index.channel}; it has "
            f"{', '.join(spec.names)}"
        )
    return spec.names.index(name)

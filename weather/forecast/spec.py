"""What a trained forecast model knows about its data: `ForecastSpec`.

It travels in `meta.json` of a model directory (key `data`), so that a forecast needs neither the
training data nor their statistics.  Fields are standardised as `(x - mean) / std`, and what the
network draws is the change over one step in units of its own standard deviation,

    r = (x(n+1) - x(n)) / tendency_std,

per channel, with `x` in physical units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from sciddiff.errors import InputError, brief
from weather.data.areas import parse_grid
from weather.data.channels import Channel
from weather.data.rectangles import AnyGrid
from weather.data.seasons import SEASON

__all__ = ["HEADS", "ForecastSpec", "Head"]

Head = Literal["diffusion", "crps"]

HEADS: tuple[Head, ...] = ("diffusion", "crps")
"""Ways to draw the next state: many network calls from noise to data, or one."""

_BY_CHANNEL = ("channels", "mean", "std", "tendency_std", "seasons")


@final
@dataclass(frozen=True)
class ForecastSpec:
    """Channels, statistics, grid and step of a forecast model.

    Attributes:
        channels: The fields of a state, in the network's order, C of them.
        mean: Mean of each channel, physical units.
        std: Standard deviation of each channel.
        tendency_std: Standard deviation of the change of each channel over one step.
        grid: Name of the grid, as `weather.data.areas.parse_grid` reads it.
        step_hours: Hours from one state to the next.
        frames: Recent states the network reads, F.
        head: How the model was trained to draw.
        calendar: CF calendar of the training data.
        fingerprint: Checksum of the training data.
        period: First and last time of the training data, ISO 8601.
        seasons: Annual course of each channel's area mean and its persistence, six numbers a
            channel (`weather.data.seasons`); empty where the data do not cover a year.
        planet: Which one the data are of; empty for the Earth.
        boundary: Rows and columns along the edges of a limited area whose future is prescribed
            (`weather.forecast.boundaries`); 0 for none.
        prescribed: Names of channels whose future is prescribed everywhere, such as the
            temperature of the sea.
    """

    channels: tuple[Channel, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tendency_std: tuple[float, ...]
    grid: str
    step_hours: float
    frames: int = 2
    head: Head = "diffusion"
    calendar: str = "standard"
    fingerprint: str = ""
    period: tuple[str, ...] = ()
    seasons: tuple[tuple[float, ...], ...] = ()
    planet: str = ""
    boundary: int = 0
    prescribed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mean", "std", "tendency_std"):
            values = getattr(self, name)
            if len(values) != len(self.channels):
                raise InputError(
                    f"model data {name}: {len(values)} numbers for {len(self.channels)} channels; "
                    "export the model again"
                )
            if not all(math.isfinite(v) for v in values) or (name != "mean" and min(values) <= 0):
                raise InputError(
                    f"model data {name}: not finite or not positive; export the model again"
                )
        if self.seasons and (
            len(self.seasons) != len(self.channels)
            or not all(len(row) == len(SEASON) and np.isfinite(row).all() for row in self.seasons)
        ):
            raise InputError("model data seasons: not six numbers a channel; export it again")
        strange = [name for name in self.prescribed if name not in self.names]
        if strange:
            raise InputError(f"model data prescribed: no channel {strange[0]}; export it again")
        if self.head not in HEADS:
            raise InputError(f"model data head {self.head!r}: unknown; use {' or '.join(HEADS)}")

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> ForecastSpec:
        """Read the spec of a model.

        Args:
            meta: `meta.json` of a model directory, or its part `data`.

        Raises:
            InputError: It is not of a forecast model, or incomplete.
        """
        data = meta.get("data", meta)
        known = {field.name for field in fields(cls)}
        try:
            values = {key: value for key, value in data.items() if key in known}
            values["channels"] = tuple(Channel(**one) for one in data["channels"])
            for name in ("mean", "std", "tendency_std"):
                values[name] = tuple(float(v) for v in data[name])
            values["period"] = tuple(data.get("period", ()))
            values["prescribed"] = tuple(data.get("prescribed", ()))
            values["seasons"] = tuple(tuple(map(float, row)) for row in data.get("seasons", ()))
            return cls(**values)
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"model: its meta.json is not of a forecast model ({brief(error)}); "
                "give one whose domain is forecast"
            ) from error

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for `meta.json`; `from_meta` reads them."""
        plain = asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(channel.name for channel in self.channels)

    @property
    def known(self) -> list[int]:
        """Positions of the prescribed channels, in the order of the channels."""
        return [i for i, name in enumerate(self.names) if name in self.prescribed]

    def only(self, rows: Sequence[int]) -> ForecastSpec:
        """Return the spec of some channels, nothing of which is prescribed."""

        def of(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[i] for i in rows) if values else ()

        parts = {name: of(getattr(self, name)) for name in _BY_CHANNEL}
        return replace(self, **parts, boundary=0, prescribed=())

    def after(self, time: Any, steps: int) -> Any:
        """Return the time some steps after `time`, a `datetime64` or `cftime` date."""
        seconds = round(3600 * self.step_hours * steps)
        if isinstance(time, np.datetime64):
            return time.astype("datetime64[s]") + np.timedelta64(seconds, "s")
        return time + timedelta(seconds=seconds)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid, H and W."""
        return self.area.shape

    @property
    def area(self) -> AnyGrid:
        """The grid itself: of the globe, or of a limited area."""
        return parse_grid(self.grid)

    def leads(self, days: float) -> int:
        """Return the number of steps that make `days`.

        Raises:
            InputError: It is not a whole, positive number of steps.
        """
        steps = days * 24.0 / self.step_hours
        if steps < 0.5 or abs(steps - round(steps)) > 1e-6:
            raise InputError(
                f"days {days:g}: not a whole number of steps of {self.step_hours:g} hours; "
                f"give a multiple of {self.step_hours / 24:g}"
            )
        return round(steps)

    def standardise(self, x: Tensor) -> Tensor:
        """Turn physical into standardised fields, `[..., C, H, W]`."""
        return (x - self._column(self.mean, x)) / self._column(self.std, x)

    def restore(self, x: Tensor) -> Tensor:
        """Turn standardised into physical fields, `[..., C, H, W]`."""
        return x * self._column(self.std, x) + self._column(self.mean, x)

    def residual(self, now: Tensor, after: Tensor) -> Tensor:
        """Return the scaled change from `now` to `after`, physical fields `[..., C, H, W]`."""
        return (after - now) / self._column(self.tendency_std, now)

    def advance(self, now: Tensor, residual: Tensor) -> Tensor:
        """Return the physical fields one step after `now [..., C, H, W]`."""
        return now + self._column(self.tendency_std, now) * residual

    def clip(self, x: Tensor) -> Tensor:
        """Set negative values of positive channels (humidity, precipitation) to 0."""
        rows = [i for i, channel in enumerate(self.channels) if channel.positive]
        if not rows:
            return x
        x = x.clone()
        x[..., rows, :, :] = x[..., rows, :, :].clamp(min=0.0)
        return x

    def _column(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        return _on_device(values, like.dtype, like.device)


@lru_cache(maxsize=256)
def _on_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers of the channels as `[C, 1, 1]`, sent to a device once and not at every step."""
    return torch.tensor(values, dtype=torch.float64).to(device, dtype).view(-1, 1, 1)

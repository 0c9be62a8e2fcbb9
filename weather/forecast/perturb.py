r"""Perturbations of initial states.

*Lagged differences* (Magnusson et al. 2009, *Tellus A* 61, 194): the analysis plus a multiple of
the difference of two states of the same season,

.. math:: x' = x + a\,\frac{s(t_1) - s(t_2)}{\sqrt 2},

whose scales and balance are those of the atmosphere; for a = 1 its variance is that of the
climate.  t1 and t2 lie within 40 days of the start's day of the year, in a year of the archive
drawn at random, and at least 10 days apart.  The frames before the start get the difference of
the states before t1 and t2, so that the perturbation moves as weather does.

*Random fields*: isotropic Gaussian noise in units of each channel's change over one step, the
same in all frames.

Both are functions of (seed, initial time, member).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from weather.data.areas import grid_name
from weather.data.times import TimeAxis, label, labels
from weather.forecast.forecaster import forecast_streams
from weather.forecast.initial import InitialState
from weather.forecast.spec import ForecastSpec

if TYPE_CHECKING:
    from weather.data.store import Store

__all__ = [
    "PERTURBATIONS",
    "LaggedDifference",
    "Perturbation",
    "RandomField",
    "archive_channels",
    "perturbation_of",
    "perturbation_plain",
]

PERTURBATIONS = ("none", "lagged-difference", "random-field")

_WINDOW_DAYS = 40.0
_APART_DAYS = 10.0


class Perturbation(ABC):
    """A law of initial states around an analysis.

    Attributes:
        plain: What decides it, for records.
    """

    plain: dict[str, Any]

    @abstractmethod
    def difference(self, initial: InitialState, members: Sequence[int], seed: int) -> Tensor:
        """Return what is added to the frames of each member, physical, `[B, F, C, H, W]`."""

    def __init__(self, spec: ForecastSpec) -> None:
        self.spec = spec

    def __call__(self, initial: InitialState, members: Sequence[int], seed: int) -> Tensor:
        """Perturbed initial states `[B, F, C, H, W]`; positive channels stay at or above 0.

        Args:
            initial: The analysis.
            members: Numbers of the members.
            seed: Seed of the forecast.
        """
        return self.spec.clip(initial.frames + self.difference(initial, members, seed))


@final
class LaggedDifference(Perturbation):
    """Perturbs by scaled differences of states of an archive.

    Args:
        spec: Channels, grid and frames of the model.
        archive: Prepared store of the model's channels, grid and step.
        amplitude: a.

    Raises:
        InputError: The archive does not fit the model, or is too short.
    """

    def __init__(self, spec: ForecastSpec, archive: Store, amplitude: float = 0.05) -> None:
        super().__init__(spec)
        self._archive, self._amplitude = archive, amplitude
        self._channels = archive_channels(spec, archive)
        self._days = TimeAxis.encode(archive.times).hours / 24.0
        self.plain = {
            "perturb": "lagged-difference",
            "amplitude": amplitude,
            "archive": archive.fingerprint,
        }

    def difference(self, initial: InitialState, members: Sequence[int], seed: int) -> Tensor:
        """See `Perturbation.difference`."""
        frames, pairs = self.spec.frames, self.pairs(initial.time, members, seed)
        states = {i: self._state(i) for i in sorted({i for pair in pairs for i in pair})}
        scale = self._amplitude / math.sqrt(2.0)
        made = [scale * (states[first] - states[second]) for first, second in pairs]
        return torch.stack(made).reshape(len(members), frames, *initial.frames.shape[1:])

    def pairs(self, start: Any, members: Sequence[int], seed: int) -> list[tuple[int, int]]:
        """Return where in the archive the last frames of each member's two states lie."""
        years = self._years(start)
        draws = streams.uniform(
            torch.empty(len(members), 3, dtype=torch.float64),
            forecast_streams(seed, start, members, 0, "lagged-difference"),
        ).tolist()
        found = []
        for u, v, w in draws:
            near = years[int(u * len(years))]
            first = near[int(v * len(near))]
            apart = near[np.abs(self._days[near] - self._days[first]) >= _APART_DAYS - 1e-6]
            found.append((int(first), int(apart[int(w * len(apart))])))
        return found

    def _years(self, start: Any) -> list[NDArray[np.int64]]:
        """For every year of the archive, the positions within the window around the start's day;
        years with no two states far enough apart are left out.
        """
        usable = self._usable()
        found = []
        for year in sorted({int(text[:4]) for text in labels(self._archive.times)}):
            centre = self._same_day(start, year)
            near = usable[np.abs(self._days[usable] - centre) <= _WINDOW_DAYS + 1e-6]
            reach = self._days[near]
            if len(near):
                both = (reach - reach.min() >= _APART_DAYS) | (reach.max() - reach >= _APART_DAYS)
                near = near[both]
            if len(near) > 1:
                found.append(near)
        if not found:
            raise InputError(
                f"--archive: no two states {_APART_DAYS:g} days apart within {_WINDOW_DAYS:g} "
                f"days of the day of the year of {label(start)}; give a longer archive"
            )
        return found

    def _same_day(self, start: Any, year: int) -> float:
        """The start's day in another year of the archive's calendar, as `_days` counts."""
        first, (month, day) = self._archive.times[0], map(int, label(start)[5:10].split("-"))
        day = min(day, 28 if month == 2 else 30)
        if isinstance(first, np.datetime64):
            there = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "s")
            return float((there - first) / np.timedelta64(1, "D"))
        import cftime

        there = cftime.datetime(year, month, day, calendar=first.calendar)
        return (there - first).total_seconds() / 86400.0

    def _usable(self) -> NDArray[np.int64]:
        """Positions whose earlier frames are there too, one step apart."""
        lag = self.spec.frames - 1
        positions = np.arange(lag, len(self._days))
        span = self._days[positions] - self._days[positions - lag]
        return positions[np.abs(span - lag * self.spec.step_hours / 24.0) < 1e-6]

    def _state(self, position: int) -> Tensor:
        """The frames that end at a position, `[F, C, H, W]`."""
        frames = self._archive.read(position - self.spec.frames + 1, position + 1)
        return torch.from_numpy(np.ascontiguousarray(frames[:, self._channels])).float()


@final
class RandomField(Perturbation):
    """Perturbs by isotropic Gaussian fields, the same in all frames.

    Args:
        spec: Channels, grid and frames of the model.
        amplitude: Standard deviation in units of each channel's change over one step.
    """

    def __init__(self, spec: ForecastSpec, amplitude: float = 0.1) -> None:
        super().__init__(spec)
        self._amplitude = amplitude
        self.plain = {"perturb": "random-field", "amplitude": amplitude}

    def difference(self, initial: InitialState, members: Sequence[int], seed: int) -> Tensor:
        """See `Perturbation.difference`."""
        from weather.sphere.grids import Grid
        from weather.sphere.noise import SphericalNoise

        like = torch.empty(len(members), *initial.frames.shape[1:])
        source = forecast_streams(seed, initial.time, members, 0, "random-field")
        grid = self.spec.area
        if not isinstance(grid, Grid):
            raise InputError(
                "--perturb random-field: needs the whole globe; use lagged-difference for a "
                "limited area"
            )
        fields = SphericalNoise(grid).sample(like, source)
        change = self.spec.advance(torch.zeros_like(fields), fields)
        return (self._amplitude * change)[:, None].expand(-1, self.spec.frames, -1, -1, -1)


def perturbation_plain(perturbation: Perturbation | None) -> dict[str, Any]:
    """What decides the initial states of the members, for records."""
    return {"perturb": "none"} if perturbation is None else perturbation.plain


def perturbation_of(
    kind: str, spec: ForecastSpec, archive: Path | None, amplitude: float | None
) -> Perturbation | None:
    """Return the perturbation that a user asked for.

    Args:
        kind: One of `PERTURBATIONS`.
        spec: The model's.
        archive: Prepared store, for lagged differences.
        amplitude: Strength; None for the default of the kind.

    Raises:
        InputError: Unknown kind, no archive, or one that does not fit.
    """
    if amplitude is not None and not 0.0 <= amplitude <= 10.0:
        raise InputError(f"--amplitude {amplitude:g}: must lie between 0 and 10; try 0.05")
    if kind == "none":
        return None
    if kind == "random-field":
        return RandomField(spec, 0.1 if amplitude is None else amplitude)
    if kind != "lagged-difference":
        raise InputError(f"--perturb {kind}: unknown; use {', '.join(PERTURBATIONS)}")
    if archive is None:
        raise InputError(
            "--perturb lagged-difference: needs states to take differences of; add --archive "
            "data.zarr (sciddiff prepare forecast makes one)"
        )
    from weather.data.store import Store

    return LaggedDifference(spec, Store(archive), 0.05 if amplitude is None else amplitude)


def archive_channels(spec: ForecastSpec, archive: Store) -> list[int]:
    """Return the position in the archive of every channel of the model.

    Raises:
        InputError: It has another grid or step, or lacks a channel.
    """
    if grid_name(archive.grid) != spec.grid:
        raise InputError(
            f"--archive: grid {grid_name(archive.grid)}; the model's is {spec.grid}: prepare the "
            "archive with that grid"
        )
    if abs(archive.step_hours - spec.step_hours) > 1e-6:
        raise InputError(
            f"--archive: a step of {archive.step_hours:g} hours; the model's is "
            f"{spec.step_hours:g}: prepare the archive with that step"
        )
    names = [channel.name for channel in archive.channels]
    missing = [name for name in spec.names if name not in names]
    if missing:
        raise InputError(
            f"--archive: holds no {', '.join(missing)}; prepare it with all channels of the model"
        )
    return [names.index(name) for name in spec.names]

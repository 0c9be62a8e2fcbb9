"""Training batches: windows of a prepared store as residuals with their conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.objectives.rollout import TARGETS
from sciddiff.shipped import find_model
from sciddiff.state import Batch
from weather.data.areas import grid_name, parse_grid
from weather.data.forcings import Forcings
from weather.data.rectangles import AnyGrid
from weather.data.samples import Samples, Windows
from weather.data.seasons import fit_seasons
from weather.data.statistics import Statistics
from weather.data.store import Store, followers
from weather.data.times import Period, day_of_year, label
from weather.forecast.advance import BOUNDARY, FIELDS, LATER, SCALE, prescribed, without
from weather.forecast.boundaries import strip
from weather.forecast.spec import ForecastSpec

__all__ = ["NO_DATA", "ForecastData", "ForecastDataSettings"]


@dataclass(frozen=True)
class ForecastDataSettings:
    """Settings of the training data: which states are read, and how they are batched.

    Attributes:
        store: Store written by `sciddiff prepare forecast`.
        channels: Channels to forecast, in order; all of the store if empty.
        batch: Samples in a batch.
        frames: Recent states the network reads.
        val_days: Days at the end of the store that are held out for validation.
        val_samples: Samples of a validation, spread evenly over those days.
        statistics: Model whose means and deviations are kept (fine-tuning), a directory or the
            name of shipped weights; those of the store if empty.
        memory_gb: Size up to which the store is held in memory.
    """

    store: str = ""
    channels: tuple[str, ...] = ()
    batch: int = 8
    frames: int = 2
    val_days: float = 150.0
    val_samples: int = 32
    statistics: str = ""
    memory_gb: float = 2.0

    @property
    def found(self) -> bool:
        """Whether the store is on this machine."""
        return bool(self.store) and Path(self.store).exists()


NO_DATA = ForecastDataSettings()
"""Settings of a domain that only forecasts."""


@final
class ForecastData:
    """Makes batches of one store.

    Args:
        settings: What to read.
        rollout: Longest roll-out: how many states follow the recent ones.
        boundary: Rows and columns along the edges whose next state is a condition.
        prescribed: Names or variables of channels whose next state is a condition.
    """

    def __init__(
        self,
        settings: ForecastDataSettings,
        rollout: int = 1,
        boundary: int = 0,
        prescribed: Sequence[str] = (),
    ) -> None:
        self.settings, self.rollout, self.boundary = settings, rollout, boundary
        self.prescribed = tuple(prescribed)

    @cached_property
    def store(self) -> Store:
        """The store, opened on first use.

        Raises:
            InputError: None is given.
        """
        if not self.settings.store:
            raise InputError(
                "domain.data.store: not given; name a store made by sciddiff prepare forecast"
            )
        store = Store(self.settings.store)
        return store

    @property
    def grid(self) -> AnyGrid:
        """The grid of the store: of the globe, or of a limited area."""
        return parse_grid(grid_name(self.store.grid))

    @cached_property
    def statistics(self) -> Statistics:
        """The means and deviations of the channels.

        Raises:
            InputError: The model of `settings.statistics` has other channels.
        """
        names = self.settings.channels or self.store.names
        if not self.settings.statistics:
            own, rows = self.store.statistics, self.store.select(names)
            return Statistics(names, own.mean[rows], own.std[rows], own.tendency_std[rows])
        from sciddiff.checkpoint import describe

        spec = ForecastSpec.from_meta(describe(find_model(self.settings.statistics)))
        grid = grid_name(self.grid)
        if spec.names != names or spec.grid != grid:
            raise InputError(
                f"{self.settings.statistics}: a model of {', '.join(spec.names)} on {spec.grid}; "
                f"the data are {', '.join(names)} on {grid}: leave data.statistics empty"
            )
        values = (np.array(v) for v in (spec.mean, spec.std, spec.tendency_std))
        return Statistics(names, *values)

    @cached_property
    def spec(self) -> ForecastSpec:
        """What the model must know about the data."""
        store, found = self.store, self.statistics
        scale = found.residual_scale * found.scale
        first, last = store.times[0], store.times[-1 - self._held_out]
        return ForecastSpec(
            channels=tuple(store.channels[i] for i in store.select(found.channels)),
            mean=tuple(found.mean.tolist()),
            std=tuple(found.scale.tolist()),
            tendency_std=tuple(scale.tolist()),
            grid=grid_name(self.grid),
            step_hours=store.step_hours,
            frames=self.settings.frames,
            calendar=store.calendar,
            fingerprint=store.fingerprint,
            period=(label(first), label(last)),
            seasons=self._seasons(found.channels),
            planet=str(store.attributes.get("planet", "")),
            prescribed=self._prescribed(store.select(found.channels)),
        )

    def _prescribed(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Names of the prescribed channels.

        Raises:
            InputError: There is no such channel, it is a component of the wind, or none is left.
        """
        channels = [self.store.channels[i] for i in rows]
        for name in self.prescribed:
            found = [c for c in channels if name in (c.name, c.variable)]
            if not found:
                raise InputError(
                    f"domain.prescribed {name}: not a channel of the data; use some of "
                    f"{', '.join(c.name for c in channels)}"
                )
            if found[0].vector:
                raise InputError(
                    f"domain.prescribed {name}: is a component of a vector; prescribe fields "
                    "without direction, such as sst"
                )
        names = [c.name for c in channels if {c.name, c.variable} & set(self.prescribed)]
        if len(names) == len(channels):
            raise InputError("domain.prescribed: leaves no channel to forecast; name fewer")
        return tuple(names)

    def _seasons(self, names: Sequence[str]) -> tuple[tuple[float, ...], ...]:
        """Seasons of the area means over the training period; none if it is short of a year."""
        store = self.store
        used = len(store) - self._held_out
        means = store.array("moments")[:used, store.select(names), 0]
        found = fit_seasons(means, day_of_year(store.times[:used]), followers(store)[:used])
        return () if found is None else tuple(tuple(row) for row in found.tolist())

    @property
    def _held_out(self) -> int:
        """Times at the end that training leaves out."""
        times = round(self.settings.val_days * 24.0 / self.store.step_hours)
        if times + self.settings.frames + self.rollout > len(self.store):
            raise InputError(
                f"domain.data.val_days {self.settings.val_days:g}: leaves nothing to train on, "
                f"the store holds {len(self.store)} times; lower it"
            )
        return times

    def _samples(self, steps: int, period: Period) -> Samples:
        return Samples(
            self.store,
            self.settings.frames,
            steps,
            period,
            self.statistics,
            self.statistics.channels,
            memory=int(self.settings.memory_gb * 1e9),
        )

    @cached_property
    def _train(self) -> Samples:
        times = self.store.times
        last = times[len(times) - 1 - self._held_out]
        return self._samples(self.rollout, Period(label(times[0]), label(last)))

    @cached_property
    def _forcings(self) -> Forcings:
        return Forcings(self.grid)

    @cached_property
    def _scale(self) -> Tensor:
        return torch.from_numpy(self.statistics.residual_scale).float().view(-1, 1, 1)

    @cached_property
    def _edge(self) -> Tensor:
        return strip(self.grid, self.boundary)

    def train_batches(
        self, epoch: int, seed: int, rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        """Yield batches of one epoch in an order that depends on (seed, epoch) alone."""
        for windows in self._train.batches(self.settings.batch, epoch, seed, rank, world):
            yield self.batch(windows)

    def val_batches(self) -> Iterator[Batch]:
        """Yield batches of the held-out days, of single steps, always the same."""
        times = self.store.times
        if self._held_out <= self.settings.frames:
            return
        period = Period(label(times[len(times) - self._held_out]), label(times[-1]))
        samples = self._samples(self.rollout, period)
        for windows in samples.fixed(self.settings.batch, self.settings.val_samples):
            yield self.batch(windows)

    def training_windows(self) -> Iterator[Batch]:
        """Yield batches of every window of the training period, in the order of time."""
        for windows in self._train.fixed(self.settings.batch):
            yield self.batch(windows)

    def residuals(self, count: int) -> Tensor:
        """Return a sample of training residuals spread over the period, ``[n, C, H, W]``."""
        batches = self._train.fixed(self.settings.batch, count)
        return torch.cat([self.batch(windows).x[FIELDS] for windows in batches])

    def batch(self, windows: Windows) -> Batch:
        """Turn windows into a batch; see `weather.forecast.advance` for its conditions."""
        frames, fields = self.settings.frames, windows.fields
        size = len(fields)
        scale = self._scale.expand(size, -1, -1, -1)
        known = self._forcings.tensor(windows.days[:, frames:].reshape(-1))
        forcing = known.unflatten(0, (size, -1))
        prescribed_rows = self.spec.known if self.prescribed else []
        if prescribed_rows:
            forcing = torch.cat([forcing, fields[:, frames:, prescribed_rows]], 2)
        cond = {"history": fields[:, :frames], "forcing": forcing[:, 0], SCALE: scale}
        if self.boundary:
            cond[BOUNDARY] = prescribed(fields[:, frames], self._edge)
        if self.rollout > 1:
            cond |= {TARGETS: fields[:, frames + 1 :], LATER: forcing[:, 1:]}
        residual = (fields[:, frames] - fields[:, frames - 1]) / scale
        residual = without(residual, prescribed_rows)
        ids = tuple(label(self.store.times[i + frames - 1]) for i in windows.starts.tolist())
        return Batch({FIELDS: residual}, cond, size=size, ids=ids)

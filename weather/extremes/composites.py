"""What extreme members had in common: their mean weather on the way, beside all members'.

Members are made again from the numbers their noise had, so that nothing but a mean is ever kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciddiff.streams import Streams
from weather.calibration.members import Calibration
from weather.extremes.probability import Outcome
from weather.extremes.simulation import ForecastProcess
from weather.forecast.spec import ForecastSpec

__all__ = ["Composite", "composite", "replay", "write_composite"]

_PLAIN_SEED = 0x0DDBA11


@final
@dataclass(frozen=True, eq=False)
class Composite:
    """Mean weather of extreme members and of all, at the start and after each step.

    Attributes:
        extreme: Weighted mean of the extreme members, physical, ``[T + 1, C, H, W]``.
        mean: Mean of plain members.
        deviation: Their standard deviation.
        members: Extreme members in the mean.
    """

    extreme: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    members: int

    def calibrated(self, calibration: Calibration, spec: ForecastSpec) -> Composite:
        """Return the same of calibrated members, about the mean of all.

        Args:
            calibration: What is done to them.
            spec: The model's.
        """
        step = round(3600 * spec.step_hours)
        leads = [step * n for n in range(len(self.mean))]
        extreme, mean, deviation = (
            x.copy() for x in (self.extreme, self.mean, self.deviation)
        )
        for c, channel in enumerate(spec.channels):
            if channel.name not in calibration.channels:
                continue
            rows = calibration.channels[channel.name].at(leads)
            alpha, beta, tau = (row[:, None, None] for row in rows)
            about = self.mean[:, c]
            extreme[:, c] = alpha + beta * about + tau * (self.extreme[:, c] - about)
            mean[:, c] = alpha + beta * about
            deviation[:, c] = tau * self.deviation[:, c]
            if channel.positive:
                extreme[:, c], mean[:, c] = (np.maximum(x[:, c], 0.0) for x in (extreme, mean))
        return replace(self, extreme=extreme, mean=mean, deviation=deviation)

    @property
    def anomaly(self) -> NDArray[np.float64]:
        """Return the mean of the extreme members minus that of all, ``[T + 1, C, H, W]``."""
        return self.extreme - self.mean


def composite(
    simulation: ForecastProcess, outcome: Outcome, seed: int, plain: int = 100
) -> Composite | None:
    """Make the extreme members again, and some plain ones, and average; None without extremes.

    Args:
        simulation: The forecast.
        outcome: Which members.
        seed: The seed they had.
        plain: Members of the plain ensemble.
    """
    if not outcome.slots.shape[1]:
        return None
    weights = outcome.weights / outcome.weights.sum()
    extreme, _ = _averaged(simulation, outcome.slots, weights, seed, outcome.shifts)
    steps = simulation.meter.steps
    slots = torch.arange(plain).expand(steps + 1, plain)
    equal = torch.full((plain,), 1.0 / plain, dtype=torch.float64)
    mean, square = _averaged(simulation, slots, equal, (seed ^ _PLAIN_SEED) % 2**63, [])
    variance = np.maximum(square - mean**2, 0.0) * plain / max(plain - 1, 1)
    return Composite(extreme, mean, np.sqrt(variance), outcome.slots.shape[1])


def replay(
    simulation: ForecastProcess, slots: Tensor, seed: int, shifts: Sequence[float] = ()
) -> tuple[Tensor, list[Tensor]]:
    """Make members again from their recorded random numbers.

    Args:
        simulation: The forecast.
        slots: Numbers their noise had at the start and after each step, int64 ``[T + 1, K]``.
        seed: The seed they had.
        shifts: The tilt of their noise; empty for none.

    Returns:
        Scores ``[K]``, and the fields at the start and after each step, ``[K, C, H, W]`` each.
    """
    process = simulation.process(list(shifts) or None)
    with torch.no_grad():
        state = process.start(Streams(seed, slots[0]))
        fields = [state["history"][:, -1].cpu()]
        for number in range(process.steps):
            streams = Streams(seed, slots[number + 1])
            if process.proposal is None:
                state = process.step(state, number, streams)
            else:
                state, _ = process.proposal(state, number, streams)
            fields.append(state["history"][:, -1].cpu())
        return process.score(state, process.steps), fields


def write_composite(
    path: Path, made: Composite, simulation: ForecastProcess, attrs: Mapping[str, Any]
) -> None:
    """Write a composite as CF NetCDF: for each channel its extreme mean, mean and deviation.

    Args:
        path: The file; it appears whole or not at all.
        made: The composite.
        simulation: Gives channels, grid and times.
        attrs: Global attributes.
    """
    import xarray


    spec = simulation.forecaster.spec
    grid = spec.area
    dims = ("lead", "lat", "lon")
    fields: dict[str, Any] = {}
    for c, channel in enumerate(spec.channels):
        for suffix, values, words in (
            ("", made.extreme, "mean of the extreme members"),
            ("_mean", made.mean, "mean of all members"),
            ("_anomaly", made.anomaly, "extreme members minus all members"),
            ("_std", made.deviation, "standard deviation of all members"),
        ):
            about = {"units": channel.units, "long_name": f"{channel.long_name}, {words}"}
            fields[channel.name + suffix] = (dims, values[:, c].astype(np.float32), about)
    days = np.arange(len(made.extreme)) * spec.step_hours / 24.0
    coords: dict[str, Any] = {
        "lead": ("lead", days, {"long_name": "days after the start", "units": "days"}),
        "lat": (
            "lat",
            np.array(grid.lat),
            {"units": "degrees_north", "standard_name": "latitude"},
        ),
        "lon": (
            "lon",
            np.array(grid.lon),
            {"units": "degrees_east", "standard_name": "longitude"},
        ),
    }
    found = xarray.Dataset(fields, coords, {"Conventions": "CF-1.10", **attrs})
    partial = path.with_name(f".{path.name}.partial")
    found.to_netcdf(partial, engine="netcdf4")
    os.replace(partial, path)


def _averaged(
    simulation: ForecastProcess,
    slots: Tensor,
    weights: Tensor,
    seed: int,
    shifts: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean of the fields and of their squares, ``[T + 1, C, H, W]`` each."""
    first: list[Tensor] = []
    second: list[Tensor] = []
    for rows in torch.arange(slots.shape[1]).split(simulation.batch):
        _, fields = replay(simulation, slots[:, rows], seed, shifts)
        fields = [simulation.forecaster.spec.clip(field) for field in fields]  # as written
        share = weights[rows].double()
        means = [torch.einsum("k,kchw->chw", share, field.double()) for field in fields]
        squares = [torch.einsum("k,kchw->chw", share, field.double() ** 2) for field in fields]
        first = means if not first else [a + b for a, b in zip(first, means, strict=True)]
        second = squares if not second else [a + b for a, b in zip(second, squares, strict=True)]
    return torch.stack(first).numpy(), torch.stack(second).numpy()

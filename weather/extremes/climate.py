"""How an index is distributed in the climate: what a forecast's event is rare against."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weather.data.store import Store
from weather.data.times import as_times, day_of_year
from weather.extremes.index import IndexMeter
from weather.forecast.perturb import archive_channels
from weather.forecast.spec import ForecastSpec
from weather.verification.instants import days_apart

__all__ = ["FEWEST", "HALF_WINDOW", "climate_scores"]

#: Days of the year about the start whose windows are taken, as in the climatological baseline.
HALF_WINDOW = 15
FEWEST = 30


def climate_scores(
    archive: Store, spec: ForecastSpec, meter: IndexMeter, start: Any
) -> Tensor | None:
    """Scores of the index in an archive, from every time of the season of a start.

    Args:
        archive: Prepared store of the model's channels, grid and step.
        spec: The model's.
        meter: Measures the index.
        start: Initial time, whose day of the year makes the season.

    Returns:
        float64 ``[n]``, one number for each time within 15 days of that day of any year; None
        where they are fewer than `FEWEST`, too few to tell a climate.

    Raises:
        InputError: The archive does not fit the model.
    """
    channel = archive_channels(spec, archive)[meter.channel]
    days = day_of_year(archive.times).astype(np.float64)
    day = float(day_of_year(as_times([start]))[0])
    season = days_apart(days, day) <= HALF_WINDOW
    scores: list[Tensor] = []
    for first, stop in archive.runs:
        begins = np.arange(first, stop - meter.steps)
        begins = begins[season[first : stop - meter.steps]]
        if not len(begins):
            continue
        present = _present(archive, meter, channel, begins)
        so_far = meter.begin(len(begins))
        for number in meter.window:
            so_far = meter.add_present(so_far, present[begins + number])
        scores.append(meter.finish(so_far))
    found = torch.cat(scores) if scores else torch.empty(0, dtype=torch.float64)
    return found if len(found) >= FEWEST else None


def _present(archive: Store, meter: IndexMeter, channel: int, begins: NDArray[np.int64]) -> Tensor:
    """Spatial part of the index at every time of the archive that is needed, float64 ``[T]``."""
    needed = np.unique(begins[:, None] + np.array(meter.window)[None, :])
    out = torch.zeros(int(needed[-1]) + 1, dtype=torch.float64)
    for block in np.split(needed, np.flatnonzero(np.diff(needed // archive.chunk)) + 1):
        first, stop = int(block[0]), int(block[-1]) + 1
        field = torch.from_numpy(archive.read(first, stop)[:, channel])
        out[first:stop] = meter.present(meter.points(field))
    return out

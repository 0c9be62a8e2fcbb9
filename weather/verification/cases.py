"""Scoring forecasts from one initial time, field by field.

Every forecast is scored by the same truths at the same points.  What a case leaves behind are
numbers per lead, channel and region; the fields themselves are dropped as soon as they are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from weather.verification.coverage import Coverage
from weather.verification.ensembles import Ensemble
from weather.verification.kernels import (
    energy_products,
    energy_score,
    leave_one_out,
    score_field,
)
from weather.verification.seeps import RainClimate, seeps
from weather.verification.thresholds import Quantiles
from weather.verification.truths import Truth

if TYPE_CHECKING:
    from weather.sphere.grids import Grid
    from weather.sphere.harmonics import SphericalHarmonics
    from weather.verification.baselines.climate import Climate

__all__ = ["Frame", "score_case", "spectrum"]

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Frame:
    """What is common to all cases.

    Attributes:
        channels: Verified channels, V.
        leads: Seconds, ascending, `[L]`.
        weights: Of the points in each region, `[R, P]`.
        scales: Standard deviation of each channel, for the energy score, `[V]`.
        grid: For spectra; None where the fields are not global.
        thresholds: Events, or None.
        calendar: Of all times.
        climate: Of the training states, from which anomalies are counted; None without them.
        coverage: The points at which each channel is scored.
        rain: Climate of precipitation; None without training states.
    """

    channels: tuple[str, ...]
    leads: NDArray[np.int64]
    weights: Floats
    scales: Floats
    grid: Grid | None
    thresholds: Quantiles | None
    calendar: str
    climate: Climate | None = None
    coverage: Coverage | None = None
    rain: RainClimate | None = None


def score_case(
    ensembles: Sequence[Ensemble], truth: Truth, time: int, frame: Frame, perfect: bool
) -> list[dict[str, Floats]]:
    """Score forecasts that start at the same time.

    Args:
        ensembles: The forecasts; each holds the initial time.
        truth: What happened.
        time: Initial time in seconds.
        frame: Channels, leads, regions.
        perfect: Also score the truths by each other, as one more forecast at the end.

    Returns:
        Per forecast, arrays by score: `[L, V, R, ...]`, ``energy`` `[L, R]`, ``spectrum`` and
        ``spectrum_truth`` `[L, V, N]`; NaN where the truth is not known.
    """
    covered = [i for i, lead in enumerate(frame.leads) if truth.covers(time, int(lead))]
    leads = [int(frame.leads[i]) for i in covered]
    actual = truth.open(time, leads)
    readers = []
    for ensemble in ensembles:
        case = int(np.flatnonzero(ensemble.times.seconds == time)[0])
        own = {int(lead): i for i, lead in enumerate(ensemble.leads)}
        places = [own[lead] for lead in leads]
        readers.append((ensemble.open(case, places), places))
    below = None if frame.thresholds is None else frame.thresholds.below()
    coverage = frame.coverage or Coverage(frame.weights.max(0))
    tallies: list[dict[str, Floats]] = [{} for _ in range(len(ensembles) + perfect)]
    for position, index in enumerate(covered):
        thresholds = _thresholds(frame, time + leads[position])
        season = _season(frame, time + leads[position])
        rain = frame.rain.at(time + leads[position]) if frame.rain is not None else {}
        squares: list[Floats | float] = [0.0] * len(tallies)
        for v, channel in enumerate(frame.channels):
            truths = _flat(actual(position, channel))
            local = thresholds[v] if thresholds is not None else None
            usual = season.get(channel)
            drawn = [_flat(read(places[position], channel)) for read, places in readers]
            truths = _where_all_have(ensembles, drawn, truths, channel, leads[position], coverage)
            power = spectrum(truths, frame.grid)
            for n, tally in enumerate(tallies):
                if n < len(readers):
                    members = drawn[n]
                    found = score_field(members, truths, frame.weights, local, usual, below)
                else:
                    members = truths[:0]
                    found = leave_one_out(truths, frame.weights, local, usual, below)
                squares[n] = squares[n] + energy_products(
                    members, truths, frame.weights, frame.scales[v]
                ) / len(frame.channels)
                if channel in rain:
                    found["seeps"] = seeps(members, truths, frame.weights, rain[channel])
                if power is not None:
                    own_power = spectrum(members, frame.grid) if len(members) else power
                    if own_power is not None:
                        found |= {"spectrum": own_power, "spectrum_truth": power}
                _put(tally, found, frame, index, v)
        for n, tally in enumerate(tallies):
            size = ensembles[n].members if n < len(ensembles) else 0
            energy = energy_score(np.asarray(squares[n]), size)
            tally.setdefault("energy", np.full((len(frame.leads), len(energy)), np.nan))
            tally["energy"][index] = energy
    return tallies


def spectrum(fields: NDArray[np.float32], grid: Grid | None) -> Floats | None:
    """Mean power per total wavenumber, `[N]`, of fields `[M, P]`; None where it is not defined."""
    if grid is None or not np.isfinite(fields).all():
        return None
    import torch

    from weather.sphere.spectra import power_spectrum

    values = torch.from_numpy(fields.reshape(-1, *grid.shape).astype(np.float64))
    return power_spectrum(values, _harmonics(grid)).mean(0).numpy()


@lru_cache(maxsize=2)
def _harmonics(grid: Grid) -> SphericalHarmonics:
    from weather.sphere.harmonics import SphericalHarmonics

    return SphericalHarmonics(grid)


def _flat(fields: NDArray[np.float32]) -> NDArray[np.float32]:
    return fields.reshape(len(fields), -1)


def _thresholds(frame: Frame, time: int) -> NDArray[np.float32] | None:
    if frame.thresholds is None or not frame.thresholds.events:
        return None
    return frame.thresholds.fields(time, frame.channels, frame.weights.shape[-1])


def _season(frame: Frame, time: int) -> dict[str, NDArray[np.float32]]:
    """Mean of the season of every channel that the climate knows, `[P]`."""
    if frame.climate is None:
        return {}
    names = frame.climate.history.channels
    fields = frame.climate.mean_at(time)
    if fields[0].size != frame.weights.shape[-1]:
        return {}  # on another grid; what needs it there says so
    return {name: fields[i].reshape(-1) for i, name in enumerate(names)}


def _put(
    tally: dict[str, Floats], found: dict[str, Floats], frame: Frame, lead: int, channel: int
) -> None:  # fmt: skip
    for name, value in found.items():
        if name not in tally:
            shape = (len(frame.leads), len(frame.channels), *value.shape)
            tally[name] = np.full(shape, np.nan)
        tally[name][lead, channel] = value


def _where_all_have(
    ensembles: Sequence[Ensemble], drawn: Sequence[NDArray[np.float32]],
    truths: NDArray[np.float32], channel: str, lead: int, coverage: Coverage,
) -> NDArray[np.float32]:  # fmt: skip
    """Truths `[K, P]`, NaN where a forecast has no values: such points belong to no region."""
    scored = truths
    for ensemble, members in zip(ensembles, drawn, strict=True):
        lacking = coverage.lacking(ensemble.name, channel, members, truths, lead)
        if lacking.any():
            scored = np.where(lacking, np.float32(np.nan), scored)
    coverage.note(channel, truths, scored)
    return scored

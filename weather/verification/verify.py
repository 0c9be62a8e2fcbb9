"""Scoring forecasts against truths, case by case, in parallel if wanted.

Only forecasts, truths and baselines of the initial times now in work are in memory; what is kept
are their scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.cluster import in_order
from weather.verification.cases import Frame, score_case
from weather.verification.coverage import Coverage
from weather.verification.ensembles import Ensemble
from weather.verification.figures import PERFECT, Verification
from weather.verification.instants import Instants
from weather.verification.regions import STANDARD_REGIONS, Region, area_weights
from weather.verification.seeps import RainClimate
from weather.verification.tally import Tally
from weather.verification.thresholds import Quantiles
from weather.verification.truths import Truth

if TYPE_CHECKING:
    from weather.sphere.grids import Grid
    from weather.verification.baselines.climate import Climate

__all__ = ["Plan", "VerifySettings", "align", "verify"]


@final
@dataclass(frozen=True)
class VerifySettings:
    """How scores are taken.

    Attributes:
        regions: Where.
        block_days: Initial times this near are resampled together.
        draws: Resamples of the bootstrap.
        level: Of the intervals.
        seed: Of the resamples.
        workers: Initial times scored at the same time, by Dask's threads; 1 without Dask.
    """

    regions: tuple[Region, ...] = STANDARD_REGIONS
    block_days: float = 10.0
    draws: int = 1000
    level: float = 0.95
    seed: int = 0
    workers: int = 1


@final
@dataclass(frozen=True)
class Plan:
    """What forecasts and truth have in common.

    Attributes:
        channels: In the order of the first forecast.
        times: Initial times with at least one verified lead.
        leads: Seconds, those verified from at least one initial time.
        left_out: One line per kind of thing that could not be verified.
    """

    channels: tuple[str, ...]
    times: Instants
    leads: NDArray[np.int64]
    left_out: tuple[str, ...] = ()


def align(
    forecast: Ensemble, truth: Truth, channels: Sequence[str] | None = None,
    leads: Sequence[int] | None = None, others: Sequence[Ensemble] = (),
) -> Plan:  # fmt: skip
    """Find the channels, initial times and leads that can be verified.

    Args:
        forecast: The forecast.
        truth: What happened.
        channels: Only these; default all they share.
        leads: Only these, in seconds.
        others: Forecasts that are compared with it, on what all of them hold.

    Raises:
        InputError: Grids or calendars differ, nothing is in common, or a lead that is asked for
            is not there.
    """
    for one in (forecast, *others):
        _same_grid(one, truth)
    if absent := [lead for lead in leads or () if lead not in forecast.leads]:
        held = ", ".join(f"{lead / 86400:g}" for lead in forecast.leads)
        raise InputError(
            f"--leads {absent[0] / 86400:g}: not in {forecast.name}, which has days {held}"
        )
    if forecast.times.calendar != truth.calendar:
        raise InputError(
            f"{forecast.name}: calendar {forecast.times.calendar}, but the truth has "
            f"{truth.calendar}; verify against data in the forecast's calendar"
        )
    shared = tuple(
        name
        for name in forecast.channels
        if name in truth.channels and all(name in one.channels for one in others)
    )
    missing = [name for name in (channels or ()) if name not in shared]
    if missing or not shared:
        raise InputError(
            f"{', '.join(missing) or 'channels'}: not in both forecast "
            f"({', '.join(forecast.channels)}) and truth ({', '.join(truth.channels)})"
        )
    chosen = tuple(channels) if channels else shared
    wanted = [int(lead) for lead in forecast.leads if leads is None or int(lead) in leads]
    for one in others:
        wanted = [lead for lead in wanted if lead in one.leads]
    known = np.zeros((len(forecast.times), len(wanted)), dtype=bool)
    starts = [int(time) for time in forecast.times.seconds]
    together = [all(time in one.times.seconds for one in others) for time in starts]
    for row, time in enumerate(forecast.times.seconds):
        if together[row]:
            known[row] = [truth.covers(int(time), lead) for lead in wanted]
    if not any(together) or not wanted:
        raise InputError(
            f"--compare {others[0].name}: shares no initial time and lead with {forecast.name}; "
            "compare forecasts from the same initial times"
        )
    if not known.any():
        raise InputError(
            f"{forecast.name}: no valid time of {forecast.times.text(0)} and later is in the "
            "truth; give the truth of that period"
        )
    times, reached = np.any(known, axis=1), np.any(known, axis=0)
    notes = []
    if dropped := [name for name in forecast.channels if name not in truth.channels]:
        notes.append(f"no truth for {', '.join(dropped)}")
    if apart := [n for n in forecast.channels if n in truth.channels and n not in shared]:
        notes.append(f"not in every forecast that is compared: {', '.join(apart)}")
    if not all(together):
        notes.append(
            f"{len(together) - sum(together)} of {len(known)} initial times are not in every "
            "forecast that is compared, and are left out"
        )
    if (lacking := int((~times & np.asarray(together)).sum())) > 0:
        notes.append(f"no truth for {lacking} of {len(known)} initial times")
    if not known[times][:, reached].all():
        notes.append("the truth ends before the last leads of some initial times")
    return Plan(
        chosen,
        Instants(forecast.times.seconds[times], forecast.times.calendar),
        np.array(wanted, dtype=np.int64)[reached],
        tuple(notes),
    )


def _described(one: Ensemble | Truth) -> str:
    """A grid as a user knows it: ``17x33 (30 to 70 N, 290 to 370 E)``."""
    lat, lon = one.lat, one.lon
    return (
        f"{len(lat)}x{len(lon)} ({lat[0]:g} to {lat[-1]:g} N, {lon[0]:g} to {lon[-1]:g} E)"
    )


def _same_grid(forecast: Ensemble, truth: Truth) -> None:
    same = forecast.lat.shape == truth.lat.shape and forecast.lon.shape == truth.lon.shape
    if not (
        same
        and np.allclose(forecast.lat, truth.lat, atol=1e-2)
        and np.allclose(forecast.lon, truth.lon, atol=1e-2)
    ):
        own, other = _described(forecast), _described(truth)
        raise InputError(
            f"{forecast.name}: grid {own} is not the truth's {other}; bring the truth to it with "
            "sciddiff prepare forecast --grid or --area"
        )


def detect_grid(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> Grid | None:
    """Return the global grid of these coordinates, or None if they are of a region."""
    from weather.sphere.grids import Grid

    try:
        return Grid.detect(lat, lon)
    except InputError:
        return None


def verify(
    forecasts: Sequence[Ensemble], truth: Truth, plan: Plan,
    settings: VerifySettings | None = None, thresholds: Quantiles | None = None,
    scales: Sequence[float] | None = None, progress: Callable[[int, int], None] | None = None,
    climate: Climate | None = None, client: Any = None,
) -> Verification:  # fmt: skip
    """Score forecasts against the same truths.

    Args:
        forecasts: All hold the plan's channels, initial times and leads.
        truth: What happened; with three or more members they are also scored by each other.
        plan: From `align`.
        settings: Regions and intervals.
        thresholds: Events to score probabilities of.
        scales: Standard deviation of each channel, for the energy score; default the truth's.
        progress: Called with cases done and all cases.
        climate: Of the training states, for the anomaly correlation; must be on the same grid.
        client: Of a Dask cluster that scores the initial times (`weather.cluster.connect`).

    Raises:
        InputError: A forecast lacks something, holds NaN, or a region is empty.
    """
    settings = settings or VerifySettings()
    for forecast in forecasts:
        _check(forecast, plan)
    grid = detect_grid(truth.lat, truth.lon)
    rows = grid.weights if grid is not None else np.cos(np.radians(truth.lat))
    weights = area_weights(settings.regions, truth.lat, truth.lon, rows)
    coverage = Coverage(_union(weights, rows, len(truth.lon)))
    frame = Frame(
        plan.channels,
        plan.leads,
        weights,
        np.asarray(scales if scales is not None else _scales(truth, plan.channels, rows)),
        grid,
        thresholds,
        plan.times.calendar,
        climate,
        coverage,
        _rain(climate, plan.channels, weights.shape[-1]),
    )
    perfect = truth.members > 2
    names = [forecast.name for forecast in forecasts] + ([PERFECT] if perfect else [])
    if len(set(names)) < len(names):
        raise InputError(f"forecasts {', '.join(names)}: two have one name; give each its own")
    tallies = {name: Tally(len(plan.times)) for name in names}

    times = [int(time) for time in plan.times.seconds]
    shared = forecasts, truth, frame, perfect
    done = 0
    for found in _scored(shared, times, settings.workers, client):
        for name, scores in zip(names, found, strict=True):
            tallies[name].add(done, scores)
        done += 1
        if progress is not None:
            progress(done, len(times))
    sizes = {forecast.name: forecast.members for forecast in forecasts}
    return Verification(
        tallies, sizes | {PERFECT: truth.members - 1}, plan.times, plan.leads, plan.channels,
        tuple(region.name for region in settings.regions),
        thresholds.names() if thresholds is not None else (), truth.members,
        settings.block_days, settings.draws, settings.level, settings.seed,
        coverage.notes(),
    )  # fmt: skip


def _rain(climate: Climate | None, channels: tuple[str, ...], points: int) -> RainClimate | None:
    """Climate of precipitation, where a channel is verified and the climate is on its grid."""
    if climate is None or len(climate.history.lat) * len(climate.history.lon) != points:
        return None
    return RainClimate(climate.history) if {"tp", "pr"} & set(channels) else None


def _union(
    weights: NDArray[np.float64], rows: NDArray[np.float64], columns: int
) -> NDArray[np.float64]:
    """Area of the points of all regions together, `[P]`."""
    return np.where((weights > 0).any(0), np.repeat(rows, columns), 0.0)


Scores = list[dict[str, NDArray[np.float64]]]
Shared = tuple[Sequence[Ensemble], Truth, Frame, bool]


def _scored(shared: Shared, times: list[int], workers: int, client: Any) -> Iterator[Scores]:
    """Scores of every forecast, one initial time after the other."""
    if client is None:
        for first in range(0, len(times), workers):
            yield from _in_threads(shared, times[first : first + workers], workers)
        return
    # The first shows which points the forecasts lack, to which all others are held.
    yield _score(shared, times[0])[0]
    coverage = shared[2].coverage
    for found, seen in in_order(client, _score, shared, ((time,) for time in times[1:])):
        if coverage is not None and seen is not None:
            coverage.merge(seen)
        yield found


def _score(shared: Shared, time: int) -> tuple[Scores, Coverage | None]:
    """Scores of one initial time, and the points at which they were taken."""
    forecasts, truth, frame, perfect = shared
    return score_case(forecasts, truth, time, frame, perfect), frame.coverage


def _in_threads(shared: Shared, times: list[int], workers: int) -> list[Scores]:
    if workers == 1 or len(times) == 1:
        return [_score(shared, time)[0] for time in times]
    import dask

    def work(time: int) -> Scores:  # what it holds is not for dask to look into
        return _score(shared, time)[0]

    tasks = [dask.delayed(work)(time) for time in times]  # type: ignore[attr-defined]
    return list(dask.compute(*tasks, scheduler="threads", num_workers=workers))  # type: ignore[attr-defined]


def _check(forecast: Ensemble, plan: Plan) -> None:
    lacking = [name for name in plan.channels if name not in forecast.channels]
    if lacking:
        raise InputError(f"{forecast.name}: has no {', '.join(lacking)}; leave them out")
    if not np.isin(plan.times.seconds, forecast.times.seconds).all():
        raise InputError(f"{forecast.name}: lacks initial times of the first forecast")
    if not np.isin(plan.leads, forecast.leads).all():
        raise InputError(f"{forecast.name}: lacks leads of the first forecast")


def _scales(truth: Truth, channels: tuple[str, ...], rows: NDArray[np.float64]) -> list[float]:
    """Standard deviations of the truth over its area; 1 where it never changes."""
    found = [float(np.sqrt(truth.variance(channel, rows))) for channel in channels]
    return [value if value > 0 else 1.0 for value in found]

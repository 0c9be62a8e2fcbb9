"""What a report needs of one variable: gathered lead by lead, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.assimilation.operator import PointOperator
from weather.report.places import Place
from weather.report.reading import Ensemble
from weather.report.units import Display

__all__ = ["LeadFields", "Truth", "VariableData", "collect", "complete_members"]

_Array = NDArray[np.floating[Any]]


@final
@dataclass(frozen=True, eq=False)
class LeadFields:
    """One variable at one lead, in shown units.

    Attributes:
        lead: Position among the leads.
        members: ``[M, H, W]``.
        truth: Equally valid truths, ``[T, H, W]``; None if none is known.
    """

    lead: int
    members: _Array
    truth: _Array | None = None

    @property
    def mean(self) -> _Array:
        """Ensemble mean, ``[H, W]``."""
        return self.members.mean(0, dtype=np.float64)

    @property
    def spread(self) -> _Array:
        """Standard deviation between members, unbiased variance, ``[H, W]``."""
        return self.members.std(0, dtype=np.float64, ddof=1)


@final
@dataclass(eq=False)
class VariableData:
    """One variable of a report.

    Attributes:
        display: How it is shown.
        places: Values at the places, ``[P, M, L]``; NaN where a member has none.
        truth_places: Truth at the places, ``[P, T, L]``, NaN where unknown; None without truth.
        maps: The leads that are drawn as maps.
    """

    display: Display
    places: _Array
    truth_places: _Array | None = None
    maps: list[LeadFields] = field(default_factory=list)


@final
class Truth:
    """What happened, on the grid of a forecast.

    Args:
        source: Analyses (matched by valid time), or truth ensembles of the same initial time.
        like: The forecast.

    Raises:
        InputError: The truth covers less than the grid of the forecast.
    """

    def __init__(self, source: Ensemble, like: Ensemble) -> None:
        self.source = source
        self._like = like
        self._operator: PointOperator | None = None
        same = source.lat.shape == like.lat.shape and source.lon.shape == like.lon.shape
        if not (same and np.allclose(source.lat, like.lat) and np.allclose(source.lon, like.lon)):
            lat, lon = np.meshgrid(like.lat, like.lon, indexing="ij")
            try:
                self._operator = PointOperator.build(
                    source.lat, source.lon, lat.ravel(), lon.ravel()
                )
            except InputError as error:
                raise InputError(
                    f"--truth {source.source}: does not cover the forecast ({error})"
                ) from error
        self._times = {
            _key(source.valid(i, n)): (i, n)
            for i in range(len(source.inits))
            for n in range(len(source.leads))
            if source.kind == "analysis"
        }

    def fields(self, name: str, init: int, lead: int) -> _Array | None:
        """Truths of one variable, ``[T, H, W]``; None where unknown."""
        where = self._find(init, lead)
        if where is None or name not in self.source.shown:
            return None
        if self.source.shown[name].units != self._like.shown[name].units:
            return None
        values = self.source.read(name, *where)
        if self._operator is None:
            return values
        shape = (len(values), len(self._like.lat), len(self._like.lon))
        return self._operator.array(values).reshape(shape)

    def _find(self, init: int, lead: int) -> tuple[int, int] | None:
        if self.source.kind == "analysis":
            return self._times.get(_key(self._like.valid(init, lead)))
        starts = [_key(date) for date in self.source.inits]
        gaps = np.abs(self.source.leads - self._like.leads[lead])
        if _key(self._like.inits[init]) not in starts or gaps.min() > 1e-6:
            return None
        return starts.index(_key(self._like.inits[init])), int(np.argmin(gaps))


def collect(
    ensemble: Ensemble,
    name: str,
    init: int,
    leads: Sequence[int],
    map_leads: Sequence[int],
    places: Sequence[Place],
    truth: Truth | None = None,
) -> VariableData:
    """Read one variable.

    Args:
        ensemble: Where from.
        name: The variable.
        init: Position of the initial time.
        leads: Positions of the leads of the series.
        map_leads: Positions of those that become maps.
        places: Where the series are taken.
        truth: What happened.

    Raises:
        InputError: No member has any value.
    """
    operator = PointOperator.build(
        ensemble.lat, ensemble.lon, [p.lat for p in places], [p.lon for p in places]
    )
    data = VariableData(ensemble.shown[name], np.empty(0))
    series, true_series = [], []
    for lead in sorted({*leads, *map_leads}):
        members = ensemble.read(name, init, lead)
        happened = None if truth is None else truth.fields(name, init, lead)
        if lead in leads:
            series.append(operator.array(members))
            true_series.append(None if happened is None else operator.array(happened))
        kept = complete_members(members)
        if lead in map_leads and len(kept):
            data.maps.append(LeadFields(lead, kept, happened))
    if not data.maps:
        raise InputError(
            f"{ensemble.source}: {name} has no values at any of the leads of the maps; "
            "run the forecast to its end, or choose others with --lead"
        )
    data.places = np.stack(series, -1).transpose(1, 0, 2)
    known = [one for one in true_series if one is not None]
    if known:
        blank = np.full_like(known[0], np.nan)
        filled = [blank if one is None else one for one in true_series]
        data.truth_places = np.stack(filled, -1).transpose(1, 0, 2)
    return data


def complete_members(members: _Array) -> _Array:
    """The members that hold values: an unfinished forecast has some that do not."""
    return members[np.isfinite(members).any((1, 2))]


def _key(date: Any) -> tuple[Any, ...]:
    """A date of any calendar and type, to compare."""
    if isinstance(date, np.datetime64):
        date = date.astype("datetime64[s]").item()
    if hasattr(date, "year"):
        return date.year, date.month, date.day, date.hour, date.minute
    return (None if date is None else round(float(date), 6),)

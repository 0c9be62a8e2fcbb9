"""Lows of a forecast for its report: tracks of every member, strike probabilities, a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.times import label
from weather.report.collect import complete_members
from weather.report.reading import Ensemble
from weather.tracks.linking import Tracks, link
from weather.tracks.lows import LowSettings, find_lows
from weather.tracks.strike import STRIKE_KM, strike_probability

__all__ = ["TrackSettings", "strikes_of", "tracks_of", "tracks_table"]

COLUMNS: Final = (
    "initial_time", "member", "track", "lead_hours", "valid_time", "lat", "lon", "mslp_hPa",
)  # fmt: skip
"""Columns of the table of tracks."""

_PRESSURE = "mslp"


@final
@dataclass(frozen=True)
class TrackSettings:
    """How lows are followed.

    Attributes:
        speed_kmh: How fast a low can move.
        strike_km: Distance within which a low strikes a place.
        below: Only lows whose pressure is at most this, hPa; None for all.
    """

    speed_kmh: float = 60.0
    strike_km: float = STRIKE_KM
    below: float | None = None

    @property
    def note(self) -> str:
        """What the picture shows."""
        which = "" if self.below is None else f" of at most {self.below:g} hPa"
        return (
            f"Left: lows of sea-level pressure{which} in every member, followed from lead to lead "
            f"(up to {self.speed_kmh:g} km/h); dots are where they end. Right: share of the "
            f"members of which a low passes within {self.strike_km:g} km. The numbers are in "
            "tracks.csv."
        )


def tracks_of(ensemble: Ensemble, init: int, settings: TrackSettings) -> Tracks:
    """Follow the lows of every member from one initial time.

    Raises:
        InputError: The source has no sea-level pressure, or a single lead.
    """
    if _PRESSURE not in ensemble.shown:
        raise InputError(
            f"--tracks: {ensemble.source} has no {_PRESSURE}, whose lows are followed; it has "
            f"{', '.join(ensemble.shown)}"
        )
    if len(ensemble.leads) < 2:
        raise InputError(f"--tracks: {ensemble.source} has a single lead; a track needs two")
    chosen = LowSettings(below=settings.below)
    lows = [
        find_lows(
            ensemble.read(_PRESSURE, init, lead), ensemble.lat, ensemble.lon, ensemble.around,
            chosen,
        )
        for lead in range(len(ensemble.leads))
    ]  # fmt: skip
    return link(lows, (settings.speed_kmh * 24.0 * np.diff(ensemble.leads)).tolist())


def strikes_of(
    tracks: Tracks, ensemble: Ensemble, init: int, settings: TrackSettings
) -> NDArray[np.float64]:
    """Strike probability on the grid of the source, `[H, W]`, of the members that are there."""
    lat, lon = np.meshgrid(ensemble.lat, ensemble.lon, indexing="ij")
    made = len(complete_members(ensemble.read(_PRESSURE, init, 0)))
    share = strike_probability(tracks, ensemble.members, lat, lon, settings.strike_km)
    return share * ensemble.members / max(made, 1)


def tracks_table(ensemble: Ensemble, tables: Sequence[tuple[int, Tracks]]) -> str:
    """Every position of every track as a line of CSV.

    Args:
        ensemble: The source.
        tables: Initial times by their positions, with their tracks.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for init, tracks in tables:
        start = _date(ensemble.inits[init])
        valid = [_date(ensemble.valid(init, lead)) for lead in range(len(ensemble.leads))]
        hours = [f"{24.0 * day:.6g}" for day in ensemble.leads]
        for i, lead in enumerate(tracks.lead):
            longitude = (tracks.lon[i] + 180.0) % 360.0 - 180.0
            writer.writerow(
                (start, tracks.member[i], tracks.track[i], hours[lead], valid[lead],
                 f"{tracks.lat[i]:.3f}", f"{longitude:.3f}", f"{tracks.pressure[i]:.2f}")
            )  # fmt: skip
    return text.getvalue()


def _date(date: Any) -> str:
    """A time as ISO 8601; empty where the source has none."""
    if date is None or isinstance(date, int | float):
        return ""
    return label(date)

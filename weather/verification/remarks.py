"""What people should know beside the scores: regions that leave the data, and empty events."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from sciddiff.errors import InputError
from weather.data.channels import parse_channel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weather.verification.figures import Verification
    from weather.verification.regions import Region
    from weather.verification.thresholds import Event

__all__ = ["NO_INTERVALS", "empty_events", "leaving_the_data"]

NO_INTERVALS = "no intervals, which need 3 initial times in two blocks of --block-days"
"""Said where there are too few initial times to resample."""


def leaving_the_data(
    regions: Sequence[Region], lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> tuple[str, ...]:
    """A note for every region that leaves the data, and stands for the part inside.

    Args:
        regions: As they were asked for.
        lat: Ascending latitudes of the data in degrees, `[H]`.
        lon: Ascending longitudes in degrees, `[W]`.

    >>> from weather.verification.regions import parse_region
    >>> lat, lon = np.linspace(30, 70, 17), np.linspace(290, 370, 33)
    >>> leaving_the_data([parse_region("x=30:60,350:10")], lat, lon)
    ()
    >>> leaving_the_data([parse_region("europe")], lat, lon)[0]
    'region europe: leaves the data (30 to 70 N, 290 to 370 E); only its part inside counts'
    """
    inside = f"the data ({lat[0]:g} to {lat[-1]:g} N, {lon[0]:g} to {lon[-1]:g} E)"
    return tuple(
        f"region {region.name}: leaves {inside}; only its part inside counts"
        for region in regions
        if _leaves(region, lat, lon)
    )


def _leaves(region: Region, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> bool:
    """Whether an edge is further out than one spacing of the points."""
    rows, columns = (np.diff(axis).max(initial=0.0) * 1.01 for axis in (lat, lon))
    if lat[0] - region.south > rows or region.north - lat[-1] > rows:
        return True
    span = lon[-1] - lon[0]
    if span + columns >= 360.0:  # all round the globe
        return False
    first = (region.west - lon[0]) % 360.0  # degrees east of the western edge of the data
    first -= 360.0 if first > span + columns else 0.0
    return first < -columns or first + region.width > span + columns


def empty_events(result: Verification, events: Sequence[Event]) -> tuple[str, ...]:
    """A note for every event that always or never was, in all forecasts and in the truth.

    Events of a quantile of the climate are left out: they have their share of days.

    Args:
        result: Scores with the events.
        events: Which events were scored, of which channels.
    """
    ones, notes = np.ones((1, len(result.times))), []
    tables = [
        np.nansum(tally.mean("reliability", ones)[0], axis=(0, 2))
        for tally in result.tallies.values()
        if "reliability" in tally
    ]  # [V, Q, M + 1, 2] each
    for event in events:
        if event.quantile or event.channel not in result.channels or not tables:
            continue
        at = result.channels.index(event.channel), result.events.index(event.name)
        found = [table[at] for table in tables]
        never = all(part[1:, 0].sum() + part[:, 1].sum() == 0 for part in found)
        always = all(part[:-1, 0].sum() == 0 and part[-1, 0] <= part[-1, 1] for part in found)
        if never or always:
            notes.append(
                f"event {event.channel}{event.name}: {'never' if never else 'always'} there, in "
                f"every forecast and in the truth{_units(event.channel)}; check its value"
            )
    return tuple(notes)


def _units(channel: str) -> str:
    with suppress(InputError):
        units = parse_channel(channel).units
        return f" ({channel} is in {units})"
    return ""

"""Picture of what extreme members had in common: anomalies on the way to the event."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weather.assimilation.operator import is_global
from weather.data.channels import Channel
from weather.data.rectangles import AnyGrid
from weather.data.units import Conversion
from weather.extremes.composites import Composite
from weather.report.charts import colour_bar, paper, round_levels
from weather.report.maps import MapFrame
from weather.report.style import png_bytes
from weather.report.units import display_of

__all__ = ["composite_png"]

_WIDTH = 10.4
_FIRST = ("z500", "mslp", "tas", "t850")
_ROWS = 3


def composite_png(
    made: Composite,
    channels: Sequence[Channel],
    grid: AnyGrid,
    names: Sequence[str],
    title: str,
    first: str,
    coasts: bool = True,
) -> bytes:
    """Maps of extreme members minus all members: a row for each variable, a column for each time.

    Args:
        made: The composite.
        channels: Its channels.
        grid: Its grid.
        names: The start and the steps in words, ``T + 1``.
        title: Above the picture.
        first: The channel of the index; the first row.
        coasts: Draw the coasts of the Earth.
    """
    order = [first, *(name for name in _FIRST if name != first)]
    listed = [c.name for c in channels]
    rows = [name for name in order if name in listed][:_ROWS]
    times = np.unique(np.linspace(1, len(names) - 1, min(4, len(names) - 1)).round().astype(int))
    # Maps of the globe begin at the date line; a limited area stays as it is.
    turn = int(np.argmin(np.abs(grid.lon - 180.0))) if is_global(grid.lon) else 0
    east = np.roll(grid.lon, -turn)
    if turn or grid.lon[0] >= 180.0:
        east = np.where(east >= 180.0, east - 360.0, east)
    frame = MapFrame(grid.lat, east, coasts=coasts)
    width = (_WIDTH - 0.12 * (len(times) - 1)) / max(len(times), 2)
    tall = width * frame.aspect + 0.85
    height = len(rows) * tall + 0.35
    with paper(height) as (figure, axis):
        axis.text(0, height - 0.2, title, fontsize=9.5, fontweight="bold")
        for i, name in enumerate(rows):
            at = listed.index(name)
            display = display_of(channels[at], channels[at].units, Conversion())
            fields = [display.scale * np.roll(made.anomaly[k, at], -turn, -1) for k in times]
            levels = round_levels(fields, 12, centred=True)
            low = height - 0.35 - (i + 1) * tall + 0.6
            for j, (k, field) in enumerate(zip(times, fields, strict=True)):
                place = frame.at(j * (width + 0.12), low, width)
                place.prepare(axis, f"{display.label}, {names[k]}", small=True)
                filled = place.fill(axis, field, levels, "PuOr_r")
            colour_bar(
                axis, frame.at(0.25 * _WIDTH, low, 0.5 * _WIDTH), filled, levels,
                f"extreme members minus all ({display.difference_units})",
            )  # fmt: skip
        return png_bytes(figure)

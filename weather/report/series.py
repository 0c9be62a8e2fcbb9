"""Plumes and meteograms: the members at one place over time, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weather.report.places import Place
from weather.report.reading import when
from weather.report.style import BLUE, GREY, INK, new_figure, png_bytes, svg_text
from weather.report.units import Display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["meteogram"]

_Array = NDArray[np.floating[Any]]
_MOST_LINES = 60


def meteogram(
    place: Place,
    panels: Sequence[tuple[Display, _Array, _Array | None]],
    leads: _Array,
    dates: Sequence[Any],
    name: str,
) -> tuple[str, bytes]:
    """All variables at one place, one panel each; returns SVG and PNG.

    Args:
        place: Where.
        panels: How a variable is shown, its members ``[M, L]`` and truths ``[T, L]`` or None.
        leads: Days, ``[L]``.
        dates: Times at which the leads are valid.
        name: Unique in the page.
    """
    with new_figure(8.6, 1.65 * len(panels) + 0.55) as figure:
        axes = np.atleast_1d(np.asarray(figure.subplots(len(panels), 1, sharex=True)))
        for i, (axis, (display, members, truth)) in enumerate(zip(axes, panels, strict=True)):
            members = members[np.isfinite(members).any(1)]
            if _falls(display):
                _boxes(axis, leads, members)
            else:
                _plume(axis, leads, members)
            if truth is not None:
                for row in truth:
                    axis.plot(leads, row, color=INK, lw=1.1 if len(truth) == 1 else 0.5,
                              ls=(0, (4, 2)), zorder=5)  # fmt: skip
            axis.set_title(display.title, fontsize=9.5)
            axis.grid(True)
            if i == 0:
                _legend(axis, len(members), truth)
        _dates(axes[-1], leads, dates)
        text = f"Forecast at {place.name} ({place}): " + ", ".join(p[0].label for p in panels)
        return svg_text(figure, name, text), png_bytes(figure)


def _plume(axis: Axes, leads: _Array, members: _Array) -> None:
    """Every member as a line under the bands that hold 50 and 80 % of them."""
    if len(members) == 1:
        axis.plot(leads, members[0], color=BLUE, lw=1.6, marker="o" if len(leads) < 3 else None)
        return
    if len(members) >= 5:
        for low, high, alpha in ((10, 90, 0.18), (25, 75, 0.32)):
            band = np.nanpercentile(members, [low, high], axis=0)
            axis.fill_between(leads, band[0], band[1], color=BLUE, alpha=alpha, lw=0)
    for row in members[:_MOST_LINES]:
        axis.plot(leads, row, color=BLUE, lw=0.45, alpha=0.45)
    axis.plot(leads, np.nanmedian(members, axis=0), color=BLUE, lw=1.8)


def _boxes(axis: Axes, leads: _Array, members: _Array) -> None:
    """What falls is shown as bars: half of the members in the box, 80 % in the line."""
    gap = float(np.diff(leads).min()) if len(leads) > 1 else 1.0
    if len(members) == 1:
        axis.bar(leads, members[0], 0.6 * gap, color=BLUE, alpha=0.75)
        return
    low, first, middle, third, high = np.nanpercentile(members, [10, 25, 50, 75, 90], axis=0)
    axis.vlines(leads, low, high, color=BLUE, lw=1.0)
    axis.bar(leads, third - first, 0.6 * gap, bottom=first, color=BLUE, alpha=0.45)
    axis.hlines(middle, leads - 0.3 * gap, leads + 0.3 * gap, color=BLUE, lw=1.8)
    axis.set_ylim(bottom=0.0)


def _falls(display: Display) -> bool:
    return display.name in ("tp", "pr")


def _legend(axis: Axes, members: int, truth: _Array | None) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    if members >= 5:
        handles = [
            Line2D([], [], color=BLUE, lw=1.8, label="median"),
            Patch(color=BLUE, alpha=0.45, lw=0, label="50 %"),
            Patch(color=BLUE, alpha=0.18, lw=0, label="80 %"),
            Line2D([], [], color=BLUE, lw=0.6, alpha=0.6, label=f"{members} members"),
        ]
    if truth is not None:
        handles.append(Line2D([], [], color=INK, lw=1.1, ls=(0, (4, 2)), label="truth"))
    if handles:
        axis.legend(
            handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles),
            fontsize=8, handlelength=1.4, columnspacing=1.2, borderaxespad=0.1,
        )  # fmt: skip


def _dates(axis: Axes, leads: _Array, dates: Sequence[Any]) -> None:
    """At most ten dates along the axis, at whole days where there are."""
    pick = np.arange(len(leads))
    clock = [getattr(_plain(date), "hour", 0) for date in dates]
    midnight = [i for i in pick if clock[i] == clock[0]]
    pick = np.array(midnight if len(midnight) >= 3 else pick)
    pick = pick[:: max(1, -(-len(pick) // 9))]
    labels = [when(dates[i], year=False).removesuffix(" 00") for i in pick]
    axis.set_xticks(leads[pick], labels, fontsize=8.5)
    pad = 0.03 * max(float(np.ptp(leads)), 0.3)
    axis.set_xlim(leads[0] - pad, leads[-1] + pad)
    shown = when(dates[0]) if not isinstance(dates[0], float) else "the initial time"
    axis.set_xlabel(f"valid time (UTC), from {shown}", color=GREY, fontsize=8.5)


def _plain(date: Any) -> Any:
    if isinstance(date, np.datetime64):
        return date.astype("datetime64[s]").item()
    return date

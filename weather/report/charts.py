"""Pictures of maps: mean and spread, probabilities, contours of all members, stamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weather.report.collect import LeadFields
from weather.report.maps import MapFrame
from weather.report.places import Place
from weather.report.style import BLUE, INK, ORANGE, colour_map, new_figure, png_bytes
from weather.report.units import Display, Threshold
from weather.tracks.linking import Tracks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "colour_bar",
    "contour_lines",
    "mean_and_spread",
    "paper",
    "probability_and_contours",
    "round_levels",
    "stamps",
    "tracks_and_strikes",
]

_Array = NDArray[np.floating[Any]]
_WIDTH = 10.4
_BELOW = 0.58
_TALLEST = 7.0
_PROBABILITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_MOST_STAMPS = 20


def mean_and_spread(
    frame: MapFrame,
    display: Display,
    fields: LeadFields,
    levels: _Array,
    spread_levels: _Array | None,
    date: str,
    places: Sequence[Place] = (),
) -> bytes:
    """Mean of the members, and beside it their standard deviation; of one member its field.

    Args:
        frame: Where fields go on paper.
        display: How the variable is shown.
        fields: What is drawn.
        levels: Levels of the mean; alike at all leads, so that maps compare.
        spread_levels: Levels of the spread.
        date: When it is valid.
        places: Marked on the mean.
    """
    alone = len(fields.members) == 1 or spread_levels is None
    with _picture(frame, 1 if alone else 2) as (figure, axis, frames):
        what = display.label if alone else f"{display.label}: mean of {len(fields.members)}"
        frames[0].prepare(axis, f"{what}, {date}")
        cmap, _ = colour_map(display.units, display.name)
        filled = frames[0].fill(axis, fields.mean, levels, cmap)
        colour_bar(axis, frames[0], filled, levels, display.units)
        for place in places:
            frames[0].mark(axis, place.lat, place.lon, place.name)
        if not alone and spread_levels is not None:
            frames[1].prepare(axis, "Spread: standard deviation of the members")
            filled = frames[1].fill(axis, fields.spread, spread_levels, "YlOrBr")
            colour_bar(axis, frames[1], filled, spread_levels, display.difference_units)
        return png_bytes(figure)


def probability_and_contours(
    frame: MapFrame,
    display: Display,
    fields: LeadFields,
    threshold: Threshold,
    lines: _Array,
    date: str,
) -> bytes:
    """Share of the members beyond a threshold, and contours of every member ("spaghetti").

    Args:
        frame: Where fields go on paper.
        display: How the variable is shown.
        fields: What is drawn.
        threshold: The event.
        lines: Values of the contours.
        date: When it is valid.
    """
    members = fields.members
    event = members > threshold.value if threshold.above else members < threshold.value
    with _picture(frame, 2) as (figure, axis, (left, right)):
        left.prepare(axis, f"Probability of {threshold}, {date}")
        levels = np.array([-0.001, *_PROBABILITIES, 1.001])
        share = event.mean(0, dtype=np.float64)
        share = np.where(np.isfinite(members).all(0), share, np.nan)
        filled = left.fill(axis, share, levels, _probability_colours(), "neither")
        colour_bar(axis, left, filled, levels, "probability", "neither")
        listed = ", ".join(f"{level:g}" for level in lines)
        right.prepare(axis, f"Every member's contour of {listed} {display.units}".rstrip())
        for row in members:
            right.contour(axis, row, lines, colors=BLUE, linewidths=0.45, alpha=0.55)
        right.contour(axis, fields.mean, lines, colors=ORANGE, linewidths=1.4)
        truth = fields.truth if fields.truth is not None and len(fields.truth) == 1 else None
        if truth is not None:
            right.contour(axis, truth[0], lines, colors=INK, linewidths=1.1, linestyles="dashed")
        _key(axis, right, truth is not None)
        return png_bytes(figure)


def stamps(
    frame: MapFrame, display: Display, fields: LeadFields, levels: _Array, date: str
) -> bytes:
    """Small maps of the members side by side.

    Args:
        frame: Where fields go on paper.
        display: How the variable is shown.
        fields: What is drawn; the first twenty members.
        levels: Levels of the colours.
        date: When it is valid.
    """
    shown = fields.members[:_MOST_STAMPS]
    across = 5 if len(shown) > 6 else min(3, len(shown))
    down = -(-len(shown) // across)
    width = (_WIDTH - (across - 1) * 0.12) / across
    tall = width * frame.aspect + 0.24
    cmap, _ = colour_map(display.units, display.name)
    height = _BELOW + down * tall + 0.32
    with paper(height) as (figure, axis):
        filled: Any = None
        for i, member in enumerate(shown):
            row, column = divmod(i, across)
            place = frame.at(column * (width + 0.12), _BELOW + (down - 1 - row) * tall, width)
            place.prepare(axis, f"member {i}", small=True)
            filled = place.fill(axis, member, levels, cmap)
        axis.text(0, height - 0.2, f"{display.label}, {date}", fontsize=9.5, fontweight="bold")
        colour_bar(
            axis, frame.at(0.25 * _WIDTH, _BELOW, 0.5 * _WIDTH), filled, levels, display.units
        )
        return png_bytes(figure)


def tracks_and_strikes(
    frame: MapFrame, tracks: Tracks, strikes: _Array, distance_km: float
) -> bytes:
    """Tracks of lows of all members, and beside them the strike probability.

    Args:
        frame: Where fields go on paper.
        tracks: Of every member.
        strikes: Probabilities, ``[H, W]``.
        distance_km: Within which a low strikes.
    """
    with _picture(frame, 2) as (figure, axis, (left, right)):
        left.prepare(axis, "Tracks of lows, every member")
        # One line for all: a gap where the next position is of another track.
        ends = np.setdiff1d(np.arange(len(tracks.lat)), tracks.segments())
        lat, lon = (np.insert(one, ends + 1, np.nan) for one in (tracks.lat, tracks.lon))
        left.path(axis, lon, lat, color=BLUE, lw=0.6, alpha=0.6, zorder=7)
        x, y = left.project(left.columns(tracks.lon[ends]), tracks.lat[ends])
        axis.plot(x, y, "o", ms=1.8, mfc=ORANGE, mec="none", zorder=8)
        right.prepare(axis, f"Probability of a low within {distance_km:g} km")
        levels = np.array([-0.001, *_PROBABILITIES, 1.001])
        filled = right.fill(axis, strikes, levels, _probability_colours(), "neither")
        colour_bar(axis, right, filled, levels, "probability", "neither")
        return png_bytes(figure)


def round_levels(
    values: Sequence[_Array], count: int, centred: bool = False, share: float = 0.5
) -> _Array:
    """Round numbers that span some fields but for their outer ``share`` percent.

    Args:
        values: Fields.
        count: About how many.
        centred: Symmetric about zero.
        share: Percent left out at each end.
    """
    from matplotlib.ticker import MaxNLocator

    joined = np.concatenate([np.asarray(one, np.float64).ravel() for one in values])
    joined = joined[np.isfinite(joined)]
    low, high = np.percentile(joined, [share, 100.0 - share]) if len(joined) else (0.0, 1.0)
    if centred:
        high = max(abs(low), abs(high))
        low = -high
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-30):
        low, high = low - 0.5 * max(abs(low), 1.0), high + 0.5 * max(abs(high), 1.0)
    levels = MaxNLocator(count, steps=[1, 2, 2.5, 4, 5, 10]).tick_values(low, high)
    return np.asarray(levels, np.float64) + 0.0  # -0 becomes 0


def contour_lines(mean: _Array, positive: bool) -> _Array:
    """One or two round values whose contours tell most: quartiles of the field."""
    shares = [80.0] if positive else [30.0, 70.0]
    raw = np.nanpercentile(mean, shares)
    step = 10.0 ** np.floor(np.log10(max(float(np.nanstd(mean)), 1e-12)))
    return np.unique(np.round(raw / step) * step + 0.0)  # -0 becomes 0


def _probability_colours() -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    blues = colormaps["PuBu"](np.linspace(0.2, 1.0, len(_PROBABILITIES)))
    return ListedColormap(np.vstack([np.ones((1, 4)), blues]))


@contextmanager
def paper(height: float) -> Iterator[tuple[Figure, Axes]]:
    """A picture of some height with one axis over all of it, in inches."""
    margin = 0.1
    with new_figure(_WIDTH + 2 * margin, height + 2 * margin) as figure:
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_axis_off()
        axis.set(xlim=(-margin, _WIDTH + margin), ylim=(-margin, height + margin))
        axis.set_autoscale_on(False)
        yield figure, axis


@contextmanager
def _picture(frame: MapFrame, maps: int) -> Iterator[tuple[Figure, Axes, tuple[MapFrame, ...]]]:
    """One or two maps side by side, with room for titles above and colour bars below."""
    width = (_WIDTH - 0.3) / 2 if maps == 2 else 0.72 * _WIDTH
    width = min(width, _TALLEST / frame.aspect)
    placed = tuple(frame.at(i * (width + 0.3), _BELOW, width) for i in range(maps))
    with paper(_BELOW + width * frame.aspect + 0.3) as (figure, axis):
        yield figure, axis, placed


def colour_bar(
    axis: Axes, frame: MapFrame, filled: Any, levels: _Array, label: str, extend: str = "both"
) -> None:
    """A colour bar below a map, ends pointed where values may lie beyond."""
    from matplotlib.collections import PolyCollection

    colours = list(filled.get_facecolor())
    span = 0.8 * frame.width
    left, top, deep = frame.x + 0.1 * frame.width, frame.y - 0.13, 0.1
    shown = levels if extend == "both" else np.clip(levels, 0.0, 1.0)
    at = left + span * np.linspace(0.0, 1.0, len(shown))
    boxes = [
        [(a, top), (b, top), (b, top - deep), (a, top - deep)]
        for a, b in zip(at[:-1], at[1:], strict=True)
    ]
    if extend == "both":
        middle = top - 0.5 * deep
        first = [(at[0], top), (at[0] - 0.12, middle), (at[0], top - deep)]
        last = [(at[-1], top), (at[-1] + 0.12, middle), (at[-1], top - deep)]
        boxes = [first, *boxes, last]
    axis.add_collection(
        PolyCollection(
            [np.array(box) for box in boxes],
            facecolors=colours[: len(boxes)], edgecolors="#b8c4ce", lw=0.4,
        ),
        autolim=False,
    )
    step = -(-len(shown) // 9)
    for x, value in list(zip(at, shown, strict=True))[::step]:
        axis.text(float(x), top - deep - 0.05, f"{value:g}", ha="center", va="top", fontsize=7.5)
    axis.text(left + 0.5 * span, top - deep - 0.2, label, ha="center", va="top", fontsize=8)


def _key(axis: Axes, frame: MapFrame, truth: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=BLUE, lw=0.8, label="members"),
        Line2D([], [], color=ORANGE, lw=1.4, label="mean"),
    ]
    if truth:
        handles.append(Line2D([], [], color=INK, lw=1.1, ls="--", label="truth"))
    axis.legend(
        handles=handles, loc="upper center", ncols=3, fontsize=8,
        bbox_to_anchor=(frame.x + 0.5 * frame.width, frame.y - 0.05),
        bbox_transform=axis.transData,
    )  # fmt: skip

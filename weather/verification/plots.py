"""Plots of scores: skill and spread by lead, histograms of ranks, spectra, reliability."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weather.verification.figures import CLIMATOLOGY, PERFECT, Verification
from weather.verification.instants import DAY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_plots"]

# Okabe & Ito: told apart by colour-blind readers too.
_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B6F47", "#A0A000",
)  # fmt: skip
_MOST_PANELS = 9


def write_plots(result: Verification, folder: Path) -> list[Path]:
    """Write the plots that the scores allow as PNG files; returns their paths."""
    makers: dict[str, Callable[[Verification], Figure | None]] = {
        "skill": _skill,
        "spread_skill": _spread_skill,
        "ranks": _ranks,
        "spectra": _spectra,
        "reliability": _reliability,
    }
    written = []
    for name, make in makers.items():
        figure = make(result)
        if figure is not None:
            written.append(folder / f"{name}.png")
            figure.savefig(written[-1], dpi=130)
    return written


def _colour(result: Verification, forecast: str) -> str:
    if forecast == PERFECT:
        return "#222222"
    if forecast == CLIMATOLOGY:
        return "#999999"
    others = [f for f in result.forecasts if f not in (PERFECT, CLIMATOLOGY)]
    return _COLOURS[others.index(forecast) % len(_COLOURS)]


def _panels(result: Verification, title: str) -> tuple[Figure, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(len(result.channels), _MOST_PANELS)
    columns = min(count, 3)
    lines = -(-count // columns)
    figure = Figure(figsize=(4.0 * columns + 0.6, 2.9 * lines + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axis in axes[count:]:
        axis.remove()
    for axis, channel in zip(axes, result.channels, strict=False):
        axis.set_title(channel, fontsize=10)
        axis.grid(True, alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[:count]


def _legend(figure: Figure, axes: list[Any]) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)) or 1,
                  frameon=False, fontsize=9)  # fmt: skip


def _by_lead(result: Verification, name: str, title: str, level: float | None) -> Figure | None:
    """Lines over lead with their intervals, globe or first region."""
    forecasts = [f for f in result.forecasts if result.has(name, f)]
    if not forecasts:
        return None
    figure, axes = _panels(result, title)
    days = result.leads / DAY
    for forecast in forecasts:
        value, low, high = result.estimate(name, forecast)
        colour = _colour(result, forecast)
        for v, axis in enumerate(axes):
            axis.plot(days, value[:, v, 0], color=colour, label=forecast, lw=1.6, marker=".")
            axis.fill_between(days, low[:, v, 0], high[:, v, 0], color=colour, alpha=0.15, lw=0)
    for axis in axes:
        axis.set_xlabel("lead (days)")
        if level is not None:
            axis.axhline(level, color="#222222", lw=0.8, ls=":")
    _legend(figure, axes)
    return figure


def _skill(result: Verification) -> Figure | None:
    region = result.regions[0]
    attainable = _by_lead(result, "attainable", f"Fraction of attainable skill, {region}", 0.0)
    if attainable is not None:
        for axis in attainable.axes:
            axis.set_ylim(-0.2, 1.05)
        return attainable
    skill = _by_lead(result, "skill", f"CRPS skill over climatology, {region}", 0.0)
    return skill or _by_lead(result, "crps", f"Fair CRPS, {region}", None)


def _spread_skill(result: Verification) -> Figure | None:
    figure = _by_lead(
        result, "ssr", f"Spread-skill ratio, {result.regions[0]} (reliable: 1)", 1.0
    )  # fmt: skip
    if figure is not None:
        for axis in figure.axes:
            low, high = axis.get_ylim()
            axis.set_ylim(max(0.0, min(low, 0.8)), min(2.0, max(high, 1.2)))
    return figure


def _shown_leads(result: Verification) -> list[int]:
    return sorted({0, len(result.leads) // 2, len(result.leads) - 1})


def _subjects(result: Verification) -> list[str]:
    """The forecasts in question: the first, and the truths by each other where there are some."""
    return list(dict.fromkeys([result.forecasts[0], *(f for f in (PERFECT,) if f in
                                                     result.tallies)]))  # fmt: skip


def _ranks(result: Verification) -> Figure | None:
    name = result.forecasts[0]
    if result.sizes[name] < 2:
        return None
    figure, axes = _panels(result, f"Ranks of the truth, {name}, {result.regions[0]} (flat: 1)")
    frequency = result.figure("rank_frequency", name)[0]
    count = frequency.shape[-1]
    for v, axis in enumerate(axes):
        for lead, colour in zip(_shown_leads(result), _COLOURS, strict=False):
            axis.stairs(
                frequency[lead, v, 0] * count, np.linspace(0, 1, count + 1), color=colour,
                label=f"day {result.leads[lead] / DAY:g}", lw=1.4,
            )  # fmt: skip
        axis.axhline(1.0, color="#222222", lw=0.8, ls=":")
        axis.set(xlabel="rank / number of ranks", ylim=(0, None))
    _legend(figure, axes)
    return figure


def _spectra(result: Verification) -> Figure | None:
    name = result.forecasts[0]
    if not result.has("spectrum_ratio", name):
        return None
    figure, axes = _panels(result, f"Power over that of the truth, {name}")
    value, low, high = result.estimate("spectrum_ratio", name)
    degree = np.arange(value.shape[-1])
    shown = degree >= 1
    for v, axis in enumerate(axes):
        for lead, colour in zip(_shown_leads(result), _COLOURS, strict=False):
            label = f"day {result.leads[lead] / DAY:g}"
            axis.plot(degree[shown], value[lead, v, shown], color=colour, label=label, lw=1.6)
            axis.fill_between(
                degree[shown], low[lead, v, shown], high[lead, v, shown], color=colour,
                alpha=0.15, lw=0,
            )  # fmt: skip
        axis.axhspan(0.85, 1.15, color="#222222", alpha=0.06, lw=0)
        axis.axhline(1.0, color="#222222", lw=0.8, ls=":")
        axis.set(xlabel="total wavenumber", ylim=(0.5, 1.5))
    _legend(figure, axes)
    return figure


def _reliability(result: Verification) -> Figure | None:
    from weather.verification.reliability import reliability_curve

    if not result.events:
        return None
    name, lead = result.forecasts[0], len(result.leads) // 2
    days = result.leads[lead] / DAY
    figure, axes = _panels(result, f"Reliability of {name} at day {days:g}, {result.regions[0]}")
    table = result.mean("reliability", name, np.ones((1, len(result.times))))[0]
    for v, axis in enumerate(axes):
        axis.plot([0, 1], [0, 1], color="#222222", lw=0.8, ls=":")
        for q, event in enumerate(result.events):
            curve = reliability_curve(table[lead, v, 0, q])
            if curve is None:
                continue
            colour = _COLOURS[q % len(_COLOURS)]
            axis.plot(curve.chance, curve.calibrated, color=colour, lw=1.6, label=event)
            size = 400 * np.sqrt(curve.weight) / np.sqrt(curve.weight).sum()
            axis.scatter(curve.chance, curve.frequency, s=size, color=colour, alpha=0.5, lw=0)
        axis.set(xlabel="forecast probability", ylabel="frequency", xlim=(0, 1), ylim=(0, 1))
    _legend(figure, axes)
    return figure

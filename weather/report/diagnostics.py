r"""Diagnostics: does the ensemble look like weather, and is it reliable?

*Power spectra* by total wavenumber: the members should carry the power of an analysis at every
scale and keep it with lead; the mean loses it where the forecast does not know. On a region, or a
grid without a transform, by wavenumber along the longitudes of the region.

*Rank histograms*: the rank of the truth among the members, over the globe by area. Flat: truth
looks like one more member; U-shaped: too little spread; leaning: biased.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.report.collect import LeadFields
from weather.report.style import BLUE, GREY, INK, LINES, ORANGE, new_figure, png_bytes, svg_text
from weather.report.units import Display, squared

__all__ = ["power", "rank_figure", "rank_shares", "row_weights", "scores", "spectra_figure"]

_Array = NDArray[np.float64]
_MOST_BARS = 25


def row_weights(lat: _Array, lon: _Array) -> _Array:
    """Area weights of the rows, of mean 1: those of the quadrature on a known grid, ``[H]``."""
    from weather.sphere.grids import Grid

    try:
        return Grid.detect(lat, np.sort(lon % 360.0)).weights
    except InputError:
        weights = np.maximum(np.cos(np.radians(lat)), 1e-6)
        return weights / weights.mean()


def power(
    fields: NDArray[np.floating[Any]], lat: _Array, lon: _Array
) -> tuple[_Array, _Array, str]:
    """Power of fields by wavenumber from 1, averaged over the fields.

    Args:
        fields: ``[N, H, W]``, of any units, without missing values.
        lat: Latitudes of the rows, ascending.
        lon: Longitudes of the columns, ascending.

    Returns:
        Wavenumbers ``[K]``, power ``[K]`` in units squared, and the kind of wavenumber.
    """
    import torch

    from weather.sphere.grids import Grid
    from weather.sphere.harmonics import SphericalHarmonics
    from weather.sphere.spectra import power_spectrum

    east = lon % 360.0
    first = int(np.argmin(east))
    try:
        grid = Grid.detect(lat, np.roll(east, -first))
    except InputError:
        return _along_rows(fields, lat)
    turned = torch.as_tensor(np.roll(fields, -first, -1).astype(np.float64))
    harmonics = SphericalHarmonics(grid, min(grid.max_degree, 120))
    values = power_spectrum(turned, harmonics).mean(0).numpy()
    return np.arange(1.0, len(values)), values[1:], "total wavenumber"


def _along_rows(fields: NDArray[np.floating[Any]], lat: _Array) -> tuple[_Array, _Array, str]:
    weights = np.maximum(np.cos(np.radians(lat)), 0.0)
    rows = np.abs(np.fft.rfft(fields.astype(np.float64), norm="forward")) ** 2
    values = 2.0 * np.einsum("nhk,h->k", rows, weights) / (weights.sum() * len(fields))
    return np.arange(1.0, len(values)), values[1:], "wavenumber along longitude"


def spectra_figure(
    display: Display,
    maps: Sequence[LeadFields],
    names: Sequence[str],
    lat: _Array,
    lon: _Array,
    name: str,
) -> tuple[str, bytes] | None:
    """Spectra of the members at the first and last lead, of the last mean, and of the truth.

    Args:
        display: How the variable is shown.
        maps: Fields by lead.
        names: The leads in words.
        lat: Latitudes of the rows.
        lon: Longitudes of the columns.
        name: Unique in the page.

    Returns:
        SVG and PNG; None where values are missing.
    """
    if not all(np.isfinite(one.members).all() for one in maps):
        return None
    last = maps[-1]
    curves: list[tuple[NDArray[Any], dict[str, Any]]] = [
        (maps[0].members, {"color": LINES[5], "label": f"members, {names[0]}"})
    ]
    if len(maps) > 1:
        curves.append((last.members, {"color": BLUE, "label": f"members, {names[-1]}"}))
    if len(last.members) > 1:
        style = {"color": ORANGE, "ls": "--", "label": f"mean, {names[-1]}"}
        curves.append((last.mean[None], style))
    if last.truth is not None and np.isfinite(last.truth).all():
        curves.append((last.truth, {"color": INK, "ls": ":", "label": f"truth, {names[-1]}"}))
    with new_figure(4.6, 3.3) as figure:
        axis = figure.subplots()
        kind = ""
        for fields, style in curves:
            wavenumber, values, kind = power(fields, lat, lon)
            axis.loglog(wavenumber, np.maximum(values, 1e-300), lw=1.6, **style)
        units = f" ({squared(display.difference_units)})" if display.difference_units else ""
        axis.set(xlabel=kind, ylabel=f"power{units}", title=display.label)
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_formatter(lambda value, position: f"{value:g}")
            one.set_minor_formatter(lambda value, position: "")
        axis.grid(True, which="major")
        axis.legend(fontsize=7.5, loc="lower left")
        return svg_text(figure, name, f"Power spectra of {display.label}"), png_bytes(figure)


def rank_shares(
    members: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
    weights: _Array,
    seed: int = 0,
) -> _Array:
    """Share of the area at each rank of the truth among the members, ``[M + 1]``.

    Ties are broken at random (much precipitation is exactly zero). Several truths count alike.

    Args:
        members: ``[M, H, W]``.
        truth: ``[T, H, W]``.
        weights: Area weights of the rows, ``[H]``.
        seed: Of the ties.
    """
    rng = np.random.default_rng(seed)
    area = np.broadcast_to(weights[:, None], members.shape[1:])
    shares = np.zeros(len(members) + 1)
    for one in truth:
        below = (members < one).sum(0)
        ties = (members == one).sum(0)
        rank = below + np.floor(rng.random(one.shape) * (ties + 1)).astype(np.int64)
        known = np.isfinite(one) & np.isfinite(members).all(0)
        shares += np.bincount(rank[known], weights=area[known], minlength=len(shares))
    return shares / shares.sum()


def rank_figure(
    display: Display, maps: Sequence[LeadFields], names: Sequence[str], weights: _Array, name: str
) -> tuple[str, bytes] | None:
    """Rank histograms by lead; None without truth or with a single member.

    Args:
        display: How the variable is shown.
        maps: Fields by lead.
        names: The leads in words.
        weights: Area weights of the rows, ``[H]``.
        name: Unique in the page.

    Returns:
        SVG and PNG.
    """
    known = [
        (one, word)
        for one, word in zip(maps, names, strict=True)
        if one.truth is not None and len(one.members) > 1
    ]
    if not known:
        return None
    with new_figure(9.4, 2.5) as figure:
        axes = np.atleast_1d(np.asarray(figure.subplots(1, len(known), sharey=True)))
        for axis, (one, word) in zip(axes, known, strict=True):
            truth = one.truth if one.truth is not None else one.members[:0]
            shares = rank_shares(one.members, truth, weights)
            group = -(-len(shares) // _MOST_BARS)
            shares = np.add.reduceat(shares, np.arange(0, len(shares), group))
            sizes = np.diff(np.append(np.arange(0, len(one.members) + 1, group),
                                      len(one.members) + 1))  # fmt: skip
            flat = sizes / (len(one.members) + 1)
            axis.bar(np.arange(len(shares)), shares / flat, 0.9, color=BLUE, alpha=0.75)
            axis.axhline(1.0, color=GREY, lw=0.9)
            axis.set_title(word, fontsize=9)
            axis.set_xticks([0, len(shares) - 1], ["lowest", "highest"], fontsize=8)
        axes[0].set_ylabel("share / uniform share", fontsize=8.5)
        figure.suptitle(f"{display.label}: rank of the truth among the members", fontsize=10,
                        fontweight="bold", x=0.01, ha="left")  # fmt: skip
        return svg_text(figure, name, f"Rank histograms of {display.label}"), png_bytes(figure)


def scores(fields: LeadFields, weights: _Array) -> dict[str, float] | None:
    r"""Error and spread over the area of the map; None without truth or with one member.

    Averaged over equally valid truths: RMSE of the mean, spread
    :math:`\sqrt{\tfrac{M+1}{M}\overline{s^2}}` comparable with it, and the fair CRPS
    (Ferro 2014).

    Args:
        fields: Members and truths at one lead.
        weights: Area weights of the rows, ``[H]``.
    """
    if fields.truth is None or len(fields.members) < 2:
        return None
    size = len(fields.members)
    members = np.sort(fields.members.astype(np.float64), 0)
    coefficients = 2.0 * np.arange(1, size + 1) - size - 1
    within = np.einsum("mhw,m->hw", members, coefficients) / (size * (size - 1))
    square, crps = [], []
    for one in fields.truth.astype(np.float64):
        square.append((members.mean(0) - one) ** 2)
        crps.append(np.abs(members - one).mean(0) - within)
    error = np.sqrt(_area_mean(np.mean(square, 0), weights))
    spread = np.sqrt((size + 1) / size * _area_mean(members.var(0, ddof=1), weights))
    return {
        "rmse": float(error),
        "spread": float(spread),
        "ratio": float(spread / error) if error > 0 else float("nan"),
        "crps": float(_area_mean(np.mean(crps, 0), weights)),
    }


def _area_mean(field: _Array, weights: _Array) -> float:
    area = np.broadcast_to(weights[:, None], field.shape)
    known = np.isfinite(field)
    return float((field[known] * area[known]).sum() / max(area[known].sum(), 1e-300))

"""From lows at single times to tracks: each low continues the nearest one before it.

Lows of one member at neighbouring times are linked if each is the nearest to the other that is not
linked yet, and if they are not farther apart than a low can move. A low without a predecessor
begins a track, one without a successor ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from weather.sphere.grids import unit_vectors
from weather.tracks.lows import KM_PER_RADIAN, Lows

__all__ = ["Tracks", "link"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Tracks:
    """Positions of lows in the order of tracks and, within each, of time; N of them.

    Attributes:
        track: Number of the track, from 0 in every member `[N]`.
        member: Whose it is `[N]`.
        lead: Position among the leads `[N]`.
        lat: Degrees north `[N]`.
        lon: Degrees east `[N]`.
        pressure: Of the centre `[N]`.
    """

    track: Integers
    member: Integers
    lead: Integers
    lat: Floats
    lon: Floats
    pressure: Floats

    def segments(self) -> Integers:
        """Places of the positions that the next one continues `[S]`."""
        same = (np.diff(self.track) == 0) & (np.diff(self.member) == 0)
        return np.flatnonzero(same)


def link(lows: Sequence[Lows], limits_km: Sequence[float], shortest: int = 2) -> Tracks:
    """Link the lows of consecutive leads.

    Args:
        lows: Of every lead, L of them.
        limits_km: How far a low can move from each lead to the next, L - 1 numbers.
        shortest: Tracks of fewer positions are left out.
    """
    sizes = [len(one.member) for one in lows]
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    member, lat, lon, pressure = (
        np.concatenate([getattr(one, name) for one in lows] or [np.empty(0)])
        for name in ("member", "lat", "lon", "pressure")
    )
    lead = np.repeat(np.arange(len(lows)), sizes)
    root = np.arange(first[-1])  # the first position of the track of each position
    points = unit_vectors(lat, lon) if len(lat) else np.empty((0, 3))
    for n, limit in enumerate(limits_km):
        before = np.arange(first[n], first[n + 1])
        after = np.arange(first[n + 1], first[n + 2])
        for a, b in _pairs(points, member, before, after, limit):
            root[b] = root[a]
    _, number, count = np.unique(root, return_inverse=True, return_counts=True)
    keep = np.flatnonzero(count[number] >= shortest)
    order = keep[np.lexsort((lead[keep], root[keep], member[keep]))]
    track = _from_zero(member[order].astype(np.int64), root[order])
    return Tracks(
        track, member[order].astype(np.int64), lead[order], lat[order], lon[order],
        pressure[order],
    )  # fmt: skip


def _pairs(
    points: Floats, member: Floats, before: Integers, after: Integers, limit: float
) -> Sequence[tuple[Integers, Integers]]:
    """Mutual nearest neighbours, again and again among those that are left."""
    found = []
    chord = _chord(limit)
    while len(before) and len(after):
        gap = np.linalg.norm(points[before][:, None] - points[after][None], axis=-1)
        gap = np.where(member[before][:, None] == member[after][None], gap, np.inf)
        forth, back = gap.argmin(1), gap.argmin(0)
        rows = np.arange(len(before))
        mutual = (back[forth] == rows) & (gap[rows, forth] <= chord)
        if not mutual.any():
            break
        found.append((before[mutual], after[forth[mutual]]))
        left = np.ones(len(after), dtype=bool)
        left[forth[mutual]] = False
        before, after = before[~mutual], after[left]
    return found


def _chord(km: float) -> float:
    """Straight distance on the unit sphere of points some kilometres apart."""
    return 2.0 * float(np.sin(min(km / KM_PER_RADIAN, np.pi) / 2.0)) + 1e-12


def _from_zero(member: Integers, root: Integers) -> Integers:
    """Number the tracks of every member from 0; positions are in order."""
    if not len(member):
        return np.empty(0, dtype=np.int64)
    new = np.concatenate([[True], (np.diff(root) != 0) | (np.diff(member) != 0)])
    whole = np.cumsum(new) - 1
    starts = np.flatnonzero(np.concatenate([[True], np.diff(member) != 0]))
    base = whole[starts][np.searchsorted(starts, np.arange(len(member)), side="right") - 1]
    return (whole - base).astype(np.int64)

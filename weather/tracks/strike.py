r"""Strike probability: the share of the members of which a low passes near a place.

The distance of a place from a track is that from the great circles between its positions: with
ends :math:`a,b` and :math:`n=a\times b/|a\times b|`, the distance of :math:`x` is
:math:`|\arcsin n\cdot x|` where the foot of the perpendicular lies between the ends, and that from
the nearer end elsewhere. The usual distance is 120 km (van der Grijn 2002).

Reference:
    van der Grijn, *Tropical cyclone forecasting at ECMWF: new products and validation*, ECMWF
    Technical Memorandum 386 (2002).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from weather.sphere.grids import unit_vectors
from weather.tracks.linking import Tracks
from weather.tracks.lows import KM_PER_RADIAN

__all__ = ["STRIKE_KM", "strike_probability"]

STRIKE_KM: Final = 120.0
"""Kilometres within which a low strikes a place."""

_CHUNK: Final = 1 << 21

Floats = NDArray[np.float64]


def strike_probability(
    tracks: Tracks, members: int, lat: Floats, lon: Floats, distance_km: float = STRIKE_KM
) -> Floats:
    """Share of the members of which a track passes within a distance.

    Args:
        tracks: Of all members.
        members: Number of members, with or without tracks.
        lat: Degrees north, any shape.
        lon: Degrees east, of the same shape.
        distance_km: How near.

    Returns:
        Probabilities of the shape of `lat`.
    """
    places = unit_vectors(lat, lon).reshape(-1, 3)
    hit = np.zeros((members, len(places)), dtype=bool)
    points = unit_vectors(tracks.lat, tracks.lon).reshape(-1, 3)
    first = tracks.segments()
    step = max(1, _CHUNK // max(len(places), 1))
    for start in range(0, len(first), step):
        some = first[start : start + step]
        near = _angle(points[some], points[some + 1], places) * KM_PER_RADIAN <= distance_km
        np.logical_or.at(hit, tracks.member[some], near)
    return hit.mean(0).reshape(np.shape(lat))


def _angle(a: Floats, b: Floats, x: Floats) -> Floats:
    """Angle between points and arcs `[S, P]`, of ends `[S, 3]` and points `[P, 3]`."""
    normal = np.cross(a, b)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    unit = np.divide(normal, length, out=np.zeros_like(normal), where=length > 1e-12)
    # The foot lies between the ends if it is on the inner side of both.
    between = (np.cross(unit, a) @ x.T >= 0) & (np.cross(b, unit) @ x.T >= 0)
    between &= length > 1e-12
    across = np.abs(np.arcsin(np.clip(unit @ x.T, -1.0, 1.0)))
    ends = np.minimum(_apart(a, x), _apart(b, x))
    return np.where(between, across, ends)


def _apart(a: Floats, x: Floats) -> Floats:
    """Angles between unit vectors `[S, P]`, exact also where they are small."""
    chord = np.sqrt(np.maximum(2.0 - 2.0 * (a @ x.T), 0.0))
    return 2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))

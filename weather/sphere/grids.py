r"""Global latitude-longitude grids, with the quadrature that integrates over them.

A grid is a kind and a size, written ``gaussian-32x64``. Latitudes run from south to north,
longitudes from 0 to the east, both in degrees. With :math:`x = \sin(\text{latitude})`,

* *gaussian*: x are the roots of the Legendre polynomial :math:`P_H` (Gauss--Legendre);
* *equiangular*: latitudes are the centres of H equal cells, none at a pole (Fejér's first rule);
* *regular*: latitudes are evenly spaced and include both poles (Clenshaw--Curtis).

The weights of a row are proportional to its area and have mean 1, so that the average over the
sphere is ``(weights[:, None] * field).mean()``. It is exact for spherical harmonics up to
`Grid.exact_degree`: 2H - 1 for Gauss--Legendre, H - 1 for the other two (H if H is odd, by
symmetry), and below W. Davis and Rabinowitz, *Methods of Numerical Integration*, 2.5 and 2.7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciddiff.errors import InputError

__all__ = ["Grid", "GridKind", "great_circle", "unit_vectors"]

GridKind = Literal["gaussian", "equiangular", "regular"]
Array = NDArray[np.float64]

# Latitudes and longitudes may be off by this part of the spacing: files round them.
_TOLERANCE = 0.01


@final
@dataclass(frozen=True)
class Grid:
    """A global grid of ``height`` latitudes by ``width`` longitudes.

    Attributes:
        kind: Where the latitudes are.
        height: Number of latitudes, H.
        width: Number of longitudes, W.

    Raises:
        InputError: The kind is unknown or the size too small.
    """

    kind: GridKind
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.kind not in get_args(GridKind):
            raise InputError(
                f"grid: kind {self.kind!r} is unknown; choose from {', '.join(get_args(GridKind))}"
            )
        if self.height < 3 or self.width < 4:
            raise InputError(f"grid: {self} is too small; at least 3x4 points are needed")

    def __str__(self) -> str:
        return f"{self.kind}-{self.height}x{self.width}"

    @classmethod
    def parse(cls, text: str) -> Grid:
        """Return the grid of a name such as ``gaussian-32x64`` (latitudes x longitudes).

        Raises:
            InputError: The text names no grid.
        """
        match = re.fullmatch(r"([a-z]+)-(\d{1,5})x(\d{1,5})", text.strip())
        if match is None:
            raise InputError(
                f"grid: {text!r} is not KIND-HEIGHTxWIDTH; write for example gaussian-32x64"
            )
        return cls(cast(GridKind, match[1]), int(match[2]), int(match[3]))

    @classmethod
    def detect(cls, lat: ArrayLike, lon: ArrayLike) -> Grid:
        """Return the grid with these coordinates.

        Args:
            lat: Latitudes in degrees, south to north, ``[H]``.
            lon: Longitudes in degrees, from 0 to the east, ``[W]``.

        Raises:
            InputError: The coordinates are not finite, not in order, or of no known grid.
        """
        latitudes, longitudes = _coordinate("latitude", lat), _coordinate("longitude", lon)
        height, width = len(latitudes), len(longitudes)
        if height < 3 or width < 4:
            raise InputError(f"grid: {height}x{width} points; a global grid has at least 3x4")
        _check_longitudes(longitudes)
        if np.abs(latitudes).max() > 90.0 + 1e-3:
            raise InputError("latitude: beyond 90 degrees; give degrees north")
        if (np.diff(latitudes) <= 0).any():
            order = "runs north to south; reverse it" if (np.diff(latitudes) < 0).all() else (
                "is not monotonic; sort it"
            )  # fmt: skip
            raise InputError(f"latitude: {order}")
        for kind in get_args(GridKind):
            grid = cls(kind, height, width)
            if np.abs(grid.lat - latitudes).max() < _TOLERANCE * 180.0 / height:
                return grid
        raise InputError(
            f"latitude: {height} values from {latitudes[0]:g} to {latitudes[-1]:g} are neither "
            "Gaussian, nor cell centres, nor evenly spaced from pole to pole; regrid"
        )

    @cached_property
    def _nodes(self) -> tuple[Array, Array]:
        """Latitudes in degrees and weights of mean 1, each ``[H]``."""
        n = self.height
        if self.kind == "gaussian":
            x, weights = np.polynomial.legendre.leggauss(n)
            lat = np.degrees(np.arcsin(x))
        elif self.kind == "equiangular":
            lat = (np.arange(n) + 0.5) * (180.0 / n) - 90.0
            weights = _fejer(n)
        else:
            lat = np.linspace(-90.0, 90.0, n)
            weights = _clenshaw_curtis(n)
        # Exactly symmetric about the equator, so that mirrored fields have mirrored results.
        lat, weights = 0.5 * (lat - lat[::-1]), 0.5 * (weights + weights[::-1])
        return _frozen(lat), _frozen(weights / weights.mean())

    @property
    def lat(self) -> Array:
        """Latitudes in degrees, south to north, ``[H]``."""
        return self._nodes[0]

    @cached_property
    def lon(self) -> Array:
        """Longitudes in degrees, from 0 to the east, ``[W]``."""
        return _frozen(np.arange(self.width) * (360.0 / self.width))

    @property
    def weights(self) -> Array:
        """Quadrature weight of each row, mean 1, ``[H]``."""
        return self._nodes[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    @property
    def exact_degree(self) -> int:
        """Largest degree l up to which every spherical harmonic is integrated exactly."""
        rows = 2 * self.height - 1 if self.kind == "gaussian" else self.height - 1
        rows += self.kind != "gaussian" and self.height % 2
        return min(rows, self.width - 1)

    @property
    def band_limit(self) -> int:
        """Largest degree whose harmonics are orthonormal under the quadrature."""
        return self.exact_degree // 2

    @property
    def max_degree(self) -> int:
        """Largest degree at which the values on the grid still tell all harmonics apart."""
        rows = self.height - (2 if self.kind == "regular" else 1)
        return min(rows, (self.width - 1) // 2)

    @cached_property
    def lat_bounds(self) -> Array:
        """Edges of the rows in degrees, south to north, ``[H + 1]``.

        Half-way between the latitudes; for Gaussian grids the rows whose area is the quadrature
        weight (they interlace with the latitudes, by Chebyshev, Markov and Stieltjes), so that a
        conservative average of rows is the quadrature.
        """
        if self.kind == "gaussian":
            edges = np.concatenate([[0.0], np.cumsum(self.weights)]) * (2.0 / self.height) - 1.0
            inner = np.degrees(np.arcsin(np.clip(edges[1:-1], -1.0, 1.0)))
        else:
            inner = 0.5 * (self.lat[1:] + self.lat[:-1])
        return _frozen(np.concatenate([[-90.0], 0.5 * (inner - inner[::-1]), [90.0]]))

    @cached_property
    def lon_bounds(self) -> Array:
        """Edges of the columns in degrees, the first half a cell west of 0, ``[W + 1]``."""
        return _frozen((np.arange(self.width + 1) - 0.5) * (360.0 / self.width))

    def unit_vectors(self) -> Array:
        """Points on the unit sphere, x towards (0N, 0E) and z north, ``[H, W, 3]``."""
        return unit_vectors(self.lat[:, None], self.lon[None, :])


def unit_vectors(lat: ArrayLike, lon: ArrayLike) -> Array:
    """Points on the unit sphere, x towards (0N, 0E) and z north.

    Args:
        lat: Degrees, broadcastable against ``lon``.
        lon: Degrees.

    Returns:
        ``[..., 3]``.
    """
    phi, lam = np.broadcast_arrays(np.radians(lat), np.radians(lon))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)


def great_circle(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Array:
    """Return the angular distance between points, all in degrees; arguments broadcast.

    Vincenty's form, exact at every distance. Times 111.195 it is in km.
    """
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    dlam = np.radians(np.subtract(lon2, lon1))
    east = np.cos(phi2) * np.sin(dlam)
    north = np.cos(phi1) * np.sin(phi2) - np.sin(phi1) * np.cos(phi2) * np.cos(dlam)
    cosine = np.sin(phi1) * np.sin(phi2) + np.cos(phi1) * np.cos(phi2) * np.cos(dlam)
    return np.degrees(np.arctan2(np.hypot(east, north), cosine))


def _frozen(values: NDArray[np.floating[Any]]) -> Array:
    fixed = np.array(values, dtype=np.float64)
    fixed.setflags(write=False)
    return fixed


def _coordinate(name: str, values: ArrayLike) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not numbers; give degrees") from error
    if array.ndim != 1:
        raise InputError(f"{name}: {array.ndim} dimensions; a latitude-longitude grid has one")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: holds missing or infinite values; repair the coordinate")
    return array


def _check_longitudes(lon: Array) -> None:
    width = len(lon)
    step = 360.0 / width
    east = lon - lon[0]
    if np.abs(east - np.arange(width) * step).max() > _TOLERANCE * step:
        span = f"{width} values from {lon[0]:g} to {lon[-1]:g}"
        if abs(east[-1] - 360.0) < _TOLERANCE * step:
            raise InputError(f"longitude: {span}; the last repeats the first, drop it")
        raise InputError(f"longitude: {span} are not evenly spaced around the globe; regrid")
    if abs(lon[0]) > _TOLERANCE * step:
        raise InputError(f"longitude: begins at {lon[0]:g}; roll or regrid so that it begins at 0")


def _cosine_series(theta: Array, degree: int, last: float) -> Array:
    """Sum over even k of the integrals of cos(k theta): the common part of both rules."""
    k = np.arange(2, degree + 1, 2)
    factor = np.full(len(k), 2.0)
    if len(k) and k[-1] == degree:
        factor[-1] *= last
    return 1.0 - (factor * np.cos(np.outer(theta, k)) / (k**2 - 1.0)).sum(1)


def _fejer(n: int) -> Array:
    """Fejér's first rule at ``cos((j + 1/2) pi / n)``, up to a factor."""
    theta = (np.arange(n) + 0.5) * np.pi / n
    return _cosine_series(theta, n - 1, 1.0)


def _clenshaw_curtis(n: int) -> Array:
    """Clenshaw--Curtis at ``cos(j pi / (n - 1))``, up to a factor."""
    weights = _cosine_series(np.arange(n) * np.pi / (n - 1), n - 1, 0.5)
    weights[[0, -1]] *= 0.5
    return weights

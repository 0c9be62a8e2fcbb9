r"""The observation operator: fields on a latitude-longitude grid to values at points.

Bilinear in latitude and longitude, :math:`(Hx)_k = \sum_{j=1}^{4} w_{kj}\,x_{i(k,j)}`. On a global
grid longitude is a circle, and beyond the last row the next one is the same row on the opposite
meridian, where both components of a vector point the other way. Exact for fields linear in
latitude and longitude within a cell; of second order in the spacing for smooth ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciddiff.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["PointOperator", "is_global"]

_Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class PointOperator:
    """Interpolation from a grid of H x W to K points.

    Attributes:
        index: The four grid points of each, flat over the grid, int64 ``[K, 4]``.
        weight: Their weights, of sum 1, ``[K, 4]``.
        crossed: True where a grid point lies beyond the pole, seen from the point, ``[K, 4]``.
    """

    index: NDArray[np.int64]
    weight: _Array
    crossed: NDArray[np.bool_]

    @classmethod
    def build(
        cls, grid_lat: ArrayLike, grid_lon: ArrayLike, lat: ArrayLike, lon: ArrayLike
    ) -> PointOperator:
        """Build the operator for the given points.

        Args:
            grid_lat: Latitudes of the rows in degrees, ascending, ``[H]``.
            grid_lon: Longitudes of the columns in degrees, ascending, ``[W]``; a grid that goes
                round the globe closes on itself.
            lat: Latitudes of the points, degrees north, ``[K]``.
            lon: Longitudes of the points, degrees east, any turn, ``[K]``.

        Raises:
            InputError: A point is not on the globe, or outside a regional grid.
        """
        rows, columns = _vector(grid_lat), _vector(grid_lon)
        lat, lon = np.broadcast_arrays(_vector(lat), _vector(lon))
        wrong = ~(np.abs(lat) <= 90.0) | ~np.isfinite(lon)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise InputError(
                f"place {lat[k]:g}, {lon[k]:g}: not on the globe; give degrees north in -90..90 "
                "and degrees east"
            )
        around = is_global(columns)
        low, high, up = _rows(rows, lat, around)
        if around:
            left, right, east = _circle(columns, lon)
            left2, right2, east2 = _circle(columns, lon + 180.0)
        else:
            left, right, east = _segment(columns, lon, lat)
            left2, right2, east2 = left, right, east
        # A row beyond the pole (low < 0 or high >= H) is the outermost one, half a turn on.
        south, north = low < 0, high >= len(rows)
        width = len(columns)
        corners, weights, crossed = [], [], []
        for row, share, beyond in ((low, 1.0 - up, south), (high, up, north)):
            real = np.clip(row, 0, len(rows) - 1)
            for column, other, along, other_along in (
                (left, left2, 1.0 - east, 1.0 - east2),
                (right, right2, east, east2),
            ):
                corners.append(real * width + np.where(beyond, other, column))
                weights.append(share * np.where(beyond, other_along, along))
                crossed.append(beyond)
        return cls(
            np.stack(corners, 1).astype(np.int64), np.stack(weights, 1), np.stack(crossed, 1)
        )

    def __len__(self) -> int:
        return len(self.index)

    def signed(self, vector: ArrayLike) -> PointOperator:
        """The operator for components of vectors, which change sign beyond a pole.

        Args:
            vector: Whether each point observes such a component, bool ``[K]``.
        """
        turn = np.asarray(vector, dtype=bool)[:, None] & self.crossed
        return PointOperator(self.index, np.where(turn, -self.weight, self.weight), self.crossed)

    def array(self, fields: NDArray[np.floating]) -> NDArray[np.floating]:
        """Values at the points: ``[..., H, W]`` to ``[..., K]``."""
        flat = fields.reshape(*fields.shape[:-2], -1)
        return np.einsum("...kj,kj->...k", flat[..., self.index], self.weight.astype(flat.dtype))

    def __call__(self, fields: Tensor, channel: Tensor | None = None) -> Tensor:
        """Values at the points, differentiable.

        Args:
            fields: ``[..., H, W]``, or ``[..., C, H, W]`` with ``channel``.
            channel: The channel that each point observes, int64 ``[K]``.

        Returns:
            ``[..., K]``.
        """
        index, weight = _on_device(self, fields.device, fields.dtype)
        size = fields.shape[-2] * fields.shape[-1]
        flat = fields.flatten(-2)
        if channel is not None:
            flat = flat.flatten(-2)
            index = index + channel.to(index)[:, None] * size
        return (flat[..., index] * weight).sum(-1)


@lru_cache(maxsize=16)
def _on_device(
    operator: PointOperator, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Indices and weights, sent to a device once and not at every call of the network."""
    import torch

    index = torch.as_tensor(operator.index, device=device)
    return index, torch.as_tensor(operator.weight, device=device, dtype=dtype)


def is_global(lon: ArrayLike) -> bool:
    """Whether ascending longitudes ``[W]`` in degrees go round the globe."""
    lon = _vector(lon)
    if len(lon) < 3:
        return False
    gap = lon[0] + 360.0 - lon[-1]
    return bool(gap <= 1.5 * np.diff(lon).max())


def _vector(values: ArrayLike) -> _Array:
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def _rows(rows: _Array, lat: _Array, around: bool) -> tuple[NDArray, NDArray, _Array]:
    """Rows south and north of each point, -1 and H beyond the poles, and the northern share."""
    high = np.searchsorted(rows, lat, side="right")
    if around:
        # A belt that stops short of a pole has nothing beyond its last row.
        reach = 1.5 * float(np.diff(rows).max(initial=0.0))
        ends = (
            -90.0 if rows[0] + 90.0 <= reach else rows[0],
            90.0 if 90.0 - rows[-1] <= reach else rows[-1],
        )
        _inside(lat, np.array(ends), lat, "latitude")
        # Points on a pole that has a row belong to the last cell, not beyond it.
        high = np.where((high == len(rows)) & (lat == rows[-1]), len(rows) - 1, high)
        beyond = np.concatenate([[-180.0 - rows[0]], rows, [180.0 - rows[-1]]])
        south, north = beyond[high], beyond[high + 1]
    else:
        _inside(lat, rows, lat, "latitude")
        high = np.clip(high, 1, len(rows) - 1)
        south, north = rows[high - 1], rows[high]
    return high - 1, high, (lat - south) / (north - south)


def _circle(columns: _Array, lon: _Array) -> tuple[NDArray, NDArray, _Array]:
    """Columns west and east of each point on the circle, and the eastern share."""
    lon = (lon - columns[0]) % 360.0 + columns[0]
    ends = np.append(columns, columns[0] + 360.0)
    left = np.clip(np.searchsorted(ends, lon, side="right") - 1, 0, len(columns) - 1)
    share = (lon - ends[left]) / (ends[left + 1] - ends[left])
    return left, (left + 1) % len(columns), share


def _segment(columns: _Array, lon: _Array, lat: _Array) -> tuple[NDArray, NDArray, _Array]:
    """Columns west and east of each point in a region, and the eastern share."""
    middle = 0.5 * (columns[0] + columns[-1])
    lon = (lon - middle + 180.0) % 360.0 - 180.0 + middle
    _inside(lon, columns, lat, "longitude")
    right = np.clip(np.searchsorted(columns, lon, side="right"), 1, len(columns) - 1)
    west, east = columns[right - 1], columns[right]
    return right - 1, right, (lon - west) / (east - west)


def _inside(values: _Array, axis: _Array, lat: _Array, word: str) -> None:
    outside = (values < axis[0]) | (values > axis[-1])
    if outside.any():
        k = int(np.argmax(outside))
        raise InputError(
            f"place at latitude {lat[k]:g}: {word} {values[k]:g} is outside the grid "
            f"({axis[0]:g} to {axis[-1]:g}); choose one inside"
        )

r"""Regridding between latitude-longitude grids by sparse matrices, one per axis.

Both methods are linear and separable, :math:`y = A x B^T` with :math:`A` over latitudes and
:math:`B` over longitudes:

* *conservative*, first order: every target cell is the area-weighted mean of the source cells it
  overlaps (Jones 1999, Mon. Weather Rev. 127, 2204). The cells of a named grid have the areas of
  its quadrature weights, so that the area mean is conserved to rounding;
* *bilinear*: linear between latitudes and between longitudes. Beyond the outermost row lies the
  same row half a turn away, with vector components of opposite sign.

Missing values (NaN) take no part: a target cell is the mean over the valid part of its sources,
or NaN where that part is less than half.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.rectangles import AnyGrid, Rectangle, row_edges
from weather.sphere.grids import Grid

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Method", "Regridder"]

Method = Literal["conservative", "bilinear"]
Array = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Regridder:
    """Map from one grid to another.

    Attributes:
        source: Grid of the fields given.
        target: Grid of the fields wanted.
        method: ``conservative`` or ``bilinear``.

    Raises:
        InputError: The method is unknown, or the source does not cover the target.
    """

    source: AnyGrid
    target: AnyGrid
    method: Method = "conservative"

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(
                f"--method {self.method}: unknown; choose from {', '.join(get_args(Method))}"
            )
        source = self.source
        if isinstance(source, Rectangle) and not source.is_global and self.source != self.target:
            raise InputError(
                f"grid: the files cover a region only ({source.describe()}), {self.target} is "
                "global; leave --grid out to keep the region"
            )

    @property
    def identity(self) -> bool:
        """Source and target are the same."""
        return self.source == self.target

    def __call__(self, fields: NDArray, vector: bool = False) -> NDArray[np.float32]:
        """Regrid.

        Args:
            fields: ``[..., h, w]``, south to north; NaN where missing.
            vector: A component of a vector (matters next to the poles, bilinear only).

        Returns:
            ``[..., H, W]`` float32.
        """
        if self.identity:
            return np.asarray(fields, dtype=np.float32)
        missing = np.isnan(fields)
        if not missing.any():
            return self._apply(fields, vector).astype(np.float32)
        valid = self._apply((~missing).astype(np.float64), False)
        values = self._apply(np.where(missing, 0.0, fields), vector)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(valid >= 0.5, values / valid, np.nan).astype(np.float32)

    @cached_property
    def matrices(self) -> tuple[csr_matrix, csr_matrix]:
        """``A [H, h (+2)]`` over latitudes and ``B [W, w]`` over longitudes."""
        from scipy.sparse import csr_matrix

        if self.method == "conservative":
            rows, columns = _conservative(self.source, self.target)
        else:
            rows = _linear(self.target.lat, _beyond_poles(self.source.lat))
            columns = _linear_lon(self.target.lon, self.source)
        return csr_matrix(rows), csr_matrix(columns)

    @cached_property
    def _half_turn(self) -> csr_matrix:
        from scipy.sparse import csr_matrix

        return csr_matrix(_linear_lon(self.source.lon + 180.0, self.source))

    def _apply(self, fields: NDArray, vector: bool) -> Array:
        a, b = self.matrices
        x = np.asarray(fields, dtype=np.float64).reshape(-1, *fields.shape[-2:])
        if self.method == "bilinear":
            sign = -1.0 if vector else 1.0
            south, north = (sign * (self._half_turn @ x[:, i].T).T[:, None] for i in (0, -1))
            x = np.concatenate([south, x, north], 1)
        n, h, w = x.shape
        y = (b @ x.reshape(n * h, w).T).reshape(-1, n, h)  # [W, n, h]
        y = a @ y.transpose(2, 1, 0).reshape(h, -1)  # [H, n * W]
        out = y.reshape(self.target.height, n, self.target.width).transpose(1, 0, 2)
        return out.reshape(*fields.shape[:-2], *self.target.shape)


def _conservative(source: AnyGrid, target: AnyGrid) -> tuple[Array, Array]:
    rows = _overlap(row_edges(target), row_edges(source))
    columns = sum(
        _overlap(target.lon_bounds, source.lon_bounds + turn) for turn in (-360.0, 0.0, 360.0)
    )
    columns = np.asarray(columns)
    for matrix in (rows, columns):
        # Fractions of a cell sum to one already, to rounding.
        matrix /= matrix.sum(1, keepdims=True)
    return rows, columns


def _overlap(target: Array, source: Array) -> Array:
    """Length of every target interval in every source interval, ``[targets, sources]``."""
    top = np.minimum(target[1:, None], source[None, 1:])
    bottom = np.maximum(target[:-1, None], source[None, :-1])
    return np.maximum(top - bottom, 0.0)


def _beyond_poles(lat: Array) -> Array:
    return np.concatenate([[-180.0 - lat[0]], lat, [180.0 - lat[-1]]])


def _linear(x: Array, nodes: Array) -> Array:
    """Weights of linear interpolation at `x`, ``[len(x), len(nodes)]``."""
    # Nodes may coincide at a pole; searching from the right side keeps the interval open.
    hi = np.clip(np.searchsorted(nodes, x, side="right"), 1, len(nodes) - 1)
    gap = nodes[hi] - nodes[hi - 1]
    share = np.divide(x - nodes[hi - 1], gap, out=np.zeros_like(gap), where=gap > 0)
    share = np.clip(share, 0.0, 1.0)
    weights = np.zeros((len(x), len(nodes)))
    rows = np.arange(len(x))
    np.add.at(weights, (rows, hi - 1), 1.0 - share)
    np.add.at(weights, (rows, hi), share)
    return weights


def _linear_lon(x: Array, grid: Grid | Rectangle) -> Array:
    if isinstance(grid, Rectangle) and not grid.wraps:
        return _linear(x, grid.lon)
    start = grid.lon[0]
    weights = _linear(start + (x - start) % 360.0, np.append(grid.lon, start + 360.0))
    weights[:, 0] += weights[:, -1]
    return weights[:, :-1]

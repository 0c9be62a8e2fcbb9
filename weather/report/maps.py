r"""Maps: the globe in the Equal Earth projection, a region in latitude and longitude.

Equal Earth (Šavrič, Patterson & Jenny 2018) keeps areas, so that a probability or a spread takes
the space it deserves: with :math:`\sin\theta = \tfrac{\sqrt3}{2}\sin\varphi`,

.. math:: x = \frac{2\sqrt3\,\lambda\cos\theta}{3(9A_4\theta^8+7A_3\theta^6+3A_2\theta^2+A_1)},
    \qquad y = A_4\theta^9 + A_3\theta^7 + A_2\theta^3 + A_1\theta .

Coastlines are Natural Earth's at 1:110 million, in the public domain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weather.assimilation.operator import is_global
from weather.data import surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MapFrame", "coastlines", "equal_earth"]

_Array = NDArray[np.float64]
_A = (1.340264, -0.081106, 0.000893, 0.003796)
_COAST = "#3a4754"
_INK = "#1c2733"


def equal_earth(lon: ArrayLike, lat: ArrayLike) -> tuple[_Array, _Array]:
    """Equal Earth coordinates of points in degrees, for a globe of unit radius."""
    lam, phi = np.radians(lon), np.radians(lat)
    theta = np.arcsin(np.sqrt(3.0) / 2.0 * np.sin(phi))
    square = theta**2
    slope = 9 * _A[3] * square**4 + 7 * _A[2] * square**3 + 3 * _A[1] * square + _A[0]
    x = 2.0 * np.sqrt(3.0) * lam * np.cos(theta) / (3.0 * slope)
    y = theta * (_A[3] * square**4 + _A[2] * square**3 + _A[1] * square + _A[0])
    return x, y


@lru_cache(maxsize=1)
def coastlines() -> tuple[_Array, _Array]:
    """`surface.coastlines` as drawn: NaN also where a line jumps over the date line."""
    lon, lat = (degrees.astype(np.float64) for degrees in surface.coastlines())
    # A line that jumps over the date line is two lines.
    jumps = np.flatnonzero(np.abs(np.diff(lon)) > 180.0) + 1
    return np.insert(lon, jumps, np.nan), np.insert(lat, jumps, np.nan)


@final
@dataclass(frozen=True, eq=False)
class MapFrame:
    """Where fields on one grid go on paper.

    All maps of a picture share one axis that covers it, in inches: laying out many axes takes
    longer than drawing the maps. `at` gives the frame of a map at its place.

    Attributes:
        lat: Latitudes of the rows, ascending, ``[H]``.
        lon: Longitudes of the columns, ascending, ``[W]``.
        x: Left edge on paper.
        y: Lower edge on paper.
        width: Width on paper.
        coasts: Draw the coasts of the Earth; no other planet has them.
    """

    lat: _Array
    lon: _Array
    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    coasts: bool = True

    def at(self, x: float, y: float, width: float) -> MapFrame:
        """The same map elsewhere on paper."""
        return replace(self, x=x, y=y, width=width)

    @cached_property
    def around(self) -> bool:
        """Whether the map shows the globe."""
        return is_global(self.lon) and self.lat[-1] - self.lat[0] > 150.0

    @property
    def aspect(self) -> float:
        """Height over width of the map."""
        low, high = self._bounds
        return float((high[1] - low[1]) / (high[0] - low[0]))

    @property
    def height(self) -> float:
        """Height on paper."""
        return self.width * self.aspect

    def project(self, lon: ArrayLike, lat: ArrayLike) -> tuple[_Array, _Array]:
        """Where points in degrees are on paper."""
        low, high = self._bounds
        scale = self.width / (high[0] - low[0])
        x, y = self._flat(lon, lat)
        return self.x + (x - low[0]) * scale, self.y + (y - low[1]) * scale

    def mesh(self, field: NDArray[np.floating]) -> tuple[_Array, _Array, NDArray[np.floating]]:
        """A field ``[H, W]`` with its seams closed, and where its points are on paper."""
        lat, lon = self.lat, self.lon
        if self.around:
            lon, field = _close_circle(lon, field)
            for edge, where in ((-90.0, 0), (90.0, -1)):
                if abs(lat[where] - edge) > 1e-6:
                    row = np.full_like(field[:1], field[where].mean())  # NaN stays NaN
                    field = np.concatenate((row, field) if where == 0 else (field, row), 0)
                    lat = np.concatenate(([edge], lat) if where == 0 else (lat, [edge]))
        return *self.project(*np.meshgrid(lon, lat)), field

    def prepare(self, axis: Axes, title: str = "", small: bool = False) -> None:
        """Outline, parallels, meridians and coasts.

        Args:
            axis: Covers the picture in inches.
            title: Above the map.
            small: Thinner lines and no grid, for many maps in one picture.
        """
        outline = np.stack(self.project(*self._outline()), 1)
        axis.plot(*np.vstack([outline, outline[:1]]).T, color="#9aa7b3", lw=0.6, zorder=6)
        if not small:
            self._graticule(axis)
        lon, lat = coastlines() if self.coasts else (np.empty(0), np.empty(0))
        # Copies on either side, for regions across the date line.
        for turn in (0.0,) if self.around or not self.coasts else (-360.0, 0.0, 360.0):
            self._line(axis, lon + turn, lat, color=_COAST, lw=0.35 if small else 0.6, zorder=5)
        if title:
            axis.text(
                self.x, self.y + self.height + (0.04 if small else 0.08), title, va="bottom",
                fontsize=7 if small else 9.5, fontweight="normal" if small else "bold",
            )  # fmt: skip

    def fill(
        self,
        axis: Axes,
        field: NDArray[np.floating],
        levels: Any,
        cmap: Any,
        extend: Literal["both", "neither"] = "both",
    ) -> Any:
        """Filled contours of a field ``[H, W]``; returns what a colour bar needs."""
        x, y, values = self.mesh(field)
        masked = np.ma.masked_invalid(values)
        return axis.contourf(x, y, masked, levels=levels, cmap=cmap, extend=extend)

    def contour(self, axis: Axes, field: NDArray[np.floating], levels: Any, **style: Any) -> None:
        """Contour lines of a field ``[H, W]``."""
        x, y, values = self.mesh(field)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        inside = [level for level in levels if low < level < high]
        if inside:  # matplotlib warns about levels that no line can have
            axis.contour(x, y, np.ma.masked_invalid(values), levels=inside, **style)

    def mark(self, axis: Axes, lat: float, lon: float, name: str) -> None:
        """A named point."""
        from matplotlib.patheffects import withStroke

        x, y = (float(one) for one in self.project(self.columns(lon), lat))
        axis.plot(x, y, "o", ms=3.2, mfc="white", mec=_INK, mew=0.8, zorder=8)
        axis.text(
            x + 0.05, y + 0.05, name, fontsize=6.5, zorder=8,
            path_effects=[withStroke(linewidth=1.6, foreground="white", alpha=0.8)],
        )  # fmt: skip

    def columns(self, lon: ArrayLike) -> _Array:
        """Longitudes as the map counts them: from its western edge on."""
        start = -180.0 if self.around else self.lon[0]
        return (np.asarray(lon, dtype=np.float64) - start) % 360.0 + start

    def path(self, axis: Axes, lon: _Array, lat: _Array, **style: Any) -> None:
        """Lines through points in degrees, which NaN and the seam of the map break."""
        lon = self.columns(lon)
        jumps = np.flatnonzero(np.abs(np.diff(lon)) > 180.0) + 1
        self._line(axis, np.insert(lon, jumps, np.nan), np.insert(lat, jumps, np.nan), **style)

    def _flat(self, lon: ArrayLike, lat: ArrayLike) -> tuple[_Array, _Array]:
        if self.around:
            return equal_earth(lon, lat)
        squeeze = np.cos(np.radians(0.5 * (self.lat[0] + self.lat[-1])))
        return np.asarray(lon, np.float64) * max(squeeze, 0.2), np.asarray(lat, np.float64)

    @property
    def _box(self) -> tuple[float, float, float, float]:
        if self.around:
            return -180.0, 180.0, -90.0, 90.0
        return float(self.lon[0]), float(self.lon[-1]), float(self.lat[0]), float(self.lat[-1])

    def _outline(self) -> tuple[_Array, _Array]:
        west, east, south, north = self._box
        up = np.linspace(south, north, 61)
        lon = np.concatenate([np.full(61, west), np.full(61, east)])
        return lon, np.concatenate([up, up[::-1]])

    @cached_property
    def _bounds(self) -> tuple[_Array, _Array]:
        """Lower left and upper right corner before the map is put in its place."""
        points = np.stack(self._flat(*self._outline()), 1)
        return points.min(0), points.max(0)

    def _graticule(self, axis: Axes) -> None:
        style: Any = {"color": _INK, "alpha": 0.13, "lw": 0.5, "zorder": 4}
        west, east, south, north = self._box
        step = 30 if east - west > 90 else 10
        for lat in np.arange(-90 + step, 90, step):
            if south < lat < north:
                axis.plot(*self.project(np.linspace(west, east, 90), np.full(90, lat)), **style)
        for lon in np.arange(-360 + step, 540, 2 * step if self.around else step):
            if west < lon < east:
                axis.plot(*self.project(np.full(60, lon), np.linspace(south, north, 60)), **style)

    def _line(self, axis: Axes, lon: _Array, lat: _Array, **style: Any) -> None:
        """A line, cut at the edges of a region."""
        from matplotlib.transforms import Bbox, TransformedBbox

        west, east, south, north = self._box
        if not self.around:
            near = (lon > west - 5) & (lon < east + 5) & (lat > south - 5) & (lat < north + 5)
            lon = np.where(near, lon, np.nan)
        (line,) = axis.plot(*self.project(lon, lat), **style)
        box = Bbox([[self.x, self.y], [self.x + self.width, self.y + self.height]])
        line.set_clip_box(TransformedBbox(box, axis.transData))


def _close_circle(lon: _Array, field: NDArray[np.floating]) -> tuple[_Array, NDArray[np.floating]]:
    """Columns from -180 to 180 degrees, both edges interpolated where no column is there."""
    gap = lon[0] + 360.0 - lon[-1]
    share = np.clip((180.0 - lon[-1]) / gap, 0.0, 1.0)
    seam = (1.0 - share) * field[:, -1:] + share * field[:, :1]
    inner = (lon > -180.0 + 1e-9) & (lon < 180.0 - 1e-9)
    edges = np.concatenate([[-180.0], lon[inner], [180.0]])
    return edges, np.concatenate([seam, field[:, inner], seam], 1)

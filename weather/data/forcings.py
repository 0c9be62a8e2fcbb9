r"""What the forecast is told besides the weather: where on Earth, and when in the year.

Eight fields, in the order of `FORCINGS`: three coordinates of the unit sphere, orography in km,
land fraction, daily-mean insolation at the top of the atmosphere over 400 W m-2, and the cosine
and sine of the day of the year. With solar constant :math:`S_0`, latitude :math:`\phi` and
declination :math:`\delta = 23.441^\circ \sin(2\pi (d - 80)/365)`, the insolation is

.. math:: Q = \frac{S_0}{\pi}(h_0 \sin\phi \sin\delta + \cos\phi \cos\delta \sin h_0),
   \qquad \cos h_0 = -\tan\phi \tan\delta

(Hartmann 1994, *Global Physical Climatology*, eq. 2.17, on a circular orbit). Days count from 1
to 365 of a 365-day year, see `weather.data.times.day_of_year`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weather.data.rectangles import AnyGrid
from weather.data.surface import surface_fields
from weather.data.times import as_times, day_of_year

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORCINGS", "Forcings", "insolation"]

FORCINGS = (
    "sin_lat",
    "cos_lat_cos_lon",
    "cos_lat_sin_lon",
    "orography_km",
    "land_fraction",
    "insolation_400",
    "cos_day",
    "sin_day",
)
"""Names of the forcing fields, K = 8 of them, in their order."""

SOLAR_CONSTANT = 1361.0
OBLIQUITY = 23.441
EQUINOX = 80.0
YEAR = 365.0

Array = NDArray[np.float64]


def insolation(lat: ArrayLike, day: ArrayLike) -> Array:
    """Daily-mean insolation at the top of the atmosphere, W m-2.

    Args:
        lat: Degrees `[H]`.
        day: Days of a 365-day year `[T]`.

    Returns:
        `[T, H]`.
    """
    phi = np.radians(np.asarray(lat, dtype=np.float64))
    days = np.asarray(day, dtype=np.float64)[:, None]
    delta = np.radians(OBLIQUITY) * np.sin(2 * np.pi * (days - EQUINOX) / YEAR)
    # Polar day and night: the sun does not set, or does not rise.
    h0 = np.arccos(np.clip(-np.tan(phi) * np.tan(delta), -1.0, 1.0))
    sun = h0 * np.sin(phi) * np.sin(delta) + np.cos(phi) * np.cos(delta) * np.sin(h0)
    return SOLAR_CONSTANT / np.pi * sun


@final
class Forcings:
    """Forcing fields on a grid.

    Args:
        grid: Where.
        orography: Height of the land, m `[H, W]`; the packaged map by default.
        land: Share of land `[H, W]`; the packaged map by default.
    """

    def __init__(
        self,
        grid: AnyGrid,
        orography: NDArray[Any] | None = None,
        land: NDArray[Any] | None = None,
    ) -> None:
        self.grid = grid
        self._orography, self._land = orography, land

    @cached_property
    def static(self) -> NDArray[np.float32]:
        """The first five fields, which never change `[5, H, W]`."""
        orography, land = self._orography, self._land
        if orography is None or land is None:
            packaged = surface_fields(self.grid)
            orography = packaged[0] if orography is None else orography
            land = packaged[1] if land is None else land
        phi, lam = np.radians(self.grid.lat)[:, None], np.radians(self.grid.lon)[None, :]
        x, y = np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam)
        z = np.broadcast_to(np.sin(phi), x.shape)
        return np.stack([z, x, y, orography / 1000.0, land]).astype(np.float32)

    def of_days(self, days: ArrayLike) -> NDArray[np.float32]:
        """All fields on days of the year `[T]`, as `[T, 8, H, W]`."""
        d = np.asarray(days)
        height, width = self.grid.shape
        out = np.empty((len(d), len(FORCINGS), height, width), dtype=np.float32)
        out[:, :5], out[:, 5:] = self.static, self.changing(d)[..., None]
        return out

    def changing(self, days: ArrayLike) -> NDArray[np.float32]:
        """The last three fields, which are alike along each latitude, `[T, 3, H]`."""
        d = np.asarray(days)
        angle = np.broadcast_to((2.0 * np.pi * d / YEAR)[:, None], (len(d), self.grid.height))
        sun = insolation(self.grid.lat, d) / 400.0
        return np.stack([sun, np.cos(angle), np.sin(angle)], 1).astype(np.float32)

    def at(self, times: Any) -> NDArray[np.float32]:
        """All fields at times of any calendar `[T]`, as `[T, 8, H, W]`.

        A forecast is given those of the time it is *for*.
        """
        return self.of_days(day_of_year(as_times(times)))

    def tensor(self, days: Tensor) -> Tensor:
        """`of_days` for torch: days `[B]` to `[B, 8, H, W]` float32 on the same device."""
        import torch

        fields = torch.from_numpy(self.of_days(days.cpu().numpy()))
        return fields.to(days.device)

r"""The seasonal cycle and what anomalies from it remember.

The mean at each point is a constant and three harmonics of the year, fitted by least squares over
all training states; anomalies are departures from it.  The memory is their correlation at a lag,
:math:`\rho_n=\overline{x'_t x'_{t+n}}/\overline{x'^2_t}`, point by point.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.data.seasons import annual_waves
from weather.verification.baselines.history import History
from weather.verification.instants import day_of_year

__all__ = ["Climate", "HARMONICS"]

Fields = NDArray[np.float32]
Floats = NDArray[np.float64]

HARMONICS = 3
"""Harmonics of the seasonal cycle; fewer where the period is shorter than a year."""


@final
class Climate:
    """Seasonal mean, size and memory of anomalies.

    Args:
        history: The training states.

    Attributes:
        history: The training states.
        deviation: Standard deviation of anomalies at each point, `[C, H, W]`.
        scale: Root of its area-mean square, `[C]`; 1 for a channel that never changes.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        seconds = history.times.seconds
        span = (seconds[-1] - seconds[0]) / 86400.0
        self._harmonics = HARMONICS if span > 330 else 0
        basis = annual_waves(history.days, self._harmonics)
        inverse = np.linalg.pinv(basis)
        shape = history.shape[1:]
        fitted = np.zeros((basis.shape[1], int(np.prod(shape))))
        for start, stop, fields in history.pieces():
            fitted += inverse[:, start:stop] @ fields.reshape(stop - start, -1)
        self._fitted = fitted.astype(np.float32)
        self._shape = shape
        square = np.zeros(shape)
        for start, stop, fields in history.pieces():
            square += np.square(self.anomalies(fields, history.days[start:stop])).sum(0)
        self.deviation = np.sqrt(square / len(history))
        weights = (history.rows / history.rows.sum())[:, None] / shape[-1]
        scale = np.sqrt((weights * np.square(self.deviation)).sum((-1, -2)))
        self.scale: Floats = np.where(scale > 0, scale, 1.0)

    def mean(self, days: Floats) -> Fields:
        """Seasonal mean on days of the year, `[n, C, H, W]`."""
        basis = annual_waves(days, self._harmonics).astype(np.float32)
        return (basis @ self._fitted).reshape(-1, *self._shape)

    def mean_at(self, time: int) -> Fields:
        """Seasonal mean at a time in seconds, `[C, H, W]`."""
        day = day_of_year(np.array([time]), self.history.times.calendar)
        return self.mean(day)[0]

    def anomalies(self, fields: Fields, days: Floats) -> Fields:
        """Departures from the seasonal mean, `[n, C, H, W]`."""
        return fields - self.mean(days)

    def anomalies_of(self, indices: NDArray[np.int64]) -> Fields:
        """Anomalies of some training states, `[n, C, H, W]`."""
        return self.anomalies(self.history.take(indices), self.history.days[indices])

    def memory(self, steps: int) -> Fields:
        """Correlation of anomalies `steps` apart at each point, in [-1, 1], `[C, H, W]`.

        Raises:
            InputError: No two states are that far apart without a gap.
        """
        whole = self.history.continues(steps)
        if whole.sum() < 10:
            raise InputError(
                f"training store: {int(whole.sum())} states are followed by {steps} steps; "
                "prepare a longer period"
            )
        product = np.zeros(self._shape)
        first, last = np.zeros(self._shape), np.zeros(self._shape)
        for start, stop, fields in self.history.pieces(overlap=steps):
            here = np.flatnonzero(whole[start:stop])
            if not len(here):
                continue
            days = self.history.days[start : start + len(fields)]
            x = self.anomalies(fields, days)
            now, then = x[here], x[here + steps]
            product += (now * then).sum(0)
            first += np.square(now).sum(0)
            last += np.square(then).sum(0)
        root = np.sqrt(first * last)
        found = np.divide(product, root, out=np.zeros_like(product), where=root > 0)
        return np.clip(found, -1.0, 1.0).astype(np.float32)

r"""SEEPS: the stable equitable error in probability space, for precipitation.

Precipitation is dry, light or heavy. A day is dry up to 0.25 mm; the threshold between light and
heavy is such that light is twice as frequent as heavy at that place and season. With the frequency
:math:`p_1` of dry days and :math:`p_3=(1-p_1)/3` of heavy ones, the error of forecasting one
category (row) where another (column) happened is

.. math:: S=\frac12\begin{pmatrix}0&\frac1{1-p_1}&\frac1{p_3}+\frac1{1-p_1}\\
    \frac1{p_1}&0&\frac1{p_3}\\\frac1{p_1}+\frac1{1-p_3}&\frac1{1-p_3}&0\end{pmatrix}.

It is 0 for a perfect forecast, and 1 on average for one that knows nothing but the climate,
whichever category it gives. Places where it hardly ever, or nearly always, rains are left out. An
ensemble has the mean score of its members.

Reference:
    Rodwell, Richardson, Hewson & Haiden, *A new equitable score suitable for verifying
    precipitation in numerical weather prediction*, Q. J. R. Meteorol. Soc. 136 (2010), 1344.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from weather.verification.baselines.history import History

__all__ = ["DRY", "Rain", "RainClimate", "rain_climate", "seeps", "seeps_matrix"]

Floats = NDArray[np.float64]
Fields = NDArray[np.float32]

DRY: Final = 0.25
"""Precipitation of a dry day at most, mm."""

_CHANCES: Final = (0.1, 0.85)
_WINDOW: Final = 15.0


@final
@dataclass(frozen=True)
class Rain:
    """The climate of precipitation at a season.

    Attributes:
        dry: Values up to this are dry, in the channel's units.
        chance: Frequency of dry days at every point, `[P]`.
        heavy: Values above this are heavy, `[P]`.
    """

    dry: float
    chance: Floats
    heavy: Floats


def rain_climate(states: Fields, dry: float) -> Rain:
    """The climate of some states, `[n, P]`; values up to `dry` are dry."""
    wet = states > dry
    ordered = np.sort(np.where(wet, states, -np.inf), axis=0)[::-1].astype(np.float64)
    count = wet.sum(0)
    # The largest third of the wet days is heavy: its threshold is the next smaller value.
    place = np.minimum(np.round(count / 3.0).astype(np.int64), len(states) - 1)
    heavy = np.maximum(np.take_along_axis(ordered, place[None], 0)[0], dry)
    return Rain(dry, 1.0 - count / len(states), np.where(count > 0, heavy, np.inf))


def seeps_matrix(chance: Floats) -> Floats:
    """Errors by forecast and happened category, `[3, 3, P]`, of frequencies of dry days `[P]`."""
    with np.errstate(divide="ignore"):
        third = (1.0 - chance) / 3.0
        dry, wet, heavy, other = 1 / chance, 1 / (1 - chance), 1 / third, 1 / (1 - third)
    zero = np.zeros_like(chance)
    rows = [[zero, wet, heavy + wet], [dry, zero, heavy], [dry + other, other, zero]]
    return 0.5 * np.asarray(rows)


def seeps(members: Fields, truths: Fields, weights: Floats, rain: Rain) -> Floats:
    """Mean score of the members against every truth.

    Args:
        members: `[M, P]`; empty to score the truths by each other.
        truths: `[K, P]`, NaN where unknown.
        weights: Of the points in each region, `[R, P]`.
        rain: The climate of the valid time.

    Returns:
        `[R]`; NaN where a region holds no point with dry days in 10 to 85 % of the season.
    """
    use = (rain.chance >= _CHANCES[0]) & (rain.chance <= _CHANCES[1])
    use &= np.isfinite(truths).all(0)
    matrix = seeps_matrix(rain.chance[use])
    happened = _shares(truths[:, use], rain, use)
    given = _shares(members[:, use], rain, use) if len(members) else happened
    errors = np.einsum("fop,fp,op->p", matrix, given, happened)
    if not len(members):  # a truth is not compared with itself
        errors = errors * len(truths) / max(len(truths) - 1, 1)
    area = weights[:, use]
    total = area.sum(-1)
    return np.divide(area @ errors, total, out=np.full(len(total), np.nan), where=total > 0)


def _shares(fields: Fields, rain: Rain, use: NDArray[np.bool_]) -> Floats:
    """Share of the fields in each category, `[3, P]`."""
    wet, heavy = (fields > rain.dry).mean(0), (fields > rain.heavy[use]).mean(0)
    return np.stack([1.0 - wet, wet - heavy, heavy])


@final
class RainClimate:
    """The climate of precipitation by valid time.

    Args:
        history: Training states.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        amounts = {"tp": DRY * history.step / 86400.0, "pr": DRY / 86400.0}
        self._dry = {name: dry for name, dry in amounts.items() if name in history.channels}
        self._known: tuple[int, dict[str, Rain]] = (-1, {})

    def at(self, time: int) -> dict[str, Rain]:
        """By channel, of the season of a valid time in seconds."""
        if not self._dry:
            return {}
        if self._known[0] != time:
            names = tuple(self._dry)
            states = self._history.around(time, _WINDOW, names)
            found = {
                name: rain_climate(states[:, c].reshape(len(states), -1), self._dry[name])
                for c, name in enumerate(names)
            }
            self._known = time, found
        return self._known[1]

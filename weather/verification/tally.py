"""Scores of all cases of one forecast, small enough to keep.

Numbers per lead, channel and region are kept for every initial time.  Histograms and spectra are
kept as sums over at most `GROUPS` groups of consecutive initial times, so that a year of forecasts
needs no more memory than a month of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUPS", "SUMMED", "Tally"]

Floats = NDArray[np.float64]

GROUPS = 32
"""Groups of initial times at most."""

SUMMED = ("ranks", "reliability", "bins", "spectrum", "spectrum_truth")
"""Scores kept as sums over groups."""


@final
class Tally:
    """Scores by initial time, or by group of them.

    Args:
        cases: Number of initial times, T.
    """

    def __init__(self, cases: int) -> None:
        self.cases = cases
        self.groups = np.arange(cases) * min(cases, GROUPS) // max(cases, 1)
        self._values: dict[str, Floats] = {}
        self._counts: dict[str, Floats] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def add(self, case: int, scores: Mapping[str, Floats]) -> None:
        """Take in what `score_case` found for initial time number `case`."""
        for name, value in scores.items():
            if name in SUMMED:
                shape = (int(self.groups[-1]) + 1, *value.shape)
                total = self._values.setdefault(name, np.zeros(shape))
                count = self._counts.setdefault(name, np.zeros(shape))
                known = np.isfinite(value)
                total[self.groups[case]] += np.where(known, value, 0.0)
                count[self.groups[case]] += known
            else:
                kept = self._values.get(name)
                if kept is None:
                    kept = self._values[name] = np.full((self.cases, *value.shape), np.nan)
                kept[case] = value

    def mean(self, name: str, weights: Floats) -> Floats:
        """Mean over initial times under each draw of `weights` `[B, T]`, `[B, ...]`."""
        from weather.verification.bootstrap import weighted_mean

        if name not in SUMMED:
            return weighted_mean(weights, self._values[name])
        total, count = self._values[name], self._counts[name]
        sizes = np.bincount(self.groups).astype(np.float64)
        grouped = np.zeros((len(weights), len(sizes)))
        np.add.at(grouped.T, self.groups, weights.T)
        grouped /= sizes
        flat = (grouped @ total.reshape(len(sizes), -1), grouped @ count.reshape(len(sizes), -1))
        mean = np.divide(*flat, out=np.full_like(flat[0], np.nan), where=flat[1] > 0)
        return mean.reshape(len(weights), *total.shape[1:])

    def at(self, lead: int) -> Tally:
        """The same of one lead, sharing the numbers."""
        one = Tally(self.cases)
        one._values = {name: value[:, lead : lead + 1] for name, value in self._values.items()}
        one._counts = {name: count[:, lead : lead + 1] for name, count in self._counts.items()}
        return one

    def by_time(self, name: str) -> Floats:
        """Scores of every initial time, `[T, ...]`; not of those kept as sums."""
        return self._values[name]

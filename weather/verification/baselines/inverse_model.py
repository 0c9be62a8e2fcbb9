r"""A linear inverse model with its stochastic forcing.

The amplitudes of the leading patterns follow

.. math:: a_{n+1} = G a_n + \xi_n,\qquad G = C_1 C_0^{-1},\qquad
          \langle\xi\xi^\top\rangle = C_0 - G C_0 G^\top,

with :math:`C_k` the covariance of amplitudes k steps apart: the linear system with the observed
covariance and the observed lag-one covariance (Penland & Sardeshmukh 1995, in discrete time).
What the patterns leave out is forecast by damped persistence with its own past errors, so that
members have the variance of the atmosphere at every scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
from numpy.typing import NDArray

from weather.verification.baselines.base import Baseline, Fields
from weather.verification.baselines.climatology import draw_season
from weather.verification.baselines.patterns import Floats, Patterns
from weather.verification.baselines.persistence import clip_positive
from weather.verification.instants import YEAR_DAYS, day_of_year, days_apart

__all__ = ["InverseModel"]


@final
class InverseModel(Baseline):
    """Linear dynamics of patterns with noise; the rest fades.

    Args:
        patterns: Of the training states.
        fitted: Days of the year on either side from which the dynamics are estimated, around the
            middle of the month of the initial time; half a year means all states.
        window: Days of the year on either side from which the rest's errors are taken.
    """

    name = "linear inverse model"

    def __init__(self, patterns: Patterns, fitted: float = 90.0, window: float = 30.0) -> None:
        self.patterns, self.climate = patterns, patterns.climate
        self.history, self._window, self._fitted = patterns.climate.history, window, fitted
        self._seasons: dict[int, tuple[Floats, Floats]] = {}
        self._fading: dict[int, Fields] = {}

    def dynamics(self, day: float) -> tuple[Floats, Floats]:
        """G and a square root of the covariance of the noise, each `[E, E]`.

        Args:
            day: Of the year; only its month counts.
        """
        month = int(day * 12 / YEAR_DAYS) % 12
        if month not in self._seasons:
            middle = (month + 0.5) * YEAR_DAYS / 12
            near = days_apart(self.history.days, middle) <= self._fitted
            whole = self.history.continues(1)
            # A short season cannot carry a large matrix.
            few = (near & whole).sum() < 4 * self.patterns.count
            now = np.flatnonzero(whole if few else near & whole)
            self._seasons[month] = _linear_dynamics(self.patterns.amplitudes, now)
        return self._seasons[month]

    def rollout(
        self, initial: Fields, time: int, steps: int, members: int, generator: np.random.Generator
    ) -> Iterator[Fields]:
        drawn = draw_season(self.history, time, self._window, steps, members, generator)
        start = (initial - self.climate.mean_at(time))[None]
        amplitudes = np.repeat(self.patterns.project(start), members, 0)
        rest = self.patterns.remainder(start)
        past = self.patterns.remainder(self.climate.anomalies_of(drawn))
        day = day_of_year(np.array([time]), self.history.times.calendar)[0]
        propagator, forcing = self.dynamics(float(day))
        for step in range(1, steps + 1):
            noise = generator.standard_normal((members, self.patterns.count))
            amplitudes = amplitudes @ propagator.T + noise @ forcing.T
            fading = self._memory_of_rest(step)
            error = self.patterns.remainder(self.climate.anomalies_of(drawn + step))
            error -= fading * past
            fields = self.climate.mean_at(time + step * self.history.step)
            fields = fields + self.patterns.compose(amplitudes) + fading * rest + error
            yield clip_positive(fields.astype(np.float32, copy=False), self.history.channels)

    def _memory_of_rest(self, step: int) -> Fields:
        """Correlation of what the patterns leave out, `[C, H, W]`, from 400 pairs of states."""
        if step not in self._fading:
            pairs = np.flatnonzero(self.history.continues(step))
            some = pairs[np.linspace(0, len(pairs) - 1, min(len(pairs), 400)).astype(int)]
            product, first, last = (np.zeros(self.history.shape[1:]) for _ in range(3))
            for chosen in np.array_split(some, max(1, len(some) // 64)):
                now = self.patterns.remainder(self.climate.anomalies_of(chosen))
                then = self.patterns.remainder(self.climate.anomalies_of(chosen + step))
                product += (now * then).sum(0)
                first += np.square(now).sum(0)
                last += np.square(then).sum(0)
            # Averaged along circles of latitude: 400 pairs are too few for every point.
            product, first, last = (x.mean(-1, keepdims=True) for x in (product, first, last))
            root = np.sqrt(first * last)
            memory = np.divide(product, root, out=np.zeros_like(product), where=root > 0)
            self._fading[step] = np.clip(memory, 0.0, 1.0).astype(np.float32)
        return self._fading[step]


def _linear_dynamics(a: Floats, now: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """G and the root of the noise from amplitudes at `now` and one step later."""
    lagged = a[now + 1].T @ a[now] / len(now)
    covariance = a[now].T @ a[now] / len(now)
    propagator = np.asarray(np.linalg.solve(covariance, lagged.T).T, dtype=np.float64)
    noise = covariance - propagator @ covariance @ propagator.T
    values, vectors = np.linalg.eigh((noise + noise.T) / 2)
    # Sampling can leave tiny negative variances; the total is kept.
    kept = np.maximum(values, 0.0)
    kept *= values.sum() / kept.sum() if kept.sum() > 0 else 0.0
    return propagator, np.asarray(vectors * np.sqrt(kept), dtype=np.float64)

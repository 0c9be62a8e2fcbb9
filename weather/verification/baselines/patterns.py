r"""Empirical orthogonal functions: the patterns that hold most of the variance of anomalies.

Anomalies of all channels are divided by their scale and weighted by the root of area, so that
every channel counts alike.  The leading patterns come from a randomised singular value
decomposition whose passes read the archive piece by piece (Halko, Martinsson & Tropp 2011,
algorithm 4.4), so that memory does not grow with the length of the archive.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from weather.verification.baselines.climate import Climate

__all__ = ["Patterns"]

Fields = NDArray[np.float32]
Floats = NDArray[np.float64]


@final
class Patterns:
    """Leading patterns of anomalies and their amplitudes.

    Args:
        climate: Of the training states.
        count: Number of patterns, E; at most half the number of states.
        seed: Of the random start.
        passes: Power iterations.

    Attributes:
        amplitudes: Of every training state, `[T, E]`.
        explained: Fraction of the weighted variance held by the patterns.
    """

    def __init__(self, climate: Climate, count: int, seed: int = 0, passes: int = 2) -> None:
        self.climate = climate
        history = climate.history
        count = max(1, min(count, len(history) // 2))
        area = np.sqrt(history.rows / history.rows.sum() / history.shape[-1])
        weight = area[None, :, None] / climate.scale[:, None, None]
        self._weight = np.broadcast_to(weight, history.shape[1:]).astype(np.float32).reshape(-1)
        generator = np.random.default_rng([seed, count])
        width = min(count + 10, len(history))
        drawn = generator.standard_normal((len(self._weight), width)).astype(np.float32)
        for _ in range(passes):
            drawn = np.linalg.qr(self._gather(self._amplitudes(drawn)))[0]
        # Of the small matrix in the space found, exact singular vectors.
        inner = self._amplitudes(drawn)
        _, values, turn = np.linalg.svd(inner, full_matrices=False)
        self._patterns = np.ascontiguousarray((drawn @ turn.T[:, :count]).astype(np.float32))
        self.amplitudes: Floats = (inner @ turn.T[:, :count]).astype(np.float64)
        total = len(climate.scale) * len(history)
        self.explained = float(np.square(values[:count]).sum() / total)

    @property
    def count(self) -> int:
        """Number of patterns, E."""
        return self._patterns.shape[1]

    def project(self, anomalies: Fields) -> Floats:
        """Amplitudes of anomalies `[n, C, H, W]`, `[n, E]`."""
        flat = anomalies.reshape(len(anomalies), -1) * self._weight
        return (flat @ self._patterns).astype(np.float64)

    def compose(self, amplitudes: Floats) -> Fields:
        """Anomalies `[n, C, H, W]` of amplitudes `[n, E]`."""
        flat = (amplitudes.astype(np.float32) @ self._patterns.T) / self._weight
        return flat.reshape(-1, *self.climate.history.shape[1:])

    def remainder(self, anomalies: Fields) -> Fields:
        """What the patterns do not hold, `[n, C, H, W]`."""
        return anomalies - self.compose(self.project(anomalies))

    def _weighted(self) -> list[tuple[int, int]]:
        return [(start, stop) for start, stop, _ in self.climate.history.pieces()]

    def _piece(self, start: int, stop: int) -> Fields:
        history = self.climate.history
        x = self.climate.anomalies(history.read(start, stop), history.days[start:stop])
        return x.reshape(stop - start, -1) * self._weight

    def _amplitudes(self, patterns: Fields) -> Fields:
        return np.concatenate([self._piece(*span) @ patterns for span in self._spans()])

    def _gather(self, amplitudes: Fields) -> Fields:
        out = np.zeros((len(self._weight), amplitudes.shape[1]), dtype=np.float32)
        for start, stop in self._spans():
            out += self._piece(start, stop).T @ amplitudes[start:stop]
        return out

    def _spans(self) -> list[tuple[int, int]]:
        length = len(self.climate.history)
        return [(start, min(start + 256, length)) for start in range(0, length, 256)]

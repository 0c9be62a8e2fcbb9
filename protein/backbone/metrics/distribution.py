"""Distances between distributions of designs and of natives.

The Jensen–Shannon divergence is taken in bits, so that it runs from 0 (equal) to 1 (disjoint):
``JS(p, q) = H((p + q)/2) − (H(p) + H(q))/2`` with H the Shannon entropy. A histogram of few
residues differs from its own source by chance, so every divergence is read beside the same
number between two halves of the natives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protein.backbone.metrics.geometry import Array

TORSION_BINS = 36
"""Bins on each axis of the stored Ramachandran histogram: ten degrees."""

COARSE_BINS = 12
"""Bins used where a single chain is compared: thirty degrees."""

RG_RATIO_EDGES = np.linspace(0.7, 2.0, 27)
"""Bins of Rg / (2.2 L^0.38); values outside fall in the end bins."""

SPREAD_EDGES = {
    "core": np.linspace(0.0, 0.3, 16),
    "long_range_contacts": np.linspace(0.0, 4.0, 17),
    "contact_order": np.linspace(0.0, 0.5, 21),
}
"""Bins of the figures of packing whose spread over chains is compared; see `RG_RATIO_EDGES`."""

FRACTION_EDGES = np.linspace(0.0, 1.0, 11)
"""Bins of helix and strand fractions."""


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> float:
    """Jensen–Shannon divergence in bits between two histograms of the same bins, 0 to 1.

    Args:
        p: counts or probabilities, any shape; normalised here.
        q: the same for the other distribution.

    Returns:
        The divergence; NaN where either histogram is empty.
    """
    a, b = (np.asarray(x, dtype=np.float64).ravel() for x in (p, q))
    if a.sum() <= 0 or b.sum() <= 0:
        return float("nan")
    a, b = a / a.sum(), b / b.sum()
    value = _entropy((a + b) / 2) - (_entropy(a) + _entropy(b)) / 2
    return float(min(max(value, 0.0), 1.0))


def _entropy(p: Array) -> float:
    positive = p[p > 0]
    return float(-(positive * np.log2(positive)).sum())


def torsion_histogram(phi: Array, psi: Array, bins: int = TORSION_BINS) -> NDArray[np.int64]:
    """Counts of (phi, psi) on a periodic square of side 360° `[bins, bins]`.

    Args:
        phi: degrees, NaN where undefined `[L]`.
        psi: degrees, NaN where undefined `[L]`.
        bins: bins on each axis.
    """
    both = np.isfinite(phi) & np.isfinite(psi)
    cells = [
        np.floor((angle[both] + 180.0) / 360.0 * bins).astype(np.int64) % bins
        for angle in (phi, psi)
    ]
    flat = np.bincount(cells[0] * bins + cells[1], minlength=bins * bins)
    return flat.reshape(bins, bins)


def coarsen(histogram: NDArray[np.integer], bins: int = COARSE_BINS) -> NDArray[np.int64]:
    """The same histogram on fewer bins `[bins, bins]`; `bins` divides the size."""
    factor = histogram.shape[0] // bins
    folded = histogram.reshape(bins, factor, bins, factor).sum(axis=(1, 3))
    return np.asarray(folded, dtype=np.int64)


def smooth_density(histogram: NDArray[np.integer], width: float = 0.8) -> Array:
    """Periodic Gaussian smoothing of a torsion histogram, normalised `[bins, bins]`.

    Args:
        histogram: counts `[bins, bins]`.
        width: standard deviation in bins.
    """
    from scipy.ndimage import gaussian_filter

    density = gaussian_filter(histogram.astype(np.float64), width, mode="wrap")
    return density / max(float(density.sum()), 1e-300)


def density_level(density: Array, mass: float) -> float:
    """Density above which the given fraction of the probability lies."""
    ordered = np.sort(density.ravel())[::-1]
    index = int(np.searchsorted(np.cumsum(ordered), mass * ordered.sum()))
    return float(ordered[min(index, ordered.size - 1)])


def binned(values: ArrayLike, edges: Array) -> NDArray[np.int64]:
    """Counts in bins, with values beyond the ends counted in the end bins `[len(edges) − 1]`."""
    inside = np.clip(np.asarray(values, dtype=np.float64), edges[0], edges[-1])
    return np.histogram(inside, edges)[0].astype(np.int64)


def joint_ss_histogram(helix: ArrayLike, strand: ArrayLike) -> NDArray[np.int64]:
    """Counts of designs by helix and strand fraction, on five by five bins."""
    edges = FRACTION_EDGES[::2]
    counts = np.histogram2d(np.asarray(helix), np.asarray(strand), bins=(edges, edges))[0]
    return counts.astype(np.int64)


def bootstrap_mean(
    values: ArrayLike, rng: np.random.Generator, draws: int = 1000, level: float = 0.95
) -> tuple[float, float, float]:
    """Mean with a percentile bootstrap interval (Efron 1979).

    Args:
        values: one number per design, NaN ignored.
        rng: source of resampling.
        draws: bootstrap resamples.
        level: coverage of the interval.

    Returns:
        Mean, low and high; NaN where there is no value.
    """
    return bootstrap(values, np.mean, rng, draws, level)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[..., Any],
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """A statistic with its percentile bootstrap interval.

    Args:
        values: one number per design, NaN ignored.
        statistic: ``np.mean`` or ``np.median``: takes an array and ``axis``.
        rng: source of resampling.
        draws: bootstrap resamples.
        level: coverage of the interval.
    """
    sample = np.asarray(values, dtype=np.float64)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return float("nan"), float("nan"), float("nan")
    index = rng.integers(0, sample.size, size=(draws, sample.size))
    estimates = statistic(sample[index], axis=1)
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(estimates, [tail, 100.0 - tail])
    return float(statistic(sample, axis=0)), float(low), float(high)

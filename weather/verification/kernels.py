r"""Scores of one field: an ensemble of M members against K equally valid truths.

With members :math:`x_i`, truth :math:`y` and area weights that sum to 1 in each region,

* fair CRPS :math:`\frac1M\sum_i|x_i-y|-\frac1{2M(M-1)}\sum_{i,j}|x_i-x_j|`, whose expectation does
  not depend on M (Ferro 2014), from the sorted members;
* fair Brier score of the event :math:`x\ge a`:
  :math:`(p-o)^2-p(1-p)/(M-1)`;
* rank of the truth among the members, ties shared equally between the ranks they span;
* fair energy score, the CRPS with the Euclidean norm over all points and variables, from the
  matrix of scalar products, so that no [M, M, points] array is formed.

A forecast with one member is deterministic: its CRPS is the absolute error. Points where a truth
is missing (NaN: sea-surface temperature on land) belong to no region.

References:
    Ferro, *Fair scores for ensemble forecasts*, QJRMS 140 (2014), 1917.
    Gneiting & Raftery, *Strictly proper scoring rules*, JASA 102 (2007), 359.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weather.verification.decomposition import crps_bins

__all__ = [
    "average_of_truths", "energy_products", "energy_score", "leave_one_out", "score_field",
]  # fmt: skip

Floats = NDArray[np.float64]
Fields = NDArray[np.float32]


def score_field(
    members: Fields,
    truths: Fields,
    weights: Floats,
    thresholds: Fields | None = None,
    climate: Fields | None = None,
    below: NDArray[np.bool_] | None = None,
) -> dict[str, Floats]:
    """Score one variable at one lead of one forecast, averaged over truths and regions.

    Args:
        members: Forecast, `[M, P]`.
        truths: What happened, or K things that may equally well have happened, `[K, P]`.
        weights: Of the points in each region, each summing to 1, `[R, P]`.
        thresholds: Events are values of at least these, `[Q, P]`.
        climate: Mean of the season, `[P]`, from which anomalies are counted.
        below: Which events are values of less than these, `[Q]`; None for none.

    Returns:
        ``crps``, ``mse`` (of the ensemble mean), ``bias``, ``variance`` (unbiased, NaN for one
        member), each `[R]`; ``bins`` `[R, M + 1, 3]` of more than one member, the parts of the
        CRPS; ``ranks`` `[R, M + 1]`, weights summing to 1; with thresholds
        ``brier`` `[R, Q]` and ``reliability`` `[R, Q, M + 1, 2]`: by the number of members that
        have the event, the weight of the points, and of those where it happened; with a climate
        ``acc`` `[R]`, the correlation of the anomalies of mean and truth about their area means.
    """
    known = np.isfinite(truths).all(0)  # the points that `_valid` keeps
    climate = None if climate is None else climate[known]
    thresholds = None if thresholds is None else thresholds[:, known]
    members, truths, weights = _valid(members, truths, weights)
    size = len(members)
    mean = members.mean(0, dtype=np.float64)
    error = mean - truths
    ordered, gaps = _ordered(members, truths)
    found = {
        "crps": weights @ _crps(ordered, gaps).mean(0),
        "mse": weights @ np.square(error).mean(0),
        "bias": weights @ error.mean(0),
        "variance": np.full(len(weights), np.nan),
        "ranks": _ranks(members, truths, weights),
    }
    if size > 1:
        found["variance"] = weights @ members.var(0, ddof=1, dtype=np.float64)
        found["bins"] = crps_bins(ordered, gaps, weights)
    if thresholds is not None:
        hits = _event(members, thresholds, below).sum(0)
        happened = _event(truths, thresholds, below)
        found["reliability"] = _reliability(hits, happened, weights, size)
        found["brier"] = _brier(found["reliability"])
    if climate is not None:
        found["acc"] = _correlation(mean - climate, truths - climate, weights)
    return found


def _event(
    fields: Fields, thresholds: Fields, below: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Whether fields `[M, P]` have the events, `[M, Q, P]`; never where there is no threshold."""
    above = fields[:, None] >= thresholds
    if below is None:
        return above
    return np.where(below[:, None], fields[:, None] < thresholds, above)


def _correlation(forecast: Floats, truths: Fields, weights: Floats) -> Floats:
    """Area-weighted correlation with each truth, averaged over truths, `[R]`; NaN if constant."""
    centred = forecast - (weights @ forecast)[:, None]  # [R, P]
    found = []
    for truth in truths.astype(np.float64):
        actual = truth - (weights @ truth)[:, None]
        squares = (weights * centred**2).sum(-1) * (weights * actual**2).sum(-1)
        product = (weights * centred * actual).sum(-1)
        found.append(np.divide(product, np.sqrt(squares), where=squares > 0, out=product * np.nan))
    return np.mean(found, axis=0)


def leave_one_out(
    truths: Fields,
    weights: Floats,
    thresholds: Fields | None = None,
    climate: Fields | None = None,
    below: NDArray[np.bool_] | None = None,
) -> dict[str, Floats]:
    """Score each truth by the ensemble of the others: the limit that physics sets.

    Args:
        truths: `[K, P]`, K at least 3.
        weights: `[R, P]`.
        thresholds: `[Q, P]`.
        climate: `[P]`.
        below: `[Q]`.

    Returns:
        As `score_field` with M = K - 1.
    """
    more = thresholds, climate, below
    each = [
        score_field(np.delete(truths, k, 0), truths[k : k + 1], weights, *more)
        for k in range(len(truths))
    ]
    return average_of_truths(each)


def average_of_truths(each: list[dict[str, Floats]]) -> dict[str, Floats]:
    """Average scores that were taken against one truth after the other."""
    return {name: np.mean([one[name] for one in each], axis=0) for name in each[0]}


def _valid(
    members: Fields, truths: Fields, weights: Floats
) -> tuple[Fields, Fields, Floats]:  # fmt: skip
    """Take points without a truth out of every region."""
    known = np.isfinite(truths).all(0)
    if known.all():
        return members, truths, weights
    weights = weights[:, known]
    total = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, total, out=np.full_like(weights, np.nan), where=total > 0)
    return members[:, known], truths[:, known], weights


def _ordered(members: Fields, truths: Fields) -> tuple[Fields, Fields]:
    """Members in ascending order `[P, M]`, and truths `[K, P]`, from the first truth on.

    Relative to one truth nothing is lost in float32, and the sort serves all truths.
    """
    return np.sort((members - truths[:1]).T, axis=-1), truths - truths[:1]


def _crps(ordered: Fields, truths: Fields) -> Floats:
    """Fair CRPS at every point, `[K, P]`, of sorted members `[P, M]`."""
    size = ordered.shape[-1]
    distances = np.stack(
        [np.abs(ordered - y[:, None]).mean(-1, dtype=np.float64) for y in truths]
    )
    if size == 1:
        return distances
    # Half the mean distance of pairs is a weighted sum of the sorted members: the i-th is above
    # i - 1 others and below M - i. Twice as fast as the libraries, and equal to rounding.
    coefficients = (2.0 * np.arange(1, size + 1) - size - 1.0) / (size * (size - 1.0))
    return distances - ordered @ coefficients


def _ranks(members: Fields, truths: Fields, weights: Floats) -> Floats:
    size = len(members)
    below = np.stack([(members < y).sum(0) for y in truths])
    tied = np.stack([(members == y).sum(0) for y in truths])
    counts = np.zeros((len(weights), size + 2))
    share = np.tile(weights, (1, len(truths))).reshape(len(weights), *below.shape)
    share = share / (len(truths) * (tied + 1.0))
    for region in range(len(weights)):
        flat = share[region].ravel()
        # A tie spreads over the ranks it spans: the running sum of where it begins and ends.
        counts[region] += np.bincount(below.ravel(), flat, size + 2)
        counts[region] -= np.bincount((below + tied + 1).ravel(), flat, size + 2)
    return np.cumsum(counts, -1)[:, :-1]


def _brier(table: Floats) -> Floats:
    """Fair Brier score from counts of hits, `[R, Q]`: all it depends on is in the table."""
    size = table.shape[-2] - 1
    chance = np.arange(size + 1) / size
    weight, event = table[..., 0], table[..., 1]
    score = weight * chance**2 + event * (1.0 - 2.0 * chance)
    if size > 1:
        score = score - weight * chance * (1.0 - chance) / (size - 1)
    return score.sum(-1)


def _reliability(
    hits: NDArray[np.int64], happened: NDArray[np.bool_], weights: Floats, size: int
) -> Floats:  # fmt: skip
    """Weight and weight of events by number of hits, `[R, Q, M + 1, 2]`."""
    frequency = happened.mean(0)
    table = np.zeros((len(weights), len(hits), size + 1, 2))
    for region, weight in enumerate(weights):
        for q, count in enumerate(hits):
            table[region, q, :, 0] = np.bincount(count, weight, size + 1)
            table[region, q, :, 1] = np.bincount(count, weight * frequency[q], size + 1)
    return table


def energy_products(members: Fields, truths: Fields, weights: Floats, scale: float) -> Floats:
    """Squared distances between all fields of one variable, to be summed over variables.

    Args:
        members: `[M, P]`.
        truths: `[K, P]`.
        weights: `[R, P]`.
        scale: Standard deviation by which the variable is divided.

    Returns:
        Area-weighted mean squared differences in units of `scale`, members first, then truths,
        `[R, M + K, M + K]`.
    """
    members, truths, weights = _valid(members, truths, weights)
    fields = np.concatenate([members, truths])
    # Relative to their mean float32 is enough, and the product is where the time goes.
    fields = (fields - fields.mean(0)) / np.float32(scale)
    squares = []
    for weight in weights:
        rooted = fields * np.sqrt(weight).astype(np.float32)
        product = (rooted @ rooted.T).astype(np.float64)
        length = np.diagonal(product)
        squares.append(np.maximum(length[:, None] + length[None] - 2 * product, 0.0))
    return np.stack(squares)


def energy_score(squares: Floats, size: int) -> Floats:
    """Fair energy score from summed squared distances, averaged over truths, `[R]`.

    Args:
        squares: `[R, M + K, M + K]`, divided by the number of variables.
        size: M; with 0 the truths are scored by each other, leaving one out.
    """
    distances = np.sqrt(squares)
    own = distances[:, :size, :size] if size else distances
    count = own.shape[-1]
    spread = own.sum((-1, -2)) / (2 * count * max(count - 1, 1))
    if not size:
        # E|Y - Y'| - E|Y - Y'| / 2: the average over truths is half the mean distance of pairs.
        return spread
    return distances[:, :size, size:].mean((-1, -2)) - spread

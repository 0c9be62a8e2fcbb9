"""TM-score between backbones, clusters and diversity.

The TM-score (Zhang & Skolnick 2004) of an alignment found by TM-align (Zhang & Skolnick 2005,
through ``tmtools``) is normalised by either length; the similarity used here is the larger of
the two, so that a small fold inside a larger one counts as the same.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import MissingExtra

CLUSTER_TM = 0.6
"""Two backbones belong together above this similarity."""

PER = 100
"""Diversity is the number of clusters among this many designs."""

_CHUNK = 16

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
Progress = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``."""


def ca_of(coords: NDArray[np.floating]) -> NDArray[np.float64]:
    """CA positions of `[L, 4, 3]` (or of `[L, 3]`), contiguous float64 `[L, 3]`, Å."""
    ca = coords[:, 1] if coords.ndim == 3 else coords
    return np.ascontiguousarray(ca, dtype=np.float64)


def tm_score(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Similarity of two backbones: TM-score, larger of the two normalisations, 0 to 1.

    Args:
        first: `[L, 4, 3]` or CA `[L, 3]`, Å.
        second: the same.

    Raises:
        MissingExtra: tmtools is not installed.
    """
    try:
        from tmtools import tm_align
    except ImportError as error:
        raise MissingExtra("tmtools", "protein") from error
    a, b = ca_of(first), ca_of(second)
    result = tm_align(a, b, "A" * len(a), "A" * len(b))
    return float(max(result.tm_norm_chain1, result.tm_norm_chain2))


def _score_chunk(pairs: Sequence[Pair]) -> list[float]:
    return [tm_score(a, b) for a, b in pairs]


def tm_scores(
    pairs: Sequence[Pair],
    workers: int = 1,
    progress: Progress | None = None,
    stage: str = "TM-scores",
) -> NDArray[np.float64]:
    """TM-scores of many pairs, in order.

    Args:
        pairs: CA positions of both `[L, 3]`, Å.
        workers: processes; 1 stays in this one.
        progress: told after each chunk.
        stage: what to call the work.
    """
    chunks = [pairs[i : i + _CHUNK] for i in range(0, len(pairs), _CHUNK)]
    scores: list[float] = []
    for part in _map(chunks, workers):
        scores.extend(part)
        if progress is not None:
            progress(stage, len(scores), len(pairs))
    return np.asarray(scores, dtype=np.float64)


def _map(chunks: Sequence[Sequence[Pair]], workers: int) -> Iterator[list[float]]:
    if workers <= 1 or len(chunks) < 2:
        yield from map(_score_chunk, chunks)
        return
    # A forked child may inherit locks held by torch's threads, hence spawn.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context) as pool:
        yield from pool.map(_score_chunk, chunks)


def pairwise_tm(
    chains: Sequence[NDArray[np.floating]], workers: int = 1, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Similarity of every pair of chains, symmetric with a unit diagonal `[n, n]`.

    Args:
        chains: `[L, 4, 3]` or CA `[L, 3]` each, Å.
        workers: processes.
        progress: told after each chunk.
    """
    ca = [ca_of(chain) for chain in chains]
    rows, columns = np.triu_indices(len(ca), 1)
    pairs = [(ca[i], ca[j]) for i, j in zip(rows, columns, strict=True)]
    matrix = np.eye(len(ca))
    matrix[rows, columns] = tm_scores(pairs, workers, progress, "designs against each other")
    return np.maximum(matrix, matrix.T)


def greedy_clusters(similarity: NDArray[np.float64], cut: float = CLUSTER_TM) -> NDArray[np.int64]:
    """Cluster number of every chain: each joins the first representative it resembles `[n]`.

    A chain that resembles no earlier representative becomes one; numbers follow first
    appearance, so there are ``max + 1`` clusters.

    Args:
        similarity: pairwise TM-scores `[n, n]`.
        cut: similarity above which two chains belong together.
    """
    labels = np.full(len(similarity), -1, dtype=np.int64)
    representatives: list[int] = []
    for i in range(len(similarity)):
        for number, representative in enumerate(representatives):
            if similarity[i, representative] > cut:
                labels[i] = number
                break
        else:
            labels[i] = len(representatives)
            representatives.append(i)
    return labels


def clusters_per_hundred(labels: NDArray[np.integer]) -> float:
    """Clusters among the first 100 chains, scaled to 100 where there are fewer.

    The number of clusters grows more slowly than the number of designs, so fewer than a
    hundred designs flatter the figure.
    """
    first = labels[:PER]
    if len(first) == 0:
        return float("nan")
    return float(PER * len(np.unique(first)) / len(first))

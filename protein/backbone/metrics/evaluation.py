"""Evaluate a set of designs: every figure with its interval, beside the same of natives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics import distribution as dist
from protein.backbone.metrics.measure import Measured, measure
from protein.backbone.metrics.natives import Reference
from protein.backbone.metrics.novelty import CANDIDATES, FoldLibrary, novelty
from protein.backbone.metrics.tm import (
    PER,
    Progress,
    clusters_per_hundred,
    greedy_clusters,
    pairwise_tm,
)
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from protein.backbone.metrics.likelihood import SequenceLikelihood

Chain: TypeAlias = tuple[str, NDArray[np.floating]]
"""A name and its coordinates, N, CA, C, O `[L, 4, 3]`, Å."""

Figure: TypeAlias = dict[str, float | None]
"""``value`` with its 95 % interval ``low`` to ``high``; None where undefined."""

POOLED_BINS = 18
_NOT_SUMMARISED = {"name", "flags", "cluster", "novelty_match"}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out of an evaluation.

    Attributes:
        rows: one mapping per design, keys of `table.COLUMNS`.
        summary: figures of the designs, ``{"value", "low", "high"}`` each.
        natives: the same figures of natives.
        reference: statistics of those natives.
        measured: torsions and secondary structure of every design.
        similarity: TM-scores between the first designs `[m, m]`, or None.
        seed: seed of the bootstrap.
    """

    rows: list[dict[str, Any]]
    summary: dict[str, Figure]
    natives: dict[str, Figure]
    reference: Reference
    measured: tuple[Measured, ...] = field(repr=False)
    similarity: NDArray[np.float64] | None = field(repr=False)
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Rows, summary and natives as plain values."""
        return {
            "n": len(self.rows),
            "natives_label": self.reference.label,
            "summary": self.summary,
            "natives": self.natives,
            "designs": self.rows,
        }


def evaluate_designs(
    chains: Sequence[Chain],
    natives: Sequence[Chain] | None = None,
    training: FoldLibrary | Iterable[Chain] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    workers: int = 1,
    compare: int = PER,
    candidates: int = CANDIDATES,
    chain_lengths: Mapping[str, Sequence[int]] | None = None,
    natives_label: str = "natives given",
    likelihood: SequenceLikelihood | None = None,
    extra: Mapping[str, Mapping[str, Any]] | None = None,
) -> Evaluation:
    """Measure designs, one by one and as a set.

    Args:
        chains: name and coordinates `[L, 4, 3]` (Å) of each design.
        natives: held-out natives to compare with; by default the shipped statistics.
        training: training set, for novelty; a library is indexed once and can be kept.
        seed: seed of the bootstrap intervals.
        progress: called as ``progress(stage, done, total)``.
        workers: processes for TM-scores.
        compare: designs compared with each other, at most; the rest have no cluster.
        candidates: training chains aligned with each design.
        chain_lengths: residues of each chain of the designs that are complexes, by name.
        natives_label: what to call the natives given.
        likelihood: scorer of sequences, for ``nll`` and ``nll_entropy``; slow, off by default.
        extra: further columns of each design, by name, such as those of its interfaces.

    Raises:
        InputError: there is nothing to evaluate, or a design cannot be measured.
    """
    if not chains:
        raise InputError("designs: there are none to evaluate; generate some first")
    library = _library(training, progress)
    how = _Settings(seed, progress, workers, compare, candidates, library)
    if natives:
        reference = natives_reference(
            natives,
            natives_label,
            among=min(len(chains), compare),
            library=library,
            candidates=candidates,
            seed=seed,
            workers=workers,
            progress=progress,
        )
    else:
        reference = Reference.shipped()
    measured = _measure_all(chains, "designs", progress, chain_lengths or {})
    rows, similarity = _complete_rows(chains, measured, reference, how, len(chains))
    rows = [{**row, **(extra or {}).get(str(row["name"]), {})} for row in rows]
    if likelihood is not None:
        for done, (row, (name, coords)) in enumerate(zip(rows, chains, strict=True)):
            row |= likelihood.score(name, coords, (chain_lengths or {}).get(name))
            if progress is not None:
                progress("sequence likelihood", done + 1, len(rows))
    summary = summarise(rows, np.random.default_rng(seed), similarity)
    summary |= divergences(measured, rows, reference, np.random.default_rng(seed))
    theirs = dict(reference.summary)
    if "interface_contacts" in summary:
        theirs = {**Reference.interfaces(), **theirs}
    return Evaluation(rows, summary, theirs, reference, tuple(measured), similarity, seed)


@dataclass(frozen=True, eq=False)
class _Settings:
    """How to compute, the same for designs and natives."""

    seed: int = 0
    progress: Progress | None = None
    workers: int = 1
    compare: int = PER
    candidates: int = CANDIDATES
    library: FoldLibrary | None = None


def natives_reference(
    natives: Sequence[Chain],
    label: str,
    *,
    among: int = PER,
    library: FoldLibrary | None = None,
    candidates: int = CANDIDATES,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Reference:
    """Statistics of natives, with the same summary that designs get.

    Args:
        natives: name and coordinates of each.
        label: what to call them.
        among: compare at most this many with each other and with the training set.
        library: training set, for novelty.
        candidates: training chains aligned with each native.
        seed: seed of the bootstrap and of the choice of natives to compare.
        workers: processes for TM-scores.
        progress: called as ``progress(stage, done, total)``.
    """
    # Archives are often sorted: shuffle, so that the first few are not relatives.
    order = np.random.default_rng(seed).permutation(len(natives))
    shuffled = [natives[i] for i in order]
    measured = _measure_all(shuffled, "natives", progress, {})
    bare = Reference.from_measured(measured, label)
    how = _Settings(seed, progress, workers, min(among, PER), candidates, library)
    rows, similarity = _complete_rows(shuffled, measured, bare, how, how.compare)
    summary = summarise(rows, np.random.default_rng(seed), similarity)
    summary |= _halves(measured, rows, np.random.default_rng(seed))
    return Reference.from_measured(measured, label, summary)


def _library(
    training: FoldLibrary | Iterable[Chain] | None, progress: Progress | None
) -> FoldLibrary | None:
    if training is None or isinstance(training, FoldLibrary):
        return training
    return FoldLibrary.build(training, progress)


def _measure_all(
    chains: Sequence[Chain],
    stage: str,
    progress: Progress | None,
    chain_lengths: Mapping[str, Sequence[int]],
) -> list[Measured]:
    measured = []
    for name, coords in chains:
        measured.append(measure(name, coords, chain_lengths.get(name)))
        if progress is not None:
            progress(f"measuring {stage}", len(measured), len(chains))
    return measured


def _complete_rows(
    chains: Sequence[Chain],
    measured: Sequence[Measured],
    reference: Reference,
    how: _Settings,
    novel: int,
) -> tuple[list[dict[str, Any]], NDArray[np.float64] | None]:
    """Rows with the figures that need other chains (`novel`: novelty of so many); similarity."""
    rows = [{**one.row, **reference.torsion_row(one)} for one in measured]
    coords = [np.asarray(chain) for _, chain in chains]
    similarity = None
    if how.compare > 1 and len(coords) > 1:
        similarity = pairwise_tm(coords[: how.compare], how.workers, how.progress)
        nearest = np.where(np.eye(len(similarity), dtype=bool), -1.0, similarity).max(axis=1)
        labels = greedy_clusters(similarity)
        for row, tm, label in zip(rows, nearest, labels, strict=False):
            row |= {"nearest_tm": float(tm), "cluster": int(label) + 1}
    if how.library is not None:
        scores, names = novelty(
            coords[:novel], how.library, how.candidates, how.workers, how.progress
        )
        for row, tm, name in zip(rows, scores, names, strict=False):
            row |= {"novelty_tm": float(tm), "novelty_match": name}
    return rows, similarity


def summarise(
    rows: Sequence[Mapping[str, Any]],
    rng: np.random.Generator,
    similarity: NDArray[np.float64] | None = None,
) -> dict[str, Figure]:
    """Mean of every numeric figure with its bootstrap interval, and the figures of diversity.

    Args:
        rows: one mapping per chain.
        rng: source of resampling.
        similarity: TM-scores between the first chains `[m, m]`.
    """
    summary: dict[str, Figure] = {"n": {"value": float(len(rows)), "low": None, "high": None}}
    keys = [
        key for key in dict.fromkeys(k for row in rows for k in row) if key not in _NOT_SUMMARISED
    ]
    for key in keys:
        values = [row.get(key, np.nan) for row in rows]
        if all(isinstance(value, bool | int | float) for value in values):
            summary[key] = _figure(*dist.bootstrap_mean(np.asarray(values, float), rng))
    if "novelty_tm" in rows[0]:
        values = np.array([row.get("novelty_tm", np.nan) for row in rows])
        summary["novelty_median"] = _figure(*dist.bootstrap(values, np.median, rng))
    if similarity is not None:
        labels = greedy_clusters(similarity)
        off = similarity[np.triu_indices(len(similarity), 1)]
        # Resampling designs would put copies in the sample, so diversity has no interval.
        summary["clusters_per_100"] = _figure(clusters_per_hundred(labels))
        summary["mean_tm"] = _figure(float(off.mean()))
    return summary


def _figure(value: float, low: float = float("nan"), high: float = float("nan")) -> Figure:
    def plain(x: float) -> float | None:
        return round(float(x), 6) if np.isfinite(x) else None

    return {"value": plain(value), "low": plain(low), "high": plain(high)}


def _histograms(measured: Sequence[Measured], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Histograms of every single chain, stacked `[n, bins]`, so that sums can be resampled."""
    helix, strand, ratio = ([row[key] for row in rows] for key in ("helix", "strand", "rg_ratio"))
    return {
        "rama_jsd_all": np.stack(
            [
                dist.torsion_histogram(m.torsions.phi, m.torsions.psi, POOLED_BINS).ravel()
                for m in measured
            ]
        ),
        "rg_jsd": np.stack([dist.binned([x], dist.RG_RATIO_EDGES) for x in ratio]),
        "ss_jsd": np.stack(
            [dist.joint_ss_histogram([h], [e]).ravel() for h, e in zip(helix, strand, strict=True)]
        ),
        **{
            f"{key}_jsd": np.stack([dist.binned([row[key]], edges) for row in rows])
            for key, edges in dist.SPREAD_EDGES.items()
        },
    }


def divergences(
    measured: Sequence[Measured],
    rows: Sequence[Mapping[str, Any]],
    reference: Reference,
    rng: np.random.Generator,
    draws: int = 300,
) -> dict[str, Figure]:
    """Jensen–Shannon divergences of the whole set to natives, with bootstrap intervals.

    Resampling raises a divergence, so the interval is shifted by the bias it shows.
    """
    targets = {
        "rama_jsd_all": dist.coarsen(reference.torsions, POOLED_BINS),
        "rg_jsd": reference.rg_ratio,
        "ss_jsd": reference.structure,
        **{
            f"{key}_jsd": dist.binned(reference.points[key], edges)
            for key, edges in dist.SPREAD_EDGES.items()
        },
    }
    n = len(rows)
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=draws)
    figures = {}
    for key, single in _histograms(measured, rows).items():
        value = dist.jensen_shannon(single.sum(0), targets[key])
        drawn = np.array([dist.jensen_shannon(w @ single, targets[key]) for w in weights])
        low, high = np.percentile(drawn, [2.5, 97.5]) - (drawn.mean() - value)
        figures[key] = _figure(value, max(low, 0.0), min(high, 1.0))
    return figures


def _halves(
    measured: Sequence[Measured], rows: Sequence[Mapping[str, Any]], rng: np.random.Generator
) -> dict[str, Figure]:
    """Divergences between random halves of the natives: what no difference looks like."""
    figures = {}
    for key, single in _histograms(measured, rows).items():
        drawn = []
        for _ in range(50 if len(rows) > 1 else 0):
            order = rng.permutation(len(rows))
            half = len(rows) // 2
            first, second = single[order[:half]].sum(0), single[order[half:]].sum(0)
            drawn.append(dist.jensen_shannon(first, second))
        figures[key] = _figure(*(_spread(drawn) if drawn else (float("nan"),)))
    return figures


def _spread(drawn: Sequence[float]) -> tuple[float, float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.mean(drawn)), float(low), float(high)

"""Figures of a whole set: success rates with intervals, curves, and quality of confidence.

A complex without a pose counts as a failure in every rate. Success at a distance means that the
first pose (top-1), or any of the first n poses (best of n), has an RMSD below it. Intervals are
Wilson's, at 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.evaluation.measure import CaseResult, PoseResult
from protein.docking.poses.metrics import success_interval
from sciddiff.calibration import (
    Reliability,
    auroc,
    brier,
    reliability,
    selective_success,
)

SUCCESS = 2.0
"""RMSD below which a pose is right, Å."""

CUTS: tuple[float, ...] = (1.0, 2.0, 5.0)
"""Distances at which success is reported, Å."""

_FIRST = (1, 5, 9)
_BINS = 10
_CURVE = np.arange(0, 101) / 10


@dataclass(frozen=True, eq=False)
class Curves:
    """Success of n first poses against the RMSD that counts as success.

    Attributes:
        rmsd: `[J]`, Å.
        share: share of complexes, by n; each `[J]`.
        low: lower ends of the intervals of top-1 `[J]`.
        high: upper ends `[J]`.
    """

    rmsd: NDArray[np.float64]
    share: dict[int, NDArray[np.float64]]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trust:
    """Quality of the confidence.

    Attributes:
        poses: number of poses with a confidence and an RMSD.
        complexes: number of complexes whose first pose has both.
        auroc: area under the ROC curve over all poses; NaN if all are right or all are wrong.
        auroc_top: the same over first poses.
        table: forecasts and frequencies over all poses; None where the confidences are no
            probabilities.
        brier: Brier score over all poses; None in the same case.
        table_top: the same table for first poses.
        brier_top: Brier score of first poses.
        coverage: share of complexes that are kept, `[J]`.
        success: share of right first poses among them `[J]`.
    """

    poses: int
    complexes: int
    auroc: float
    auroc_top: float
    table: Reliability | None
    brier: float | None
    table_top: Reliability | None
    brier_top: float | None
    coverage: NDArray[np.float64]
    success: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was measured.

    Attributes:
        cases: every complex.
        unmatched: names of poses without a complex.
        facts: description of how the poses were made.
        first: the n of best of n.
        curves: curves of success.
        trust: quality of the confidence; None if the poses have none.
    """

    cases: tuple[CaseResult, ...]
    unmatched: tuple[str, ...]
    facts: dict[str, Any]
    first: tuple[int, ...]
    curves: Curves
    trust: Trust | None

    def rate(self, first: int, cut: float = SUCCESS) -> dict[str, Any]:
        """Success of the first n poses at a distance, with its interval."""
        return _rate(sum(case.best(first) < cut for case in self.cases), len(self.cases))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in ``summary.json``."""
        failed = {case.id: case.reason for case in self.cases if case.failed}
        good = [case for case in self.cases if not case.failed]
        return {
            "complexes": len(self.cases),
            "with_poses": len(good),
            "failed": len(failed),
            "poses": sum(len(case.poses) for case in self.cases),
            "success": {
                _name(n): {f"{cut:g}": self.rate(n, cut) for cut in CUTS} for n in self.first
            },
            "median": {
                **{f"rmsd_{_name(n)}": _median([c.best(n) for c in good]) for n in self.first},
                "centroid_top_1": _median([c.poses[0].centroid for c in good]),
            },
            **self._validity(),
            **({} if self.trust is None else {"confidence": _trust_dict(self.trust)}),
            "failures": failed,
            "unmatched": list(self.unmatched),
        }

    def _validity(self) -> dict[str, Any]:
        """PoseBusters' verdicts on first poses, over all complexes and over those judged."""
        judged = [c.poses[0] for c in self.cases if c.poses and c.poses[0].verdict is not None]
        if not judged:
            return {}
        valid = [pose for pose in judged if pose.verdict is not None and pose.verdict.valid]
        right = sum(pose.rmsd < SUCCESS for pose in valid)
        return {
            "posebusters": {
                "top_1_valid": _rate(len(valid), len(judged)),
                "top_1_valid_and_within_2": _rate(right, len(self.cases)),
            }
        }


def summarize(
    cases: Sequence[CaseResult], unmatched: Sequence[str], facts: dict[str, Any]
) -> Evaluation:
    """Compute the figures of measured complexes.

    Args:
        cases: one or more.
        unmatched: names of poses without a complex.
        facts: description of how the poses were made.
    """
    most = max((len(case.poses) for case in cases), default=0)
    first = tuple(sorted({min(n, max(1, most)) for n in _FIRST}))
    curves = _curves(cases, first)
    return Evaluation(tuple(cases), tuple(unmatched), facts, first, curves, _trust(cases))


def label_of(first: int) -> str:
    """``top-1`` or ``best of n``."""
    return "top-1" if first == 1 else f"best of {first}"


def _curves(cases: Sequence[CaseResult], first: Sequence[int]) -> Curves:
    share = {}
    for n in first:
        rmsd = np.asarray([case.best(n) for case in cases])
        share[n] = (rmsd[:, None] < _CURVE).mean(0)
    ends = [success_interval(round(p * len(cases)), len(cases)) for p in share[first[0]]]
    low, high = np.asarray(ends).T
    return Curves(_CURVE, share, low, high)


def _trust(cases: Sequence[CaseResult]) -> Trust | None:
    told = [
        pose
        for case in cases
        for pose in case.poses
        if pose.confidence is not None and isfinite(pose.rmsd)
    ]
    if not told:
        return None
    top = [case.poses[0] for case in cases if case.poses and case.poses[0].confidence is not None]
    p, y = _pairs(told)
    p_top, y_top = _pairs(top)
    table, score = _calibration(p, y)
    table_top, score_top = _calibration(p_top, y_top)
    coverage, success = selective_success(p_top, y_top)
    return Trust(
        len(told),
        len(top),
        auroc(p, y),
        auroc(p_top, y_top),
        table,
        score,
        table_top,
        score_top,
        # Complexes without a pose are never among those that are kept.
        coverage * len(top) / len(cases),
        success,
    )


def _pairs(poses: Sequence[PoseResult]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    p = np.asarray([pose.confidence for pose in poses], dtype=np.float64)
    return p, np.asarray([pose.rmsd < SUCCESS for pose in poses], dtype=bool)


def _calibration(
    p: NDArray[np.float64], y: NDArray[np.bool_]
) -> tuple[Reliability | None, float | None]:
    if len(p) == 0 or p.min() < 0 or p.max() > 1:
        return None, None
    return reliability(p, y, _BINS), brier(p, y)


def _trust_dict(trust: Trust) -> dict[str, Any]:
    def part(area: float, table: Reliability | None, score: float | None) -> dict[str, Any]:
        return {
            "auroc": area if isfinite(area) else None,
            "calibration_error": None if table is None else table.error,
            "brier": score,
        }

    return {
        "all_poses": {
            "poses": trust.poses,
            **part(trust.auroc, trust.table, trust.brier),
        },
        "top_1": {
            "complexes": trust.complexes,
            **part(trust.auroc_top, trust.table_top, trust.brier_top),
        },
    }


def _rate(count: int, total: int) -> dict[str, Any]:
    low, high = success_interval(count, total)
    return {
        "count": count,
        "of": total,
        "share": count / total if total else None,
        "low": low,
        "high": high,
    }


def _median(values: Sequence[float]) -> float | None:
    finite = [value for value in values if isfinite(value)]
    return float(np.median(finite)) if finite else None


def _name(first: int) -> str:
    return "top_1" if first == 1 else f"best_of_{first}"

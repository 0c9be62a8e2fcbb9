"""Tables of an evaluation as CSV: complexes, poses, and the points of every curve."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path

from protein.docking.evaluation.measure import CaseResult, PoseResult
from protein.docking.evaluation.summary import SUCCESS, Evaluation
from protein.docking.poses.metrics import Verdict
from sciddiff.calibration import Reliability
from sciddiff.files import replacing
from sciddiff.names import cell


def case_columns(evaluation: Evaluation) -> list[str]:
    """Columns of ``results.csv``."""
    best = [f"best_of_{n}" for n in evaluation.first if n > 1]
    return [
        "id", "status", "reason", "poses", "heavy_atoms", "torsions", "rmsd", *best, "best_rank",
        "centroid", "success", "confidence", "affinity", "valid", "failed_checks", "stereo_kept",
        "reference", "receptor",
    ]  # fmt: skip


def case_row(case: CaseResult, evaluation: Evaluation) -> dict[str, str]:
    """One row of ``results.csv``; figures are those of the first pose unless named otherwise."""
    row = {
        "id": case.id,
        "status": "failed" if case.failed else "ok",
        "reason": " ".join(case.reason.split()),
        "poses": str(len(case.poses)),
        "success": "no",
        "reference": case.reference,
        "receptor": case.receptor,
    }
    if case.failed:
        return row
    ranked = sorted(case.poses, key=lambda pose: pose.rmsd)
    return {
        **row,
        **_pose_cells(case.poses[0]),
        **{f"best_of_{n}": _figure(case.best(n)) for n in evaluation.first if n > 1},
        "heavy_atoms": str(case.heavy_atoms),
        "torsions": str(case.torsions),
        "best_rank": str(ranked[0].rank),
        "reason": case.poses[0].reason,
    }


def write_tables(directory: Path, evaluation: Evaluation) -> list[Path]:
    """Write all tables and return their files."""
    cases = [case_row(case, evaluation) for case in evaluation.cases]
    written = [_write(directory / "results.csv", case_columns(evaluation), cases)]
    columns = [
        "id", "rank", "status", "reason", "rmsd", "centroid", "success", "confidence", "affinity",
        "valid", "failed_checks", "stereo_kept", "file", "record",
    ]  # fmt: skip
    poses = (
        {"id": case.id, **_pose_row(pose)} for case in evaluation.cases for pose in case.poses
    )
    written.append(_write(directory / "poses.csv", columns, poses))
    written.append(_success_curve(directory / "success.csv", evaluation))
    trust = evaluation.trust
    if trust is not None:
        points = [
            {"coverage": f"{c:.6g}", "success": f"{s:.6g}"}
            for c, s in zip(trust.coverage, trust.success, strict=True)
        ]
        written.append(_write(directory / "selective.csv", ["coverage", "success"], points))
        if trust.table is not None:
            written.append(_reliability(directory / "reliability.csv", trust.table))
    return written


def _pose_row(pose: PoseResult) -> dict[str, str]:
    return {
        "rank": str(pose.rank),
        "status": "ok" if isfinite(pose.rmsd) else "failed",
        "reason": " ".join(pose.reason.split()),
        "file": pose.file,
        "record": str(pose.record),
        **_pose_cells(pose),
    }


def _pose_cells(pose: PoseResult) -> dict[str, str]:
    verdict: Verdict | None = pose.verdict
    return {
        "rmsd": _figure(pose.rmsd),
        "centroid": _figure(pose.centroid),
        "success": _word(pose.rmsd < SUCCESS),
        "confidence": _figure(pose.confidence, 4),
        "affinity": _figure(pose.affinity),
        "valid": "" if verdict is None else _word(verdict.valid),
        "failed_checks": "" if verdict is None else " ".join(verdict.failed),
        "stereo_kept": "" if pose.stereo_kept is None else _word(pose.stereo_kept),
    }


def _success_curve(path: Path, evaluation: Evaluation) -> Path:
    curves = evaluation.curves
    names = {n: "top_1" if n == 1 else f"best_of_{n}" for n in curves.share}
    points = [
        {
            "rmsd": f"{rmsd:.1f}",
            **{names[n]: f"{share[j]:.6g}" for n, share in curves.share.items()},
            "top_1_low": f"{curves.low[j]:.6g}",
            "top_1_high": f"{curves.high[j]:.6g}",
        }
        for j, rmsd in enumerate(curves.rmsd)
    ]
    return _write(path, ["rmsd", *names.values(), "top_1_low", "top_1_high"], points)


def _reliability(path: Path, table: Reliability) -> Path:
    points = [
        {
            "from": f"{table.edges[b]:g}",
            "to": f"{table.edges[b + 1]:g}",
            "poses": str(table.count[b]),
            "confidence": _figure(table.forecast[b], 4),
            "frequency": _figure(table.frequency[b], 4),
        }
        for b in range(len(table.count))
    ]
    return _write(path, ["from", "to", "poses", "confidence", "frequency"], points)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    with replacing(path) as out:
        out.write(text.getvalue().encode("utf-8"))
    return path


def _figure(value: float | None, digits: int = 3) -> str:
    return "" if value is None or not isfinite(value) else f"{value:.{digits}f}"


def _word(yes: bool) -> str:
    return "yes" if yes else "no"

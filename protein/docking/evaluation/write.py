"""From a folder of poses to measured complexes, tables, plots and a page."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from protein.docking.evaluation.cases import FOLDER, Case, find_cases
from protein.docking.evaluation.measure import CaseResult, measure
from protein.docking.evaluation.page import evaluation_page
from protein.docking.evaluation.plots import as_png, plots
from protein.docking.evaluation.summary import Evaluation, summarize
from protein.docking.evaluation.tables import write_tables
from protein.structures.workers import map_in_processes
from sciddiff.errors import InputError, nearest
from sciddiff.files import replacing

OnCase = Callable[[int, int], None]
"""Called with how many complexes are done, and how many there are."""


@dataclass(frozen=True)
class EvaluateSettings:
    """Settings of an evaluation.

    Attributes:
        check: first poses of each complex that PoseBusters judges; 0: none.
        jobs: number of processes.
    """

    check: int = 1
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, least in (("check", 0), ("jobs", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name}: {value!r} is not a whole number of at least {least}")

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> "EvaluateSettings":
        """Read the settings from plain values.

        Raises:
            InputError: a name is unknown, or a value cannot be used.
        """
        known = ("check", "jobs")
        strange = next((name for name in options if name not in known), None)
        if strange is not None:
            raise InputError(f"--set {strange}: not an option of dock; {nearest(strange, known)}")
        return cls(**options)


def evaluate_poses(
    source: Path,
    reference: Path | None,
    report: Path | None = None,
    settings: EvaluateSettings = EvaluateSettings(),
    on_case: OnCase | None = None,
) -> Evaluation:
    """Measure poses against crystal ligands and write tables, plots and a page.

    Args:
        source: folder of poses, or a table; see ``cases``.
        reference: crystal ligand, folder of complexes, or table.
        report: folder to write; ``evaluation`` beside the poses by default.
        settings: how to measure.
        on_case: called as complexes are done.

    Raises:
        InputError: there is nothing to measure, or the folder cannot be written.
        MissingExtra: PoseBusters or matplotlib is not installed.
    """
    place = source.parent if source.is_file() else source
    folder = report or place / FOLDER
    if folder.is_file():
        raise InputError(f"{folder}: is a file; give a folder for the report")
    found = find_cases(source, reference)
    results = []
    for result in _measured(found.cases, settings):
        results.append(result)
        if on_case is not None:
            on_case(len(results), len(found.cases))
    evaluation = summarize(results, found.unmatched, found.facts)
    write_evaluation(folder, evaluation)
    return evaluation


def write_evaluation(folder: Path, evaluation: Evaluation) -> list[Path]:
    """``results.csv``, ``poses.csv``, ``summary.json``, plots with their points, ``report.html``.

    Args:
        folder: folder to write to; it is made if it does not exist.
        evaluation: what was measured.

    Returns:
        The files.
    """
    files = write_tables(folder, evaluation)
    contents = {
        "summary.json": (json.dumps(evaluation.as_dict(), indent=2) + "\n").encode("utf-8"),
        "report.html": evaluation_page(evaluation).encode("utf-8"),
    }
    for name, (draw, _) in plots(evaluation).items():
        contents[f"{name}.png"] = as_png(draw, evaluation)
    for name, data in contents.items():
        files.append(folder / name)
        with replacing(files[-1]) as out:
            out.write(data)
    return files


def _measured(cases: Sequence[Case], settings: EvaluateSettings) -> Iterator[CaseResult]:
    work = partial(measure, checked=settings.check)
    if settings.jobs > 1 and len(cases) > 1:
        yield from map_in_processes(work, cases, min(settings.jobs, len(cases)), 1)
    else:
        yield from map(work, cases)

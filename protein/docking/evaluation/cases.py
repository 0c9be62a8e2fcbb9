"""Which poses are measured against which crystal ligand.

Complexes come from a folder (``ID/protein.pdb`` with ``ID/ligand.sdf``, or PDBbind's names), from
a table with columns id, reference, receptor and poses, or are one ligand file. Poses are found in
what ``sciddiff dock`` wrote, or as ``ID.sdf``, or as all files of poses in a folder ``ID``.
A complex without poses is kept with the reason, and counts as a failure.
"""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from protein.docking.campaign.output import RESULTS
from protein.docking.complexes.sources import find_sources, unique_names
from protein.docking.poses.files import MOLECULE_SUFFIXES
from sciddiff.cli import campaign
from sciddiff.errors import InputError
from sciddiff.names import text_of

FOLDER = "evaluation"
"""Folder of results, made inside that of the poses."""

_COLUMNS = ("id", "reference", "receptor", "poses")
_WANTED = (
    "give --reference: a crystal ligand, a folder of complexes, or a table with columns "
    "id,reference,receptor"
)


@dataclass(frozen=True)
class Case:
    """One complex.

    Attributes:
        id: name.
        references: files of the crystal ligand, the best first.
        receptor: structure file, for PoseBusters.
        poses: files of poses, in the order of their ranks.
        reason: why there are no poses.
    """

    id: str
    references: tuple[Path, ...]
    receptor: Path | None = None
    poses: tuple[Path, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class CaseSet:
    """What is measured.

    Attributes:
        cases: every complex, with poses or not.
        unmatched: names of poses without a complex.
        facts: description of how the poses were made, if there is one.
    """

    cases: tuple[Case, ...]
    unmatched: tuple[str, ...]
    facts: dict[str, Any]


def find_cases(source: Path, reference: Path | None) -> CaseSet:
    """Pair poses with crystal ligands.

    Args:
        source: folder of poses, or a table whose column ``poses`` names them.
        reference: crystal ligand, folder of complexes, or table; None where the table has them,
            or where the folder's record tells which complexes were docked.

    Raises:
        InputError: nothing can be paired; the message says what is needed.
    """
    if source.is_file():
        if source.suffix.lower() != ".csv":
            raise InputError(f"{source}: is a file; give a folder of poses, or a .csv table")
        cases = _read_table(source, poses=True)
        return CaseSet(tuple(cases), (), {})
    facts = _record(source)
    reference = reference or _docked_set(source, facts)
    if reference.is_dir():
        cases = _cases_of_folder(reference)
    elif reference.suffix.lower() == ".csv":
        cases = _read_table(reference, poses=False)
    else:
        return CaseSet((_one_ligand(source, reference, facts),), (), facts)
    found = _Predictions(source, {file.resolve() for case in cases for file in case.references})
    paired = tuple(case if case.poses else found.give(case) for case in cases)
    if not any(case.poses for case in paired):
        raise InputError(
            f"{source}: has no poses of the {len(paired)} complexes of {reference}; name them "
            "ID.sdf, or put them into a folder ID"
        )
    return CaseSet(paired, found.left(), facts)


class _Predictions:
    """Files of poses in a folder, by the name of their complex."""

    def __init__(self, folder: Path, references: set[Path]) -> None:
        self._folder, self._references = folder, references
        self._reasons: dict[str, str] = {}
        self._files: dict[str, tuple[Path, ...]] = {}
        self._given: set[str] = set()
        if (folder / RESULTS).is_file() and (folder / campaign.RECORD).is_file():
            self._of_campaign(folder)
        else:
            self._of_folder(folder)

    def give(self, case: Case) -> Case:
        """The case with its poses, or with the reason why it has none."""
        lower = {name.lower(): name for name in self._files.keys() | self._reasons.keys()}
        name = case.id if case.id in self._files else lower.get(case.id.lower(), case.id)
        self._given.add(name)
        reason = self._reasons.get(name, "no file of poses")
        files = self._files.get(name, ())
        return replace(case, poses=files, reason="" if files else reason)

    def left(self) -> tuple[str, ...]:
        """Names that no case took."""
        return tuple(sorted(self._files.keys() - self._given))

    def _of_campaign(self, folder: Path) -> None:
        with (folder / RESULTS).open(encoding="utf-8", newline="") as lines:
            for cells in csv.DictReader(lines):
                row = {key: text_of(value or "") for key, value in cells.items() if key}
                name, file = row.get("name") or "", row.get("file") or ""
                if file and (folder / file).is_file():
                    self._files[name] = (folder / file,)
                else:
                    lost = f"{file} is missing" if file else "not docked"
                    self._reasons[name] = row.get("reason") or lost

    def _of_folder(self, folder: Path) -> None:
        for place in (folder, folder / "poses"):
            for file in self._poses(place):
                self._files.setdefault(_stem(file), (file,))
        for place in sorted(p for p in folder.iterdir() if p.is_dir()):
            if place.name not in ("poses", FOLDER):
                inner = self._poses(place / "poses") or self._poses(place)
                if inner:
                    self._files.setdefault(place.name, tuple(inner))

    def _poses(self, place: Path) -> list[Path]:
        return [file for file in pose_files(place) if file.resolve() not in self._references]


def pose_files(folder: Path) -> list[Path]:
    """Files of poses in a folder, ``rank2`` before ``rank10``.

    If a file exists twice, as ``rank1.sdf`` and ``rank1_confidence-0.42.sdf``, the one whose name
    says more is taken.

    Args:
        folder: may be absent.
    """
    if not folder.is_dir():
        return []
    named = [f for f in folder.iterdir() if f.name.lower().endswith(MOLECULE_SUFFIXES)]
    files = [f for f in named if f.is_file()]
    told = {name.partition("_confidence")[0] for f in files if "_confidence" in (name := f.name)}
    return sorted((f for f in files if _stem(f) not in told), key=_natural)


def confidence_of_name(file: Path) -> str:
    """The confidence that a file's name tells (``rank1_confidence-0.42.sdf``), or nothing."""
    match = re.search(r"_confidence(-?\d+(?:\.\d+)?)", file.name)
    return "" if match is None else match[1]


def _stem(file: Path) -> str:
    name = file.name[:-3] if file.name.lower().endswith(".gz") else file.name
    return Path(name).stem


def _natural(file: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", file.name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _record(folder: Path) -> dict[str, Any]:
    """What the folder's own record says; empty without one."""
    record = campaign.read_record(folder)
    if "dataset" in record:
        record["request"]["dataset"] = record["dataset"]
    kept = ("command", "request", "sciddiff", "torch", "machine")
    return {key: record[key] for key in kept if key in record}


def _docked_set(folder: Path, facts: dict[str, Any]) -> Path:
    """The folder of complexes that was docked, by its record."""
    docked = (facts.get("request") or {}).get("dataset")
    if not docked:
        raise InputError(f"{folder}: poses are measured against crystal ligands; {_WANTED}")
    if not Path(docked).is_dir():
        raise InputError(f"{docked}: the docked complexes are no longer there; {_WANTED}")
    return Path(docked)


def _one_ligand(folder: Path, reference: Path, facts: dict[str, Any]) -> Case:
    """All poses of a folder against one crystal ligand."""
    receptor = (facts.get("request") or {}).get("receptor")
    there = Path(receptor) if receptor and Path(receptor).is_file() else None
    files = pose_files(folder / "poses") or pose_files(folder)
    files = [file for file in files if file.resolve() != reference.resolve()]
    if not files:
        raise InputError(f"{folder}: holds no poses; give a folder with .sdf files")
    if (folder / RESULTS).is_file() and len(files) > 1:
        raise InputError(
            f"{folder}: holds poses of {len(files)} ligands and {reference} is one; give a table "
            "with columns id,reference"
        )
    return Case(_stem(reference), (reference,), there, tuple(files))


def _cases_of_folder(folder: Path) -> list[Case]:
    sources = find_sources(folder)
    named = unique_names(folder, sources)
    return [
        Case(name, source.ligands, None if source.backbone else source.receptor)
        for name, source in zip(named, sources, strict=True)
    ]


def _read_table(file: Path, poses: bool) -> list[Case]:
    """Complexes of a CSV table; paths count from its folder."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give a CSV table in UTF-8") from error
    reader = csv.DictReader(text.splitlines())
    header = [name.strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = header
    wanted = ("id", "reference", "poses") if poses else ("id", "reference")
    missing = [name for name in wanted if name not in header]
    if missing:
        raise InputError(
            f"{file}: no column {missing[0]} among {', '.join(header) or 'none'}; give columns "
            f"{','.join(_COLUMNS)}"
        )
    cases = [_table_case(file.parent, row) for row in reader]
    names = [case.id for case in cases]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not cases or twice is not None:
        what = "holds no row" if not cases else f"names {twice} twice"
        raise InputError(f"{file}: {what}; give one row for each complex")
    return cases


def _table_case(folder: Path, row: dict[str, Any]) -> Case:
    cell = {key: (row.get(key) or "").strip() for key in _COLUMNS}
    found = {key: folder / cell[key] for key in _COLUMNS[1:] if cell[key]}
    lost = next((f"{path}: no such file" for path in found.values() if not path.exists()), "")
    files: tuple[Path, ...] = ()
    if "poses" in found:
        place = found["poses"]
        files = tuple(pose_files(place)) if place.is_dir() else (place,)
    reason = lost or ("" if "reference" in found else "the table names no reference")
    if not reason and "poses" in found and not files:
        reason = f"{found['poses']}: holds no poses"
    case = Case(cell["id"], (found.get("reference", folder),), found.get("receptor"))
    return replace(case, poses=() if reason else files, reason=reason or "no file of poses")

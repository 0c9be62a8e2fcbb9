"""Write ``report.html`` and ``contacts.csv`` for a folder of docked ligands."""

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protein.docking.campaign.output import RESULTS
from protein.docking.poses.contacts import KINDS, Contacts
from protein.docking.receptors.receptor import Receptor
from protein.docking.report import collect, page
from protein.docking.report.depict import depict
from protein.structures.residues import is_nucleotide, parent_letter
from protein.viewer.molstar import molstar_assets
from sciddiff.files import replacing
from sciddiff.names import cell
from sciddiff.report.page import heading, pack, provenance

_log = logging.getLogger(__name__)

REPORT = "report.html"
"""The page."""

CONTACTS = "contacts.csv"
"""Contacts of every pose of every docked ligand."""

MOST_SHOWN = 50
"""Largest number of ligands whose poses the page shows."""

MOST_ROWS = 3000
"""Largest number of rows in the page's table; ``results.csv`` has them all."""

_TAGS = (
    "confidence", "affinity", "energy", "strain", "site", "posebusters", "posebusters_failed",
)  # fmt: skip
_CONTACT_COLUMNS = (
    "index", "name", "rank", "kind", "ligand_atom", "residue", "resname", "atom", "distance",
)  # fmt: skip
Shown: TypeAlias = tuple[Mapping[str, str], collect.Poses, Receptor | None]


def is_docked(directory: Path) -> bool:
    """Whether a folder is one that ``sciddiff dock`` wrote."""
    return (directory / RESULTS).is_file() and (directory / collect.RECORD).is_file()


def try_report(directory: Path, receptor: Receptor | None = None) -> Path | None:
    """Write the page at the end of a run; if that fails, the run does not fail.

    Args:
        directory: what ``sciddiff dock`` wrote.
        receptor: the receptor that was docked to; if None, it is looked for.

    Returns:
        The page; None if it cannot be made, which is logged.
    """
    try:
        return write_report(directory, receptor)
    except Exception as error:  # poses are worth more than their page
        _log.warning("%s: no report: %s", directory, error, exc_info=True)
        return None


def write_report(
    directory: Path,
    receptor: Receptor | None = None,
    most_shown: int = MOST_SHOWN,
    title: str = "",
) -> Path:
    """Write one self-contained page, and the contacts of all poses, into a folder of poses.

    Args:
        directory: what ``sciddiff dock`` wrote.
        receptor: the receptor that was docked to; if None, it is looked for.
        most_shown: largest number of ligands whose poses the page shows.
        title: title of the page; by default it names the receptor.

    Returns:
        The page.

    Raises:
        InputError: the folder holds no table of results, or cannot be written.
    """
    table, record = collect.read_rows(directory), collect.read_record(directory)
    rows = collect.ranked(table)
    receptors = collect.Receptors(directory, record, receptor)
    shown: list[Shown] = []
    drawings: dict[str, str] = {}
    lines = [",".join(_CONTACT_COLUMNS) + "\n"]
    for row, poses, near in collect.all_poses(directory, rows, receptors):
        if poses.contacts is not None and near is not None:
            lines.append(_contact_lines(row, poses.contacts, near))
        if len(drawings) < MOST_ROWS:
            drawings[row["index"]] = depict(poses.mol)
        if len(shown) < most_shown:
            shown.append((row, poses, near))
    text = _page(rows, record, shown, drawings, title)
    for name, content in ((CONTACTS, "".join(lines)), (REPORT, text)):
        with replacing(directory / name) as out:
            out.write(content.encode("utf-8"))
    return directory / REPORT


def _page(
    rows: Sequence[Mapping[str, str]],
    record: Mapping[str, Any],
    shown: Sequence[Shown],
    drawings: Mapping[str, str],
    title: str,
) -> str:
    good = sum(row["status"] == "ok" for row in rows)
    target = str((record.get("request") or {}).get("receptor") or "")
    title = title or (f"Docking into {Path(target).name}" if target else "Docked ligands")
    many = "s" * (len(rows) != 1)
    lead = f"{good} of {len(rows)} ligand{many} docked, {len(rows) - good} failed."
    # Without anything to look at the viewer would be five sixths of the page.
    assets = molstar_assets() if shown else None
    sections = [heading(title, lead, str(record.get("command") or "")), "<main>"]
    sections.append(page.summary(rows))
    if shown:
        names = [(row["index"], row["name"]) for row, *_ in shown]
        sections.append(page.stage(names, good, assets))
    sections += [
        page.ligand_table(rows[:MOST_ROWS], drawings, len(rows)),
        page.settings_card(page.settings_facts(record), rows),
        provenance(record, "How this was made"),
        "</main>",
        page.footer(assets),
    ]
    return page.page(title, sections, assets, pack(_payload(shown)))


def _contact_lines(row: Mapping[str, str], found: Contacts, receptor: Receptor) -> str:
    """Rows of ``contacts.csv``; atoms of the ligand count from 1, as in its SDF."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for p, k, i, j, r in zip(
        found.pose.tolist(), found.kind.tolist(), found.ligand.tolist(), found.receptor.tolist(),
        found.distance.tolist(), strict=True,
    ):  # fmt: skip
        writer.writerow(
            [row["index"], cell(row["name"]), p + 1, KINDS[k], i + 1, receptor.residues[j],
             receptor.resnames[j], receptor.atoms[j], f"{r:.2f}"]
        )  # fmt: skip
    return text.getvalue()


def _payload(shown: Sequence[Shown]) -> str:
    """Pockets, poses and contacts as JSON."""
    pockets: list[dict[str, Any]] = []
    ligands: list[dict[str, Any]] = []
    groups: dict[int, list[Shown]] = {}
    for one in shown:
        groups.setdefault(id(one[2]), []).append(one)
    for group in groups.values():
        receptor, place = group[0][2], np.zeros(0, np.int64)
        if receptor is not None:
            points = np.concatenate([poses.coords.reshape(-1, 3) for _, poses, _ in group])
            near = collect.pocket(receptor, points)
            place = _places(receptor, near)
            pockets.append(_pocket(near))
        number = None if receptor is None else len(pockets) - 1
        ligands += [{**_ligand(row, poses, place), "pocket": number} for row, poses, _ in group]
    data = {"pockets": pockets, "ligands": ligands}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _places(receptor: Receptor, part: Receptor) -> NDArray[np.int64]:
    """For each atom of a receptor its place in a part of it, -1 if it is not there `[M]`."""
    names = zip(part.residues, part.atoms, part.coords.tolist(), strict=True)
    found = {(r, a, *xyz): k for k, (r, a, xyz) in enumerate(names)}
    names = zip(receptor.residues, receptor.atoms, receptor.coords.tolist(), strict=True)
    return np.asarray([found.get((r, a, *xyz), -1) for r, a, xyz in names], np.int64)


def _pocket(near: Receptor) -> dict[str, Any]:
    """Residues ``[chain, number, code, name, polymer]`` and atoms with their residue."""
    labels = list(dict.fromkeys(zip(near.residues, near.resnames, strict=True)))
    number = {label: k for k, label in enumerate(labels)}
    residues = []
    for label, name in labels:
        chain, _, digits = label.partition(":")
        code = digits[-1:] if digits[-1:].isalpha() else ""
        polymer = parent_letter(name) is not None or is_nucleotide(name)
        residues.append([chain, digits.removesuffix(code) if code else digits, code, name,
                         int(polymer)])  # fmt: skip
    return {
        "residues": residues,
        "residue": [number[key] for key in zip(near.residues, near.resnames, strict=True)],
        "name": near.atoms,
        "element": near.elements,
        "xyz": np.round(near.coords, 2).ravel().tolist(),
    }


def _ligand(
    row: Mapping[str, str], poses: collect.Poses, place: NDArray[np.int64]
) -> dict[str, Any]:
    mol = poses.mol
    bonds = [
        [b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble()),
         int(b.GetIsAromatic())]
        for b in mol.GetBonds()
    ]  # fmt: skip
    contacts: list[list[list[float]]] = [[] for _ in poses.coords]
    if poses.contacts is not None and len(place):
        found = poses.contacts
        atoms = place[found.receptor]
        near = np.round(found.distance, 2)
        columns = (found.pose, found.kind, found.ligand, atoms, near)
        for pose, *contact in zip(*(c.tolist() for c in columns), strict=True):
            contacts[pose].append(contact)
    inside = np.flatnonzero(place[poses.moved] >= 0) if len(place) else np.zeros(0, np.int64)
    moved = {
        "atoms": place[poses.moved[inside]].tolist(),
        "xyz": [np.round(xyz[inside], 2).ravel().tolist() for xyz in poses.moved_coords],
    }
    tags = [{key: page.shown(key, str(t[key])) for key in _TAGS if key in t} for t in poses.tags]
    return {
        "key": row["index"],
        "name": row["name"],
        "element": [a.GetSymbol() for a in mol.GetAtoms()],
        "bonds": bonds,
        "poses": [np.round(xyz, 2).ravel().tolist() for xyz in poses.coords],
        "tags": tags,
        "contacts": contacts,
        "moved": moved if len(inside) else None,
    }

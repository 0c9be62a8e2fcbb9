"""Reading a folder of docked ligands: its rows, its poses with their tags, and the pocket."""

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.campaign.output import RESULTS
from protein.docking.molecules.ligand import quietly
from protein.docking.poses.contacts import Contacts, ContactSites, find_contacts
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.receptors.waters import kept_groups, with_near_waters
from sciddiff.cli import campaign
from sciddiff.errors import InputError
from sciddiff.names import text_of

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_log = logging.getLogger(__name__)

RECORD = campaign.RECORD
_POCKET = 8.0
_AROUND = 20.0
_MOST_POCKET = 5000
_BACKBONE = frozenset({"N", "CA", "C", "O"})


@dataclass(frozen=True, eq=False)
class Poses:
    """Ranked poses of one ligand.

    Attributes:
        mol: the heavy-atom molecule.
        coords: `[K, N, 3]`, Å.
        tags: data fields of each record, length K.
        contacts: with the receptor; None without one.
        moved: atoms of the receptor that are elsewhere in some pose `[F]`; none for a rigid one.
        moved_coords: where each pose has them `[K, F, 3]`, Å.
    """

    mol: "Mol"
    coords: NDArray[np.float64]
    tags: tuple[Mapping[str, str], ...]
    contacts: Contacts | None = None
    moved: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    moved_coords: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0, 3)))


def read_rows(directory: Path) -> list[dict[str, str]]:
    """Rows of ``results.csv``, without what made them safe for spreadsheets; fields that are
    missing there are empty.

    Raises:
        InputError: there is no such table, or it is damaged.
    """
    file = directory / RESULTS
    if not file.is_file():
        raise InputError(
            f"{directory}: holds no {RESULTS}; give the folder that sciddiff dock wrote, after "
            "its command has ended"
        )
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            read = csv.DictReader(stream)
            rows = [{k: text_of(v or "") for k, v in row.items() if k} for row in read]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read ({error}); run the command again") from error
    if any(not {"index", "name", "status"} <= row.keys() for row in rows):
        raise InputError(f"{file}: has no columns index, name, status; run the command again")
    return rows


def read_record(directory: Path) -> dict[str, Any]:
    """Content of ``run.json`` with what was read among the request; empty if it cannot be read."""
    record = campaign.read_record(directory)
    read = {name: record[name] for name in ("ligand", "dataset") if name in record}
    return {**record, "request": {**read, **record["request"]}} if record else {}


def ranked(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Rows in the order of the table, the failed ones last."""
    return sorted((dict(row) for row in rows), key=lambda row: row["status"] != "ok")


def number(text: str | None) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def read_poses(file: Path) -> Poses | None:
    """Read poses that `write_sdf` wrote; if they cannot be read, log it and return None."""
    from rdkit.Chem import SDMolSupplier

    try:
        supplier: Any = quietly(SDMolSupplier, str(file))
        mols: list[Any] = [mol for mol in quietly(list, supplier) if mol is not None]
    except (OSError, RuntimeError) as error:
        _log.warning("%s: poses are left out of the report: %s", file, error)
        return None
    alike = [mol for mol in mols if mol.GetNumAtoms() == mols[0].GetNumAtoms()]
    if not alike or not alike[0].GetNumAtoms():
        _log.warning("%s: holds no pose that can be read; left out of the report", file)
        return None
    coords = np.stack([mol.GetConformer().GetPositions() for mol in alike])
    return Poses(alike[0], coords, tuple(_tags(mol) for mol in alike))


def _tags(mol: Any) -> dict[str, str]:
    return {name: mol.GetProp(name) for name in mol.GetPropNames()}


class Receptors:
    """The receptor of each row: one for all, or one for each complex.

    If there is one receptor, it is in any of the written complexes, and otherwise in the file that
    was docked to. If each ligand was docked to its own, or side chains were flexible, it is in the
    complex of that ligand, with the side chains of its first pose.

    Args:
        directory: the folder.
        record: record of its run.
        receptor: the receptor that all were docked to; if None, it is looked for.
    """

    def __init__(
        self, directory: Path, record: Mapping[str, Any], receptor: Receptor | None = None
    ) -> None:
        self.directory, self.request = directory, dict(record.get("request") or {})
        self.flexible = "flex" in self.request or "covalent" in self.request
        self._waters = "water_price" in self.request
        one = bool(self.request.get("receptor")) and not self.flexible
        self.shared = receptor is not None or one
        self._one, self._looked = receptor, receptor is not None

    def of(self, row: Mapping[str, str]) -> Receptor | None:
        """Return the receptor of a docked row; if it cannot be read, log it and return None."""
        if not self.shared:
            return self._complex(row)
        if self._one is None and not self._waters:  # a complex lacks waters that it displaces
            self._one = self._complex(row)
        if self._one is None and not self._looked:
            self._looked = True
            self._one = self._file()
        return self._one

    def _complex(self, row: Mapping[str, str]) -> Receptor | None:
        file = self.directory / f"{row['file'].removesuffix('.sdf')}_complex.pdb"
        if not file.is_file():
            return None
        try:
            return _without_ligand(read_receptor(file, frozenset({"*", "HOH"})))
        except InputError as error:
            _log.info("%s: %s", file, error)
            return None

    def _file(self) -> Receptor | None:
        try:
            kept = kept_groups(str(self.request.get("keep") or ""), reach=True)
            whole = read_receptor(Path(str(self.request["receptor"])), kept.names)
            boxes = self.request["box"]
            boxes = [Box(**box) for box in (boxes if isinstance(boxes, list) else [boxes])]
            return with_near_waters(whole, boxes, kept)
        except (InputError, OSError, KeyError, TypeError) as error:
            _log.warning("report: the receptor cannot be read (%s); poses are alone", error)
            return None


def all_poses(
    directory: Path, rows: Sequence[Mapping[str, str]], receptors: Receptors
) -> Iterator[tuple[Mapping[str, str], Poses, Receptor | None]]:
    """Every docked row whose poses can be read, with their contacts, and its receptor.

    Args:
        directory: the folder.
        rows: rows of its table.
        receptors: receptors of the rows.
    """
    for row in rows:
        if row["status"] != "ok" or not row.get("file"):
            continue
        poses = read_poses(directory / row["file"])
        if poses is None:
            continue
        receptor = receptors.of(row)
        if receptor is not None:
            try:
                sites = ContactSites.of(poses.mol)
                moved = _moved(receptor, directory / row["file"])
                found = _contacts(poses.coords, sites, moved or [receptor])
                poses = replace(poses, contacts=_left(found, poses.tags, receptor))
                if len(moved) == len(poses.coords):
                    places = np.stack([one.coords for one in moved])
                    atoms = np.flatnonzero((places != receptor.coords).any(axis=(0, 2)))
                    poses = replace(poses, moved=atoms, moved_coords=places[:, atoms])
            except InputError as error:
                _log.info("%s: contacts: %s", row["name"], error)
        yield row, poses, receptor


def _contacts(
    coords: NDArray[np.float64], sites: ContactSites, receptors: Sequence[Receptor]
) -> Contacts:
    """Contacts of all poses, with one receptor or each with its own."""
    if len(receptors) != len(coords):
        return find_contacts(coords, sites, receptors[0])
    parts = [
        find_contacts(coords[k : k + 1], sites, one) for k, one in enumerate(receptors)
    ]
    pose = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    columns = ("kind", "ligand", "receptor", "distance")
    joined = (np.concatenate([getattr(part, name) for part in parts]) for name in columns)
    return Contacts(pose, *joined)


def _left(
    found: Contacts, tags: Sequence[Mapping[str, str]], receptor: Receptor
) -> Contacts:
    """The contacts without those of poses with waters that they displace, or with the residue
    that they are bonded to.
    """
    gone = [
        {*one.get("displaced_waters", "").split(), one.get("covalent", "").rpartition(":")[0]}
        - {""}
        for one in tags
    ]
    if not any(gone):
        return found
    pairs = zip(found.pose.tolist(), found.receptor.tolist(), strict=True)
    stays = np.asarray([receptor.residues[j] not in gone[p] for p, j in pairs], dtype=bool)
    return found.select(stays)


def _moved(receptor: Receptor, file: Path) -> list[Receptor]:
    """The receptor with the side chains of each pose, as `write_side_chains` wrote them."""
    models = file.with_name(f"{file.stem}_flex.pdb")
    if not models.is_file():
        return []
    rows = {key: i for i, key in enumerate(zip(receptor.residues, receptor.atoms, strict=True))}
    made: list[Receptor] = []
    coords = receptor.coords
    for line in models.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("MODEL"):
            coords = receptor.coords.copy()
        elif line.startswith("ATOM"):
            label = f"{line[21].strip()}:{line[22:27].strip()}"
            row = rows.get((label, line[12:16].strip()))
            if row is not None:
                coords[row] = [float(line[a : a + 8]) for a in (30, 38, 46)]
        elif line.startswith("ENDMDL"):
            made.append(replace(receptor, coords=coords))
    return made


def _without_ligand(receptor: Receptor) -> Receptor:
    # `write_complex` puts the ligand last, as a residue of its own.
    label = receptor.residues[-1]
    if receptor.resnames[-1] != "LIG" or not label.startswith("z:"):
        return receptor
    ours = [r == label and n == "LIG" for r, n in
            zip(receptor.residues, receptor.resnames, strict=True)]  # fmt: skip
    return receptor.select(~np.asarray(ours))


def pocket(receptor: Receptor, coords: NDArray[np.floating]) -> Receptor:
    """The part of a receptor that a page shows: residues near the poses, and the backbone around.

    Args:
        receptor: M atoms.
        coords: atoms of all poses `[n, 3]`, Å.
    """
    from scipy.spatial import KDTree

    gap = np.asarray(KDTree(coords).query(receptor.coords)[0])
    labels = np.unique(np.asarray(receptor.residues), return_inverse=True)[1].reshape(-1)
    nearest = np.full(labels.max() + 1, np.inf)
    np.minimum.at(nearest, labels, gap)
    near = nearest[labels]
    spine = np.asarray([atom in _BACKBONE for atom in receptor.atoms])
    whole = near <= _POCKET
    if whole.sum() > _MOST_POCKET:  # poses all over the protein
        whole = near <= _POCKET / 2
    keep = whole | (spine & (near <= _AROUND))
    if keep.sum() > 2 * _MOST_POCKET:
        keep = whole
    return receptor.select(keep)

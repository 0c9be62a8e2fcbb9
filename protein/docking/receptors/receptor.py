"""Receptors: heavy atoms with energy types, from PDB or mmCIF.

``Receptor.notes`` reports what is kept of a file:

- *model* 0 of several; *hydrogens* are dropped, and *waters* unless named in ``keep``;
- *alternate locations*: per residue one conformer, that of highest total occupancy, then the
  first letter;
- *protein and nucleic acid* are kept, modified residues as they are;
- *metal ions* are kept, and *cofactors* by name (haem, NAD, FAD, SAM, nucleotides, PLP, …); any
  other HETATM group (ligands, buffer, glycerol, …) is dropped unless named in ``keep``.

Donors and acceptors of amino acids come from atom names. Histidine nitrogens are both, since the
tautomer is not known without hydrogens, unless the residue is called HID, HIE or HIP. Other
groups are typed from geometry: a terminal O longer than 1.30 Å from its carbon is a hydroxyl, a
two-bonded N with both bonds below 1.38 Å is an aromatic acceptor.
"""

import contextlib
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.atom_types import (
    INDEX,
    METALS,
    covalent_bonds,
    plain_type,
    polar_type,
)
from protein.docking.receptors.box import Box
from protein.structures.alternates import locations, occupancy
from protein.structures.parse import parse_file
from protein.structures.residues import WATERS, is_nucleotide, is_standard, parent_letter
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from Bio.PDB.Residue import Residue

COFACTORS: frozenset[str] = frozenset(
    "HEM HEC HEA HEB HDD NAD NAI NAP NDP NAJ FAD FDA FMN SAM SAH SFG COA ACO CAA MLC H4B THG FOL "
    "THF ATP ADP AMP ANP ACP GTP GDP GNP GCP CTP CDP UTP UDP TTP TDP A3P PLP PMP LLP TPP "
    "BTN LPA MTE PGD 6MO SF4 FES F3S CLA BCL CHL B12 COB CNC GSH UQ1 UQ2 PQN PNS MGD F42 MO7 "
    "OEX HCS CUA".split()
)
"""Residue names of prosthetic groups and cosubstrates, kept as part of the receptor."""

# Roles of side-chain atoms: donor D, acceptor A, both B. Oxygens not named here accept.
_ROLES = {
    "ARG": {"NE": "D", "NH1": "D", "NH2": "D"},
    "ASN": {"ND2": "D"},
    "GLN": {"NE2": "D"},
    "LYS": {"NZ": "D"},
    "LYN": {"NZ": "B"},
    "TRP": {"NE1": "D"},
    "HIS": {"ND1": "B", "NE2": "B"},
    "HID": {"ND1": "D", "NE2": "A"},
    "HIE": {"ND1": "A", "NE2": "D"},
    "HIP": {"ND1": "D", "NE2": "D"},
    "SER": {"OG": "B"},
    "THR": {"OG1": "B"},
    "TYR": {"OH": "B"},
    "ASH": {"OD2": "B"},
    "GLH": {"OE2": "B"},
}
_ALIASES = {"HSD": "HID", "HSE": "HIE", "HSP": "HIP"}
# Shares of a receptor's atoms and standard residues beyond which it is refused; of fewer residues
# than _FEW a share says nothing.
_MOST_UNTYPED, _MOST_INCOMPLETE, _FEW = 0.1, 0.5, 5
SIDE_ATOMS = dict(
    zip("ARNDCQEGHILKMFPSTWYV", (1, 7, 4, 4, 2, 5, 5, 0, 6, 4, 4, 5, 4, 7, 3, 2, 3, 10, 8, 3),
        strict=True)
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Receptor:
    """M heavy atoms.

    Attributes:
        coords: `[M, 3]`, float64, Å.
        types: places in ``atom_types.TYPES`` `[M]`, int64.
        elements: symbols, upper case, length M.
        atoms: atom names, length M.
        resnames: residue names, length M.
        residues: ``chain:number+insertion code``, length M.
        name: name of the file.
        notes: what was kept and what was dropped, one sentence each.
    """

    coords: NDArray[np.float64]
    types: NDArray[np.int64]
    elements: tuple[str, ...]
    atoms: tuple[str, ...]
    resnames: tuple[str, ...]
    residues: tuple[str, ...]
    name: str = "receptor"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of atoms M."""
        return len(self.coords)

    def select(self, keep: NDArray[np.bool_]) -> "Receptor":
        """Some of the atoms; types stay as in the whole.

        Args:
            keep: `[M]`, bool.
        """
        rows = np.flatnonzero(keep)
        picked = {
            field: tuple(getattr(self, field)[i] for i in rows)
            for field in ("elements", "atoms", "resnames", "residues")
        }
        return replace(self, coords=self.coords[rows], types=self.types[rows], **picked)

    def near(self, box: Box, margin: float = 8.0) -> "Receptor":
        """Atoms within a distance of a box.

        Args:
            box: the search box.
            margin: distance from the box, Å; by default the cut-off of the energy.

        Raises:
            InputError: no atom is in or near the box.
        """
        keep = box.distance(self.coords) < margin
        if not (box.distance(self.coords) <= 4.0).any():
            centre = ", ".join(f"{x:.1f}" for x in box.center)
            raise InputError(
                f"box: no atom of {self.name} is in or near the box at ({centre}); check the "
                "centre, or that ligand and receptor share a frame"
            )
        return self.select(keep)

    def pocket(self, coords: NDArray[np.floating], radius: float = 8.0) -> "Receptor":
        """Atoms within a radius of a ligand.

        Args:
            coords: `[N, 3]`, Å.
            radius: Å.
        """
        from scipy.spatial import KDTree

        distance, _ = KDTree(coords).query(self.coords)
        return self.select(np.asarray(distance) < radius)


def read_receptor(
    path: str | os.PathLike[str],
    keep: frozenset[str] = frozenset(),
    drop: frozenset[str] = frozenset(),
    whole: bool = True,
) -> Receptor:
    """Read the heavy atoms of a structure file.

    Args:
        path: PDB or mmCIF, optionally gzipped.
        keep: names of further HETATM groups to keep, and labels of single ones (``A:301``).
        drop: names of groups to drop even if they are cofactors, such as that of the ligand.
        whole: whether to refuse a protein with many missing atoms, such as all side chains.

    Raises:
        InputError: the file cannot be read, holds neither protein nor nucleic acid, lacks a group
            that was named by its label, or much of the protein is absent.
    """
    file = Path(path)
    with contextlib.suppress(OSError):
        facts = file.stat()
        stamp = facts.st_mtime_ns, facts.st_size
        return _read_once(str(file.resolve()), file, stamp, keep, drop, whole)
    return _read(file, keep, drop, whole)


@lru_cache(maxsize=4)
def _read_once(
    place: str,
    file: Path,
    stamp: tuple[int, int],
    keep: frozenset[str],
    drop: frozenset[str],
    whole: bool,
) -> Receptor:
    """What was read of a file is not read again by the same process while it stays as it is."""
    del place, stamp
    return _read(file, keep, drop, whole)


def _read(file: Path, keep: frozenset[str], drop: frozenset[str], whole: bool) -> Receptor:
    parsed = parse_file(file)
    models = list(parsed.structure)
    counts: Counter[str] = Counter()
    counts["models"] = len(models) - 1
    dropped: Counter[str] = Counter()
    rows: list[tuple[str, str, str, str, NDArray[np.float64]]] = []
    seen: set[str] = set()
    if keep & WATERS:  # files have several names of water
        keep |= WATERS
    for chain in models[0]:
        for entry in chain:
            residue = _one_residue(entry, counts)
            name = residue.get_resname().strip().upper()
            label = f"{chain.id.strip()}:{residue.id[1]}{residue.id[2].strip()}"
            seen.add(label)
            if not _kept(residue, name, keep | {name} if label in keep else keep, drop, counts):
                if name not in WATERS:
                    dropped[name] += 1
                continue
            found = _atoms(residue, counts)
            counts["standard"] += int(is_standard(name))
            counts["incomplete"] += _incomplete(name, found)
            rows += [(element, atom, name, label, xyz) for atom, element, xyz in found]
    for word in sorted(word for word in keep - seen if ":" in word):
        raise InputError(f"keep: {word} is not in {file}; check chain and number")
    if not counts["protein"] + counts["nucleic"]:
        raise InputError(
            f"{file}: holds no protein or nucleic acid (ligands and solvent only); give a "
            "structure of the receptor"
        )
    elements, atoms, resnames, residues, coords = zip(*rows, strict=True)
    xyz = np.stack(coords)
    types = receptor_types(list(elements), list(atoms), list(resnames), xyz)
    known = types >= 0
    counts["untyped"] = int((~known).sum())
    if whole:
        _check_whole(file, counts, len(rows))
    receptor = Receptor(xyz, types, elements, atoms, resnames, residues, file.name)
    notes = (*parsed.notes, *_notes(counts, dropped))
    return replace(receptor.select(known), notes=notes)


def _check_whole(file: Path, counts: Counter[str], atoms: int) -> None:
    """Refuse a receptor of which too much is absent for an energy to mean anything.

    Raises:
        InputError: many atoms are of no known element, or many residues lack atoms.
    """
    if counts["untyped"] > _MOST_UNTYPED * atoms:
        raise InputError(
            f"{file}: {counts['untyped']} of {atoms} atoms are of an element without an energy; "
            "check its element columns, or prepare the receptor again"
        )
    few = counts["standard"] < _FEW
    if not few and counts["incomplete"] > _MOST_INCOMPLETE * counts["standard"]:
        raise InputError(
            f"{file}: {counts['incomplete']} of {counts['standard']} residues lack atoms; "
            "rebuild their side chains first (for example with PDBFixer)"
        )


def receptor_types(
    elements: list[str], atoms: list[str], resnames: list[str], coords: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Energy types of receptor atoms `[M]`, -1 for an element without one.

    Args:
        elements: symbols in upper case, length M.
        atoms: atom names.
        resnames: residue names.
        coords: `[M, 3]`, Å.
    """
    bonds = covalent_bonds(elements, coords)
    neighbours: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    lengths = np.linalg.norm(coords[bonds[:, 0]] - coords[bonds[:, 1]], axis=-1)
    for (i, j), length in zip(bonds.tolist(), lengths.tolist(), strict=True):
        neighbours[i].append((j, length))
        neighbours[j].append((i, length))
    types = np.full(len(elements), -1, dtype=np.int64)
    for i, element in enumerate(elements):
        if element == "C":
            polar = any(elements[j] not in ("C", "H") for j, _ in neighbours[i])
            types[i] = INDEX["C_P" if polar else "C_H"]
        elif element in ("N", "O"):
            role = _named_role(element, atoms[i], resnames[i])
            if role is None:
                role = _geometric_role(element, [(elements[j], d) for j, d in neighbours[i]])
            types[i] = polar_type(element, role in ("D", "B"), role in ("A", "B"))
        else:
            found = plain_type(element)
            types[i] = -1 if found is None else found
    return types


def _named_role(element: str, atom: str, resname: str) -> str | None:
    """D, A, B (both), P (neither) by the names of an amino acid; None where they do not tell."""
    resname = _ALIASES.get(resname, resname)
    if not (is_standard(resname) or resname in _ROLES or parent_letter(resname) is not None):
        return None
    if atom == "N":
        return "P" if resname == "PRO" else "D"
    if atom in ("O", "OXT", "OT1", "OT2"):
        return "A"
    if resname in _ROLES and atom in _ROLES[resname]:
        return _ROLES[resname][atom]
    return ("A" if element == "O" else "P") if is_standard(resname) else None


def _geometric_role(element: str, bonds: list[tuple[str, float]]) -> str:
    """Role of N or O in a group of unknown chemistry, from its bonds (element, length in Å)."""
    if element == "O":
        hydroxyl = not bonds or (len(bonds) == 1 and bonds[0][0] == "C" and bonds[0][1] > 1.30)
        return "B" if hydroxyl else "A"
    if len(bonds) <= 1:
        return "A" if bonds and bonds[0][1] < 1.22 else "D"
    if len(bonds) == 2:
        return "A" if max(length for _, length in bonds) < 1.38 else "D"
    return "P"


def _kept(
    residue: "Residue", name: str, keep: frozenset[str], drop: frozenset[str], counts: Counter[str]
) -> bool:
    """Whether a group belongs to the receptor; counts what it is."""
    if name in drop:
        return False
    if name in WATERS:
        counts["kept_waters" if name in keep else "waters"] += 1
        return name in keep
    backbone = {"N", "CA", "C"} <= set(residue.child_dict)
    polymer = residue.id[0] == " "
    if parent_letter(name) is not None or name == "UNK" or (backbone and polymer):
        # A free amino acid is a HETATM under a standard name: a ligand.
        chain_member = polymer or not is_standard(name)
        counts["protein"] += int(chain_member)
        counts["modified"] += int(chain_member and not is_standard(name))
        return chain_member or name in keep
    if is_nucleotide(name) and polymer:
        counts["nucleic"] += 1
        return True
    heavy = [a for a in residue.get_unpacked_list() if (a.element or "").upper() not in ("H", "D")]
    if heavy and all((a.element or "").upper() in METALS for a in heavy):
        counts["metals"] += 1
        return True
    if name in COFACTORS or name in keep or "*" in keep:
        counts["cofactors"] += 1
        return True
    return False


def _one_residue(entry: Any, counts: Counter[str]) -> "Residue":
    """The residue of highest occupancy where a file has two at one place."""
    if entry.is_disordered() != 2:
        return entry
    counts["altlocs"] += 1
    return max(
        entry.disordered_get_list(),
        key=lambda r: (sum(occupancy(a) for a in r.get_unpacked_list()), r.get_resname()),
    )


def _atoms(residue: "Residue", counts: Counter[str]) -> list[tuple[str, str, NDArray[np.float64]]]:
    """Name, element and position of the heavy atoms of one conformer."""
    choices: list[dict[str, Any]] = []
    totals: defaultdict[str, float] = defaultdict(float)
    for atom in residue:
        options = locations(atom)
        choices.append(options)
        for letter, option in options.items():
            if letter:
                totals[letter] += occupancy(option)
    best = min(totals, key=lambda letter: (-totals[letter], letter), default="")
    counts["altlocs"] += int(len(totals) > 1)
    found = []
    for options in choices:
        atom = options.get(best) or options.get("") or max(options.values(), key=occupancy)
        element = (atom.element or "").strip().upper()
        if element not in ("H", "D"):
            found.append((atom.get_name().strip(), element, np.asarray(atom.get_coord(), float)))
    return found


def _incomplete(name: str, atoms: list[tuple[str, str, NDArray[np.float64]]]) -> int:
    """1 for a standard residue with side-chain or backbone atoms missing."""
    letter = parent_letter(name) if is_standard(name) else None
    if letter is None:
        return 0
    return int(len({atom for atom, _, _ in atoms} - {"OXT"}) < 4 + SIDE_ATOMS[letter])


def _notes(counts: Counter[str], dropped: Counter[str]) -> tuple[str, ...]:
    names = ", ".join(f"{n} {name}" for name, n in sorted(dropped.items()))
    sentences = {
        "models": f"the first of {counts['models'] + 1} models is used",
        "altlocs": f"{counts['altlocs']} residues with alternate locations, the fullest kept",
        "modified": f"{counts['modified']} modified residues kept unchanged",
        "incomplete": f"{counts['incomplete']} residues with missing atoms, used as they are",
        "nucleic": f"{counts['nucleic']} nucleotides kept",
        "metals": f"{counts['metals']} metal ions kept",
        "cofactors": f"{counts['cofactors']} cofactors kept",
        "kept_waters": f"{counts['kept_waters']} waters kept",
        "waters": f"{counts['waters']} waters dropped",
        "untyped": f"{counts['untyped']} atoms of unknown element dropped",
    }
    notes = [text for key, text in sentences.items() if counts[key]]
    return (*notes, *([f"groups dropped: {names}"] if names else []))

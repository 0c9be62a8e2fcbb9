"""Molecules from coordinates alone: groups of PDB and mmCIF files, and PDBQT models.

These formats name elements and places but no bond orders. Bonds are those of the distances between
atoms; their orders and charges come from a template, a molecule with the same atoms and bonds, or,
where every hydrogen is there, from the valences, if only one total charge fits. Anything else is
ambiguous and is refused.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.atom_types import METALS, covalent_bonds
from protein.docking.molecules.conformers import same_stereo
from protein.docking.molecules.ligand import Ligand, quietly
from protein.structures.atom_table import AtomTable
from protein.structures.parse import read_atoms
from protein.structures.residues import WATERS, is_nucleotide, is_standard, parent_letter
from sciddiff.errors import InputError
from sciddiff.files import read_lines

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_TEMPLATE = "give the molecule with --template SMILES"
# Ways to match a pose to its template that are tried for the right handedness.
_MOST_MATCHES = 1024
_CHARGES = (0, -1, 1, -2, 2, -3, 3)
_SMILES = re.compile(r"^REMARK SMILES (?!IDX)(\S+)", re.M)
# Atom types of AutoDock that are not the symbol of their element; glue and dummy atoms have none.
_AUTODOCK = {"A": "C", "OA": "O", "NA": "N", "NS": "N", "OS": "O", "SA": "S", "HD": "H", "HS": "H"}


@dataclass(frozen=True, eq=False)
class AtomGroup:
    """Atoms of one molecule, without its bonds.

    Attributes:
        name: residue, such as ``LIG A401``, or the name of its model.
        elements: symbols in upper case, length N.
        coords: `[N, 3]`, Å.
    """

    name: str
    elements: tuple[str, ...]
    coords: NDArray[np.float64]

    @property
    def heavy(self) -> NDArray[np.float64]:
        """Coordinates of the heavy atoms `[n, 3]`, Å."""
        return self.coords[np.asarray([e not in ("H", "D") for e in self.elements], dtype=bool)]


def ligand_groups(file: Path, residue: str = "") -> list[AtomGroup]:
    """Groups of a structure file that may be ligands, or those of a residue name.

    Beside a polymer these are HETATM groups with carbon that are neither water nor modified
    residues; in a file without any polymer, all groups are. Of several models the first is read,
    of alternate locations the first.

    Args:
        file: PDB or mmCIF, also gzipped.
        residue: residue name of the ligand; empty for any.

    Raises:
        InputError: the file cannot be read, or holds no such group.
    """
    table, _ = read_atoms(file)
    rows: dict[str, list[int]] = {}
    for i in np.flatnonzero(table.model == table.model.min()).tolist():
        rows.setdefault(table.label(i), []).append(i)
    groups = [(table.resnames[of[0]].upper(), label, of) for label, of in rows.items()]
    if residue:
        wanted = residue.upper()
        found = [(label, of) for name, label, of in groups if name == wanted]
    else:
        polymer = any(
            is_standard(name) or is_nucleotide(name) or name == "UNK" for name, _, _ in groups
        )
        found = [(label, of) for name, label, of in groups if not polymer or _ligand(table, of)]
    if not found:
        names = sorted({name for name, _, of in groups if _ligand(table, of)})
        raise InputError(
            f"{file}: holds no {'group ' + residue if residue else 'ligand'}; "
            f"its other groups are {', '.join(names) or 'none'}"
        )
    return [_group(table, label, of) for label, of in found]


def only_group(file: Path, residue: str = "") -> AtomGroup:
    """The ligand of a structure file that holds one.

    Args:
        file: PDB or mmCIF, also gzipped.
        residue: residue name of the ligand; empty for any.

    Raises:
        InputError: there is none, or there are several.
    """
    groups = ligand_groups(file, residue)
    if len(groups) > 1:
        names = ", ".join(group.name for group in groups[:6])
        raise InputError(
            f"{file}: holds {len(groups)} groups that may be the ligand ({names}); name the "
            "residue, or give a file with the ligand alone"
        )
    return groups[0]


def _ligand(table: AtomTable, rows: Sequence[int]) -> bool:
    name = table.resnames[rows[0]].upper()
    symbols = {table.elements[i] for i in rows}
    modified = parent_letter(name) is not None or is_nucleotide(name)
    return bool(table.hetero[rows[0]]) and name not in WATERS and not modified and "C" in symbols


def _group(table: AtomTable, label: str, rows: Sequence[int]) -> AtomGroup:
    first = min((table.altlocs[i] for i in rows if table.altlocs[i]), default="")
    kept = [i for i in rows if table.altlocs[i] in ("", first)]
    return AtomGroup(label, tuple(table.elements[i].upper() for i in kept), table.coords[kept])


def pdbqt_models(file: Path) -> Iterator[tuple[AtomGroup, str]]:
    """Models of a PDBQT file, each with the SMILES that its remarks give, or an empty one.

    Args:
        file: as AutoDock, Vina or Meeko write it, also gzipped.

    Raises:
        InputError: it cannot be read, holds no atom, or an atom has no place or no element.
    """
    whole_text = "".join(read_lines(file, "a PDBQT file"))
    models = re.split(r"^MODEL\b.*$", whole_text, flags=re.M)
    whole = _SMILES.search(models[0]) or _SMILES.search("".join(models))
    number = 0
    for text in models:
        group = _pdbqt_group(file, text, f"{file.stem}_{number + 1}")
        if group is not None:
            number += 1
            own = _SMILES.search(text) or whole
            yield group, "" if own is None else own[1]
    if number == 0:
        raise InputError(f"{file}: holds no atoms; give a PDBQT file with ATOM records")


def _pdbqt_group(file: Path, text: str, name: str) -> AtomGroup | None:
    elements: list[str] = []
    coords: list[list[float]] = []
    for line in text.splitlines():
        if not line.startswith(("ATOM", "HETATM")):
            continue
        kind = line[77:].split()[0] if line[77:].split() else ""
        if re.fullmatch(r"G\d*|W", kind):  # glue of an opened ring, or a water of the method
            continue
        symbol = _AUTODOCK.get(kind, re.sub(r"\d.*|(?<=^C)G.*", "", kind)).upper()
        try:
            coords.append([float(line[a : a + 8]) for a in (30, 38, 46)])
        except ValueError as error:
            raise InputError(f"{file}: an atom has no coordinates ({line[:54]!r})") from error
        if not symbol or not symbol.isalpha():
            raise InputError(f"{file}: an atom has no AutoDock type ({line[:80]!r}); repair it")
        elements.append(symbol)
    return AtomGroup(name, tuple(elements), np.asarray(coords)) if elements else None


def skeleton(group: AtomGroup) -> "Mol":
    """The heavy atoms of a group, with single bonds where distances show bonds.

    Args:
        group: the atoms.

    Raises:
        InputError: an element is none, or the atoms are not one piece.
    """
    keep = [i for i, e in enumerate(group.elements) if e not in ("H", "D")]
    return _bonded([group.elements[i] for i in keep], group.coords[keep], group.name)


def _bonded(elements: Sequence[str], coords: NDArray[np.float64], name: str) -> "Mol":
    from rdkit import Chem

    mol = Chem.RWMol()
    metal = next((e for e in elements if e in METALS), None)
    if metal is not None:
        raise InputError(f"{name}: holds {metal.capitalize()}, a metal; give the organic part")
    try:
        for element in elements:
            mol.AddAtom(Chem.Atom("H" if element == "D" else element.capitalize()))
    except RuntimeError as error:
        raise InputError(f"{name}: an element is none ({error}); repair the file") from error
    plain = ["H" if element == "D" else element for element in elements]
    for i, j in covalent_bonds(plain, coords).tolist():
        mol.AddBond(i, j, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(len(plain))
    conformer.Set3D(True)
    conformer.SetPositions(np.ascontiguousarray(coords, dtype=np.float64))
    mol.AddConformer(conformer)
    return mol.GetMol()


def placed(template: Ligand, mol: "Mol", name: str) -> NDArray[np.float64]:
    """Coordinates of a molecule in the order of the atoms of its template `[N, 3]`, Å.

    Atoms are matched by elements and connections; of several ways one is taken that has the
    template's stereochemistry, if there is one.

    Args:
        template: the molecule as it should be.
        mol: heavy atoms with one conformer; its bond orders and charges do not matter.
        name: name for messages.

    Raises:
        InputError: it is another molecule.
    """
    from rdkit.Chem import SubstructMatchParameters

    parameters = SubstructMatchParameters()
    parameters.uniquify, parameters.useChirality = False, False
    parameters.maxMatches = _MOST_MATCHES
    pattern, target = bare(template.mol), bare(mol)
    ways = target.GetSubstructMatches(pattern, parameters)
    same = mol.GetNumAtoms() == len(template) and mol.GetNumBonds() == pattern.GetNumBonds()
    if not ways or not same:
        raise InputError(
            f"{name}: its atoms and bonds ({mol.GetNumAtoms()} and {mol.GetNumBonds()}) are not "
            f"those of the template ({len(template)} and {pattern.GetNumBonds()}); check both"
        )
    coords = np.asarray(mol.GetConformer().GetPositions())
    found = (coords[list(way)] for way in ways)
    return next((x for x in found if same_stereo(template, x)), coords[list(ways[0])])


def bare(mol: "Mol") -> "Mol":
    """Copy of a heavy-atom molecule with elements and connections alone.

    Args:
        mol: any molecule.
    """
    from rdkit import Chem

    copy = Chem.RWMol()
    for atom in mol.GetAtoms():
        copy.AddAtom(Chem.Atom(atom.GetAtomicNum()))
    for bond in mol.GetBonds():
        copy.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    made = copy.GetMol()
    made.UpdatePropertyCache(strict=False)
    return made


def determined(group: AtomGroup) -> "Mol":
    """A molecule with all its hydrogens, bond orders and charges by the valences.

    Args:
        group: all atoms, hydrogens among them.

    Raises:
        InputError: hydrogens are missing, or no total charge or more than one fits.
    """
    from rdkit import Chem
    from rdkit.Chem.rdDetermineBonds import DetermineBondOrders

    if not _has_carbon_hydrogens(group):
        raise InputError(
            f"{group.name}: has no hydrogens on carbon, so that its bond orders are not known; "
            f"{_TEMPLATE}"
        )
    found: dict[str, Mol] = {}
    for charge in _CHARGES:
        mol = _bonded(group.elements, group.coords, group.name)
        try:
            quietly(DetermineBondOrders, mol, charge=charge)
            Chem.SanitizeMol(mol)
        except Exception:  # noqa: BLE001, S112 - RDKit raises several types where a charge cannot be
            continue
        anion = any(a.GetAtomicNum() == 6 and a.GetFormalCharge() for a in mol.GetAtoms())
        if not anion and not any(a.GetNumRadicalElectrons() for a in mol.GetAtoms()):
            found[Chem.MolToSmiles(Chem.RemoveHs(mol))] = mol
    if len(found) != 1:
        told = "no charge fits its atoms" if not found else f"may be {' or '.join(found)}"
        raise InputError(f"{group.name}: {told} (are all hydrogens there?); {_TEMPLATE}")
    return next(iter(found.values()))


def _has_carbon_hydrogens(group: AtomGroup) -> bool:
    """Whether any carbon has a hydrogen: files with polar ones alone would become polyynes."""
    plain = ["H" if element == "D" else element for element in group.elements]
    bonds = covalent_bonds(plain, group.coords).tolist()
    return any({plain[i], plain[j]} == {"C", "H"} for i, j in bonds)

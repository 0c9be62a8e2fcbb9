"""Ligands inside structure files, recognised by the name of their residue.

A PDB file has no bond orders. They come from a table of components, which is a CSV or SMI file of
names and SMILES, or the chemical component dictionary of the wwPDB in CIF (``components.cif`` or
files of single components), whose canonical SMILES are read.
"""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protein.docking.molecules.ligand import Ligand, ligand_from_mol, quietly
from protein.docking.receptors.receptor import COFACTORS, Receptor, read_receptor
from protein.structures.parse import parse_file
from protein.structures.residues import WATERS, is_nucleotide, parent_letter
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from Bio.PDB.Residue import Residue

SOLVENTS: frozenset[str] = frozenset(
    "GOL EDO PEG PGE PG4 1PE P6G MPD DMS ACT ACY FMT SO4 PO4 NO3 CL BR IOD EOH MOH IPA TRS EPE "
    "MES BME DTT CIT TLA MLI IMD BOG LDA NAG BMA MAN FUC".split()
)
"""Residues of buffers, cryoprotectants and glycans, which are never taken for ligands."""


def read_components(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the SMILES of components, by their names.

    Args:
        path: ``.cif``, ``.csv`` (columns id, smiles) or ``.smi`` (SMILES, name).

    Raises:
        InputError: the file cannot be read or holds no component.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file; give a table of components")
    try:
        if file.suffix.lower() == ".cif":
            found = dict(_cif_components(file))
        else:
            found = dict(_table_components(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: is not text ({error}); give CIF, CSV or SMI") from error
    if not found:
        raise InputError(f"{file}: holds no component with a SMILES; give CIF, CSV or SMI")
    return found


def ligands_of_structure(
    path: Path, components: Mapping[str, str]
) -> tuple[list[tuple[str, Ligand, Receptor]], list[tuple[str, str]]]:
    """Ligands of a structure file and their receptors.

    Args:
        path: PDB or mmCIF.
        components: SMILES by residue name.

    Returns:
        Name, ligand, and receptor without the ligand; and the names that were refused, with the
        reason.

    Raises:
        InputError: the structure cannot be read, or holds no ligand of the table.
    """
    taken: list[tuple[str, Ligand, Receptor]] = []
    refused: list[tuple[str, str]] = []
    stem = path.name.split(".")[0]
    for chain in next(iter(parse_file(path).structure)):
        for residue in chain:
            name = residue.get_resname().strip().upper()
            if not _candidate(residue, name):
                continue
            label = f"{stem}_{chain.id.strip()}{residue.id[1]}_{name}"
            if name not in components:
                if name not in COFACTORS:
                    refused.append((label, f"component {name} is not in the table"))
                continue
            try:
                ligand = _ligand(residue, components[name], label)
                # Copies of the ligand elsewhere in the file stay out as well.
                receptor = read_receptor(path, drop=frozenset({name}))
                taken.append((label, ligand, receptor))
            except InputError as error:
                refused.append((label, str(error).removeprefix(f"{label}: ")))
    if not taken and not refused:
        raise InputError(f"{path}: holds no ligand; give a complex")
    return taken, refused


def _candidate(residue: "Residue", name: str) -> bool:
    if not residue.id[0].startswith("H_") or name in WATERS or name in SOLVENTS:
        return False
    if is_nucleotide(name) or (parent_letter(name) is not None and "CA" in residue.child_dict):
        return False
    return sum((a.element or "").upper() not in ("H", "D") for a in residue) >= 6


def _ligand(residue: "Residue", smiles: str, label: str) -> Ligand:
    """The molecule of the SMILES with the atoms' coordinates.

    Raises:
        InputError: atoms are missing, or do not fit the SMILES.
    """
    from rdkit import Chem
    from rdkit.Chem import AllChem

    template = quietly(Chem.MolFromSmiles, smiles)
    if template is None:
        raise InputError(f"{label}: the table's SMILES {smiles!r} is not valid; correct it")
    heavy = [a for a in residue if (a.element or "").upper() not in ("H", "D")]
    if len(heavy) != template.GetNumAtoms():
        raise InputError(
            f"{label}: has {len(heavy)} heavy atoms, its component {template.GetNumAtoms()}; "
            "atoms are missing or the ligand is bonded to its protein"
        )
    block = "".join(_pdb_line(i, a) for i, a in enumerate(heavy, 1)) + "END\n"
    plain = quietly(Chem.MolFromPDBBlock, block, sanitize=False, removeHs=True)
    try:
        mol = quietly(AllChem.AssignBondOrdersFromTemplate, template, plain)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{label}: its atoms do not fit the component's SMILES") from error
    return ligand_from_mol(mol, label)


def _pdb_line(number: int, atom: object) -> str:
    x, y, z = np.asarray(atom.get_coord(), dtype=float)  # type: ignore[attr-defined]
    element = str(atom.element).upper()  # type: ignore[attr-defined]
    return (
        f"HETATM{number:5d} {element + str(number):<4.4s} LIG A   1    {x:8.3f}{y:8.3f}{z:8.3f}"
        f"  1.00  0.00          {element:>2s}\n"
    )


def _table_components(file: Path) -> Iterator[tuple[str, str]]:
    rows = [r for r in file.read_text(encoding="utf-8").splitlines() if r.strip()]
    if file.suffix.lower() == ".csv":
        table = csv.DictReader(rows)
        names = {name.strip().lower(): name for name in table.fieldnames or ()}
        if not {"id", "smiles"} <= names.keys():
            raise InputError(f"{file}: has no columns id and smiles; name them so")
        for row in table:
            yield row[names["id"]].strip().upper(), row[names["smiles"]].strip()
        return
    for row in rows:
        smiles, _, name = row.strip().partition(" ") if " " in row.strip() else row.partition("\t")
        if name.strip():
            yield name.split()[0].upper(), smiles


def _cif_components(file: Path) -> Iterator[tuple[str, str]]:
    """Name and canonical SMILES of each data block, read line by line: the dictionary is large."""
    name, best = "", ""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("data_"):
                if best:
                    yield name, best
                name, best = line[5:].strip().upper(), ""
            elif name and " SMILES" in line and line.startswith(name):
                smiles = _last_value(line)
                if smiles and (not best or "SMILES_CANONICAL" in line):
                    best = smiles
    if best:
        yield name, best


def _last_value(line: str) -> str:
    """The quoted or bare last value of a row of ``_pdbx_chem_comp_descriptor``."""
    text = line.strip()
    if text.endswith(('"', "'")):
        quote = text[-1]
        start = text[:-1].rfind(f" {quote}")
        return text[start + 2 : -1] if start >= 0 else ""
    return text.split()[-1]

"""Ligands from files: SDF, MOL2, SMILES lists and CSV libraries, one row per record.

A record that cannot be docked becomes a row with a reason and does not stop the others. Records
are read one at a time, so that a library may be larger than memory. Names are unique within a
source.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.ligand import (
    LIMITS,
    Ligand,
    LigandSettings,
    input_coords,
    ligand_from_mol,
    ligand_from_smiles,
    quietly,
)
from sciddiff.cli.fingerprint import digest
from sciddiff.errors import InputError
from sciddiff.files import read_lines, split_rows
from sciddiff.names import Names

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_SMILES_COLUMNS = ("smiles", "canonical_smiles", "isosmiles", "structure")
_NAME_COLUMNS = ("name", "id", "ligand", "title", "compound", "molecule", "compound_id")
_TAG = re.compile(r">[^<]*<([^>]+)>")
LIGAND_SUFFIXES: tuple[str, ...] = (".sdf", ".sd", ".mol", ".mol2", ".smi", ".smiles", ".csv")
"""Suffixes of files that are read as ligands, each also with ``.gz``."""

_LONGEST_RECORD = 4_000_000  # characters; a protein with its hydrogens in SDF has fewer


@dataclass(frozen=True, eq=False)
class LigandRow:
    """One record of a ligand source.

    Attributes:
        index: position in the source, from 0.
        name: unique name.
        ligand: the molecule; None if it cannot be docked.
        error: why it cannot be docked, in one sentence.
        title: name in the record; it may be empty, or the same in several records.
        tags: data fields of an SDF record, by name.
    """

    index: int
    name: str
    ligand: Ligand | None
    error: str = ""
    title: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LigandRecord:
    """One record of a ligand source as text.

    Attributes:
        index: position in the source, from 0.
        name: unique name on one line, see `sciddiff.names`.
        title: name in the record.
        text: text of the record.
        kind: its format: ``sdf``, ``mol2``, ``smi`` or ``csv``.
        digest: SHA-256 of everything that its docking depends on.
    """

    index: int
    name: str
    title: str
    text: str
    kind: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        made_of = digest([self.name, self.title, self.kind, self.text])
        object.__setattr__(self, "digest", made_of)

    def read(self, settings: LigandSettings = LIMITS) -> LigandRow:
        """Parse the molecule of the record; if that fails, the row says why.

        Args:
            settings: limits on the size of a molecule.
        """
        tags = sdf_tags(self.text) if self.kind == "sdf" else {}
        try:
            if self.kind in ("smi", "csv"):
                ligand = ligand_from_smiles(self.text.strip(), self.name, settings)
            else:
                mol = _molecule(self.text, self.kind, self.name)
                ligand = quietly(ligand_from_mol, mol, self.name, settings)
        except InputError as error:
            return LigandRow(self.index, self.name, None, str(error), self.title, tags)
        return LigandRow(self.index, self.name, ligand, "", self.title, tags)


def read_ligands(
    source: str | os.PathLike[str], settings: LigandSettings = LIMITS
) -> Iterator[LigandRow]:
    """Read the rows of a ligand file, or of one SMILES string.

    Args:
        source: ``.sdf``, ``.mol``, ``.mol2``, ``.smi``, ``.csv`` (optionally ``.gz``), or a
            SMILES string where no such file exists.
        settings: limits on the size of a molecule.

    Yields:
        One row per record, in order.

    Raises:
        InputError: the source itself cannot be read or holds no record.
    """
    if _kind(Path(source)) is None:
        yield _row_of_smiles(str(source), Path(source), settings)
        return
    for record in ligand_records(source):
        yield record.read(settings)


def ligand_records(source: str | os.PathLike[str]) -> Iterator[LigandRecord]:
    """Read the records of a source as text, without parsing their molecules.

    Args:
        source: file or SMILES, as for ``read_ligands``.

    Yields:
        One per record, in order.

    Raises:
        InputError: the source itself cannot be read or holds no record.
    """
    path = Path(source)
    kind = _kind(path)
    if kind is None:
        _row_of_smiles(str(source), path, LIMITS)  # alone, a bad one is an error and no row
        yield LigandRecord(0, "ligand", "", str(source), "smi")
        return
    names = Names()
    index = -1
    for index, (name, text) in enumerate(_records(path, kind)):
        unique = names.unique(name, f"{_stem(path)}_{index + 1}")
        yield LigandRecord(index, unique, name.strip(), text, kind)
    if index < 0:
        raise InputError(f"{path}: holds no molecule; give a file with at least one record")


def read_ligand(source: str | os.PathLike[str], settings: LigandSettings = LIMITS) -> Ligand:
    """Read the first ligand of a source.

    Raises:
        InputError: the ligand cannot be read or docked.
    """
    row = next(read_ligands(source, settings))
    if row.ligand is None:
        raise InputError(row.error)
    return row.ligand


def read_place(source: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Coordinates of the heavy atoms of the first molecule of a file `[N, 3]`, Å.

    The molecule need not be one that can be docked, and may be a macrocycle or contain a metal.

    Args:
        source: ``.sdf``, ``.mol`` or ``.mol2``, also with ``.gz``.

    Raises:
        InputError: it cannot be read, or has no 3-D coordinates.
    """
    record = next(ligand_records(source))
    mol = _molecule(record.text, record.kind, str(source))
    coords = input_coords(mol)
    heavy = np.asarray([atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()])
    if coords is None or not heavy.any():
        raise InputError(
            f"{source}: its first molecule has no 3-D coordinates; give an SDF or MOL2 file of a "
            "ligand in its pocket"
        )
    return coords[heavy]


def sdf_tags(record: str) -> dict[str, str]:
    """Data fields of one SDF record; lines of a value are joined by newlines.

    Args:
        record: its text, with or without the closing ``$$$$``.
    """
    tags: dict[str, str] = {}
    name, lines = "", []
    for line in [*record.partition("M  END")[2].splitlines(), ">"]:
        if line.startswith((">", "$$$$")):
            if name:
                tags[name] = "\n".join(lines).strip()
            match = _TAG.match(line)
            name, lines = ("" if match is None else match[1]), []
        else:
            lines.append(line)
    return tags


def _row_of_smiles(text: str, path: Path, settings: LigandSettings) -> LigandRow:
    looks_like_file = path.suffix.lower() in (*LIGAND_SUFFIXES, ".gz", ".pdb", ".pdbqt")
    if looks_like_file or not text.strip():
        raise InputError(f"{text}: no such ligand file; check the path")
    return LigandRow(0, "ligand", ligand_from_smiles(text, settings=settings))


def _kind(path: Path) -> str | None:
    """Format by suffix; None when there is no such file."""
    try:
        if not path.exists():
            return None
    except OSError:  # a long SMILES is no legal file name
        return None
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a ligand file")
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    kinds = {".sd": "sdf", ".mol": "sdf", ".smiles": "smi", ".txt": "smi", ".tsv": "csv"}
    kind = kinds.get(suffix.lower(), suffix.lower().lstrip("."))
    if kind not in ("sdf", "mol2", "smi", "csv"):
        raise InputError(
            f"{path}: {suffix or 'no suffix'} is not a ligand format; give "
            f"{', '.join(LIGAND_SUFFIXES)}"
        )
    return kind


def _stem(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def _lines(path: Path) -> Iterator[str]:
    return read_lines(path, "a ligand file")


def _records(path: Path, kind: str) -> Iterator[tuple[str, str]]:
    """Name and text of each record."""
    if kind == "sdf":
        yield from _sdf_records(path)
    elif kind == "mol2":
        yield from _mol2_records(path)
    elif kind == "csv":
        yield from _csv_records(path)
    else:
        yield from _smi_records(path)


def _sdf_records(path: Path) -> Iterator[tuple[str, str]]:
    block: list[str] = []
    for line in _lines(path):
        if line.startswith("$$$$"):
            yield (block[0] if block else ""), "".join(block)
            block = []
        else:
            block.append(line)
    if any(line.strip() for line in block):
        yield block[0], "".join(block)


def _mol2_records(path: Path) -> Iterator[tuple[str, str]]:
    block: list[str] = []
    for line in _lines(path):
        if line.startswith("@<TRIPOS>MOLECULE") and block:
            yield _second(block), "".join(block)
            block = []
        if block or line.startswith("@<TRIPOS>MOLECULE"):
            block.append(line)
    if block:
        yield _second(block), "".join(block)


def _second(block: list[str]) -> str:
    return block[1] if len(block) > 1 else ""


def _smi_records(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(path)):
        words = line.split(maxsplit=1)
        header = number == 0 and words and words[0].lower() in _SMILES_COLUMNS
        if words and not line.startswith("#") and not header:
            yield (words[1] if len(words) > 1 else ""), words[0]


def _csv_records(path: Path) -> Iterator[tuple[str, str]]:
    lines = _lines(path)
    first = next(lines, "")
    comma = max(",;\t", key=first.count)
    header = [cell.strip().lower() for cell in next(split_rows([first], delimiter=comma), [])]
    smiles = next((header.index(c) for c in _SMILES_COLUMNS if c in header), None)
    if smiles is None:
        raise InputError(
            f"{path}: no column named smiles among {', '.join(header) or 'none'}; name the column "
            "of structures smiles"
        )
    names = next((header.index(c) for c in _NAME_COLUMNS if c in header), None)
    for cells in split_rows(lines, delimiter=comma):
        if cells:
            name = cells[names] if names is not None and names < len(cells) else ""
            yield name, cells[smiles] if smiles < len(cells) else ""


def _molecule(record: str, kind: str, name: str) -> "Mol":
    """The molecule of a record, not yet sanitised."""
    from rdkit import Chem

    if len(record) > _LONGEST_RECORD:
        raise InputError(
            f"{name}: its record has {len(record):,} characters, above {_LONGEST_RECORD:,}; is it "
            "one molecule?"
        )
    if kind in ("smi", "csv"):
        mol = quietly(Chem.MolFromSmiles, record.strip(), sanitize=False)
    elif kind == "sdf":
        mol = quietly(Chem.MolFromMolBlock, record, sanitize=False, removeHs=False)
        if mol is not None and mol.GetNumConformers() and not mol.GetConformer().Is3D():
            # Wedges of a flat drawing carry its stereochemistry.
            quietly(Chem.AssignChiralTypesFromBondDirs, mol)
    else:
        mol = quietly(Chem.MolFromMol2Block, record, sanitize=False, removeHs=False)
        if mol is not None and all(atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()):
            _neutralise(mol)
    if mol is None:
        raise InputError(f"{name}: RDKit cannot read this {kind.upper()} record; check the file")
    return mol


def _neutralise(mol: "Mol") -> None:
    """Undo the charges that RDKit gives a MOL2 record for the hydrogens it lacks.

    MOL2 has no formal charges, and an O, N or S short of a bond is read as an anion. Without any
    hydrogen in the record it is short of hydrogens; only carboxylate and phosphate oxygens
    (``O.co2``) keep their charge.
    """
    for atom in mol.GetAtoms():
        kind = atom.GetProp("_TriposAtomType") if atom.HasProp("_TriposAtomType") else ""
        if atom.GetFormalCharge() < 0 and kind != "O.co2":
            atom.SetFormalCharge(0)
        atom.SetNoImplicit(False)
        atom.SetNumRadicalElectrons(0)

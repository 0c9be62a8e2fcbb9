"""Bytes of a file to Biopython's structure tree, with errors a user can act on.

The atoms are read into an ``AtomTable`` first, where what files do wrong is mended and counted;
the tree is then built from it and loses nothing.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protein.structures.atom_table import AtomTable, mended
from protein.structures.mmcif_columns import mmcif_atoms
from protein.structures.pdb_columns import pdb_atoms, pdb_resolution
from protein.structures.residues import WATERS
from sciddiff.errors import InputError, MissingExtra, reading
from sciddiff.files import read_bytes

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure as BioStructure
    from Bio.PDB.StructureBuilder import StructureBuilder

STRUCTURE_SUFFIXES: tuple[str, ...] = (
    ".pdb",
    ".ent",
    ".pdb1",
    ".cif",
    ".mmcif",
    ".pdb.gz",
    ".ent.gz",
    ".pdb1.gz",
    ".cif.gz",
    ".mmcif.gz",
)
"""Names by which a folder's structure files are recognised, in any case of the letters."""

_KIND, _AGAIN = "a PDB or mmCIF file", "repair it or download it again"
_PDB_RECORDS = ("HEADER", "TITLE ", "ATOM  ", "HETATM", "MODEL ", "REMARK", "CRYST1", "COMPND")


@dataclass(frozen=True)
class ParsedFile:
    """A parsed file.

    Attributes:
        structure: Biopython's tree of models, chains, residues and atoms.
        resolution: Å, None when the file does not say.
        notes: sentences on what was mended: elements, chains that were split or named, doubles.
        counts: the same as numbers.
    """

    structure: "BioStructure"
    resolution: float | None
    notes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def parse_file(file: Path) -> ParsedFile:
    """Parse a PDB or mmCIF file, gzipped or not.

    Args:
        file: path; the content decides the format.

    Raises:
        InputError: unreadable, not a structure, corrupt, empty, or larger than the limit.
        MissingExtra: Biopython is not installed.
    """
    table, resolution = read_atoms(file)
    # Biopython has rules of its own for residues that share a number.
    with reading(file, _KIND, _AGAIN):
        tree = _tree(table, file.name)
    return ParsedFile(tree, resolution, table.notes, table.counts)


def read_atoms(file: Path) -> tuple[AtomTable, float | None]:
    """The mended atoms of a PDB or mmCIF file, and its resolution in Å or None.

    Args:
        file: path; the content decides the format.

    Raises:
        InputError: as ``parse_file``.
    """
    text = _text(file)
    kind = _format_of(text)
    source = str(file)
    if kind == "mmcif" and "_atom_site." not in text:
        raise InputError(f"{file}: mmCIF without _atom_site; give a file with coordinates")
    if kind is None:
        raise InputError(
            f"{file}: neither PDB nor mmCIF; give a .pdb or .cif file (optionally .gz), "
            "converting other formats first"
        )
    try:
        # A number may be too large for its column in memory, among much else.
        with reading(file, _KIND, _AGAIN):
            if kind == "pdb":
                table, resolution = pdb_atoms(text, source), pdb_resolution(text)
            else:
                table, resolution = mmcif_atoms(text, source)
            if not len(table):
                raise InputError(f"{file}: holds no atoms; give a file with ATOM records")
            return mended(table, source), _angstroms(resolution)
    except ImportError as error:
        raise MissingExtra("biopython", "protein") from error


def _text(file: Path) -> str:
    """Content of a text file; Latin-1 where it is not UTF-8, as old headers are."""
    data = read_bytes(file, _KIND)
    if not data.strip():
        raise InputError(f"{file}: is empty; download it again")
    if b"\0" in data[:4096]:
        raise InputError(f"{file}: is binary, neither PDB nor mmCIF; convert it first")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def is_structure_file(path: Path) -> bool:
    """Whether a file's name is one of a structure: ``x.pdb``, ``X.CIF.GZ``."""
    return path.name.lower().endswith(STRUCTURE_SUFFIXES)


def _tree(table: AtomTable, name: str) -> "BioStructure":
    """Biopython's tree; alternate locations and point mutations become its disordered entries."""
    from Bio.PDB.PDBExceptions import PDBConstructionWarning
    from Bio.PDB.StructureBuilder import StructureBuilder

    builder = StructureBuilder()
    builder.init_structure(name)
    with warnings.catch_warnings():
        # A residue whose atoms are not all in one place of the file is meant, and counted.
        warnings.simplefilter("ignore", PDBConstructionWarning)
        _fill(builder, table)
    structure = builder.get_structure()
    if structure is None:  # pragma: no cover - it was begun above
        raise InputError(f"{name}: holds no atoms; give a file with ATOM records")
    return structure


def _fill(builder: "StructureBuilder", table: AtomTable) -> None:
    """Hand every atom to Biopython, in file order."""
    builder.init_seg(" ")
    model = chain = residue = None
    hetero, models = table.hetero.tolist(), table.model.tolist()
    numbers, coords = table.numbers.tolist(), table.coords.astype(np.float32)
    for row, atom in enumerate(table.names):
        if models[row] != model:
            model, chain, residue = models[row], None, None
            builder.init_model(model, model + 1)
        if table.chains[row] != chain:
            chain, residue = table.chains[row], None
            builder.init_chain(chain)
        resname = table.resnames[row]
        flag = ("W" if resname in WATERS else "H") if hetero[row] else " "
        key = (flag, numbers[row], table.codes[row], resname)
        if key != residue:
            residue = key
            builder.init_residue(resname, flag, numbers[row], table.codes[row] or " ")
        builder.init_atom(
            atom,
            coords[row],
            table.b_factors[row],
            table.occupancies[row],
            table.altlocs[row] or " ",
            f" {atom:<3s}" if len(atom) < 4 else atom,
            row + 1,
            table.elements[row] or "X",
        )


def _angstroms(text: str | None) -> float | None:
    """Å; None when absent or no resolution (NMR files say 0 or nothing)."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0.0 < number < 100.0 else None


def _format_of(text: str) -> str | None:
    """``pdb``, ``mmcif`` or None, from the first lines that say something."""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.lower().startswith("data_"):
            return "mmcif"
        if line.startswith(_PDB_RECORDS):
            break
    has_atoms = any(line.startswith(("ATOM  ", "HETATM")) for line in text.splitlines())
    has_header = text.startswith(_PDB_RECORDS)
    return "pdb" if has_atoms or has_header else None

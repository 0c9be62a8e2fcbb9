"""Bytes of a file to Biopython's structure tree, with errors a user can act on."""

import gzip
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sciddiff.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure as BioStructure

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
"""Names by which a folder's structure files are recognised."""

_GZIP_MAGIC = b"\x1f\x8b"
_PDB_RECORDS = ("HEADER", "TITLE ", "ATOM  ", "HETATM", "MODEL ", "REMARK", "CRYST1", "COMPND")


@dataclass(frozen=True)
class ParsedFile:
    """A parsed file.

    Attributes:
        structure: Biopython's tree of models, chains, residues and atoms.
        resolution: Å, None when the file does not say.
    """

    structure: "BioStructure"
    resolution: float | None


def parse_file(file: Path) -> ParsedFile:
    """Parse a PDB or mmCIF file, gzipped or not.

    Args:
        file: path; the content decides the format.

    Raises:
        InputError: unreadable, not a structure, corrupt or empty.
        MissingExtra: Biopython is not installed.
    """
    text = _read_text(file)
    kind = _format_of(text)
    if kind == "mmcif" and "_atom_site." not in text:
        raise InputError(f"{file}: mmCIF without _atom_site; give a file with coordinates")
    if kind is None:
        raise InputError(
            f"{file}: neither PDB nor mmCIF; give a .pdb or .cif file (optionally .gz), "
            "converting other formats first"
        )
    try:
        from Bio.PDB.MMCIFParser import MMCIFParser
        from Bio.PDB.PDBParser import PDBParser
    except ImportError as error:
        raise MissingExtra("biopython", "protein") from error
    parser = PDBParser(QUIET=True) if kind == "pdb" else MMCIFParser(QUIET=True)
    try:
        structure = parser.get_structure(file.name, io.StringIO(text))
        empty = structure is None or not any(True for _ in structure.get_atoms())
    except Exception as error:  # Biopython fails on bad files in any of a dozen ways
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"{file}: corrupt {kind.upper()} ({detail}); repair it or download it again"
        ) from error
    if structure is None or empty:
        raise InputError(f"{file}: holds no atoms; give a file with ATOM records")
    return ParsedFile(structure, _resolution(getattr(structure, "header", {})))


def _read_text(file: Path) -> str:
    """Whole text of a file, unzipped if need be."""
    if file.is_dir():
        raise InputError(f"{file}: is a folder; give one structure file")
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; check the path") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check its rights") from error
    if data[:2] == _GZIP_MAGIC:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{file}: damaged gzip ({error}); download it again") from error
    if not data.strip():
        raise InputError(f"{file}: is empty; download it again")
    if b"\0" in data[:4096]:
        raise InputError(f"{file}: is binary, neither PDB nor mmCIF; convert it first")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _resolution(header: Mapping[str, object]) -> float | None:
    """Å; None when absent or no resolution (NMR files say 0 or nothing)."""
    value = header.get("resolution")
    if not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
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

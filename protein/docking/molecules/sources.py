"""Sources of ligands as text: files, folders and SMILES, record by record, without chemistry."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from sciddiff.errors import InputError
from sciddiff.files import read_lines, split_rows
from sciddiff.names import text_of

_SMILES_COLUMNS = ("smiles", "canonical_smiles", "isosmiles", "structure")
_NAME_COLUMNS = ("name", "id", "ligand", "title", "compound", "molecule", "compound_id")
_TAG = re.compile(r">[^<]*<([^>]+)>")

STATE_COLUMNS: tuple[str, ...] = ("parent", "state_note", "state_error")
"""Columns of a table of states (``molecules.states``) beside its names and SMILES."""

LIGAND_SUFFIXES: tuple[str, ...] = (".sdf", ".sd", ".mol", ".mol2", ".smi", ".smiles", ".csv")
"""Suffixes of files that are read as ligands, each also with ``.gz``."""

# Files of atoms without bonds, also with .gz. In a folder that holds ligands in other formats, a
# PDB file is their receptor.
_PDBQT, _PDB = (".pdbqt",), (".pdb", ".ent")

LigandSource: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A file of molecules, a folder of such files, one SMILES, or several of these."""


def sources_of(source: LigandSource) -> list[str | os.PathLike[str]]:
    """The files, folders and SMILES of a source, as they were given.

    Args:
        source: one of them, or several.
    """
    return [source] if isinstance(source, str | os.PathLike) else list(source)


def files_of(source: LigandSource) -> Iterator[str | os.PathLike[str]]:
    """Files and SMILES of a source; a folder stands for the ligand files in it, by their names.

    PDB files of a folder are ligands if it holds no ligand file of another format.

    Args:
        source: a file, a folder, a SMILES, or several of these.

    Raises:
        InputError: a folder holds no ligand file.
    """
    for one in sources_of(source):
        if not _there(one) or not Path(one).is_dir():
            yield one
            continue
        files = [file for file in sorted(Path(one).iterdir()) if file.is_file()]
        found = _ending(files, (*LIGAND_SUFFIXES, *_PDBQT)) or _ending(files, _PDB)
        if not found:
            known = ", ".join((*LIGAND_SUFFIXES, *_PDBQT, *_PDB))
            raise InputError(f"{one}: holds no ligand file; give a folder with {known}")
        yield from found


def _ending(files: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """The files with one of these suffixes, gzipped or not."""
    return [file for file in files if file.name.lower().removesuffix(".gz").endswith(suffixes)]


def _there(source: str | os.PathLike[str]) -> bool:
    try:
        return Path(source).exists()
    except OSError:  # a long SMILES is no legal file name
        return False


def kind_of(source: str | os.PathLike[str]) -> str | None:
    """Format of a file by its suffix; ``atoms`` without bonds; None when there is no such file.

    Args:
        source: file or SMILES.

    Raises:
        InputError: it is a folder, or a file of another format.
    """
    if not _there(source):
        return None
    path = Path(source)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a ligand file")
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    kinds = {".sd": "sdf", ".mol": "sdf", ".smiles": "smi", ".txt": "smi", ".tsv": "csv"}
    kind = kinds.get(suffix.lower(), suffix.lower().lstrip("."))
    if kind in ("pdbqt", "pdb", "ent"):
        return "atoms"
    if kind not in ("sdf", "mol2", "smi", "csv"):
        raise InputError(
            f"{path}: {suffix or 'no suffix'} is not a ligand format; give "
            f"{', '.join((*LIGAND_SUFFIXES, *_PDBQT, *_PDB))}"
        )
    return kind


def is_pdbqt(path: Path) -> bool:
    """Whether a file is PDBQT by its name, gzipped or not.

    Args:
        path: the file.
    """
    return bool(_ending([path], _PDBQT))


def bare_stem(path: Path) -> str:
    """Stem of a file name without the suffix of its format, also if it is gzipped.

    Args:
        path: the file.
    """
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def _lines(path: Path) -> Iterator[str]:
    return read_lines(path, "a ligand file")


class RecordText(NamedTuple):
    """Text of one record.

    Attributes:
        name: name in the record.
        text: its text; the SMILES of a line or row.
        parent: name of the input that it is a state of, from a table of states.
        note: what a user should know about it, from such a table.
        error: why it cannot be docked, from such a table.
    """

    name: str
    text: str
    parent: str = ""
    note: str = ""
    error: str = ""


def record_texts(path: Path, kind: str) -> Iterator[RecordText]:
    """Texts of the records of a file, in order.

    Args:
        path: the file.
        kind: its format, from ``kind_of``.

    Raises:
        InputError: it cannot be read, or is a table without structures.
    """
    if kind == "sdf":
        yield from _sdf_records(path)
    elif kind == "mol2":
        yield from _mol2_records(path)
    elif kind == "csv":
        yield from _csv_records(path)
    else:
        yield from _smi_records(path)


def _sdf_records(path: Path) -> Iterator[RecordText]:
    block: list[str] = []
    for line in _lines(path):
        if line.startswith("$$$$"):
            yield RecordText(block[0] if block else "", "".join(block))
            block = []
        else:
            block.append(line)
    if any(line.strip() for line in block):
        yield RecordText(block[0], "".join(block))


def _mol2_records(path: Path) -> Iterator[RecordText]:
    block: list[str] = []
    for line in _lines(path):
        if line.startswith("@<TRIPOS>MOLECULE") and block:
            yield RecordText(_second(block), "".join(block))
            block = []
        if block or line.startswith("@<TRIPOS>MOLECULE"):
            block.append(line)
    if block:
        yield RecordText(_second(block), "".join(block))


def _second(block: list[str]) -> str:
    return block[1] if len(block) > 1 else ""


def _smi_records(path: Path) -> Iterator[RecordText]:
    for number, line in enumerate(_lines(path)):
        words = line.split(maxsplit=1)
        header = number == 0 and words and words[0].lower() in _SMILES_COLUMNS
        if words and not line.startswith("#") and not header:
            yield RecordText(words[1] if len(words) > 1 else "", words[0])


def _csv_records(path: Path) -> Iterator[RecordText]:
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
    name = next((header.index(c) for c in _NAME_COLUMNS if c in header), -1)
    said = [header.index(c) if c in header else -1 for c in STATE_COLUMNS]
    for cells in split_rows(lines, delimiter=comma):
        if cells:
            picked = [cells[i] if 0 <= i < len(cells) else "" for i in (name, smiles, *said)]
            yield RecordText(*picked[:2], *map(text_of, picked[2:]))


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

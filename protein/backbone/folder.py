"""Structure files of a folder: which are designs, what they are called, and which cannot be read.

A folder that `sciddiff backbone` or `sciddiff sample` wrote has a record; only its designs are
measured there, not what somebody has put beside them. Of another folder every structure file is
measured. Two files of one structure, such as ``a.pdb`` and ``a.cif``, count once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protein.structures.chain import Backbone
from protein.structures.parse import STRUCTURE_SUFFIXES
from sciddiff.cli.campaign import RECORD, read_record
from sciddiff.errors import InputError
from sciddiff.names import Names

__all__ = ["Folder", "preferred", "read_folder", "structure_suffix"]

_DESIGN = re.compile(r"design_\d{4,}")
# Where a structure has several files, the first of these kinds is read.
_KINDS = (".cif", ".mmcif", ".cif.gz", ".mmcif.gz", ".pdb", ".pdb.gz")


@dataclass(frozen=True)
class Folder:
    """What a folder of structures holds.

    Attributes:
        structures: chains of each structure, by its name.
        left_out: reasons why other files were not taken, by the name of the file.
        facts: what the folder's record says of a design, by its name.
        failed: why structures have no figures, by their name: designs that were given up, and
            what is too small.
    """

    structures: dict[str, tuple[Backbone, ...]]
    left_out: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def measured(self, name: str) -> tuple[Backbone, ...]:
        """The chains that the figures are about: those that were designed, a binder's alone."""
        binder = self.facts.get(name, {}).get("binder")
        chains = self.structures[name]
        return tuple(c for c in chains if c.chain_id == binder) or chains


def read_folder(directory: Path) -> Folder:
    """Read the structures of a folder; one that cannot be read is left out with the reason.

    Names are the files' without the suffix of their format; a number follows where two structures
    would have one name.

    Raises:
        InputError: there is no such folder, or none of its files can be read.
    """
    from protein.backbone.metrics.geometry import MIN_RESIDUES
    from protein.structures.read import read_structure

    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; give a folder of PDB or mmCIF files")
    found = _structure_files(directory)
    if not found:
        raise InputError(f"{directory}: holds no .pdb or .cif file; give a folder of structures")
    ours = (directory / RECORD).is_file() and any(_DESIGN.fullmatch(stem) for stem in found)
    structures: dict[str, tuple[Backbone, ...]] = {}
    left_out: dict[str, str] = {}
    failed: dict[str, str] = {}
    names = Names()
    for stem, files in found.items():
        file = preferred(files)
        if ours and not _DESIGN.fullmatch(stem):
            left_out[file.name] = "it is none of the designs that the folder's run.json records"
            continue
        try:
            chains = tuple(read_structure(file).chains)
        except InputError as error:
            left_out[file.name] = str(error).removeprefix(f"{file}: ")
            continue
        name = names.unique(stem, "structure")
        if (size := sum(map(len, chains))) < MIN_RESIDUES:
            left_out[file.name] = (
                f"it has {size} residues, and figures need at least {MIN_RESIDUES}"
            )
            failed[name] = left_out[file.name]
            continue
        structures[name] = chains
    if not structures:
        file, reason = next(iter(left_out.items()))
        raise InputError(f"{directory / file}: {reason}")
    record = read_record(directory) if ours else {}
    facts = {str(name): dict(said) for name, said in dict(record.get("designs", {})).items()}
    failed |= {str(name): str(reason) for name, reason in dict(record.get("failed", {})).items()}
    return Folder(structures, left_out, facts, failed)


def _structure_files(directory: Path) -> dict[str, list[Path]]:
    """The files of each structure, by their common stem, in order."""
    found: dict[str, list[Path]] = {}
    for file in sorted(directory.iterdir()):
        suffix = structure_suffix(file)
        if suffix and file.is_file():
            found.setdefault(file.name[: -len(suffix)], []).append(file)
    return found


def structure_suffix(file: Path) -> str:
    """The suffix of a structure file, the longest that fits; empty for any other file."""
    fitting = [s for s in STRUCTURE_SUFFIXES if file.name.lower().endswith(s)]
    return "" if file.name.startswith(".") else max(fitting, key=len, default="")


def preferred(files: Iterable[Path]) -> Path:
    """Which of several files of one structure is read: mmCIF, which holds everything, first."""

    def rank(file: Path) -> tuple[int, str]:
        suffix = structure_suffix(file)
        return _KINDS.index(suffix) if suffix in _KINDS else len(_KINDS), file.name

    return min(files, key=rank)

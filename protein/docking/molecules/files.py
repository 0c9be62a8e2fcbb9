"""Ligands from files: SDF, MOL2, SMILES lists and CSV libraries, one row per record.

A record that cannot be docked becomes a row with a reason and does not stop the others. Records
are read one at a time, so that a library may be larger than memory. Names are unique within a
source.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.coordinates import determined, only_group, pdbqt_models
from protein.docking.molecules.ligand import (
    LIMITS,
    Ligand,
    LigandSettings,
    input_coords,
    ligand_from_mol,
    ligand_from_smiles,
    mol_from_smiles,
    quietly,
)
from protein.docking.molecules.sources import (
    LIGAND_SUFFIXES,
    LigandSource,
    bare_stem,
    files_of,
    is_pdbqt,
    kind_of,
    record_texts,
    sdf_tags,
    sources_of,
)
from protein.structures.parse import is_structure_file
from sciddiff.cli.fingerprint import digest
from sciddiff.errors import InputError
from sciddiff.names import Names

if TYPE_CHECKING:
    from rdkit.Chem import Mol

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
        parent: name of the input that it is a state of; empty for the input itself.
        note: what a user should know about the molecule, one sentence.
    """

    index: int
    name: str
    ligand: Ligand | None
    error: str = ""
    title: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    note: str = ""


@dataclass(frozen=True)
class LigandRecord:
    """One record of a ligand source as text.

    Attributes:
        index: position in the source, from 0.
        name: unique name on one line, see `sciddiff.names`.
        title: name in the record.
        text: text of the record.
        kind: its format: ``sdf``, ``mol2``, ``smi`` or ``csv``.
        parent: name of the input that it is a state of; empty for the input itself.
        note: what a user should know about the molecule, one sentence.
        error: why it cannot be docked, where that is known before its molecule is read.
        digest: SHA-256 of everything that its docking depends on.
    """

    index: int
    name: str
    title: str
    text: str
    kind: str
    parent: str = ""
    note: str = ""
    error: str = ""
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        said = [text for text in (self.parent, self.note, self.error) if text]
        made_of = digest([self.name, self.title, self.kind, self.text, *said])
        object.__setattr__(self, "digest", made_of)

    def molecule(self) -> "Mol":
        """The molecule as RDKit parsed it, not yet sanitised.

        Raises:
            InputError: RDKit cannot read it.
        """
        return _molecule(self.text, self.kind, self.name)

    def read(self, settings: LigandSettings = LIMITS) -> LigandRow:
        """Parse the molecule of the record; if that fails, the row says why.

        Args:
            settings: limits on the size of a molecule.
        """
        tags = sdf_tags(self.text) if self.kind == "sdf" else {}
        ligand, reason = None, self.error
        try:
            if not reason and self.kind in ("smi", "csv"):
                ligand = ligand_from_smiles(self.text.strip(), self.name, settings)
            elif not reason:
                ligand = quietly(ligand_from_mol, self.molecule(), self.name, settings)
        except InputError as error:
            reason = str(error)
        return LigandRow(
            self.index, self.name, ligand, reason, self.title, tags, self.parent, self.note
        )


def read_ligands(
    source: str | os.PathLike[str], settings: LigandSettings = LIMITS
) -> Iterator[LigandRow]:
    """Read the rows of a ligand file, or of one SMILES string.

    Args:
        source: ``.sdf``, ``.mol``, ``.mol2``, ``.smi``, ``.csv``, ``.pdbqt`` or ``.pdb``
            (optionally ``.gz``), or a SMILES string where no such file exists.
        settings: limits on the size of a molecule.

    Yields:
        One row per record, in order.

    Raises:
        InputError: the source itself cannot be read or holds no record.
    """
    if kind_of(source) is None:
        _refuse_lost_file(str(source))
        yield LigandRow(0, "ligand", ligand_from_smiles(str(source), settings=settings))
        return
    for record in ligand_records(source):
        yield record.read(settings)


def ligand_records(source: LigandSource, check: bool = True) -> Iterator[LigandRecord]:
    """Read the records of a source as text, without parsing the molecules of files.

    Args:
        source: file or SMILES, as for ``read_ligands``; a folder, whose ligand files are read in
            the order of their names; or several of these, one after another.
        check: whether a SMILES that cannot be docked is an error, and no record, if it is all that
            there is; of several sources it is a record, so that the others are docked.

    Yields:
        One per record, in order.

    Raises:
        InputError: the source itself cannot be read or holds no record.
    """
    names = Names()
    index = 0
    alone = len(sources_of(source)) == 1
    for path in files_of(source):
        kind = kind_of(path)
        if kind is None:
            _refuse_lost_file(str(path))
            if check and alone:
                ligand_from_smiles(str(path))
            yield LigandRecord(index, names.unique("ligand", ""), "", str(path), "smi")
            index += 1
            continue
        before = index
        if kind == "atoms":
            yield _record_of_atoms(index, Path(path), names)
            index += 1
            continue
        for number, found in enumerate(record_texts(Path(path), kind), 1):
            unique = names.unique(found.name, f"{bare_stem(Path(path))}_{number}")
            title = found.name.strip()
            yield LigandRecord(index, unique, title, found.text, kind, *found[2:])
            index += 1
        if index == before:
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
        source: ``.sdf``, ``.mol``, ``.mol2`` or ``.pdbqt``, also with ``.gz``; or a structure
            file, with ``FILE:NAME`` for the residue ``NAME`` where it holds several groups.

    Raises:
        InputError: it cannot be read, or has no 3-D coordinates.
    """
    text, residue = str(source), ""
    if not Path(text).exists() and Path(text.rpartition(":")[0]).is_file():
        text, _, residue = text.rpartition(":")
    if is_structure_file(Path(text)) and Path(text).is_file():
        return only_group(Path(text), residue).heavy
    if is_pdbqt(Path(text)) and Path(text).is_file():
        return next(pdbqt_models(Path(text)))[0].heavy
    record = next(ligand_records(source))
    coords = input_coords(mol := record.molecule())
    heavy = np.asarray([atom.GetAtomicNum() > 1 for atom in mol.GetAtoms()])
    if coords is None or not heavy.any():
        raise InputError(
            f"{source}: its first molecule has no 3-D coordinates; give an SDF or MOL2 file of a "
            "ligand in its pocket"
        )
    return coords[heavy]


def _record_of_atoms(index: int, path: Path, names: Names) -> LigandRecord:
    """The molecule of a PDBQT or PDB file, as SMILES; or why its bonds are not known."""
    from rdkit.Chem import MolToSmiles, RemoveHs

    smiles, error = "", ""
    try:
        if is_pdbqt(path):
            group, smiles = next(pdbqt_models(path))
        else:
            group = only_group(path)
        smiles = smiles or MolToSmiles(RemoveHs(determined(group)))
    except InputError as refused:
        error = _as_ligand(refused)
        error = error if path.name in error else f"{path.name}: {error}"  # a group names itself
    name = names.unique(bare_stem(path), "ligand")
    return LigandRecord(index, name, bare_stem(path), smiles, "smi", error=error)


def _as_ligand(refused: InputError) -> str:
    """The reason of a refusal; to dock a molecule, its SMILES is enough."""
    return str(refused).replace("give the molecule with --template SMILES", "give its SMILES")


def _refuse_lost_file(text: str) -> None:
    """Refuse what is no SMILES but the name of a file that does not exist."""
    suffixes = (*LIGAND_SUFFIXES, ".gz", ".pdb", ".pdbqt")
    if not text.strip() or text.lower().endswith(suffixes):
        raise InputError(f"{text}: no such ligand file; check the path")


def _molecule(record: str, kind: str, name: str) -> "Mol":
    """The molecule of a record, not yet sanitised."""
    from rdkit import Chem

    if len(record) > _LONGEST_RECORD:
        raise InputError(
            f"{name}: its record has {len(record):,} characters, above {_LONGEST_RECORD:,}; is it "
            "one molecule?"
        )
    if kind in ("smi", "csv"):
        return mol_from_smiles(record.strip(), name)
    if kind == "sdf":
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

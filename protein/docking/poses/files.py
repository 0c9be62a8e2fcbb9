"""Poses from files of any origin: SDF, MOL2, PDBQT, PDB and mmCIF, with the tags of SDF records.

Consecutive records of one molecule with its atoms in the same order share a ``Ligand``, so that
they can be scored together. A record that cannot be used becomes a pose with a reason.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.coordinates import (
    AtomGroup,
    determined,
    ligand_groups,
    pdbqt_models,
    placed,
    skeleton,
)
from protein.docking.molecules.files import LigandRow, read_ligands
from protein.docking.molecules.ligand import Ligand, LigandSettings, ligand_from_mol, quietly
from protein.docking.molecules.sources import bare_stem, is_pdbqt
from sciddiff.errors import InputError
from sciddiff.files import read_lines

ANY_SIZE = LigandSettings(max_torsions=1000, max_atoms=1000)
"""A pose that exists may be of any molecule; the limits apply to what is searched."""

_PLACED_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
MOLECULE_SUFFIXES = (".sdf", ".sd", ".mol", ".mol2", ".sdf.gz", ".pdbqt")
"""Names of files of molecules alone: in a folder, those that end otherwise are receptors or
complexes."""

POSE_SUFFIXES: tuple[str, ...] = (*MOLECULE_SUFFIXES, *_PLACED_SUFFIXES)
"""File names that are read as poses."""


def pose_files(paths: Sequence[Path]) -> list[Path]:
    """Files of poses, in which folders stand for those that they hold, by their names.

    PDB and mmCIF files of a folder are poses if it holds no file of molecules alone, and a PDBQT
    file is the same as a file beside it of the same stem.

    Args:
        paths: files and folders.

    Raises:
        InputError: a folder holds no file of poses.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = [file for file in sorted(path.iterdir()) if file.is_file()]
        here = [
            [file for file in files if file.name.lower().removesuffix(".gz").endswith(suffixes)]
            for suffixes in (MOLECULE_SUFFIXES, _PLACED_SUFFIXES)
        ]
        if not any(here):
            raise InputError(
                f"{path}: holds no file of poses; give a folder with {', '.join(POSE_SUFFIXES)}"
            )
        stems = {bare_stem(file) for file in here[0] if not is_pdbqt(file)}
        alone = [file for file in here[0] if not (is_pdbqt(file) and bare_stem(file) in stems)]
        found += alone or here[1]
    return found


@dataclass(frozen=True, eq=False)
class GivenPose:
    """One record of a file of poses.

    Attributes:
        file: file that holds it.
        record: number in the file, from 1.
        name: title of the record, or the stem of the file.
        ligand: the molecule of N atoms, shared by like neighbours; None if it cannot be used.
        coords: `[N, 3]`, Å; empty without a molecule.
        tags: data fields of an SDF record.
        error: why it cannot be used, in one sentence.
    """

    file: Path
    record: int
    name: str
    ligand: Ligand | None
    coords: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    tags: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


def read_poses(
    file: Path, template: Ligand | None = None, residue: str = ""
) -> Iterator[GivenPose]:
    """Read the poses of one file, in order.

    Args:
        file: SDF, MOL2, PDBQT, PDB or mmCIF, also gzipped.
        template: the molecule that all poses are of, with its bond orders, charges and
            stereochemistry; its atoms give the order. None to take them from the file.
        residue: residue name of the ligand in a PDB or mmCIF file; empty for any.

    Raises:
        InputError: the file does not exist, has an unknown format, or holds no pose.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file of poses; check the path")
    if file.suffix.lower() in (".smi", ".smiles", ".csv"):
        raise InputError(f"{file}: holds no coordinates; give poses as SDF or MOL2")
    suffix = file.with_suffix("").suffix if file.suffix.lower() == ".gz" else file.suffix
    rows = read_ligands(file, ANY_SIZE)
    if suffix.lower() in _PLACED_SUFFIXES:
        rows = _group_rows(ligand_groups(file, residue), template)
    elif is_pdbqt(file):
        models = list(pdbqt_models(file))
        if template is None and all(smiles for _, smiles in models):
            rows = _pdbqt_rows(file)
        else:
            rows = _group_rows([group for group, _ in models], template)
    last: Ligand | None = None
    for row in rows:
        pose = _pose(file, row, last)
        if template is not None and pose.ligand is not None:
            pose = _on_template(pose, template)
        last = pose.ligand or last
        yield pose


def _group_rows(groups: Sequence[AtomGroup], template: Ligand | None) -> Iterator[LigandRow]:
    """Poses of groups of atoms; without a template their hydrogens must tell the bonds."""
    for index, group in enumerate(groups):
        ligand, error = None, ""
        try:
            if template is None:
                ligand = quietly(ligand_from_mol, determined(group), group.name, ANY_SIZE)
            else:
                coords = placed(template, skeleton(group), group.name)
                ligand = replace(template, coords=coords)
        except InputError as refused:
            error = str(refused)
        yield LigandRow(index, group.name, ligand, error, group.name)


def _on_template(pose: GivenPose, template: Ligand) -> GivenPose:
    ligand = pose.ligand
    if ligand is None or ligand.mol is template.mol:
        return replace(pose, ligand=template)
    try:
        coords = placed(template, ligand.with_coords(pose.coords), pose.name)
    except InputError as error:
        return replace(pose, ligand=None, coords=np.zeros((0, 3)), error=str(error))
    return replace(pose, ligand=template, coords=coords)


def runs(poses: Iterator[GivenPose], most: int = 32) -> Iterator[list[GivenPose]]:
    """Groups of consecutive poses of one molecule; a pose without a molecule stays alone.

    Args:
        poses: poses in the order of the file.
        most: largest number of poses in one group.
    """
    group: list[GivenPose] = []
    for pose in poses:
        alike = pose.ligand is not None and group and group[0].ligand is pose.ligand
        if group and not (alike and len(group) < most):
            yield group
            group = []
        group.append(pose)
    if group:
        yield group


def sdf_record(
    ligand: Ligand,
    coords: NDArray[np.floating],
    name: str,
    tags: Mapping[str, str],
    hydrogens: bool = False,
) -> str:
    """Text of one SDF record.

    Args:
        ligand: the molecule.
        coords: `[N, 3]`, Å.
        name: title of the record.
        tags: data fields.
        hydrogens: whether to write the hydrogens, at their usual places.
    """
    from rdkit.Chem import AddHs, MolToMolBlock

    mol = ligand.with_coords(coords)
    if hydrogens:
        mol = AddHs(mol, addCoords=True)
    mol.SetProp("_Name", name)
    lines = [f">  <{key}>\n{value}\n\n" for key, value in tags.items()]
    return MolToMolBlock(mol) + "".join(lines) + "$$$$\n"


def _pose(file: Path, row: LigandRow, last: Ligand | None) -> GivenPose:
    name = row.title or file.name.split(".")[0]
    ligand, error, coords = row.ligand, row.error, np.zeros((0, 3))
    if ligand is not None:
        try:
            coords = ligand.require_coords()
        except InputError as missing:
            ligand, error = None, str(missing)
    if ligand is not None and last is not None and _alike(ligand, last):
        ligand = last
    return GivenPose(file, row.index + 1, name, ligand, coords, row.tags, error)


def _alike(first: Ligand, second: Ligand) -> bool:
    """Whether two records are one molecule with its atoms in one order."""
    return first is second or (
        len(first) == len(second)
        and _graph(first) == _graph(second)
        and first.smiles == second.smiles
    )


def _graph(ligand: Ligand) -> tuple[list[Any], list[Any]]:
    atoms = [(a.GetAtomicNum(), a.GetFormalCharge()) for a in ligand.mol.GetAtoms()]
    bonds = [
        (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondType()))
        for b in ligand.mol.GetBonds()
    ]
    return atoms, bonds


def _pdbqt_rows(file: Path) -> Iterator[LigandRow]:
    """Poses of a PDBQT file whose remarks hold the SMILES, as Meeko writes them."""
    try:
        meeko: Any = importlib.import_module("meeko")
    except ImportError as error:
        raise InputError(
            f"{file}: PDBQT has no bond orders and is read by Meeko; run: pip install meeko, or "
            "convert it to SDF"
        ) from error
    try:
        text = "".join(read_lines(file, "a PDBQT file"))
        made = meeko.PDBQTMolecule(text, name=file.stem, skip_typing=True)
        mols: Sequence[Any] = quietly(meeko.RDKitMolCreate.from_pdbqt_mol, made)
    except Exception as error:  # noqa: BLE001 - Meeko raises whatever its parser meets
        raise InputError(
            f"{file}: Meeko cannot rebuild its molecule (no REMARK SMILES?); prepare ligands with "
            "mk_prepare_ligand.py, or convert the poses to SDF"
        ) from error
    index = -1
    for mol in mols:
        for conformer in [] if mol is None else list(mol.GetConformers()):
            index += 1
            yield _pdbqt_row(mol, conformer, index, file.stem)
    if index < 0:
        raise InputError(
            f"{file}: no molecule can be rebuilt from it (no REMARK SMILES?); convert the poses "
            "to SDF"
        )


def _pdbqt_row(mol: Any, conformer: Any, index: int, name: str) -> LigandRow:
    from rdkit.Chem import Mol

    one = Mol(mol, confId=conformer.GetId())
    try:
        return LigandRow(index, name, quietly(ligand_from_mol, one, name, ANY_SIZE))
    except InputError as error:
        return LigandRow(index, name, None, str(error))

"""Molecules, an imprinted pocket, and the complexes where they are."""

import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("rdkit")

from protein.docking.molecules.atom_types import INDEX, TYPES
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import ligand_from_smiles
from protein.docking.receptors.receptor import Receptor, receptor_types


@pytest.fixture(scope="session")
def complexes(tmp_path_factory) -> list[Path]:
    """Folders with `protein.pdb` and `ligand.sdf`, unpacked from the shared data."""
    packed = Path(os.environ.get("SCIDDIFF_DATA", "")) / "docking" / "complexes.tar.xz"
    if not packed.is_file():
        pytest.skip("no complexes: set SCIDDIFF_DATA to a folder with docking/complexes.tar.xz")
    root = tmp_path_factory.mktemp("complexes")
    # The first releases of Python 3.11 know no filter, and later ones warn without one.
    checked: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(packed, "r|xz") as archive:  # in one pass: going back decompresses anew
        for member in archive:
            if member.name.startswith("dataset/val/"):
                archive.extract(member, root, **checked)
    return [path.parent for path in sorted(root.glob("dataset/val/*/ligand.sdf"))]


@pytest.fixture(scope="session")
def drug():
    """A ligand with rings, five torsions, a stereocentre, a donor and acceptors."""
    return ligand_from_smiles("C[C@H](NC(=O)c1ccc(OCCN)cc1)c1cccc(Cl)c1", "drug")


@pytest.fixture(scope="session")
def conformer(drug) -> np.ndarray:
    """A conformer of it, moved away from the origin."""
    return fresh_conformers(drug, 1, seed=3)[0] + np.asarray([12.0, -7.0, 4.0])


@pytest.fixture(scope="session")
def imprint(conformer) -> Receptor:
    """A receptor that is the mould of the conformer: atoms 3.6 to 6.5 Å from it, 2 Å apart."""
    return _mould(conformer)


@pytest.fixture(scope="session")
def mould():
    """Maker of such receptors: coordinates and a seed to a receptor."""
    return _mould


@pytest.fixture(scope="session")
def peptide() -> Receptor:
    """A helix of ideal geometry, AAKAALAAFAA, whose side chains touch nothing."""
    return _helix("AAKAALAAFAA")


@pytest.fixture(scope="session")
def reactive_peptide() -> Receptor:
    """The helix GAKCALAYFHSAT, whose side chains touch nothing."""
    return _helix("GAKCALAYFHSAT")


@pytest.fixture(scope="session")
def odd_peptide() -> Receptor:
    """The helix GPKAALAAFAS and residues whose side chains cannot turn: selenomethionine, a
    leucine with CB alone, and a cysteine with a disulfide bond to chain B."""
    helix = _helix("GPKAALAAFASMLC")
    keep = [r != "A:13" or a in ("N", "CA", "C", "O", "CB") for r, a in
            zip(helix.residues, helix.atoms, strict=True)]  # fmt: skip
    helix = helix.select(np.asarray(keep))
    names = tuple("MSE" if r == "A:12" else n for r, n in
                  zip(helix.residues, helix.resnames, strict=True))  # fmt: skip
    atoms = tuple("SE" if a == "SD" else a for a in helix.atoms)
    sulfur = [a == "SG" for a in atoms].index(True)
    return replace(
        helix,
        coords=np.concatenate([helix.coords, helix.coords[sulfur : sulfur + 1] + [0, 0, 2.05]]),
        types=np.append(helix.types, helix.types[sulfur]),
        elements=(*helix.elements, "S"),
        atoms=(*atoms, "SG"),
        resnames=(*names, "CYS"),
        residues=(*helix.residues, "B:1"),
    )


def _helix(sequence: str) -> Receptor:
    """An ideal helix; the torsions of its side chains are 180 degrees, which points outwards."""
    from protein.sequence.alphabet import LETTERS
    from protein.sidechains.geometry import build
    from protein.sidechains.internal import side_atoms
    from protein.structures.geometry_constants import ATOM_NAMES
    from protein.structures.residues import ONE_TO_THREE
    from protein.structures.torsions import backbone_from_torsions

    backbone = backbone_from_torsions(np.radians([[-63.0, -43.0, 180.0]] * len(sequence)))
    tokens = torch.tensor([LETTERS.index(letter) for letter in sequence])
    chi = torch.full((len(sequence), 4), np.pi, dtype=torch.float64)
    sides = build(torch.from_numpy(backbone), tokens, chi).numpy()
    rows = [
        (name, ONE_TO_THREE[letter], f"A:{k + 1}", xyz)
        for k, letter in enumerate(sequence)
        for name, xyz in zip(
            (*ATOM_NAMES, *side_atoms()[letter]), (*backbone[k], *sides[k]), strict=False
        )
    ]
    atoms, names, labels, coords = zip(*rows, strict=True)
    elements = [atom[0] for atom in atoms]
    xyz = np.stack(coords)
    types = receptor_types(elements, list(atoms), list(names), xyz)
    return Receptor(xyz, types, tuple(elements), atoms, names, labels, "helix")


def _mould(coords: np.ndarray, seed: int = 0) -> Receptor:
    """Random atoms around a molecule, none within contact distance of it or of each other."""
    rng = np.random.default_rng(seed)
    trial = rng.uniform(coords.min(0) - 7, coords.max(0) + 7, size=(6000, 3))
    gap = np.linalg.norm(trial[:, None] - coords, axis=-1).min(axis=1)
    kept: list[np.ndarray] = []
    for point in trial[(gap > 3.6) & (gap < 6.5)]:
        if not kept or np.linalg.norm(np.stack(kept) - point, axis=-1).min() > 2.0:
            kept.append(point)
    m = len(kept)
    types = rng.choice([INDEX[t] for t in ("C_H", "C_P", "N_D", "O_A")], size=m)
    names = tuple("X" for _ in range(m))
    elements = tuple(TYPES[t][0] for t in types)
    return Receptor(np.stack(kept), types, elements, names, names, tuple("A:1" for _ in names))


@pytest.fixture(scope="session")
def files(tmp_path_factory, drug, conformer, imprint) -> Path:
    """Receptor, reference and a library with good and bad records, as files."""
    from rdkit.Chem import MolToMolBlock

    root = tmp_path_factory.mktemp("files")
    _write_receptor(root / "receptor.pdb", imprint)
    (root / "ref.sdf").write_text(MolToMolBlock(drug.with_coords(conformer)) + "$$$$\n")
    rows = ["Oc1ccccc1 phenol", "not_a_smiles bad", "CCO.CCN salt", "CC(=O)Nc1ccccc1 phenol"]
    (root / "lib.smi").write_text("\n".join(rows) + "\n")
    return root


def _write_receptor(path: Path, receptor: Receptor) -> None:
    """Every atom of the mould as the CA of an unknown residue, which a reader takes as protein."""
    lines = []
    for i, (x, y, z) in enumerate(receptor.coords):
        for atom, shift in (("N", -1.2), ("CA", 0.0), ("C", 1.2)):
            lines.append(
                f"ATOM  {3 * i + 1:5d}  {atom:<3s} UNK A{i + 1:4d}    {x:8.3f}{y + shift:8.3f}"
                f"{z:8.3f}  1.00  0.00           {atom[0]}"
            )
    path.write_text("\n".join([*lines, "END"]) + "\n")

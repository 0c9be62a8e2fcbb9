"""AutoDock Vina on our own atoms: PDBQT of a receptor, ligands through Meeko, score and dock.

Vina reads positions and AutoDock types and nothing else. The receptor is written from the types
of `protein.docking.receptors.receptor`, so that both programs see the same donors and acceptors:
Vina calls an N or O a donor when a hydrogen is bonded to it, so one polar hydrogen is put 1 Å
from each, on the side with most room. Hydrogens have no energy of their own.

Needs `pip install vina meeko gemmi`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.atom_types import TYPES
from protein.docking.molecules.ligand import Ligand
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor

_PLAIN = {
    "C_H": "C", "C_P": "C", "S_P": "S", "P_P": "P", "F_H": "F", "Cl_H": "Cl", "Br_H": "Br",
    "I_H": "I", "Si": "Si",
}  # fmt: skip
_METALS = {"MG": "Mg", "MN": "Mn", "ZN": "Zn", "CA": "Ca", "FE": "Fe", "NA": "Na", "K": "K",
           "CU": "Cu", "CO": "Co", "NI": "Ni", "CD": "Cd", "HG": "Hg"}  # fmt: skip


def receptor_pdbqt(receptor: Receptor) -> str:
    """The receptor as Vina wants it."""
    lines = []
    for i in range(len(receptor)):
        kind = TYPES[receptor.types[i]]
        lines.append(_line(len(lines) + 1, receptor.coords[i], _autodock(receptor, i)))
        if kind in ("N_D", "N_DA", "O_D", "O_DA"):
            lines.append(_line(len(lines) + 1, _hydrogen(receptor.coords, i), "HD"))
    return "\n".join(lines) + "\n"


def ligand_pdbqt(ligand: Ligand, coords: NDArray[np.floating], rigid_rings: bool = True) -> str:
    """A pose through Meeko, hydrogens built on it."""
    from meeko import MoleculePreparation, PDBQTWriterLegacy
    from rdkit import Chem

    full = Chem.AddHs(ligand.with_coords(coords), addCoords=True)
    setup = MoleculePreparation(rigid_macrocycles=rigid_rings).prepare(full)[0]
    text, fine, message = PDBQTWriterLegacy.write_string(setup)
    if not fine:
        raise ValueError(f"{ligand.name}: Meeko: {message}")
    return text


class VinaReference:
    """Vina with one receptor and box.

    `score` uses all pairs whatever the maps are, so that coarse ones (`spacing=1`) do for it.
    """

    def __init__(
        self, receptor: Receptor, box: Box, seed: int = 1, spacing: float = 0.375
    ) -> None:
        from vina import Vina

        self.vina = Vina(sf_name="vina", cpu=1, seed=seed, verbosity=0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "receptor.pdbqt"
            path.write_text(receptor_pdbqt(receptor))
            self.vina.set_receptor(str(path))
        self.vina.compute_vina_maps(list(box.center), list(box.size), spacing=spacing)

    def score(self, ligand: Ligand, coords: NDArray[np.floating]) -> NDArray[np.float64]:
        """Vina's `score_only`: total, interaction, then its further columns."""
        self.vina.set_ligand_from_string(ligand_pdbqt(ligand, coords))
        return np.asarray(self.vina.score())

    def dock(
        self,
        ligand: Ligand,
        conformer: NDArray[np.floating],
        exhaustiveness: int = 8,
        poses: int = 9,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Poses `[K, N, 3]`, best first, and their energies `[K]`."""
        from meeko import PDBQTMolecule, RDKitMolCreate

        self.vina.set_ligand_from_string(ligand_pdbqt(ligand, conformer))
        self.vina.dock(exhaustiveness=exhaustiveness, n_poses=poses)
        text = self.vina.poses(n_poses=poses)
        mol = RDKitMolCreate.from_pdbqt_mol(PDBQTMolecule(text, skip_typing=True))[0]
        heavy = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
        order = mol.GetSubstructMatch(ligand.mol)
        if len(order) != len(ligand) or len(heavy) != len(ligand):
            raise ValueError(f"{ligand.name}: Vina's poses are of another molecule")
        found = np.stack([c.GetPositions()[list(order)] for c in mol.GetConformers()])
        return found, self.vina.energies(n_poses=poses)[:, 0]


def _autodock(receptor: Receptor, i: int) -> str:
    kind, element = TYPES[receptor.types[i]], receptor.elements[i]
    if kind == "Met_D":
        return _METALS.get(element, "Zn")
    if element == "O":
        return "OA"
    if element == "N":
        return "NA" if kind in ("N_A", "N_DA") else "N"
    return _PLAIN[kind]


def _hydrogen(coords: NDArray[np.floating], i: int) -> NDArray[np.floating]:
    """A point 1 Å from atom i, as far as may be from all others."""
    k = np.arange(200) + 0.5
    polar, turn = np.arccos(1 - k / 100), np.pi * (1 + 5**0.5) * k
    ball = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], 1)
    near = np.linalg.norm(coords - coords[i], axis=-1) < 4.0
    near[i] = False
    if not near.any():
        return coords[i] + ball[0]
    points = coords[i] + ball
    room = np.linalg.norm(points[:, None] - coords[near], axis=-1).min(axis=1)
    return points[room.argmax()]


def _line(serial: int, xyz: NDArray[np.floating], kind: str) -> str:
    x, y, z = xyz
    return (
        f"ATOM  {serial % 100000:5d}  X   UNK A   1    {x:8.3f}{y:8.3f}{z:8.3f}"
        f"  1.00  0.00    {0.0:6.3f} {kind:<2s}"
    )

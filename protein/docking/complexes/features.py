"""What the docking networks know about an atom: small integers, one column per property.

Ligand atoms: element, degree, charge, hybridisation, aromaticity, smallest ring, hydrogens,
energy type. Pocket atoms: energy type, residue, atom name. Column values index embedding tables
whose sizes are ``LIGAND_SIZES`` and ``POCKET_SIZES``; the last value of residue and name means
"any other". Pairs of ligand atoms: bond order, bonds between them, rigidity.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.atom_types import TYPES, ligand_types
from protein.structures.residues import parent_letter

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from protein.docking.molecules.torsion_tree import TorsionTree
    from protein.docking.receptors.receptor import Receptor

_ELEMENTS = ("C", "N", "O", "S", "P", "F", "Cl", "Br", "I", "B", "Si", "Se")
_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
_NAMES = (
    "N CA C O CB OXT CG CG1 CG2 CD CD1 CD2 CE CE1 CE2 CE3 CZ CZ2 CZ3 CH2 "
    "ND1 ND2 NE NE1 NE2 NH1 NH2 NZ OD1 OD2 OE1 OE2 OG OG1 OH SD SG"
).split()
_HOPS = 5

LIGAND_SIZES: tuple[int, ...] = (len(_ELEMENTS), 6, 5, 5, 2, 7, 5, len(TYPES))
"""Number of values of each column of ``ligand_features``."""

POCKET_SIZES: tuple[int, ...] = (len(TYPES), len(_LETTERS) + 1, len(_NAMES) + 1)
"""Number of values of each column of ``pocket_features``."""

PAIR_SIZES: tuple[int, ...] = (5, _HOPS + 1, 2)
"""Number of values of each column of ``pair_features``."""


def ligand_features(mol: "Mol") -> NDArray[np.uint8]:
    """Columns of ligand atoms `[N, 8]`.

    Args:
        mol: heavy-atom molecule.
    """
    rings = mol.GetRingInfo()
    rows = [
        (
            _ELEMENTS.index(atom.GetSymbol()),
            min(atom.GetDegree(), 5),
            min(max(atom.GetFormalCharge() + 2, 0), 4),
            _hybridisation(str(atom.GetHybridization())),
            int(atom.GetIsAromatic()),
            _ring(rings.MinAtomRingSize(atom.GetIdx())),
            min(atom.GetTotalNumHs(), 4),
        )
        for atom in mol.GetAtoms()
    ]
    types = ligand_types(mol)[:, None]
    return np.concatenate([np.asarray(rows).reshape(-1, 7), types], axis=1).astype(np.uint8)


def ligand_bonds(mol: "Mol") -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Bonds `[E, 2]` and their orders `[E]`: 1, 2, 3, or 4 for aromatic.

    Args:
        mol: heavy-atom molecule.
    """
    pairs = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
    orders = [
        4 if b.GetIsAromatic() else min(3, max(1, int(b.GetBondTypeAsDouble())))
        for b in mol.GetBonds()
    ]
    return np.asarray(pairs, np.int64).reshape(-1, 2), np.asarray(orders, np.uint8)


def pair_features(
    bonds: NDArray[np.int64], orders: NDArray[np.uint8], tree: "TorsionTree"
) -> NDArray[np.uint8]:
    """Columns of pairs of ligand atoms `[N, N, 3]`: order (0: no bond), bonds apart, rigid.

    Args:
        bonds: `[E, 2]`.
        orders: `[E]`.
        tree: torsion tree of the N atoms.
    """
    n = len(tree.fragments)
    table = np.zeros((n, n, 3), dtype=np.uint8)
    i, j = bonds.T
    table[i, j, 0] = table[j, i, 0] = orders
    near = np.eye(n, dtype=bool)
    step = (table[..., 0] > 0).astype(np.int64)
    table[..., 1] = _HOPS
    table[near, 1] = 0
    reached = near
    for hops in range(1, _HOPS):
        grown = (reached.astype(np.int64) @ step > 0) | reached
        table[grown & ~reached, 1] = hops
        reached = grown
    table[..., 2] = tree.rigid_pairs()
    return table


def pocket_features(receptor: "Receptor") -> NDArray[np.uint8]:
    """Columns of receptor atoms `[M, 3]`.

    Args:
        receptor: the atoms.
    """
    residues = {name: _residue(name) for name in set(receptor.resnames)}
    names = {name: i for i, name in enumerate(_NAMES)}
    rows = [
        (int(type_), residues[residue], names.get(atom, len(_NAMES)))
        for type_, residue, atom in zip(
            receptor.types, receptor.resnames, receptor.atoms, strict=True
        )
    ]
    return np.asarray(rows, dtype=np.uint8).reshape(-1, 3)


def span(bonds: NDArray[np.int64], atoms: int) -> int:
    """Number of bonds between the two atoms that are farthest apart along bonds.

    Args:
        bonds: `[E, 2]`, of a connected molecule.
        atoms: their number.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    if len(bonds) == 0:
        return 0
    graph = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(atoms, atoms))
    return int(shortest_path(graph.tocsr(), directed=False, unweighted=True).max())


def _hybridisation(name: str) -> int:
    return {"SP": 1, "SP2": 2, "SP3": 3}.get(name, 4 if name.startswith("SP3") else 0)


def _ring(size: int) -> int:
    """0 outside rings, 1 to 6 for rings of 3, 4, 5, 6, 7 and more."""
    return 0 if size == 0 else min(max(size, 3), 8) - 2


def _residue(name: str) -> int:
    letter = parent_letter(name)
    return _LETTERS.index(letter) if letter and letter in _LETTERS else len(_LETTERS)

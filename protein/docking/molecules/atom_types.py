"""X-Score atom types of heavy atoms, as AutoDock Vina uses them.

A type has a radius and three properties: it may be hydrophobic (carbon bonded only to carbon, and
halogens), a hydrogen-bond donor, and an acceptor. Hydrogens have no energy and only make their N
or O a donor, so that the energy is a function of heavy atoms.

Ligands are typed from the molecular graph, with the acceptor rules that Meeko writes into PDBQT
files: every O accepts; N accepts unless it is charged, or three-coordinate and conjugated (amide,
aniline, pyrrole, triazene). Boron takes the type of polar carbon and selenium that of sulfur.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

TYPES: tuple[str, ...] = (
    "C_H", "C_P", "N_P", "N_D", "N_A", "N_DA", "O_P", "O_D", "O_A", "O_DA",
    "S_P", "P_P", "F_H", "Cl_H", "Br_H", "I_H", "Si", "Met_D",
)  # fmt: skip
"""Names of the types; a type is an index into this list."""

INDEX: dict[str, int] = {name: i for i, name in enumerate(TYPES)}

RADII: NDArray[np.float32] = np.asarray([
    1.9, 1.9, 1.8, 1.8, 1.8, 1.8, 1.7, 1.7, 1.7, 1.7,
    2.0, 2.1, 1.5, 1.8, 2.0, 2.2, 2.2, 1.2,
], dtype=np.float32)  # fmt: skip
"""X-Score radii, Å, in the order of ``TYPES``."""

_roles = [name.partition("_")[2] for name in TYPES]
IS_HYDROPHOBIC: NDArray[np.bool_] = np.asarray([role == "H" for role in _roles])
"""Whether each type is hydrophobic."""

DONATES: NDArray[np.bool_] = np.asarray([role in ("D", "DA") for role in _roles])
"""Whether each type donates hydrogen bonds."""

ACCEPTS: NDArray[np.bool_] = np.asarray([role in ("A", "DA") for role in _roles])
"""Whether each type accepts hydrogen bonds."""

METALS: frozenset[str] = frozenset(
    "LI NA K RB CS MG CA SR BA MN FE CO NI CU ZN CD HG AG AU PT PD U AL GA IN TL PB V CR MO W RU "
    "RH IR OS RE TI ZR Y LA CE PR ND SM EU GD TB DY HO ER TM YB LU BI SB SN".split()
)
"""Elements that count as a metal ion of the receptor."""

# Covalent radii by which bonds of a receptor are perceived, Å.
_COVALENT = {
    "C": 0.77, "N": 0.75, "O": 0.73, "P": 1.06, "S": 1.02, "F": 0.71, "CL": 0.99, "BR": 1.14,
    "I": 1.33, "SE": 1.16, "B": 0.82, "SI": 1.11, "H": 0.37,
}  # fmt: skip
_SLACK = 1.1
_PLAIN = {
    "S": "S_P", "P": "P_P", "F": "F_H", "CL": "Cl_H", "BR": "Br_H", "I": "I_H", "SI": "Si",
    "SE": "S_P", "B": "C_P", "AS": "P_P",
}  # fmt: skip
_NO_ACCEPTOR = (
    "[#7X3v3][a]",  # pyrrole, aniline
    "[#7X3v3][#6X3v4]",  # amide, enamine
    "[#7X3v3][NX2]=[*]",  # triazene
    "[#7+1]",  # ammonium, pyridinium, nitro
)


def polar_type(element: str, donor: bool, acceptor: bool) -> int:
    """Type of a nitrogen or oxygen with these roles."""
    return INDEX[f"{element}_{'D' * donor + 'A' * acceptor or 'P'}"]


def plain_type(element: str) -> int | None:
    """Type of an element without roles (sulfur, phosphorus, halogens, metals); None if unknown.

    Args:
        element: symbol in upper case.
    """
    if element in METALS:
        return INDEX["Met_D"]
    return INDEX[_PLAIN[element]] if element in _PLAIN else None


def ligand_types(mol: "Mol") -> NDArray[np.int64]:
    """Types of the atoms of a heavy-atom molecule `[N]`.

    Raises:
        InputError: an element without a type.
    """
    from rdkit import Chem

    full = Chem.AddHs(mol)
    silent = {
        match[0]
        for smarts in _NO_ACCEPTOR
        for match in full.GetSubstructMatches(Chem.MolFromSmarts(smarts))
    }
    types = []
    for atom in mol.GetAtoms():
        symbol = atom.GetSymbol().upper()
        if symbol == "C":
            polar = any(n.GetAtomicNum() not in (1, 6) for n in atom.GetNeighbors())
            types.append(INDEX["C_P" if polar else "C_H"])
        elif symbol in ("N", "O"):
            accepts = symbol == "O" or atom.GetIdx() not in silent
            types.append(polar_type(symbol, atom.GetTotalNumHs() > 0, accepts))
        else:
            found = plain_type(symbol)
            if found is None or symbol in METALS:
                raise InputError(f"element {atom.GetSymbol()}: has no docking parameters; drop it")
            types.append(found)
    return np.asarray(types, dtype=np.int64)


def covalent_bonds(elements: list[str], coords: NDArray[np.floating]) -> NDArray[np.int64]:
    """Bonds of a receptor, perceived from distances below 1.1 times the sum of covalent radii.

    Metals bind nothing: an ion beside a carbon does not make it polar.

    Args:
        elements: symbols in upper case, length M.
        coords: `[M, 3]`, Å.

    Returns:
        Pairs i < j `[n_bonds, 2]`.
    """
    from scipy.spatial import KDTree

    radius = np.asarray([_COVALENT.get(e, 0.0) for e in elements])
    if len(coords) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = KDTree(coords).query_pairs(2 * _SLACK * radius.max(initial=0.5), output_type="ndarray")
    pairs = pairs.astype(np.int64).reshape(-1, 2)
    i, j = pairs.T
    length = np.linalg.norm(coords[i] - coords[j], axis=-1)
    bonded = (radius[i] > 0) & (radius[j] > 0) & (length < _SLACK * (radius[i] + radius[j]))
    return pairs[bonded]

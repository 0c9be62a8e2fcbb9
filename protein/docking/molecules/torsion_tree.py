"""Rotatable bonds of a molecule as a tree of rigid fragments.

A bond turns when it is a single bond outside rings, neither end is terminal (of heavy atoms), and
turning it changes anything:

- *amides*: the bond of a three-coordinate N to a C doubly bonded to O, N or S (amides, ureas,
  carbamates, amidines, guanidines) is held as the conformer has it, unless N carries two
  different heavy substituents besides, where cis and trans are both populated;
- *alkynes*: the two single bonds beside a triple bond are one rotation, about the triple bond;
  the bond beside a terminal triple bond (a nitrile) does not turn anything;
- *hydrogens*: a bond that turns only hydrogens (hydroxyl, amine, methyl) is no torsion of the
  heavy atoms. ``rotors`` counts it as AutoDock Vina would (a half for a polar one).

These are the rules by which Meeko prepares ligands for AutoDock, so that both searches have the
same degrees of freedom. The root is the fragment from which the fewest atoms swing.
"""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_AMIDE = "[NX3]-[CX3]=[O,N,S]"
_TERTIARY = "[NX3]([!#1])([!#1])-[CX3]=[O,N,S]"
_ALKYNE = "[*]-[*]#[*]-[*]"
_NITRILE = "[*]-[*]#[*X1]"
_POLAR = frozenset({7, 8, 9, 15, 16})


@dataclass(frozen=True, eq=False)
class TorsionTree:
    """Fragments of N heavy atoms joined by T rotatable bonds, parents before children.

    Attributes:
        bonds: axis of each torsion `[T, 2]`, int64: the atom towards the root, the other.
        masks: atoms that the torsion moves `[T, N]`, bool.
        parents: torsion that moves the axis of this one, -1 at the root `[T]`, int64.
        fragments: 0 for an atom of the root, else 1 + the last torsion that moves it `[N]`, int64.
        quads: four atoms whose dihedral angle measures the torsion `[T, 4]`, int64.
        rotors: rotors as AutoDock Vina counts them; halves come from polar hydrogens.
    """

    bonds: NDArray[np.int64]
    masks: NDArray[np.bool_]
    parents: NDArray[np.int64]
    fragments: NDArray[np.int64]
    quads: NDArray[np.int64]
    rotors: float

    def __len__(self) -> int:
        """Number of torsions T."""
        return len(self.bonds)

    @property
    def depth(self) -> int:
        """Most torsions between the root and an atom."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(1 + (depths[parent] if parent >= 0 else 0))
        return max(depths, default=0)

    def rigid_pairs(self) -> NDArray[np.bool_]:
        """Pairs of atoms whose distance no torsion changes `[N, N]`, bool.

        Both atoms of an axis are at rest in the fragments of either side.
        """
        members = self.fragments[:, None] == np.arange(len(self) + 1)
        for t, (a, b) in enumerate(self.bonds):
            members[a, t + 1] = True
            members[b, self.parents[t] + 1] = True
        # As an integer product the count of shared fragments; any makes a rigid pair.
        return (members.astype(np.int64) @ members.T.astype(np.int64)) > 0


def torsion_tree(mol: "Mol") -> TorsionTree:
    """Torsion tree of a connected molecule without explicit hydrogens.

    Args:
        mol: sanitised heavy-atom molecule of N atoms.
    """
    turning = rotatable_bonds(mol)
    n = mol.GetNumAtoms()
    neighbours = [[a.GetIdx() for a in atom.GetNeighbors()] for atom in mol.GetAtoms()]
    rotors = sum(_rotor_weight(mol, i, j) for i, j in turning)
    heavy = [bond for bond in turning if _moves_heavy(mol, *bond)]
    pieces = _pieces(neighbours, set(heavy))
    root = _root(pieces, heavy, neighbours)
    bonds, parents, quads = [], [], []
    masks = np.zeros((len(heavy), n), dtype=bool)
    fragments = np.zeros(n, dtype=np.int64)
    queue = deque([(root, -1)])
    waiting = set(heavy)
    while queue:
        piece, torsion = queue.popleft()
        fragments[pieces == piece] = torsion + 1
        for bond in sorted(b for b in waiting if piece in (pieces[b[0]], pieces[b[1]])):
            waiting.discard(bond)
            a, b = bond if pieces[bond[0]] == piece else bond[::-1]
            t = len(bonds)
            bonds.append((a, b))
            parents.append(torsion)
            quads.append((_beside(neighbours, a, b), a, b, _beside(neighbours, b, a)))
            masks[t, _side(neighbours, b, a)] = True
            masks[t, b] = False
            queue.append((int(pieces[b]), t))
    return TorsionTree(
        bonds=np.asarray(bonds, dtype=np.int64).reshape(-1, 2),
        masks=masks,
        parents=np.asarray(parents, dtype=np.int64),
        fragments=fragments,
        quads=np.asarray(quads, dtype=np.int64).reshape(-1, 4),
        rotors=rotors,
    )


def rotatable_bonds(mol: "Mol") -> list[tuple[int, int]]:
    """Bonds that turn heavy atoms or polar hydrogens, as sorted pairs of atoms (i < j).

    Args:
        mol: sanitised heavy-atom molecule.
    """
    from rdkit.Chem import BondType

    amides = _amides(mol)
    held = {_pair(m[0], m[1]) for m in _matches(mol, _NITRILE)} | amides
    triple: set[tuple[int, int]] = set()
    for i, j, k, m in _matches(mol, _ALKYNE):
        held |= {_pair(i, j), _pair(k, m)}
        triple.add(_pair(j, k))
    found = []
    for bond in mol.GetBonds():
        pair = _pair(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        single = bond.GetBondType() == BondType.SINGLE and pair not in held
        if bond.IsInRing() or not (single or pair in triple):
            continue
        if all(_turnable(mol, a, b) for a, b in (pair, pair[::-1])):
            found.append(pair)
    return sorted(found)


def _amides(mol: "Mol") -> set[tuple[int, int]]:
    """Amide-like bonds that are held."""
    from rdkit.Chem import CanonicalRankAtoms

    bonds = {_pair(m[0], m[1]) for m in _matches(mol, _AMIDE)}
    ranks = list(CanonicalRankAtoms(mol, breakTies=False))
    for nitrogen, first, second, carbon, *_ in _matches(mol, _TERTIARY):
        if ranks[first] != ranks[second]:
            bonds.discard(_pair(nitrogen, carbon))
    return bonds


def _matches(mol: "Mol", smarts: str) -> tuple[tuple[int, ...], ...]:
    from rdkit.Chem import MolFromSmarts

    return mol.GetSubstructMatches(MolFromSmarts(smarts), maxMatches=100_000)


def _pair(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i < j else (j, i)


def _turnable(mol: "Mol", end: int, other: int) -> bool:
    """Whether the end of a bond carries anything that a rotation about the bond moves."""
    atom = mol.GetAtomWithIdx(end)
    polar_h = atom.GetAtomicNum() in _POLAR and atom.GetTotalNumHs() > 0
    return atom.GetDegree() > 1 or polar_h


def _moves_heavy(mol: "Mol", i: int, j: int) -> bool:
    return mol.GetAtomWithIdx(i).GetDegree() > 1 and mol.GetAtomWithIdx(j).GetDegree() > 1


def _rotor_weight(mol: "Mol", i: int, j: int) -> float:
    """Vina counts a half for each end of a rotating bond whose heavy degree exceeds one."""
    return 0.5 * sum(mol.GetAtomWithIdx(k).GetDegree() > 1 for k in (i, j))


def _pieces(neighbours: list[list[int]], cut: set[tuple[int, int]]) -> NDArray[np.int64]:
    """Rigid piece of each atom `[N]`."""
    pieces = np.full(len(neighbours), -1, dtype=np.int64)
    for start in range(len(neighbours)):
        if pieces[start] >= 0:
            continue
        label, stack = pieces.max() + 1, [start]
        while stack:
            atom = stack.pop()
            pieces[atom] = label
            stack += [n for n in neighbours[atom] if pieces[n] < 0 and _pair(atom, n) not in cut]
    return pieces


def _root(
    pieces: NDArray[np.int64], bonds: list[tuple[int, int]], neighbours: list[list[int]]
) -> int:
    """The piece from which the fewest atoms swing, summed over torsions; then the largest."""
    sides = {}
    for a, b in bonds:
        far = set(_side(neighbours, b, a))
        sides[a, b] = (len(far), {int(pieces[k]) for k in far})

    def rank(piece: int) -> tuple[int, int, int]:
        n = len(neighbours)
        swing = sum(n - size if piece in far else size for size, far in sides.values())
        return swing, -int((pieces == piece).sum()), piece

    return min(range(int(pieces.max()) + 1), key=rank)


def _side(neighbours: list[list[int]], start: int, barred: int) -> list[int]:
    """Atoms on the side of ``start`` when its bond to ``barred`` is cut, itself included."""
    seen, stack = {start, barred}, [start]
    while stack:
        for other in neighbours[stack.pop()]:
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return sorted(seen - {barred})


def _beside(neighbours: list[list[int]], atom: int, barred: int) -> int:
    """Lowest neighbour of ``atom`` other than ``barred``."""
    return min(n for n in neighbours[atom] if n != barred)

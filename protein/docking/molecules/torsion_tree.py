"""Rotatable bonds of a molecule as a tree of rigid fragments.

A bond is rotatable if it is a single bond outside rings, if neither of its heavy atoms is
terminal, and if turning it changes anything:

- *amides*: the bond of a three-coordinate N to a C doubly bonded to O, N or S (amides, ureas,
  carbamates, amidines, guanidines) keeps the angle of the conformer, unless N carries two further
  heavy substituents that differ, in which case cis and trans are both populated;
- *alkynes*: the two single bonds beside a triple bond make one rotation, about the triple bond; a
  rotation about the bond beside a terminal triple bond (a nitrile) changes nothing;
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

MACROCYCLE = 12
"""Members from which on a ring is a macrocycle."""

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


def interacting_pairs(mol: "Mol", tree: TorsionTree) -> NDArray[np.int64]:
    """Pairs i < j of atoms that have an energy with each other `[K, 2]`.

    More than three bonds lie between them, and a torsion changes their distance, or the shape of a
    macrocycle that both are members of does: conformers of its ring compete in the search.

    Args:
        mol: heavy-atom molecule of N atoms.
        tree: its torsion tree.
    """
    from rdkit.Chem import GetDistanceMatrix

    far = np.asarray(GetDistanceMatrix(mol)) > 3.5
    rigid = tree.rigid_pairs()
    for ring in macrocycles(mol):
        rigid[np.ix_(ring, ring)] = False
    return np.argwhere(np.triu(far & ~rigid, k=1)).astype(np.int64)


def macrocycles(mol: "Mol") -> list[list[int]]:
    """Atoms of each ring of twelve members or more.

    Args:
        mol: sanitised molecule.
    """
    from rdkit.Chem import GetSymmSSSR

    return [list(ring) for ring in GetSymmSSSR(mol) if len(ring) >= MACROCYCLE]


def torsion_tree(mol: "Mol", rest: int | None = None) -> TorsionTree:
    """Torsion tree of a connected molecule without explicit hydrogens.

    Args:
        mol: sanitised heavy-atom molecule of N atoms.
        rest: atom whose fragment is the root; None for that from which the fewest atoms swing.
    """
    turning = rotatable_bonds(mol)
    n = mol.GetNumAtoms()
    neighbours = [[a.GetIdx() for a in atom.GetNeighbors()] for atom in mol.GetAtoms()]
    # Vina counts a half for each end of a rotating bond whose heavy degree exceeds one.
    branched = [len(beside) > 1 for beside in neighbours]
    rotors = 0.5 * sum(branched[i] + branched[j] for i, j in turning)
    heavy = [(i, j) for i, j in turning if branched[i] and branched[j]]
    pieces = _pieces(neighbours, set(heavy))
    root = _root(pieces, heavy, neighbours) if rest is None else int(pieces[rest])
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
            before, after = set(neighbours[a]) - {b}, set(neighbours[b]) - {a}
            quads.append((min(before), a, b, min(after)))
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
        # Each end must carry something that a rotation about the bond moves.
        if all(
            end.GetDegree() > 1 or (end.GetAtomicNum() in _POLAR and end.GetTotalNumHs() > 0)
            for end in (bond.GetBeginAtom(), bond.GetEndAtom())
        ):
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
    sizes = np.bincount(pieces)
    swing = np.zeros(len(sizes), dtype=np.int64)
    for a, b in bonds:
        far = _side(neighbours, b, a)
        beyond = np.isin(np.arange(len(sizes)), pieces[far])
        swing += np.where(beyond, len(neighbours) - len(far), len(far))
    return int(np.lexsort((-sizes, swing))[0])


def _side(neighbours: list[list[int]], start: int, barred: int) -> list[int]:
    """Atoms on the side of ``start`` when its bond to ``barred`` is cut, itself included."""
    seen, stack = {start, barred}, [start]
    while stack:
        for other in neighbours[stack.pop()]:
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return sorted(seen - {barred})

"""Adducts: a ligand that is bonded to a side chain, as one molecule.

The adduct holds the heavy atoms of the ligand that remain, then those of the residue. Its
conformers give the new bond its length and its angles, and its torsion tree hangs on the backbone:
the side chain's torsions, those beside the new bond, and the ligand's own are one branch.

A centre that the reaction makes or attacks may have either configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.ligand import Ligand, ligand_from_mol, quietly
from protein.docking.molecules.warheads import Match, Warhead, matches
from sciddiff.errors import InputError

__all__ = ["MOST_ADDUCTS", "Adduct", "Bond", "Nucleophile", "adducts", "nucleophile"]

MOST_ADDUCTS = 6
"""Warheads of one ligand that are tried."""

# Residues up to CA, with a methyl group for the carbonyl, and the names of their atoms. The bond
# goes to the oxygen of an acid that is drawn as a hydroxyl.
_RESIDUES: dict[tuple[str, str], tuple[str, str]] = {
    ("C", "SG"): ("NC(C)CS", "N CA C CB SG"),
    ("S", "OG"): ("NC(C)CO", "N CA C CB OG"),
    ("T", "OG1"): ("NC(C)C(O)C", "N CA C CB OG1 CG2"),
    ("Y", "OH"): ("NC(C)Cc1ccc(O)cc1", "N CA C CB CG CD1 CE1 CZ OH CE2 CD2"),
    ("K", "NZ"): ("NC(C)CCCCN", "N CA C CB CG CD CE NZ"),
    ("H", "NE2"): ("NC(C)Cc1c[nH]cn1", "N CA C CB CG CD2 NE2 CE1 ND1"),
    ("H", "ND1"): ("NC(C)Cc1cnc[nH]1", "N CA C CB CG CD2 NE2 CE1 ND1"),
    ("D", "OD1"): ("NC(C)CC(O)=O", "N CA C CB CG OD1 OD2"),
    ("D", "OD2"): ("NC(C)CC(O)=O", "N CA C CB CG OD2 OD1"),
    ("E", "OE1"): ("NC(C)CCC(O)=O", "N CA C CB CG CD OE1 OE2"),
    ("E", "OE2"): ("NC(C)CCC(O)=O", "N CA C CB CG CD OE2 OE1"),
}


@dataclass(frozen=True)
class Nucleophile:
    """The atom of a residue that binds, and its residue as a molecule.

    Attributes:
        atom: its name.
        smiles: the residue's heavy atoms without the carbonyl O.
        names: their names in the order of the SMILES.
    """

    atom: str
    smiles: str
    names: tuple[str, ...]

    @property
    def element(self) -> str:
        """Element of the atom."""
        return self.atom[0]


def nucleophile(letter: str, atom: str) -> Nucleophile | None:
    """The atom of a residue as a nucleophile; None if it is none.

    Args:
        letter: one-letter name of the residue.
        atom: name of the atom.
    """
    found = _RESIDUES.get((letter, atom))
    return None if found is None else Nucleophile(atom, found[0], tuple(found[1].split()))


def nucleophiles(letter: str) -> tuple[str, ...]:
    """Atoms of a residue that may bind a ligand."""
    return tuple(atom for own, atom in _RESIDUES if own == letter)


@dataclass(frozen=True)
class Bond:
    """The bond of a docked ligand to a residue.

    Attributes:
        ligand: the ligand as it is bound.
        reacting: its atom.
        residue: label of the residue.
        atom: name of the residue's atom.
        beside: names of the atoms of the residue that are bonded to that.
        warhead: name of the warhead.
    """

    ligand: Ligand
    reacting: int
    residue: str
    atom: str
    beside: tuple[str, ...]
    warhead: str

    def close(self, residues: Sequence[str], atoms: Sequence[str]) -> NDArray[np.bool_]:
        """The atom of a receptor that is bonded, and its neighbours `[M]`.

        Args:
            residues: labels of the residues of the atoms.
            atoms: their names.
        """
        return np.isin(residues, self.residue) & np.isin(atoms, (self.atom, *self.beside))


@dataclass(frozen=True, eq=False)
class Adduct:
    """A ligand of N remaining atoms with the residue that it is bonded to.

    Attributes:
        ligand: the ligand as it is bound, without the residue: its types are those of the adduct,
            and a hydrogen is in the place of the new bond.
        whole: the N atoms of the ligand, then those of the residue.
        reacting: the atom of the ligand that is bonded.
        given: this atom in the ligand before it was bound.
        residue: the residue.
        warhead: the warhead that reacted.
    """

    ligand: Ligand
    whole: Ligand
    reacting: int
    given: int
    residue: Nucleophile
    warhead: Warhead

    def place(self, name: str) -> int:
        """Place of an atom of the residue in the adduct."""
        return len(self.ligand) + self.residue.names.index(name)

    def beside(self, atom: int, but: int = -1) -> list[int]:
        """Atoms that an atom of the adduct is bonded to, in order.

        Args:
            atom: the atom.
            but: one that is left out.
        """
        found = self.whole.mol.GetAtomWithIdx(atom).GetNeighbors()
        return sorted(n.GetIdx() for n in found if n.GetIdx() != but)

    def ends(self) -> tuple[int, int, int]:
        """The atom of the residue that is bonded, and the two before it on the way from CA."""
        from rdkit.Chem import GetShortestPath

        path = GetShortestPath(self.whole.mol, self.place("CA"), self.place(self.residue.atom))
        return path[-1], path[-2], path[-3]


def adducts(
    ligand: Ligand, warheads: tuple[Warhead, ...], residue: Nucleophile
) -> list[Adduct]:
    """What a ligand makes with a residue, one adduct for each warhead.

    Args:
        ligand: the molecule.
        warheads: those to look for.
        residue: the residue.

    Raises:
        InputError: it has no warhead that binds this atom, or the adduct is no molecule.
    """
    found = matches(ligand, warheads, residue.element)
    if not found:
        raise InputError(
            f"{ligand.name}: has no warhead that binds {residue.atom}; give its pattern with "
            "--warhead"
        )
    made: dict[str, Adduct] = {}
    for match in found:
        adduct = _adduct(ligand, match, residue)
        made.setdefault(adduct.whole.smiles, adduct)
    return list(made.values())[:MOST_ADDUCTS]


def _adduct(ligand: Ligand, match: Match, residue: Nucleophile) -> Adduct:
    from rdkit import Chem

    rw: Any = Chem.RWMol(ligand.mol)
    rw.RemoveAllConformers()
    start = rw.GetNumAtoms()
    rw.InsertMol(Chem.MolFromSmiles(residue.smiles))
    binds = start + residue.names.index(residue.atom)
    if match.loses is not None:
        _lower(rw, match.reacts, match.loses)
    if match.leaves is not None:
        rw.RemoveBond(match.reacts, match.leaves)
    order = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE}[match.warhead.order]
    rw.AddBond(match.reacts, binds, order)
    reacting = rw.GetAtomWithIdx(match.reacts)
    if reacting.GetSymbol() == "B":
        reacting.SetFormalCharge(-1)
    for atom in (match.reacts, match.loses, match.leaves, binds):
        if atom is not None:
            _open(rw.GetAtomWithIdx(atom))
    fragments: Any = Chem.GetMolFrags(rw)
    (kept,) = (part for part in fragments if binds in part)
    gone = [i for i in range(rw.GetNumAtoms()) if i not in set(kept)]
    for i in reversed(gone):
        rw.RemoveAtom(i)
    count = start - len(gone)
    reacts = match.reacts - sum(i < match.reacts for i in gone)
    bound: Any = Chem.RWMol(rw)
    for i in reversed(range(count, bound.GetNumAtoms())):
        bound.RemoveAtom(i)
    name = ligand.name
    whole = _ligand(rw, name, match.warhead)
    alone = _ligand(bound, name, match.warhead)
    pairs = whole.interacting_pairs
    own = pairs[(pairs < count).all(axis=1)]
    part = replace(alone, types=whole.types[:count], interacting_pairs=own)
    return Adduct(part, whole, reacts, match.reacts, residue, match.warhead)


def _lower(rw: Any, a: int, b: int) -> None:
    """Lower a bond by one order; a single bond goes."""
    from rdkit.Chem import BondStereo, BondType

    bond = rw.GetBondBetweenAtoms(a, b)
    lower = {BondType.DOUBLE: BondType.SINGLE, BondType.TRIPLE: BondType.DOUBLE}
    if bond.GetBondType() not in lower:
        rw.RemoveBond(a, b)
        return
    bond.SetStereo(BondStereo.STEREONONE)
    bond.SetBondType(lower[bond.GetBondType()])


def _open(atom: Any) -> None:
    """Let hydrogens of an atom follow from its bonds, and its configuration be open."""
    from rdkit.Chem import BondDir, ChiralType

    atom.SetNoImplicit(False)
    atom.SetNumExplicitHs(0)
    atom.SetChiralTag(ChiralType.CHI_UNSPECIFIED)
    for bond in atom.GetBonds():
        bond.SetBondDir(BondDir.NONE)


def _ligand(rw: Any, name: str, warhead: Warhead) -> Ligand:
    try:
        return quietly(ligand_from_mol, rw.GetMol(), name)
    except InputError as error:
        raise InputError(
            f"{name}: cannot react as {warhead.name} ({error}); check the pattern"
        ) from error


def pairs_with_residue(adduct: Adduct) -> NDArray[np.int64]:
    """Pairs of an atom of the ligand and one of the residue that have an energy `[K, 2]`."""
    pairs, n = adduct.whole.interacting_pairs, len(adduct.ligand)
    return pairs[(pairs[:, 0] < n) & (pairs[:, 1] >= n)]

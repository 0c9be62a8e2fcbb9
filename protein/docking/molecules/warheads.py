"""Warheads: groups of a ligand that bind a residue, and what becomes of them.

A warhead is a SMARTS pattern with map numbers. Atom 1 is bonded to the residue; its bond to atom 2
loses one order (a single bond opens); atom 3 leaves, with all that hangs on it. Without 2 and 3 a
hydrogen of atom 1 is replaced, or boron becomes an anion with four bonds.

The patterns that are built in are the usual electrophiles of covalent inhibitors (Gehringer and
Laufer, J. Med. Chem. 62 (2019) 5673). They say what may react, not how fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from protein.docking.molecules.ligand import Ligand, quietly
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["BUILT_IN", "Match", "Warhead", "matches", "read_warhead"]

REACTS, LOSES, LEAVES = 1, 2, 3
"""Map numbers: the atom that binds, that to which its bond loses an order, that which leaves."""


@dataclass(frozen=True)
class Warhead:
    """A group that binds a residue.

    Attributes:
        name: what it is called in tables.
        smarts: its pattern, with map numbers.
        binds: elements of the residue's atom that it binds, such as ``SN``.
        order: order of the new bond.
    """

    name: str
    smarts: str
    binds: str = "SNO"
    order: int = 1


@dataclass(frozen=True)
class Match:
    """A warhead in a ligand.

    Attributes:
        warhead: the warhead.
        reacts: the atom that binds.
        loses: the atom to which its bond loses an order; None for none.
        leaves: the atom that leaves; None for none.
    """

    warhead: Warhead
    reacts: int
    loses: int | None
    leaves: int | None


# A carbon-carbon bond whose first carbon has no neighbour but carbon.
_DOUBLE = "[CX3;!$(C~[!#6]):1]=[CX3:2]"
_TRIPLE = "[CX2;!$(C~[!#6]):1]#[CX2:2]"
_ACTIVE = "$(C(F)F),$(C(=O)[#7,#8]),$(c1nc2ccccc2s1),$(c1nc2ccccc2o1),$(c1nccs1)"

BUILT_IN: tuple[Warhead, ...] = (
    Warhead("acrylamide", f"{_DOUBLE}-[CX3](=O)[#7]", "SN"),
    Warhead("Michael acceptor", f"{_DOUBLE}-[CX3;!$(C[#7])]=O", "SN"),
    Warhead("vinyl sulfone", f"{_DOUBLE}-[SX4](=O)=O", "SN"),
    Warhead("acrylonitrile", f"{_DOUBLE}-[CX2]#[NX1]", "SN"),
    Warhead("nitroalkene", f"{_DOUBLE}-[NX3+](=O)[O-]", "SN"),
    Warhead("alkynamide", f"{_TRIPLE}-[CX3]=O", "SN"),
    Warhead("haloacetyl", "[CX4;H1,H2:1]([F,Cl,Br,I:3])[CX3]=O", "SN"),
    Warhead("nitrile", "[CX2:1]#[NX1:2]"),
    Warhead("aldehyde", "[CX3H1:1](=[OX1:2])[#6]", "SO"),
    Warhead("aldehyde (imine)", "[CX3H1:1](=[OX1:3])[#6]", "N", 2),
    Warhead("activated ketone", f"[CX3:1](=[OX1:2])([#6])[{_ACTIVE}]", "SO"),
    Warhead("epoxide", "[CX4:1]1[OX2:2][CX4]1"),
    Warhead("aziridine", "[CX4:1]1[NX3:2][CX4]1"),
    Warhead("boronic acid", "[BX3:1]([OX2])[OX2]", "O"),
    Warhead("sulfonyl fluoride", "[SX4:1](=O)(=O)[F:3]"),
    Warhead("fluorophosphonate", "[PX4:1](=O)[F:3]"),
    Warhead("beta-lactam", "[CX3r4:1](=O)[NX3r4:2]"),
    Warhead("beta-lactone", "[CX3r4:1](=O)[OX2r4:2]"),
    Warhead("isothiocyanate", "[CX2:1](=[NX2:2])=S"),
    Warhead("isocyanate", "[CX2:1](=[NX2:2])=O"),
    Warhead("active ester", "[CX3:1](=O)[OX2:3][$(c),$([NX3]C=O)]"),
    Warhead("disulfide", "[SX2:1][SX2:3]", "S"),
)
"""The warheads that are looked for, unless the user names one."""


def read_warhead(smarts: str) -> Warhead:
    """A user's own warhead.

    Args:
        smarts: its pattern; see the head of this module.

    Raises:
        InputError: it is no SMARTS, or its map numbers cannot be used.
    """
    pattern: Any = quietly(_chem().MolFromSmarts, smarts)
    if pattern is None or not smarts.strip():
        raise InputError(f"--warhead: {smarts!r} is not a valid SMARTS; check brackets and rings")
    numbers = sorted(atom.GetAtomMapNum() for atom in pattern.GetAtoms() if atom.GetAtomMapNum())
    if REACTS not in numbers:
        raise InputError(
            f"--warhead: {smarts!r} does not say which atom binds; number it 1, as in "
            "[CH2:1]=[CH:2]C=O"
        )
    if len(set(numbers)) < len(numbers) or not set(numbers) <= {REACTS, LOSES, LEAVES}:
        raise InputError(
            f"--warhead: {smarts!r} has the map numbers {', '.join(map(str, numbers))}; each of "
            "1 (binds), 2 (loses a bond order to 1) and 3 (leaves) may come once"
        )
    places = {atom.GetAtomMapNum(): atom.GetIdx() for atom in pattern.GetAtoms()}
    for number in set(numbers) - {REACTS}:
        if pattern.GetBondBetweenAtoms(places[REACTS], places[number]) is None:
            raise InputError(f"--warhead: in {smarts!r} the atoms 1 and {number} have no bond")
    return Warhead(smarts, smarts)


def matches(ligand: Ligand, warheads: tuple[Warhead, ...], element: str) -> list[Match]:
    """Warheads of a ligand that bind an element, in the order of the warheads.

    Of atoms that look alike, and of patterns that an atom matches, the first counts.

    Args:
        ligand: the molecule.
        warheads: those to look for.
        element: element of the residue's atom.
    """
    found: dict[tuple[int, int | None, int | None], Match] = {}
    ranks = list(_chem().CanonicalRankAtoms(ligand.mol, breakTies=False))
    for warhead in warheads:
        if element not in warhead.binds:
            continue
        pattern: Mol = _chem().MolFromSmarts(warhead.smarts)
        places = {atom.GetAtomMapNum(): atom.GetIdx() for atom in pattern.GetAtoms()}
        for hit in ligand.mol.GetSubstructMatches(pattern, uniquify=False, maxMatches=1000):
            atoms = [hit[places[k]] if k in places else None for k in (REACTS, LOSES, LEAVES)]
            reacts, loses, leaves = atoms
            assert reacts is not None  # noqa: S101 - every pattern has it
            alike = (
                ranks[reacts],
                None if loses is None else ranks[loses],
                None if leaves is None else ranks[leaves],
            )
            found.setdefault(alike, Match(warhead, reacts, loses, leaves))
    return list(found.values())


def _chem() -> Any:
    from rdkit import Chem

    return Chem

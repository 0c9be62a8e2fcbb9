"""Contacts of poses with a receptor: hydrogen bonds, salt bridges, metals, hydrophobic contacts.

All are found from heavy atoms:

- *hydrogen bond*: a donor and an acceptor, by Vina's types, closer than the sum of their radii,
  where Vina's term begins (N–N 3.6, N–O 3.5, O–O 3.4 Å);
- *metal*: an acceptor within that distance of an ion;
- *salt bridge*: opposite charges within 4 Å (Barlow & Thornton, J. Mol. Biol. 168 (1983) 867), of
  each pair of charged groups the closest atoms; it takes the place of their hydrogen bonds.
  Charges are those of groups in water at pH 7, whatever the input says;
- *hydrophobic*: two hydrophobic atoms within 4 Å (as PLIP, Salentin et al., Nucleic Acids Res. 43
  (2015) W443); of each ligand atom the closest in each residue.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.atom_types import (
    ACCEPTS,
    DONATES,
    INDEX,
    IS_HYDROPHOBIC,
    RADII,
    ligand_types,
)
from protein.docking.receptors.receptor import Receptor

if TYPE_CHECKING:
    from rdkit.Chem import Mol

KINDS: tuple[str, ...] = ("hydrogen bond", "salt bridge", "metal", "hydrophobic")
"""Kinds of contact; a kind is its place in this list."""

HBOND, SALT, METAL, HYDROPHOBIC = range(len(KINDS))
_REACH = 4.0
_MOST_PAIRS = 4_000_000
_POSITIVE = (
    "[NX4+]",
    "[NX3+0;!$(N~[!C]);!$(N~[C;!X4])]",
    "[#7]~[#6;$(C([NX3])=[N+0]),$(C([NX3])=[NX3+])]~[#7]",
)
_NEGATIVE = (
    "[OX1,OX2H1]~[CX3;$(C(=O)[OH,O-])]~[OX1,OX2H1]",
    "[OX1,OX2H1]~[#15,#16;$([#15,#16](=O)[OH,O-])]",
    "[nX2-,$([nX3H1]1nnnc1),$([nX2]1[nH]nnc1)]",
)
_CHARGED = {
    ("LYS", "NZ"): 1, ("ARG", "NE"): 1, ("ARG", "NH1"): 1, ("ARG", "NH2"): 1,
    ("ASP", "OD1"): -1, ("ASP", "OD2"): -1, ("GLU", "OE1"): -1, ("GLU", "OE2"): -1,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ContactSites:
    """Atoms of a ligand that can make contacts, N atoms in all.

    Attributes:
        types: Vina types `[N]`, int64.
        charge: -1, 0, 1 of the charged group an atom is in `[N]`, int64.
        group: middle atom of that group `[N]`, int64, -1 without one.
    """

    types: NDArray[np.int64]
    charge: NDArray[np.int64]
    group: NDArray[np.int64]

    @classmethod
    def of(cls, mol: "Mol") -> "ContactSites":
        """Sites of a heavy-atom molecule.

        Raises:
            InputError: an element without a type.
        """
        from rdkit.Chem import MolFromSmarts

        charge = np.zeros(mol.GetNumAtoms(), np.int64)
        group = np.full(mol.GetNumAtoms(), -1, np.int64)
        for sign, patterns, elements in ((1, _POSITIVE, (7,)), (-1, _NEGATIVE, (7, 8))):
            for smarts in patterns:
                for match in mol.GetSubstructMatches(MolFromSmarts(smarts)):
                    # A group goes by its middle atom: the C of a guanidine, the P of a phosphate.
                    atoms = [i for i in match if mol.GetAtomWithIdx(i).GetAtomicNum() in elements]
                    charge[atoms], group[atoms] = sign, match[min(1, len(match) - 1)]
        return cls(ligand_types(mol), charge, group)


@dataclass(frozen=True, eq=False)
class Contacts:
    """C contacts, by pose, kind and distance.

    Attributes:
        pose: `[C]`, int64.
        kind: place in ``KINDS`` `[C]`, int64.
        ligand: atom of the ligand `[C]`, int64.
        receptor: atom of the receptor `[C]`, int64.
        distance: `[C]`, Å.
    """

    pose: NDArray[np.int64]
    kind: NDArray[np.int64]
    ligand: NDArray[np.int64]
    receptor: NDArray[np.int64]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of contacts C."""
        return len(self.pose)

    def select(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Contacts":
        """Some of them, in the order given."""
        return Contacts(
            self.pose[rows], self.kind[rows], self.ligand[rows], self.receptor[rows],
            self.distance[rows],
        )  # fmt: skip


def find_contacts(
    coords: NDArray[np.floating], sites: ContactSites, receptor: Receptor
) -> Contacts:
    """Find the contacts of all poses of a ligand.

    Args:
        coords: `[K, N, 3]`, Å.
        sites: sites of the ligand.
        receptor: M atoms.
    """
    size = max(1, coords.shape[1] * len(receptor))
    step = max(1, _MOST_PAIRS // size)
    parts = [_close(coords[k : k + step], receptor, k) for k in range(0, len(coords), step)]
    pose, i, j, r = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (
        np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    )  # fmt: skip
    residue = _numbers(receptor.residues)[j]
    near = Contacts(pose, np.full(len(pose), -1, np.int64), i, j, r)
    a, b = sites.types[i], receptor.types[j]
    polar = (DONATES[a] & ACCEPTS[b]) | (ACCEPTS[a] & DONATES[b])
    polar &= r < RADII[a] + RADII[b]
    ion = b == INDEX["Met_D"]
    charge = _charges(receptor)[j]
    bridge = _closest(near, sites.charge[i] * charge < 0, (pose, sites.group[i], residue))
    # The hydrogen bonds between two groups that make a bridge are part of it.
    keys = np.stack([pose, sites.group[i], residue], axis=1)
    part = _among(keys, keys[bridge]) & (sites.charge[i] * charge < 0)
    greasy = _closest(near, IS_HYDROPHOBIC[a] & IS_HYDROPHOBIC[b], (pose, i, residue))
    chosen = [np.flatnonzero(polar & ~ion & ~part), bridge, np.flatnonzero(polar & ion), greasy]
    rows = np.concatenate(chosen)
    kind = np.repeat(np.arange(len(KINDS)), [len(c) for c in chosen])
    order = np.lexsort((near.distance[rows], kind, pose[rows]))
    found = near.select(rows[order])
    return Contacts(found.pose, kind[order], found.ligand, found.receptor, found.distance)


def _close(
    coords: NDArray[np.floating], receptor: Receptor, first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pose, ligand atom, receptor atom and distance of all pairs within reach."""
    low, high = coords.min((0, 1)) - _REACH, coords.max((0, 1)) + _REACH
    inside = np.flatnonzero(((receptor.coords >= low) & (receptor.coords <= high)).all(1))
    gap = coords[:, :, None].astype(np.float64) - receptor.coords[inside]
    square = np.einsum("knmx,knmx->knm", gap, gap)
    k, i, j = np.nonzero(square <= _REACH**2)
    return k + first, i, inside[j], np.sqrt(square[k, i, j])


def _closest(
    near: Contacts, allowed: NDArray[np.bool_], keys: tuple[NDArray[np.int64], ...]
) -> NDArray[np.int64]:
    """Of the allowed pairs, the closest of each value of the keys."""
    rows = np.flatnonzero(allowed)
    rows = rows[np.argsort(near.distance[rows], kind="stable")]
    table = np.stack([key[rows] for key in keys], axis=1)
    return rows[np.unique(table, axis=0, return_index=True)[1]]


def _among(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of `[C, 3]` are rows of another table."""
    both = np.concatenate([wanted, keys])
    number = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    return np.isin(number[len(wanted) :], number[: len(wanted)])


def _numbers(labels: tuple[str, ...]) -> NDArray[np.int64]:
    """A number for each distinct label, `[M]`."""
    found: dict[str, int] = {}
    return np.asarray([found.setdefault(label, len(found)) for label in labels], np.int64)


def _charges(receptor: Receptor) -> NDArray[np.int64]:
    """Charge of the group of each atom `[M]`."""
    names = zip(receptor.resnames, receptor.atoms, strict=True)
    return np.asarray([_CHARGED.get(name, 0) for name in names], np.int64)

"""Flexible side chains of a receptor: which of its atoms turn, and about which bonds.

A flexible side chain keeps the bond lengths, angles and rings of the file and turns about its
torsions chi, those of `protein.sidechains.geometry`. All flexible residues of a receptor make one
forest of rigid fragments, whose root is the backbone. Their atoms beyond CB move; N, CA, C and CB
rest, and are listed with them because the axes begin there and because they lie within three bonds
of atoms that move, so that they have no energy with these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.atom_types import INDEX, covalent_bonds
from protein.docking.molecules.torsion_tree import TorsionTree
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.sequence.alphabet import LETTERS
from protein.sidechains.geometry import tables
from protein.sidechains.internal import placements, side_atoms
from protein.structures.geometry_constants import ATOM_NAMES
from protein.structures.residues import parent_letter
from sciddiff.errors import InputError

MOST_FLEXIBLE = 10
"""Residues that may be flexible together."""

_REST = ("N", "CA", "C", "CB")
# Longer than every bond of a side chain, Å: a bound on how far an atom gets from CB.
_BOND = 1.85
# Distance of CB from the box beyond which no ligand atom in it feels a side chain, Å.
_FAR = 16.0
# Distance within which N, O and S are bonded to a metal, Å.
_COORDINATED = 2.8


@dataclass(frozen=True, eq=False)
class SideChains:
    """Flexible side chains of a receptor: A atoms, of which the first F move, and T torsions.

    Attributes:
        residues: their labels, ``chain:number+insertion code``.
        rows: places of the atoms in the receptor `[A]`, int64.
        moving: number of atoms that move, F.
        coords: as in the receptor `[A, 3]`, Å.
        types: energy types `[A]`, int64.
        tree: their torsions; fragment 0 is all that rests.
        pairs: pairs i < j of atoms that have an energy with each other `[K, 2]`: a torsion changes
            their distance, and more than three bonds lie between them.
        box: holds every atom that moves, however it turns.
        bonded: atoms that move of the first residue, if a ligand is bonded to it; else 0.
    """

    residues: tuple[str, ...]
    rows: NDArray[np.int64]
    moving: int
    coords: NDArray[np.float64]
    types: NDArray[np.int64]
    tree: TorsionTree
    pairs: NDArray[np.int64]
    box: Box
    bonded: int = 0

    def __len__(self) -> int:
        """Number of atoms A."""
        return len(self.rows)

    def rest(self, receptor: Receptor, backbone: bool = True) -> Receptor:
        """The receptor without the atoms that move.

        Args:
            receptor: the receptor that these side chains are of.
            backbone: whether N, CA, C and CB of the flexible residues stay in it, but for one that
                a ligand is bonded to.
        """
        keep = np.ones(len(receptor), dtype=bool)
        first = len(_REST) if self.bonded else 0
        keep[self.rows[: self.moving + first] if backbone else self.rows] = False
        return receptor.select(keep)

    def check(self, boxes: Sequence[Box]) -> None:
        """Refuse side chains that no ligand in the boxes can touch.

        Raises:
            InputError: one is out of reach of every box.
        """
        betas = self.coords[self.moving :].reshape(-1, len(_REST), 3)[:, -1]
        gaps = np.min([box.distance(betas) for box in boxes], axis=0)
        far = [label for label, gap in zip(self.residues, gaps, strict=True) if gap > _FAR]
        if far:
            raise InputError(
                f"flexible side chains: {', '.join(far)} cannot touch a ligand in the box; leave "
                "out what is far from it, or move the box"
            )

    def placed(self, receptor: Receptor, coords: NDArray[np.floating]) -> Receptor:
        """The receptor with these side chains somewhere else.

        Args:
            receptor: the receptor that these side chains are of.
            coords: atoms that move `[F, 3]`, Å.
        """
        moved = receptor.coords.copy()
        moved[self.rows[: self.moving]] = coords
        return replace(receptor, coords=moved)


def side_chains(
    receptor: Receptor, labels: Sequence[str], option: str = "flexible side chains"
) -> SideChains:
    """The flexible side chains of some residues.

    Args:
        receptor: the protein.
        labels: labels of residues, such as `named_residues` gives them.
        option: what the list is called in messages.

    Raises:
        InputError: there are too many, or a residue has no torsion that turns, lacks atoms, is
            modified, or is bonded to another residue.
    """
    if len(labels) > MOST_FLEXIBLE:
        raise InputError(
            f"{option}: {len(labels)} residues, above {MOST_FLEXIBLE}; name those that matter most"
        )
    bonded = _bonded(receptor)
    parts = [_residue(receptor, label, option, bonded) for label in labels]
    sizes = [len(part.moves) for part in parts]
    starts = np.cumsum([0, *sizes[:-1]])
    # Atoms that move come first, residue by residue; then those that rest.
    rows = np.concatenate([*(p.moves for p in parts), *(p.rests for p in parts)])
    total, turns = sum(sizes), [len(part.quads) for part in parts]
    masks = np.zeros((sum(turns), len(rows)), dtype=bool)
    fragments = np.zeros(len(rows), dtype=np.int64)
    near = np.zeros((len(rows), len(rows)), dtype=bool)
    quads, parents = [], []
    t = 0
    for k, (part, start, size) in enumerate(zip(parts, starts, sizes, strict=True)):
        rest = total + len(_REST) * k
        place = np.r_[start : start + size, rest : rest + len(_REST)]
        near[np.ix_(place, place)] = part.near
        fragments[start : start + size] = t + part.groups
        for chi, quad in enumerate(part.quads):
            masks[t + chi, start : start + size] = part.groups > chi
            quads.append(place[quad])
            parents.append(t + chi - 1 if chi else -1)
        t += len(part.quads)
    corners = np.asarray(quads, dtype=np.int64).reshape(-1, 4)
    # The axis of a torsion lies between the two middle atoms of its dihedral angle. Vina counts
    # no rotors for side chains.
    above = np.asarray(parents, dtype=np.int64)
    tree = TorsionTree(corners[:, 1:3], masks, above, fragments, corners, 0.0)
    pairs = np.argwhere(np.triu(~near & ~tree.rigid_pairs(), k=1)).astype(np.int64)
    centres = np.stack([receptor.coords[part.rests[-1]] for part in parts])
    reach = np.asarray([[part.reach] for part in parts])
    low, high = (centres - reach).min(axis=0), (centres + reach).max(axis=0)
    coords, types = receptor.coords[rows], receptor.types[rows]
    box = Box.between(low, high)
    return SideChains(tuple(labels), rows, total, coords, types, tree, pairs, box)


def residues_near(
    receptor: Receptor, coords: NDArray[np.floating], distance: float
) -> tuple[tuple[str, ...], str]:
    """Residues whose side chains can turn and have an atom near a ligand.

    Args:
        receptor: the protein.
        coords: the ligand `[N, 3]`, Å.
        distance: largest distance between a ligand atom and a side-chain atom, Å.

    Returns:
        The labels, in the order of the file, at most ``MOST_FLEXIBLE``: the nearest; and a
        sentence about those left out, empty if there are none.

    Raises:
        InputError: there is no such residue.
    """
    from scipy.spatial import KDTree

    gap = np.asarray(KDTree(coords).query(receptor.coords)[0])
    backbone = np.isin(receptor.atoms, (*ATOM_NAMES, "OXT"))
    close = np.flatnonzero(~backbone & (gap <= distance))
    nearest: dict[str, float] = {}
    for i in close.tolist():
        label = receptor.residues[i]
        nearest[label] = min(gap[i], nearest.get(label, np.inf))
    bonded, fit = _bonded(receptor), []
    for label in nearest:
        try:
            _residue(receptor, label, "", bonded)
        except InputError:
            continue
        fit.append(label)
    if not fit:
        raise InputError(
            f"--flex-auto: no side chain within {distance:g} Å of the ligand can turn; give a "
            "larger distance, or leave it out"
        )
    kept = set(sorted(fit, key=lambda label: nearest[label])[:MOST_FLEXIBLE])
    labels = tuple(label for label in fit if label in kept)
    note = ""
    if len(fit) > len(kept):
        note = (
            f"{len(fit)} side chains within {distance:g} Å of the ligand can turn; the nearest "
            f"{len(kept)} are flexible (name others with --flex)"
        )
    return labels, note


@dataclass(frozen=True)
class _Residue:
    """One flexible residue: rows of its atoms, moving and at rest, and how they hang together.

    Places in `quads` and `near` count the moving atoms first, then N, CA, C and CB.
    """

    moves: NDArray[np.int64]
    rests: NDArray[np.int64]
    groups: NDArray[np.int64]
    quads: NDArray[np.int64]
    near: NDArray[np.bool_]
    reach: float


def _residue(
    receptor: Receptor, label: str, option: str, bonded: frozenset[tuple[str, str]]
) -> _Residue:
    mine = np.flatnonzero(np.asarray(receptor.residues) == label)
    resname = receptor.resnames[mine[0]]
    row = {receptor.atoms[i]: int(i) for i in mine}
    letter = parent_letter(resname)
    known = letter is not None and letter in LETTERS
    wanted = side_atoms()[letter] if letter is not None and known else ()
    extra = set(row) - {*ATOM_NAMES, "OXT", *wanted}
    if letter is None or not known or extra:
        raise InputError(
            f"{option}: {label} is {resname}, none of the twenty amino acids; leave it out"
        )
    if letter in "GAP":
        raise InputError(
            f"{option}: {label} is {resname}, whose side chain has no torsion that turns; leave "
            "it out"
        )
    missing = [name for name in (*_REST, *wanted) if name not in row]
    if missing:
        raise InputError(
            f"{option}: {label} ({resname}) lacks {', '.join(dict.fromkeys(missing))}; rebuild "
            "its side chain (for example with sciddiff pack), or leave it out"
        )
    other = next((b for a, b in bonded if a == label), None)
    if other is not None:
        raise InputError(
            f"{option}: the side chain of {label} ({resname}) is bonded to {other}, or overlaps "
            "it; leave it out"
        )
    geometry, token = tables(), LETTERS.index(letter)
    names = (*ATOM_NAMES, *wanted)
    beyond = wanted[1:]
    order = {name: k for k, name in enumerate((*beyond, *_REST))}
    groups = geometry.groups[token].numpy()[1 : len(wanted)]
    chi = geometry.quads[token][geometry.chi[token]].numpy()
    quads = np.asarray([[order[names[k]] for k in quad] for quad in chi], dtype=np.int64)
    linked = np.eye(len(order), dtype=np.int64)
    bonds = [("N", "CA"), ("CA", "C"), ("CA", "CB")]
    bonds += [(p.before[2], p.atom) for p in placements()[letter]]
    for a, b in bonds:
        linked[order[a], order[b]] = linked[order[b], order[a]] = 1
    # Closing a ring shortens no way to an atom outside it, and atoms of a ring are rigid together.
    near = np.linalg.matrix_power(linked, 3) > 0
    hops = {"CB": 0}
    for p in placements()[letter]:
        hops[p.atom] = hops[p.before[2]] + 1
    moves = np.asarray([row[name] for name in beyond], dtype=np.int64)
    rests = np.asarray([row[name] for name in _REST], dtype=np.int64)
    return _Residue(moves, rests, groups, quads, near, _BOND * max(hops.values()))


def _bonded(receptor: Receptor) -> frozenset[tuple[str, str]]:
    """Residues whose side chains have a bond to another residue or to a metal, with the other."""
    from scipy.spatial import KDTree

    bonds = covalent_bonds(list(receptor.elements), receptor.coords)
    metals = np.flatnonzero(receptor.types == INDEX["Met_D"])
    if len(metals):
        held = np.flatnonzero(np.isin(receptor.elements, ("N", "O", "S")))
        tree = KDTree(receptor.coords[held])
        near = tree.query_ball_point(receptor.coords[metals], _COORDINATED)
        more = [(held[k], metal) for metal, found in zip(metals, near, strict=True) for k in found]
        bonds = np.concatenate([bonds, np.asarray(more, dtype=np.int64).reshape(-1, 2)])
    found = set()
    for i, j in bonds.tolist():
        a, b = receptor.residues[i], receptor.residues[j]
        if a != b:
            found |= {(a, b)} if receptor.atoms[i] not in ATOM_NAMES else set()
            found |= {(b, a)} if receptor.atoms[j] not in ATOM_NAMES else set()
    return frozenset(found)

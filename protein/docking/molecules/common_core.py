"""The part that a ligand shares with a template: a known ligand in its place in the pocket.

The maximum common substructure is RDKit's (elements and bond orders match, rings are whole). Where
the ligand matches it in several ways, conformers take the ways in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.conformers import fresh_conformers, same_stereo
from protein.docking.molecules.ligand import Ligand, quietly
from sciddiff.errors import InputError

LEAST = 4
"""Fewest heavy atoms that fix a place and an orientation well."""

_WAYS = 16
_SECONDS = 30
_TRIES = 6


@dataclass(frozen=True, eq=False)
class CommonCore:
    """C atoms that a ligand shares with a template.

    Attributes:
        ways: atoms of the ligand, in each way to match them `[W, C]`, int64.
        places: where the template has them `[C, 3]`, Å.
    """

    ways: NDArray[np.int64]
    places: NDArray[np.float64]

    def rmsd(self, coords: NDArray[np.floating]) -> NDArray[np.float64]:
        """RMSD of the core of poses `[..., N, 3]` to its places, of the closest way `[...]`, Å."""
        squares = np.square(coords[..., self.ways, :] - self.places).sum(-1)
        return np.sqrt(squares.mean(-1).min(-1))

    def held(self, ligand: Ligand, way: int) -> NDArray[np.bool_]:
        """Torsions that change the shape of the core `[T]`: they turn a part of it."""
        tree, core = ligand.tree, np.zeros(len(ligand), dtype=bool)
        core[self.ways[way]] = True
        held = np.zeros(len(tree), dtype=bool)
        for t, axis in enumerate(tree.bonds):
            off = core.copy()
            off[axis] = False
            held[t] = (off & tree.masks[t]).any() and (off & ~tree.masks[t]).any()
        return held


def common_core(ligand: Ligand, template: Ligand) -> CommonCore:
    """The maximum common substructure of a ligand and a template, at the template's place.

    Args:
        ligand: the molecule to dock.
        template: a molecule with coordinates in the receptor's frame.

    Raises:
        InputError: they share too few atoms, or the search for what they share is too long.
    """
    from rdkit import Chem
    from rdkit.Chem import rdFMCS

    found = quietly(
        rdFMCS.FindMCS, [template.mol, ligand.mol], ringMatchesRingOnly=True,
        completeRingsOnly=True, timeout=_SECONDS,
    )  # fmt: skip
    if found.canceled:
        raise InputError(
            f"{ligand.name}: what it shares with the template was not found in {_SECONDS} s; dock "
            "it without one"
        )
    if found.numAtoms < LEAST:
        raise InputError(
            f"{ligand.name}: shares {found.numAtoms} heavy atoms with the template, and at least "
            f"{LEAST} are needed; dock it without one"
        )
    query = Chem.MolFromSmarts(found.smartsString)
    there = np.asarray(template.mol.GetSubstructMatch(query), dtype=np.int64)
    ways = ligand.mol.GetSubstructMatches(query, uniquify=False, maxMatches=_WAYS)
    return CommonCore(np.asarray(ways, dtype=np.int64), template.require_coords()[there])


def core_conformers(ligand: Ligand, core: CommonCore, n: int, seed: int) -> NDArray[np.float64]:
    """Conformers whose core has the template's shape, at its place `[K, N, 3]`, Å.

    Where a core of that shape cannot be embedded, the conformer is a fresh one.

    Args:
        ligand: the molecule.
        core: what it shares with the template.
        n: number of conformers; number k has the way k of the core, counted round.
        seed: seed of the embedding.

    Raises:
        InputError: no conformer can be made.
    """
    made = []
    for k in range(n):
        way = core.ways[k % len(core.ways)]
        coords = _embedded(ligand, way, core.places, seed + k)
        if coords is None:
            fresh = fresh_conformers(ligand, n, seed)
            coords = _superposed(fresh[k % len(fresh)], way, core.places)
        made.append(coords)
    return np.stack(made)


def _embedded(
    ligand: Ligand, way: Sequence[int], places: NDArray[np.float64], seed: int
) -> NDArray[np.float64] | None:
    """A conformer with the core where it is to be; None if there is none."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
    from rdkit.Geometry import Point3D

    full = Chem.AddHs(ligand.mol)
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = 1 + seed % (2**31 - 2)
    parameters.maxIterations = 50
    parameters.SetCoordMap(
        {int(a): Point3D(*xyz) for a, xyz in zip(way, places.tolist(), strict=True)}
    )
    ids = list(quietly(rdDistGeom.EmbedMultipleConfs, full, _TRIES, parameters))
    if not ids:
        return None
    heavy = [a.GetIdx() for a in full.GetAtoms() if a.GetAtomicNum() > 1]
    # Distances are those of the mirror image, too: the core that fits best is taken.
    tried = [_superposed(full.GetConformer(k).GetPositions(), way, places) for k in ids]
    best = int(np.argmin([np.square(x[list(way)] - places).sum() for x in tried]))
    conformer, placed = full.GetConformer(ids[best]), tried[best]
    for i, xyz in enumerate(placed.tolist()):
        conformer.SetAtomPosition(i, Point3D(*xyz))
    properties = quietly(rdForceFieldHelpers.MMFFGetMoleculeProperties, full)
    if properties is not None:
        number = conformer.GetId()
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(full, properties, confId=number)
        field.Initialize()
        for a in way:
            field.MMFFAddPositionConstraint(int(a), 0.2, 50.0)
        quietly(field.Minimize, maxIts=200)
    coords = conformer.GetPositions()[heavy]
    good = np.isfinite(coords).all() and same_stereo(ligand, coords)
    return coords if good else None


def _superposed(
    coords: NDArray[np.float64], way: Sequence[int], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A conformer moved as a whole so that its core lies on its places."""
    mine, theirs = coords[list(way)], places - places.mean(axis=0)
    u, _, vh = np.linalg.svd(theirs.T @ (mine - mine.mean(axis=0)))
    u[:, -1] *= np.sign(np.linalg.det(u @ vh))
    return (coords - mine.mean(axis=0)) @ (u @ vh).T + places.mean(axis=0)

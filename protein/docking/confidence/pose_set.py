r"""What the ranker sees of the poses of one ligand: atoms, contacts, energies, and each other.

All features are invariant under rigid motions: atom types, distances, angles to bonded neighbours,
Vina's energies, and how a pose compares with the other poses of its ligand. The place of a pose in
the search box is left out on purpose, because a box about a crystal ligand would give the answer
away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.complexes.features import (
    ligand_bonds,
    ligand_features,
    pair_features,
    pocket_features,
)
from protein.docking.confidence.terms import TERMS, pose_terms
from protein.docking.energy.terms import TERMS as VINA_TERMS
from protein.docking.molecules.atom_types import covalent_bonds
from protein.structures.distances import distances

if TYPE_CHECKING:
    from protein.docking.molecules.ligand import Ligand
    from protein.docking.receptors.receptor import Receptor
    from protein.docking.search.ranking import Docked

REACH = 7.0
"""Å within which a pocket atom touches a ligand atom."""

OWN = 13
"""Number of features that a pose has on its own."""

SHARED = 6
"""Number of features that compare a pose with the others."""

_CONTACT, _CROWDED, _SAME = 5.0, 4.0, 2.0
_TERM_SCALES = (0.2, 0.02, 2.0, 0.5, 5.0)
_HIGH = 20.0
# Places in ``own``.
_TORSIONS, _CONTACTS, _CROWDED_SHARE = 4, 5, 6
# Temperatures at which the neighbours of a pose count, kcal/mol.
_BASINS = (1.0, 3.0)
_OF_TORSIONS = torch.tensor([name.startswith("torsion") for name in TERMS])

COLUMNS: tuple[str, ...] = (
    "energy_of_size", "energy", "strain", "contacts", "crowded", "basin_cold", "basin_warm",
    *(f"vina_{name}" for name in VINA_TERMS), *TERMS,
)  # fmt: skip
"""Names of what the linear score weighs, but for the contact potential, in order."""


@dataclass(frozen=True, eq=False)
class PoseSet:
    """K poses of a ligand of N atoms beside M pocket atoms.

    Attributes:
        atoms: ligand features `[N, 8]`, int64.
        hops: bonds between ligand atoms, at most 5 `[N, N]`, int64.
        coords: `[K, N, 3]`, Å.
        axes: unit vectors that point away from the bonded neighbours, or 0 `[K, N, 3]`.
        pocket_atoms: pocket features `[M, 3]`, int64.
        pocket_coords: `[M, 3]`, Å.
        pocket_axes: the same for pocket atoms `[M, 3]`.
        own: features of each pose `[K, OWN]`.
        energy: `[K]`, kcal/mol.
        strain: intramolecular energy `[K]`, kcal/mol.
        terms: what Vina's energy leaves out, see ``terms`` `[K, len(TERMS)]`.
        apart: RMSD between poses, as atoms are numbered `[K, K]`, Å.
        there: which pocket atoms are there for each pose `[K, M]`, bool; None for all. Poses with
            flexible side chains have pockets of their own, one after another.
    """

    atoms: Tensor
    hops: Tensor
    coords: Tensor
    axes: Tensor
    pocket_atoms: Tensor
    pocket_coords: Tensor
    pocket_axes: Tensor
    own: Tensor
    energy: Tensor
    strain: Tensor
    terms: Tensor
    apart: Tensor
    there: Tensor | None = None

    def __len__(self) -> int:
        """Number of poses K."""
        return len(self.coords)

    def taken(self, chosen: Tensor) -> PoseSet:
        """Some of the poses, as if they were all.

        Args:
            chosen: indices of poses `[k]`.
        """
        each = ("coords", "axes", "own", "energy", "strain", "terms")
        there = None if self.there is None else self.there[chosen]
        apart = self.apart[chosen][:, chosen]
        picked = {name: getattr(self, name)[chosen] for name in each}
        return replace(self, apart=apart, there=there, **picked)

    @property
    def touching(self) -> Tensor:
        """Whether a receptor atom is within 5 Å of any atom of each pose `[K]`."""
        return self.own[:, _CONTACTS] > 0

    @cached_property
    def shared(self) -> Tensor:
        """Features that compare each pose with all others `[K, SHARED]`."""
        energy, strain = self.energy.clamp(max=_HIGH), self.strain.clamp(max=_HIGH)
        above = energy - energy.min()
        weight = torch.softmax(-energy, 0)
        rank = above.argsort().argsort().to(energy)
        kin = torch.exp(-0.5 * (self.apart / _SAME).square())
        return torch.stack(
            [
                (above / 2.0).clamp(max=3.0),
                weight,
                rank / 10.0,
                (strain - strain.min()).clamp(max=6.0) / 3.0,
                kin @ weight,
                (self.apart @ weight / 5.0).clamp(max=3.0),
            ],
            dim=-1,
        )

    @cached_property
    def columns(self) -> Tensor:
        """What the linear score weighs, see ``COLUMNS`` `[K, len(COLUMNS)]`.

        Sums over atoms are divided by the root of the number of atoms, so that large ligands count
        as much as small ones.
        """
        atoms = self.coords.shape[1] ** 0.5
        energy = self.energy.clamp(max=_HIGH)
        torsions = 1.0 + 10.0 * self.own[:, _TORSIONS]
        scale = torch.where(_OF_TORSIONS, torsions.sqrt().unsqueeze(-1), atoms)
        kin = torch.exp(-0.5 * (self.apart / _SAME).square())
        basins = [
            t * torch.log((kin * torch.exp((energy.min() - energy) / t)).sum(-1)) for t in _BASINS
        ]
        parts = [
            energy / atoms,
            energy,
            self.strain.clamp(max=_HIGH),
            self.own[:, _CONTACTS],
            self.own[:, _CROWDED_SHARE],
            *basins,
        ]
        vina = self.own[:, -len(_TERM_SCALES) :] * atoms
        return torch.cat([torch.stack(parts, dim=-1), vina, self.terms / scale], dim=-1)


def pose_set(
    ligand: Ligand, receptor: Receptor | Sequence[Receptor], docked: Docked
) -> PoseSet:
    """Compute what the ranker sees of some poses.

    Args:
        ligand: the molecule.
        receptor: the protein, or its part near the poses; or one for each pose, which differ in
            flexible side chains.
        docked: K poses with their energies.
    """
    poses = torch.as_tensor(docked.coords, dtype=torch.float32)
    receptors = list(receptor) if isinstance(receptor, Sequence) else [receptor]
    parts = [_pocket(one, docked.coords if len(receptors) == 1 else docked.coords[k])
             for k, one in enumerate(receptors)]  # fmt: skip
    pocket_atoms, pocket, axes = (torch.cat(x) for x in zip(*parts, strict=True))
    there = None
    if len(receptors) > 1:
        owner = torch.repeat_interleave(torch.tensor([len(part[0]) for part in parts]))
        there = torch.arange(len(poses))[:, None] == owner
    bonds, orders = ligand_bonds(ligand.mol)
    hops = pair_features(bonds, orders, ligand.tree)[..., 1].astype(np.int64)
    atoms = ligand_features(ligand.mol).astype(np.int64)
    energies = [
        torch.as_tensor(x, dtype=torch.float32)
        for x in (docked.energy, docked.affinity, docked.intramolecular, docked.terms)
    ]
    shift = poses[:, None] - poses[None]
    return PoseSet(
        torch.from_numpy(atoms),
        torch.from_numpy(hops),
        poses,
        _axes(poses, torch.from_numpy(bonds)),
        pocket_atoms,
        pocket,
        axes,
        _own(poses, pocket, there, energies, len(ligand.tree)),
        energies[0],
        energies[2],
        _terms(ligand, receptors, poses),
        shift.square().sum(-1).mean(-1).sqrt(),
        there,
    )


def _terms(ligand: Ligand, receptors: Sequence[Receptor], poses: Tensor) -> Tensor:
    """Terms of the poses, each beside its own receptor if there are several."""
    if len(receptors) == 1:
        return pose_terms(ligand, receptors[0], poses)
    each = zip(receptors, poses, strict=True)
    return torch.cat([pose_terms(ligand, receptor, pose[None]) for receptor, pose in each])


def _pocket(receptor: Receptor, coords: NDArray[np.floating]) -> tuple[Tensor, Tensor, Tensor]:
    """Features, places and axes of the receptor's atoms near some poses."""
    near = receptor.pocket(coords.reshape(-1, 3), REACH)
    places = torch.as_tensor(near.coords, dtype=torch.float32).reshape(-1, 3)
    bonds = torch.from_numpy(covalent_bonds(list(near.elements), near.coords))
    features = torch.from_numpy(pocket_features(near).astype(np.int64))
    return features, places, _axes(places, bonds)


def _own(
    poses: Tensor, pocket: Tensor, there: Tensor | None, energies: Sequence[Tensor], torsions: int
) -> Tensor:
    """Energies per atom and how deep each pose is buried `[K, OWN]`."""
    count, atoms, _ = poses.shape
    if len(pocket):
        distance = distances(poses, pocket.expand(count, -1, -1))
        close = distance < _CONTACT
        contacts = (close if there is None else close & there[:, None]).sum(-1).float()
    else:
        contacts = poses.new_zeros(count, atoms)
    energy, affinity, inside, terms = (x.clamp(-100.0, 100.0) for x in energies)
    columns = [
        affinity / 10.0,
        energy / atoms,
        inside / (1.0 + torsions),
        torch.full_like(energy, atoms / 30.0),
        torch.full_like(energy, torsions / 10.0),
        contacts.mean(-1) / 10.0,
        (contacts < _CROWDED).float().mean(-1),
        contacts.amin(-1) / 10.0,
    ]
    scaled = terms / atoms * torch.tensor(_TERM_SCALES)
    return torch.cat([torch.stack(columns, dim=-1), scaled], dim=-1)


def _axes(coords: Tensor, bonds: Tensor) -> Tensor:
    """Unit vectors from the mean of the bonded neighbours, `[..., n, 3]`; 0 without neighbours."""
    total = torch.zeros_like(coords)
    if len(bonds):
        i, j = bonds.T
        way = torch.nn.functional.normalize(coords[..., i, :] - coords[..., j, :], dim=-1)
        total = total.index_add(-2, i, way).index_add(-2, j, -way)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-3)


class PoseBatch(NamedTuple):
    """Poses of several ligands, flattened: P poses of A atoms, their contacts and inner pairs.

    Attributes:
        atoms: ligand features `[A, 8]`.
        pose: pose that each atom belongs to `[A]`.
        pocket_atoms: pocket features `[B, 3]`.
        contact: ligand atom and pocket atom of each contact `[2, E]`.
        contact_shape: length (Å) and the two cosines of each contact `[E, 3]`.
        inner: two ligand atoms of a pose `[2, I]`.
        inner_shape: length (Å) and bonds between them `[I, 2]`.
        features: features of poses `[P, OWN + SHARED]`.
        columns: what the linear score weighs `[P, len(COLUMNS)]`.
        weight: Boltzmann weight of each pose among those of its ligand `[P]`.
        ligand: ligand that each pose belongs to `[P]`.
    """

    atoms: Tensor
    pose: Tensor
    pocket_atoms: Tensor
    contact: Tensor
    contact_shape: Tensor
    inner: Tensor
    inner_shape: Tensor
    features: Tensor
    columns: Tensor
    weight: Tensor
    ligand: Tensor


_INNER = 4.5


def pack(sets: Sequence[PoseSet], chosen: Sequence[Tensor] | None = None) -> PoseBatch:
    """Flatten the poses of several ligands into one batch.

    Args:
        sets: poses of each ligand.
        chosen: indices of the poses to take from each; None for all.
    """
    if chosen is None:
        chosen = [torch.arange(len(s)) for s in sets]
    parts: list[PoseBatch] = []
    atoms = poses = pockets = 0
    for number, (s, which) in enumerate(zip(sets, chosen, strict=True)):
        part = _flat(s, which)
        parts.append(
            part._replace(
                pose=part.pose + poses,
                contact=part.contact + torch.tensor([[atoms], [pockets]]),
                inner=part.inner + atoms,
                ligand=part.ligand + number,
            )
        )
        atoms, poses = atoms + len(part.atoms), poses + len(which)
        pockets += len(part.pocket_atoms)
    columns = zip(*parts, strict=True)
    sides = {"contact", "inner"}
    return PoseBatch(
        *(
            torch.cat(column, dim=1 if name in sides else 0)
            for name, column in zip(PoseBatch._fields, columns, strict=True)
        )
    )


def _flat(s: PoseSet, which: Tensor) -> PoseBatch:
    coords, axes = s.coords[which], s.axes[which]
    count, size, _ = coords.shape
    number = torch.arange(count * size).reshape(count, size)
    near = distances(coords, s.pocket_coords.expand(count, -1, -1)) < REACH
    k, i, j = (near if s.there is None else near & s.there[which][:, None]).nonzero().T
    way = s.pocket_coords[j] - coords[k, i]
    length = way.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    way = way / length
    cosines = [(axes[k, i] * way).sum(-1), -(s.pocket_axes[j] * way).sum(-1)]
    apart = distances(coords, coords)
    linked = (s.hops > 0) & ((s.hops <= 2) | (apart < _INNER))
    p, a, b = linked.nonzero().T
    shape = torch.stack([apart[p, a, b], s.hops[a, b].to(apart)], dim=-1)
    return PoseBatch(
        s.atoms.repeat(count, 1),
        torch.arange(count).repeat_interleave(size),
        s.pocket_atoms,
        torch.stack([number[k, i], j]),
        torch.cat([length, torch.stack(cosines, dim=-1)], dim=-1),
        torch.stack([number[p, a], number[p, b]]),
        shape,
        torch.cat([s.own[which], s.shared[which]], dim=-1),
        s.columns[which],
        torch.softmax(-s.energy[which].clamp(max=_HIGH), 0),
        torch.zeros(count, dtype=torch.int64),
    )

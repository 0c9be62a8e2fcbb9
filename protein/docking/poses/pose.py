r"""Poses of flexible ligands: R³ × SO(3) × Tᵐ to coordinates and back, in batches.

A pose is (translation, rotation, torsions). With :math:`y(\tau)` the reference conformer whose
bonds are turned by the angles :math:`\tau` while the root fragment rests,

.. math:: x_n = R\,(y_n(\tau) - \bar y(\tau)) + t .

So :math:`t` is the centre of the heavy atoms, :math:`R` turns about it, and a torsion of 0 is the
reference conformer's. All torsions of all poses of all ligands are applied together: each fragment
has a rigid motion relative to its parent, and pointer doubling composes them along the tree in
:math:`\lceil\log_2 \mathrm{depth}\rceil` rounds.

Flexible side chains of the receptor are further fragments of the same forest: their atoms follow
those of the ligand, and their torsions its torsions. They hang on the backbone, which rests, so
that for them :math:`x_n = y_n(\tau)`. The same holds for a ligand that is bonded to a side chain:
its translation and rotation move nothing.

Ligands are padded to the largest; shapes are `[L, P, ...]` for L ligands and P poses of each.
A ``LigandBatch`` of L = B entries and P = 1 serves B independent samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import ceil, log2
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.molecules.torsion_tree import TorsionTree
from protein.docking.receptors.side_chains import SideChains
from protein.structures.superposition import kabsch
from sciddiff.manifolds import so3
from sciddiff.manifolds.torus import wrap

T = TypeVar("T", bound=tuple)


def map_tensors(function: Callable[..., Tensor], *values: T) -> T:
    """Apply a function to the tensors of named tuples of one kind, nested ones included.

    Args:
        function: function of as many tensors as there are values.
        values: named tuples such as a ``Pose``, or a ``Minimum`` that holds one.
    """
    parts = (
        map_tensors(function, *column) if isinstance(column[0], tuple) else function(*column)
        for column in zip(*values, strict=True)
    )
    return type(values[0])(*parts)


@dataclass(frozen=True, eq=False)
class Movable:
    """A record whose tensors, nested ones included, move between devices together."""

    def to(self, device: torch.device | str) -> Self:
        """The record on another device.

        Args:
            device: device that holds its tensors afterwards.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device) for k, v in values.items() if isinstance(v, Tensor | Movable)}
        return replace(self, **moved)


class Pose(NamedTuple):
    """Poses of L ligands, P each.

    Attributes:
        translation: centres of the heavy atoms `[L, P, 3]`, Å.
        rotation: matrices `[L, P, 3, 3]`.
        torsions: turns from the reference conformer `[L, P, T]`, radians; 0 where padded.
    """

    translation: Tensor
    rotation: Tensor
    torsions: Tensor


@dataclass(frozen=True, eq=False)
class LigandBatch(Movable):
    """Reference conformers and torsion trees of L ligands, padded to N atoms and T torsions.

    Attributes:
        reference: centred conformers `[L, N, 3]`, Å, 0 where padded.
        atom_mask: real atoms `[L, N]`, bool.
        torsion_mask: real torsions `[L, T]`, bool.
        bonds: axes `[L, T, 2]`, int64; 0 where padded.
        moved: atoms that a torsion moves `[L, T, N]`, in the float type of ``reference``.
        fragment: fragment of each atom `[L, N]`, int64, 0 the root.
        parent: parent of each fragment `[L, T + 1]`, int64; the root is its own.
        quads: atoms of the dihedral angles `[L, T, 4]`, int64.
        depth: largest number of torsions between a root and an atom.
        anchored: atoms that hang on the receptor, which no translation or rotation of the ligand
            moves `[L, N]`, bool: those of flexible side chains, which are none of ``atom_mask``,
            and of ligands that are bonded to one; None for a rigid receptor.
    """

    reference: Tensor
    atom_mask: Tensor
    torsion_mask: Tensor
    bonds: Tensor
    moved: Tensor
    fragment: Tensor
    parent: Tensor
    quads: Tensor
    depth: int
    anchored: Tensor | None = None

    @classmethod
    def pack(
        cls,
        trees: Sequence[TorsionTree],
        conformers: Sequence[NDArray[np.floating]],
        dtype: torch.dtype = torch.float32,
        sides: SideChains | None = None,
        bonded: bool = False,
    ) -> "LigandBatch":
        """Pad ligands into one batch.

        Args:
            trees: torsion tree of each ligand.
            conformers: its reference conformer `[n, 3]`, Å.
            dtype: type of the coordinates.
            sides: flexible side chains of the receptor, the same beside every ligand.
            bonded: whether the ligands are bonded to a side chain, and in their places: their
                trees are those of ligand and side chains together.
        """
        count = len(trees)
        more, swings = (0, 0) if sides is None else (len(sides), len(sides.tree))
        swings = 0 if bonded else swings
        atoms = max(len(c) for c in conformers) + more
        turns = max(len(t) for t in trees) + swings
        reference = np.zeros((count, atoms, 3))
        atom_mask = np.zeros((count, atoms), bool)
        torsion_mask = np.zeros((count, turns), bool)
        bonds = np.zeros((count, turns, 2), np.int64)
        moved = np.zeros((count, turns, atoms), bool)
        fragment = np.zeros((count, atoms), np.int64)
        parent = np.zeros((count, turns + 1), np.int64)
        quads = np.zeros((count, turns, 4), np.int64)
        anchored = np.zeros((count, atoms), bool)
        for i, (tree, coords) in enumerate(zip(trees, conformers, strict=True)):
            n, t = len(coords), len(tree)
            atom_mask[i, :n] = True
            if bonded and sides is not None:
                coords, n = np.concatenate([coords, sides.coords]), n + more
            reference[i, :n] = coords if bonded else coords - coords.mean(axis=0)
            anchored[i, :n] = bonded
            torsion_mask[i, :t] = True
            bonds[i, :t], moved[i, :t, :n] = tree.bonds, tree.masks
            fragment[i, :n], quads[i, :t] = tree.fragments, tree.quads
            parent[i, 1 : t + 1] = tree.parents + 1
            if sides is None or bonded:
                continue
            rows, places = slice(n, n + more), slice(t, t + swings)
            reference[i, rows], anchored[i, rows] = sides.coords, True
            torsion_mask[i, places], bonds[i, places] = True, sides.tree.bonds + n
            moved[i, places, rows], quads[i, places] = sides.tree.masks, sides.tree.quads + n
            own, above = sides.tree.fragments, sides.tree.parents
            fragment[i, rows] = np.where(own > 0, own + t, 0)
            parent[i, t + 1 : t + swings + 1] = np.where(above >= 0, above + t + 1, 0)
        depth, above = min(turns, 1), parent
        while above.any():  # one step up the trees, until all are at their roots
            depth, above = depth + 1, np.take_along_axis(parent, above, axis=1)
        return cls(
            torch.as_tensor(reference, dtype=dtype),
            torch.as_tensor(atom_mask),
            torch.as_tensor(torsion_mask),
            torch.as_tensor(bonds),
            torch.as_tensor(moved, dtype=dtype),
            torch.as_tensor(fragment),
            torch.as_tensor(parent),
            torch.as_tensor(quads),
            depth,
            None if sides is None else torch.as_tensor(anchored),
        )

    def __len__(self) -> int:
        """Number of ligands L."""
        return self.reference.shape[0]

    @property
    def dofs(self) -> int:
        """Coordinates of a tangent vector, 6 + T."""
        return 6 + self.torsion_mask.shape[1]

    @cached_property
    def loose(self) -> Tensor:
        """Atoms that translation and rotation move `[L, N]`, bool."""
        return self.atom_mask if self.anchored is None else self.atom_mask & ~self.anchored

    @property
    def free(self) -> Tensor:
        """Reference conformers, 0 in the places of atoms that hang on the receptor `[L, N, 3]`."""
        if self.anchored is None:
            return self.reference
        return self.reference * self.loose.unsqueeze(-1)

    @cached_property
    def swings(self) -> Tensor:
        """Torsions of what hangs on the receptor `[L, T]`, bool."""
        return self._moving(self.anchored)

    @cached_property
    def rotamers(self) -> Tensor:
        """Torsions that move atoms of flexible side chains `[L, T]`, bool."""
        return self._moving(None if self.anchored is None else self.anchored & ~self.atom_mask)

    def _moving(self, atoms: Tensor | None) -> Tensor:
        """Torsions that move one of some atoms `[L, N]`."""
        if atoms is None:
            return torch.zeros_like(self.torsion_mask)
        return (self.moved @ atoms.to(self.moved).unsqueeze(-1)).squeeze(-1) > 0

    @cached_property
    def metric(self) -> Tensor:
        """Mean squared displacement of atoms by a unit of each coordinate `[L, 6 + T]`, Å².

        Of the reference conformers. The mean is over the ligand's atoms, also of what a side chain
        moves, so that all coordinates have one unit. Sums over padded atoms differ in their last
        bit with the padding, which a search would amplify to other poses: they are taken in double
        precision and rounded to single.
        """
        x = self.reference.double()
        count = self.atom_mask.sum(-1, keepdim=True).double()
        gyration = self.free.double().square().sum((-1, -2)).unsqueeze(-1) / count
        rotation = (2 / 3 * gyration).clamp(min=0.5).expand(-1, 3)
        start, axis = self.axes
        arm = x.unsqueeze(1) - start.unsqueeze(2)
        along = (arm * axis.unsqueeze(2)).sum(-1)
        square = arm.square().sum(-1) - along.square()
        torsion = (square * self.moved).sum(-1) / count
        torsion = torch.where(self.torsion_mask, torsion.clamp(min=0.1), 1.0)
        metric = torch.cat([torch.ones_like(rotation), rotation, torsion], dim=-1)
        return metric.float().double()

    @cached_property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The tuple ``ligand`` of `protein.docking.energy.kernels`, made once."""
        tensors = (
            self.reference.double(), *self.axes, self.bonds, self.fragment, self.parent,
            self.loose.sum(-1), self.torsion_mask.sum(-1), self.metric,
            self.atom_mask.sum(-1) if self.anchored is None
            else (self.atom_mask | self.anchored).sum(-1),
            (self.torsion_mask & ~self.swings).sum(-1),
        )  # fmt: skip
        return tuple(tensor.numpy() for tensor in tensors)

    @cached_property
    def axes(self) -> tuple[Tensor, Tensor]:
        """First atom and direction of every rotatable bond `[L, T, 3]`, in double precision."""
        ligands = torch.arange(len(self), device=self.bonds.device)[:, None]
        start, end = (self.reference[ligands, self.bonds[..., k]] for k in (0, 1))
        axis = torch.nn.functional.normalize((end - start).double(), dim=-1, eps=1e-6)
        return start.double(), axis

    def identity(self, poses: int) -> Pose:
        """The reference conformers at the origin, ``poses`` times."""
        like = self.reference
        size, turns = self.torsion_mask.shape
        eye = torch.eye(3, dtype=like.dtype, device=like.device)
        return Pose(
            like.new_zeros(size, poses, 3),
            eye.expand(size, poses, 3, 3).clone(),
            like.new_zeros(size, poses, turns),
        )


def coordinates(batch: LigandBatch, pose: Pose) -> Tensor:
    """Coordinates of poses, differentiable in all three parts.

    Args:
        batch: the ligands.
        pose: their poses.

    Returns:
        `[L, P, N, 3]`, Å; padded atoms lie at the centre.
    """
    y = _turned(batch, pose.torsions)
    weight = batch.loose.to(y.dtype)
    count = weight.sum(-1)[:, None, None].clamp(min=1.0)
    centre = torch.einsum("lpni,ln->lpi", y, weight) / count
    free = (y - centre.unsqueeze(-2)) * weight[:, None, :, None]
    x = free @ pose.rotation.transpose(-1, -2) + pose.translation.unsqueeze(-2)
    if batch.anchored is None:
        return x
    return torch.where(batch.anchored[:, None, :, None], y, x)


def retract(pose: Pose, step: Tensor) -> Pose:
    """Move poses along tangent vectors.

    Args:
        pose: poses to start from.
        step: tangent vectors `[L, P, 6 + T]`, in the order of ``tangent_gradient``.
    """
    return Pose(
        pose.translation + step[..., :3],
        pose.rotation @ so3.exp_map(step[..., 3:6]),
        pose.torsions + step[..., 6:],
    )


def recover(batch: LigandBatch, coords: Tensor) -> Pose:
    """Poses of given coordinates: dihedral angles, then the best superposition (Kabsch).

    Exact for coordinates with the bond lengths, angles and rings of the reference conformer; for
    others a start for a fit.

    Args:
        batch: the ligands.
        coords: `[L, P, N, 3]`, Å.
    """
    reference = dihedrals(batch, batch.reference.unsqueeze(1))
    torsions = wrap(dihedrals(batch, coords) - reference) * batch.torsion_mask.unsqueeze(1)
    weight = batch.atom_mask.to(coords.dtype)[:, None, :, None]
    count = weight.sum(-2)
    translation = (coords * weight).sum(-2) / count
    shape = batch.identity(coords.shape[1])._replace(torsions=torsions)
    built = coordinates(batch, shape) * weight
    rotation = kabsch(built, (coords - translation.unsqueeze(-2)) * weight)
    return Pose(translation, rotation, torsions)


def dihedrals(batch: LigandBatch, coords: Tensor) -> Tensor:
    """Dihedral angles of the torsions `[L, P, T]`, radians in (-π, π].

    Args:
        batch: the ligands.
        coords: `[L, P, N, 3]`, Å.
    """
    points = take_rows(coords, batch.quads.flatten(1))
    a, b, c, d = points.unflatten(-2, (-1, 4)).unbind(-2)
    axis = c - b
    first, second = torch.linalg.cross(a - b, axis), torch.linalg.cross(d - c, axis)
    axis = torch.nn.functional.normalize(axis, dim=-1, eps=1e-6)
    sine = (torch.linalg.cross(first, second) * axis).sum(-1)
    return torch.atan2(sine, (first * second).sum(-1))


def _turned(batch: LigandBatch, torsions: Tensor) -> Tensor:
    """Reference conformers with bonds turned, root at rest `[L, P, N, 3]`."""
    reference = batch.reference.unsqueeze(1)
    if batch.torsion_mask.shape[1] == 0:
        return reference.expand(-1, torsions.shape[1], -1, -1)
    ends = take_rows(reference, batch.bonds.flatten(1)).squeeze(1)
    start = ends[:, 0::2]
    axis = torch.nn.functional.normalize(ends[:, 1::2] - start, dim=-1, eps=1e-6)
    hat = so3.hat(axis).unsqueeze(1)
    angle = torsions[..., None, None]
    turn = torch.sin(angle) * hat + (1 - torch.cos(angle)) * (hat @ hat)
    eye = torch.eye(3, dtype=turn.dtype, device=turn.device)
    # Rigid motion of each fragment relative to its parent: about the axis through ``start``.
    rotation = torch.nn.functional.pad(turn, (0, 0, 0, 0, 1, 0)) + eye
    shift = -(turn @ start[:, None, :, :, None]).squeeze(-1)
    shift = torch.nn.functional.pad(shift, (0, 0, 1, 0))
    parent = batch.parent
    for _ in range(ceil(log2(batch.depth)) if batch.depth > 1 else 0):
        above, offset = take_rows(rotation, parent), take_rows(shift, parent)
        shift = (above @ shift.unsqueeze(-1)).squeeze(-1) + offset
        rotation = above @ rotation
        parent = parent.gather(1, parent)
    atoms = (take_rows(rotation, batch.fragment) @ reference.unsqueeze(-1)).squeeze(-1)
    return atoms + take_rows(shift, batch.fragment)


def take_rows(values: Tensor, index: Tensor) -> Tensor:
    """``values[l, p, index[l, k]]`` for values `[L, P, F, ...]`, index `[L, K]`."""
    if len(index) == 1:
        return values.index_select(2, index[0])
    ligands = torch.arange(len(index), device=index.device)[:, None]
    return values.transpose(1, 2)[ligands, index].transpose(1, 2)

r"""One complex as arrays, as training and the networks see it.

The ligand's geometry is never the crystal's: bond lengths, angles and ring puckers come from
fresh conformers, each *matched* to the crystal pose by the torsions, place and orientation that
bring it closest (Jing et al. 2022, Torsional diffusion, section 4.1). Matched conformers are the
data, because the degrees of freedom of docking can reach them.

The pocket is a ball about a point. Its radius follows from the number of bonds across the ligand,
so that its surface does not reveal where the ligand lies.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.complexes.features import (
    ligand_bonds,
    ligand_features,
    pair_features,
    pocket_features,
    span,
)
from protein.docking.molecules.torsion_tree import TorsionTree
from protein.docking.poses.pose import LigandBatch, coordinates, recover
from protein.docking.search.minimize import MinimizeSettings, minimize

if TYPE_CHECKING:
    from protein.docking.molecules.ligand import Ligand
    from protein.docking.receptors.receptor import Receptor

SLACK = 3.0
"""Å by which a pocket in an archive is larger than the ball that a network sees, for jitter."""

_MOST_SYMMETRIES = 64


@dataclass(frozen=True, eq=False)
class LigandGraph:
    """A ligand of N atoms, without coordinates.

    Attributes:
        features: `[N, 8]`, uint8, see ``features``.
        bonds: `[E, 2]`, int64.
        orders: `[E]`, uint8.
        tree: torsion tree.
        symmetries: automorphisms `[S, N]`, int64, the first is the identity.
    """

    features: NDArray[np.uint8]
    bonds: NDArray[np.int64]
    orders: NDArray[np.uint8]
    tree: TorsionTree
    symmetries: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of atoms N."""
        return len(self.features)

    @classmethod
    def of(cls, ligand: "Ligand") -> "LigandGraph":
        """Graph of a molecule."""
        bonds, orders = ligand_bonds(ligand.mol)
        found = ligand.symmetries
        first = np.arange(len(ligand))[None]
        others = found[(found != first).any(axis=1)][: _MOST_SYMMETRIES - 1]
        symmetries = np.concatenate([first, others])
        return cls(ligand_features(ligand.mol), bonds, orders, ligand.tree, symmetries)

    def pairs(self) -> NDArray[np.uint8]:
        """Columns of all pairs of atoms `[N, N, 3]`."""
        return pair_features(self.bonds, self.orders, self.tree)

    @property
    def radius(self) -> float:
        """Radius of the ball of receptor atoms that the networks see, Å."""
        return float(np.clip(0.6 * span(self.bonds, len(self)) + 6.0, 12.0, 18.0))


@dataclass(frozen=True, eq=False)
class Pocket:
    """Receptor atoms about a point.

    Attributes:
        coords: `[M, 3]`, float32, Å.
        features: `[M, 3]`, uint8, see ``features``.
        backbone: whether side chains are missing because they are unknown.
    """

    coords: NDArray[np.float32]
    features: NDArray[np.uint8]
    backbone: bool = False

    def __len__(self) -> int:
        """Number of atoms M."""
        return len(self.coords)

    @classmethod
    def of(
        cls,
        receptor: "Receptor",
        center: NDArray[np.floating],
        radius: float,
        backbone: bool = False,
    ) -> "Pocket":
        """Atoms of a receptor in a ball.

        Args:
            receptor: the protein.
            center: `[3]`, Å.
            radius: Å.
            backbone: whether side chains are missing.
        """
        near = receptor.select(np.linalg.norm(receptor.coords - center, axis=-1) < radius)
        return cls(near.coords.astype(np.float32), pocket_features(near), backbone)

    def ball(self, center: NDArray[np.floating], radius: float) -> "Pocket":
        """The atoms in a ball, with the center at the origin."""
        shifted = self.coords - center.astype(np.float32)
        keep = np.linalg.norm(shifted, axis=-1) < radius
        return Pocket(shifted[keep], self.features[keep], self.backbone)


@dataclass(frozen=True, eq=False)
class Complex:
    """A ligand in its pocket.

    Attributes:
        id: name of the complex.
        ligand: the molecule.
        conformers: fresh conformers matched to the crystal pose `[K, N, 3]`, float32, Å.
        crystal: crystal coordinates `[N, 3]`, float32, Å.
        pocket: receptor atoms about the crystal ligand's center.
    """

    id: str
    ligand: LigandGraph
    conformers: NDArray[np.float32]
    crystal: NDArray[np.float32]
    pocket: Pocket


def make_complex(
    name: str,
    ligand: "Ligand",
    receptor: "Receptor",
    conformers: NDArray[np.floating],
    backbone: bool = False,
) -> Complex:
    """Make a training item.

    Args:
        name: name of the complex.
        ligand: the ligand with its crystal coordinates.
        receptor: its receptor, in the same frame.
        conformers: fresh conformers that ``match`` has matched `[K, N, 3]`, Å.
        backbone: whether the receptor lacks side chains.

    Raises:
        InputError: the ligand has no coordinates.
    """
    crystal = ligand.require_coords()
    graph = LigandGraph.of(ligand)
    pocket = Pocket.of(receptor, crystal.mean(axis=0), graph.radius + SLACK, backbone)
    return Complex(
        name, graph, conformers.astype(np.float32), crystal.astype(np.float32), pocket
    )


def match(
    tree: TorsionTree, conformers: NDArray[np.floating], target: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bring conformers as close to a pose as torsions and rigid motion can.

    Args:
        tree: torsion tree of the ligand.
        conformers: `[K, N, 3]`, Å.
        target: `[N, 3]`, Å.

    Returns:
        Matched coordinates `[K, N, 3]` and their root-mean-square deviations `[K]`, Å; the
        closest first.
    """
    batch = LigandBatch.pack([tree] * len(conformers), list(conformers), torch.float64)
    goal = torch.as_tensor(np.asarray(target, dtype=np.float64))
    start = recover(batch, goal.expand(len(batch), 1, -1, -1))
    best = minimize(batch, _Distance(goal), start, MinimizeSettings(evaluations=40))
    # Not below: float32 rounding is far smaller than the deviation itself.
    coords = coordinates(batch, best.pose)[:, 0].numpy().astype(np.float32)
    rmsd = np.sqrt(np.square(coords - target).sum(-1).mean(-1)).astype(np.float32)
    order = np.argsort(rmsd, kind="stable")
    return coords[order], rmsd[order]


@dataclass(frozen=True, eq=False)
class _Distance:
    """Squared distance to a target, as a field that can be minimised."""

    target: Tensor

    def evaluate(self, coords: Tensor, cap: float = float("inf")) -> tuple[Tensor, Tensor]:
        delta = coords - self.target
        return delta.square().sum((-1, -2)), 2.0 * delta

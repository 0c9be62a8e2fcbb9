r"""Symmetric ligands: which noise goes with which data.

Half a turn of a phenyl ring gives the same pose with other names of the atoms. A network cannot
tell the two apart, so that paths from one noise to either of them cancel. The noise is therefore
moved to that image, under the automorphisms :math:`g` of the molecular graph, which is closest to
the data:

.. math:: x_0 \to g^{-1} x_0, \qquad g = \arg\min_g\; d(R_0, R_1 Q_g)^2
          + \sum_k d(\tau_{0k}, \tau_{1k} + \delta_{gk})^2 .

This does not change the uniform distribution of rotations and torsions up to symmetry, which is
all that a network invariant to names can see. Only automorphisms that map every rotatable bond to
itself are used; the others, which exchange the halves of a symmetric molecule, would permute the
torsions.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.complexes.complex import LigandGraph
from protein.docking.diffusion.leaves import ROTATION, TORSIONS
from protein.docking.diffusion.systems import Systems
from protein.structures.superposition import kabsch
from sciddiff.manifolds import so3
from sciddiff.manifolds.torus import wrap
from sciddiff.objectives.couplings import Coupling
from sciddiff.paths.product import ProductPath
from sciddiff.state import Batch, State
from sciddiff.streams import Generator


@final
@dataclass(frozen=True)
class NearestImage(Coupling):
    """Moves noise to its image under the ligand's symmetries that is closest to the data."""

    def __call__(self, path: ProductPath, batch: Batch, generator: Generator | None) -> State:
        """Return the noise of every leaf."""
        x0 = path.prior(batch.x, generator, batch.layouts)
        systems: Systems = batch.cond["systems"]
        if systems.turns.shape[1] == 1:
            return x0
        systems, which = systems.to(x0[ROTATION].device), batch.cond["complex"]
        turns, twists = systems.turns[which], systems.twists[which]
        mask = systems.ligands.torsion_mask[which]
        far = wrap(_padded(batch.x[TORSIONS] - x0[TORSIONS], mask).unsqueeze(1) + twists)
        cost = (far.square() * mask.unsqueeze(1)).sum(-1)
        between = x0[ROTATION].transpose(-1, -2) @ batch.x[ROTATION]
        angle = so3.log_map(between.unsqueeze(1) @ turns).square().sum(-1)
        cost = (cost + angle).masked_fill(~systems.images[which], torch.inf)
        best = cost.argmin(-1)
        rows = torch.arange(len(best), device=best.device)
        rotation = x0[ROTATION] @ turns[rows, best].transpose(-1, -2)
        torsions = wrap(x0[TORSIONS] - twists[rows, best][mask])
        return {**x0, ROTATION: rotation, TORSIONS: torsions}


def motions(
    ligand: LigandGraph, conformer: NDArray[np.floating], most: int = 24
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Effect of the automorphisms on rotation and torsions; the identity is the first.

    Args:
        ligand: N atoms, T torsions.
        conformer: `[N, 3]`, Å.
        most: largest number of automorphisms used.

    Returns:
        Turns Q of the root fragment `[S, 3, 3]` and shifts of the torsions `[S, T]`, radians.
    """
    tree = ligand.tree
    turns: list[NDArray[np.floating]] = [np.eye(3)]
    twists: list[NDArray[np.floating]] = [np.zeros(len(tree))]
    rigid = np.flatnonzero(_at_rest(ligand))
    before = _dihedrals(conformer, tree.quads)
    for image in ligand.symmetries[1:]:
        if not np.array_equal(image[tree.bonds], tree.bonds) or len(turns) == most:
            continue
        # Members of the root must stay among themselves, or they would be no rigid motion.
        if not np.isin(image[rigid], rigid).all():
            continue
        moved = conformer[image]
        twist = _dihedrals(moved, tree.quads) - before
        twists.append((twist + np.pi) % (2 * np.pi) - np.pi)
        turns.append(_superposition(conformer[rigid], moved[rigid], image[rigid], rigid))
    shifts = np.asarray(twists, np.float32).reshape(len(twists), len(tree))
    return np.asarray(turns, np.float32), shifts


def _at_rest(ligand: LigandGraph) -> NDArray[np.bool_]:
    """Atoms that no torsion moves relative to the root `[N]`, far ends of its axes included."""
    tree = ligand.tree
    rest = tree.fragments == 0
    rest[tree.bonds[tree.parents < 0, 1]] = True
    return rest


def _superposition(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    image: NDArray[np.int64],
    rigid: NDArray[np.int64],
) -> NDArray[np.floating]:
    if np.array_equal(image, rigid):
        return np.eye(3)
    one = torch.as_tensor(before - before.mean(axis=0), dtype=torch.float64)
    two = torch.as_tensor(after - after.mean(axis=0), dtype=torch.float64)
    return kabsch(one, two).numpy()


def _dihedrals(x: NDArray[np.floating], quads: NDArray[np.int64]) -> NDArray[np.float64]:
    a, b, c, d = (x[quads[:, i]].astype(np.float64) for i in range(4))
    axis = c - b
    first, second = np.cross(a - b, axis), np.cross(d - c, axis)
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True).clip(1e-6)
    return np.arctan2((np.cross(first, second) * axis).sum(-1), (first * second).sum(-1))


def _padded(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return values.new_zeros(mask.shape).masked_scatter(mask, values)

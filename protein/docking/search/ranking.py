"""The best distinct poses of a ligand, ranked by energy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.poses.pose import map_tensors
from protein.docking.search.monte_carlo import Found

JUDGED = 64
"""Poses of least energy among which those to report are chosen."""


APART = 1.75
"""Least RMSD between reported poses, Å, while others are left: close ones are right or wrong
together."""


@dataclass(frozen=True, eq=False)
class Docked:
    """Ranked poses of one ligand.

    Attributes:
        coords: `[K, N, 3]`, Å, best first.
        energy: interaction plus intramolecular `[K]`, kcal/mol, and that of flexible side chains;
            the ranking without a ranker.
        affinity: Vina's score `[K]`, kcal/mol.
        intramolecular: `[K]`, kcal/mol.
        terms: unweighted terms of the interaction `[K, 5]`.
        confidence: P(RMSD < 2 Å) `[K]`, then the ranking; None without a ranker.
        side_energy: energy of the flexible side chains with each other and with the rest of the
            receptor `[K]`, kcal/mol; None for a rigid receptor.
        side_coords: their atoms that move `[K, F, 3]`, Å; None for a rigid receptor.
        displaced: which of the waters that may be displaced each pose displaces `[K, W]`; None if
            there are none.
    """

    coords: NDArray[np.float64]
    energy: NDArray[np.float64]
    affinity: NDArray[np.float64]
    intramolecular: NDArray[np.float64]
    terms: NDArray[np.float64]
    confidence: NDArray[np.float64] | None = None
    side_energy: NDArray[np.float64] | None = None
    side_coords: NDArray[np.float64] | None = None
    displaced: NDArray[np.bool_] | None = None

    def taken(self, places: Sequence[int]) -> "Docked":
        """Some of the poses, in the order given."""
        index = np.asarray(places, dtype=np.int64)
        names = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        return replace(self, **{name: getattr(self, name)[index] for name in names})


def ranked(
    ligand: Ligand, found: Found, poses: int, distinct: float, moving: int | None = None
) -> Docked:
    """The best distinct poses over all conformers, symmetric copies counted once.

    Args:
        ligand: the molecule.
        found: poses `[L, K, ...]` of its L conformers.
        poses: largest number of poses to keep.
        distinct: least RMSD between two of them, Å.
        moving: atoms of flexible side chains that move, which follow those of the ligand; None for
            a rigid receptor.
    """
    found = map_tensors(lambda x: x.flatten(0, 1).cpu(), found)
    coords = found.coords[:, : len(ligand)].double().numpy()
    kept: list[int] = []
    for i in found.energy.argsort().tolist():
        if not torch.isfinite(found.energy[i]) or len(kept) == poses:
            break
        gaps = symmetric_rmsd(coords[kept], coords[i], ligand.symmetries)
        if gaps.min(initial=np.inf) >= distinct:
            kept.append(i)
    score = found.score
    columns = (found.energy, score.affinity, score.intramolecular, score.terms)
    docked = Docked(coords[kept], *(column[kept].double().numpy() for column in columns))
    if moving is None:
        return docked
    held = score.side_chains[kept].double().numpy()
    sides = found.coords[kept, len(ligand) : len(ligand) + moving].double().numpy()
    return replace(docked, side_energy=held, side_coords=sides)


def within(docked: Docked, energy_range: float | None) -> Docked:
    """The poses whose energy is within a range of the best.

    Args:
        docked: poses by energy.
        energy_range: kcal/mol; None for all poses.
    """
    if energy_range is None or not len(docked.coords):
        return docked
    limit = docked.energy.min() + energy_range
    return docked.taken(np.flatnonzero(docked.energy <= limit).tolist())


def diverse(
    ligand: Ligand, docked: Docked, poses: int, min_rmsd: float | None = None
) -> Docked:
    """The poses to report, the best first, that differ from each other where there is a choice.

    Args:
        ligand: the molecule.
        docked: poses by energy, more than are wanted.
        poses: number to keep, by confidence if they have one, and by energy otherwise.
        min_rmsd: RMSD that two of them must have, Å, even if fewer are left; None for ``APART``
            where there is a choice.
    """
    order = np.arange(len(docked.coords))
    if docked.confidence is not None:
        order = np.argsort(-docked.confidence, kind="stable")

    def gaps(i: int, kept: list[int]) -> NDArray[np.floating]:
        return symmetric_rmsd(docked.coords[kept], docked.coords[i], ligand.symmetries)

    return docked.taken(spread_out(order.tolist(), gaps, poses, min_rmsd))


def spread_out(
    order: Sequence[int],
    gaps: Callable[[int, list[int]], NDArray[np.floating]],
    poses: int,
    min_rmsd: float | None = None,
) -> list[int]:
    """Which poses are reported, the best first.

    Args:
        order: all poses, the best first.
        gaps: RMSD of a pose from each of those that are kept already, Å.
        poses: number to keep.
        min_rmsd: see ``diverse``.
    """
    kept: list[int] = []
    near: list[int] = []
    apart = APART if min_rmsd is None else min_rmsd
    for i in order:
        if len(kept) == poses:
            break
        (kept if gaps(i, kept).min(initial=np.inf) >= apart else near).append(i)
    some = {*kept, *(near[: poses - len(kept)] if min_rmsd is None else [])}
    return [i for i in order if i in some]

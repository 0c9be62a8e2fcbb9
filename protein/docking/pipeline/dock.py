"""Docking by physics alone: one ligand, or several, into one receptor.

The baseline that learned proposals and rankings are measured against, and what they are built on:
fresh conformers, a grid, the global search, and the best distinct poses of all conformers.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from protein.docking.confidence.ranker import Ranker
from protein.docking.energy.grid import Grid
from protein.docking.energy.vina import VinaEnergy, grid_for
from protein.docking.molecules.ligand import Ligand, fresh_conformers
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.poses.pose import LigandBatch
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.docking.search.monte_carlo import SearchSettings, search
from protein.docking.search.ranking import JUDGED, Docked, ranked
from sciddiff.streams import Streams

APART = 1.75
"""Least RMSD between reported poses, Å, while others are left: close ones are right or wrong
together."""


@dataclass(frozen=True)
class DockSettings:
    """How to dock.

    Attributes:
        poses: reported per ligand.
        conformers: reference conformers per ligand (their rings and angles are rigid); the chains
            are shared out among them.
        spacing: of the grid, Å.
        seed: of conformers and search.
        search: effort.
    """

    poses: int = 9
    conformers: int = 4
    spacing: float = 0.375
    seed: int = 0
    search: SearchSettings = field(default_factory=SearchSettings)


def dock(
    ligand: Ligand,
    receptor: Receptor,
    box: Box,
    settings: DockSettings = DockSettings(),
    grid: Grid | None = None,
    ranker: Ranker | None = None,
) -> Docked:
    """Dock a ligand, from fresh conformers at random places, into a box.

    Args:
        ligand: the molecule; its input coordinates are not used.
        receptor: the protein.
        box: where to search.
        settings: effort.
        grid: of this receptor and box, with the ligand's types; made if None.
        ranker: orders the poses by confidence; None: by energy.

    Raises:
        InputError: no conformer can be made, or no receptor atom is in the box.
    """
    near = receptor.near(box)
    grid = grid_for([ligand], near, box, settings.spacing) if grid is None else grid
    conformers = fresh_conformers(ligand, settings.conformers, settings.seed)
    count = len(conformers)
    batch = LigandBatch.pack([ligand.tree] * count, list(conformers))
    energy = VinaEnergy.build([ligand] * count, [near], grids=[grid])
    chains = -(-settings.search.chains // count)
    generator = Streams(settings.seed, torch.arange(count))
    effort = replace(settings.search, chains=chains)
    found = search(batch, energy, [box] * count, generator, effort)
    docked = ranked(ligand, found, max(settings.poses, JUDGED), settings.search.distinct)
    return chosen(ligand, near, docked, ranker, settings.poses)


def chosen(
    ligand: Ligand, receptor: Receptor, docked: Docked, ranker: Ranker | None, poses: int
) -> Docked:
    """The poses to report, the best first, that differ from each other where there is a choice.

    Args:
        ligand: the molecule.
        receptor: the protein, or its part near the poses.
        docked: poses by energy; more than are wanted, since each is judged beside the others.
        ranker: orders them by confidence; None: by energy.
        poses: to keep.
    """
    order = np.arange(len(docked.coords))
    if ranker is not None:
        confidence = ranker.judge(ligand, docked.coords, receptor, docked.energies)
        order = np.argsort(-confidence, kind="stable")
        docked = replace(docked, confidence=confidence)
    kept: list[int] = []
    near: list[int] = []
    for i in order.tolist():
        if len(kept) == poses:
            break
        others = docked.coords[kept]
        if not kept or symmetric_rmsd(ligand, others, docked.coords[i]).min() >= APART:
            kept.append(i)
        else:
            near.append(i)
    some = {*kept, *near[: poses - len(kept)]}
    return docked.taken([i for i in order.tolist() if i in some])


def best_rmsd(docked: Docked, ligand: Ligand, first: int = 9) -> float:
    """Least symmetry-corrected RMSD of the first poses to the ligand's input coordinates, Å.

    Args:
        docked: ranked poses.
        ligand: with its crystal coordinates.
        first: how many poses count.
    """
    reference = ligand.require_coords()
    return float(symmetric_rmsd(ligand, docked.coords[:first], reference).min())

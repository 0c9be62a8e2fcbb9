"""A search that keeps the common core of ligands near its place in a template.

Chains begin with the core superposed on its places, moved by some tenths of an ångström and
radian; torsions that turn a part of the core begin as in the conformer, and the others anywhere. A
round whose pose has its core further from the places than the limit is refused, as if its energy
were infinite, and so is such a pose at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protein.docking.molecules.common_core import CommonCore
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.pose import LigandBatch, Pose, coordinates
from protein.structures.superposition import kabsch
from sciddiff import streams
from sciddiff.manifolds import so3
from sciddiff.streams import Generator

_SHIFT, _TURN = 0.3, 0.15


@dataclass(frozen=True, eq=False)
class HeldCores:
    """Cores of L ligands of a batch.

    Attributes:
        cores: one for each, length L.
        ways: which way of its core each ligand begins with, length L.
        held: torsions that begin as in the conformer `[L, T]`, bool.
        limit: largest RMSD of a core to its places, Å.
    """

    cores: tuple[CommonCore, ...]
    ways: tuple[int, ...]
    held: Tensor
    limit: float

    @classmethod
    def make(
        cls, ligands: Sequence[Ligand], cores: Sequence[CommonCore], ways: Sequence[int],
        torsions: int, limit: float,
    ) -> "HeldCores":  # fmt: skip
        """Prepare the cores of a batch.

        Args:
            ligands: L molecules.
            cores: the core of each.
            ways: way of its core that each begins with; counted round.
            torsions: torsions of the batch, with those of side chains.
            limit: largest RMSD of a core to its places, Å.
        """
        ways = [way % len(core.ways) for way, core in zip(ways, cores, strict=True)]
        held = np.zeros((len(ligands), torsions), dtype=bool)
        for row, ligand, core, way in zip(held, ligands, cores, ways, strict=True):
            row[: len(ligand.tree)] = core.held(ligand, way)
        return cls(tuple(cores), tuple(ways), torch.from_numpy(held), limit)

    def start(self, batch: LigandBatch, pose: Pose, generator: Generator) -> Pose:
        """Random poses moved to the template.

        Args:
            batch: the ligands.
            pose: random poses `[L, P, ...]`.
            generator: one stream per ligand.
        """
        turns = pose.torsions.masked_fill(self.held.to(pose.torsions.device)[:, None], 0.0)
        eye = torch.eye(3).to(pose.rotation).expand_as(pose.rotation)
        rest = Pose(torch.zeros_like(pose.translation), eye, turns)
        x = coordinates(batch, rest).double()
        shift = _SHIFT * streams.normal(pose.translation, generator).double()
        jitter = so3.exp_map(_TURN * streams.normal(pose.translation, generator).double())
        at, turn = torch.zeros_like(shift), jitter.clone()
        for row, (core, way) in enumerate(zip(self.cores, self.ways, strict=True)):
            # One ligand after another, so that no sum feels the cores of the others.
            mine = x[row][:, torch.from_numpy(core.ways[way]).to(x.device)]
            places = torch.from_numpy(core.places).to(x.device)
            middle, centre = mine.mean(1), places.mean(0)
            fixed = (places - centre).expand_as(mine)
            turn[row] = jitter[row] @ kabsch(mine - middle[:, None], fixed)
            at[row] = centre - (turn[row] @ middle[..., None])[..., 0] + shift[row]
        dtype = pose.translation.dtype
        return Pose(at.to(dtype), turn.to(dtype), turns)

    def refused(self, coords: Tensor) -> Tensor:
        """Which poses have their core too far from its places `[L, P]`, bool.

        Args:
            coords: `[L, P, N, 3]`, Å.
        """
        x = coords.double().cpu().numpy()
        gaps = np.stack([core.rmsd(x[row]) for row, core in enumerate(self.cores)])
        return torch.from_numpy(gaps > self.limit).to(coords.device)

"""Energy between atoms of one ligand, over the pairs that AutoDock Vina counts.

A pair counts when a torsion can change its distance and more than three bonds lie between its
atoms. The same five terms apply; the search uses their sum, the final score does not.

The energy is a table of the squared distance with linear interpolation, so that no root or
exponential is computed, and the gradient is that of the interpolated energy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.energy.constants import BINS
from protein.docking.energy.terms import (
    CUTOFF,
    VINA,
    VinaWeights,
    soft_cap,
    soft_cap_slope,
    type_table,
)
from protein.docking.molecules.atom_types import TYPES
from protein.docking.poses.pose import Movable


@dataclass(frozen=True, eq=False)
class IntraPairs(Movable):
    """Pairs of L ligands, padded to K.

    Attributes:
        incidence: 1 at the first atom of a pair, -1 at the second, 0 where padded `[L, K, N]`.
        first: its first atom `[L, K]`, int64.
        second: its second atom `[L, K]`, int64.
        count: pairs of each ligand `[L]`, int64.
        kind: row of the table `[L, K]`, int64; a row of zeros where padded.
        table: energies on a grid in r² `[n_kinds, bins]`, kcal/mol.
    """

    incidence: Tensor
    first: Tensor
    second: Tensor
    count: Tensor
    kind: Tensor
    table: Tensor

    @classmethod
    def pack(
        cls,
        found: Sequence[NDArray[np.int64]],
        types: Sequence[NDArray[np.int64]],
        weights: VinaWeights = VINA,
    ) -> "IntraPairs":
        """Collect the pairs of some ligands.

        Args:
            found: pairs of each ligand `[k, 2]`.
            types: types of all atoms beside each other, of each ligand `[n]`.
            weights: weights of the terms.
        """
        most = max(len(pairs) for pairs in found)
        incidence = np.zeros((len(found), most, max(map(len, types))), dtype=np.float32)
        ends = np.zeros((2, len(found), most), dtype=np.int64)
        kind = np.full((len(found), most), len(TYPES) ** 2, dtype=np.int64)
        for i, (own, pairs) in enumerate(zip(types, found, strict=True)):
            rows = np.arange(len(pairs))
            incidence[i, rows, pairs[:, 0]] = 1.0
            incidence[i, rows, pairs[:, 1]] = -1.0
            ends[:, i, : len(pairs)] = pairs.T
            first, second = own[pairs].T
            kind[i, : len(pairs)] = first * len(TYPES) + second
        count = torch.tensor([len(pairs) for pairs in found])
        starts, stops = torch.from_numpy(ends)
        kinds = torch.from_numpy(kind)
        return cls(torch.from_numpy(incidence), starts, stops, count, kinds, _table(weights))

    def evaluate(self, coords: Tensor, cap: float = float("inf")) -> tuple[Tensor, Tensor]:
        """Energy of poses and its gradient.

        Args:
            coords: `[L, P, N, 3]`, Å.
            cap: soft core, kcal/mol per pair.

        Returns:
            Energy `[L, P]`, kcal/mol, and gradient `[L, P, N, 3]`, kcal/mol/Å.
        """
        size, poses, atoms, _ = coords.shape
        if self.kind.shape[1] == 0:
            return coords.new_zeros(size, poses), torch.zeros_like(coords)
        # Differences as one product with the incidence matrix: poses are contiguous throughout.
        flat = coords.permute(0, 2, 3, 1).reshape(size, atoms, 3 * poses)
        incidence = self.incidence.to(coords.dtype)
        delta = (incidence @ flat).view(size, -1, 3, poses)
        scaled = (delta.square().sum(2) * BINS).clamp_(max=float(CUTOFF**2 * BINS))
        low = scaled.long()
        place = (self.kind * self.table.shape[1]).unsqueeze(-1) + low
        table = self.table.flatten().to(coords.dtype)
        left = table.take(place)
        slope = table.take(place + 1) - left
        energy = left + slope * (scaled - low)
        force = 2 * BINS * slope
        if cap != float("inf"):
            force = force * soft_cap_slope(energy, cap)
        pulls = (force.unsqueeze(2) * delta).view(size, -1, 3 * poses)
        gradient = incidence.transpose(1, 2) @ pulls
        gradient = gradient.view(size, atoms, 3, poses).permute(0, 3, 1, 2)
        return soft_cap(energy, cap).sum(1), gradient


@lru_cache(maxsize=4)
def _table(weights: VinaWeights) -> Tensor:
    every = range(len(TYPES))
    table = type_table(weights, BINS, every, every).flatten(0, 1)
    return torch.nn.functional.pad(table, (0, 0, 0, 1))

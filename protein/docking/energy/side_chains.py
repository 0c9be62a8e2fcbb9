"""Energy of flexible side chains, as AutoDock Vina counts it.

Beside the ligand's own, the search has these energies: of the side chains with the rest of the
receptor, which is on a grid of their own; of the ligand with the atoms of side chains that move;
and of the side chains within themselves and with each other. A pair counts if more than three
bonds lie between its atoms and a torsion changes their distance, as within a ligand. N, CA, C and
CB of flexible residues are within three bonds of atoms that move. They are therefore left out of
the grid of the side chains, and their energies with other atoms that move are pairs; for a ligand
they are part of the rigid receptor.

A ligand that is bonded to a side chain has no energy with atoms that at most three bonds separate
from it. Its other pairs with that residue, N, CA, C and CB included, are pairs of the search, and
belong to the energy of the side chains.

Trott and Olson, J. Comput. Chem. 31 (2010) 455; Ravindranath et al., PLoS Comput. Biol. 11 (2015)
e1004586. Units: kcal/mol.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.energy.grid import Grid, GridSet, make_grid
from protein.docking.energy.intramolecular import IntraPairs
from protein.docking.energy.pairwise import PairSum, interaction
from protein.docking.energy.terms import VINA, VinaWeights
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.pose import Movable
from protein.docking.receptors.receptor import Receptor
from protein.docking.receptors.side_chains import SideChains


@dataclass(frozen=True, eq=False)
class SideEnergy(Movable):
    """Energy of the flexible side chains beside L ligands; F of their A atoms move.

    Attributes:
        place: where each of the A atoms is in the coordinates `[L, A]`, int64.
        types: types of the atoms that move `[L, F]`, int64.
        facing: the same, but -1 for a residue that the ligand is bonded to `[L, F]`, int64.
        grids: grids of the rest of the receptor, for the atoms that move.
        pairs: pairs of the search: in the ligand, between it and side chains, and among these.
        own: pairs among the side chains `[1, K]`; its atoms are the A.
        around_coords: the rest of the receptor near them `[1, M, 3]`, Å.
        around_types: `[1, M]`, int64.
        bonded: pairs between ligands and the residue that they are bonded to; None for none.
    """

    place: Tensor
    types: Tensor
    facing: Tensor
    grids: GridSet
    pairs: IntraPairs
    own: IntraPairs
    around_coords: Tensor
    around_types: Tensor
    bonded: IntraPairs | None = None

    def evaluate(self, coords: Tensor, cap: float = float("inf")) -> tuple[Tensor, Tensor]:
        """Energy with the rest of the receptor, from the grids, and its gradient.

        Args:
            coords: ligands and side chains `[L, P, N, 3]`, Å.
            cap: soft core, kcal/mol per atom.

        Returns:
            Energy `[L, P]`, kcal/mol, and gradient `[L, P, N, 3]`, kcal/mol/Å.
        """
        index = self._index(coords, self.types.shape[1])
        atoms, slope = self.grids.evaluate(coords.gather(2, index), cap)
        return atoms.sum(-1), torch.zeros_like(coords).scatter_(2, index, slope)

    def interaction(
        self, coords: Tensor, types: Tensor, weights: VinaWeights = VINA
    ) -> PairSum:
        """Energy between ligands and the atoms of side chains that move, over all pairs.

        Atoms of a residue that the ligand is bonded to are left out.

        Args:
            coords: ligands and side chains `[L, P, N, 3]`, Å.
            types: types of the ligands' atoms `[L, N]`, -1 elsewhere.
            weights: weights of the terms.

        Returns:
            Sums without a soft core.
        """
        size, poses, atoms, _ = coords.shape
        moved = coords.gather(2, self._index(coords, self.types.shape[1]))
        # Every pose has side chains of its own: it is a ligand with a receptor.
        found = interaction(
            coords.flatten(0, 1).unsqueeze(1), types.repeat_interleave(poses, 0),
            moved.flatten(0, 1), self.facing.repeat_interleave(poses, 0), weights,
        )  # fmt: skip
        return PairSum(found.terms.view(size, poses, -1), found.atoms.view(size, poses, atoms))

    def energy(
        self, coords: Tensor, cap: float = float("inf"), weights: VinaWeights = VINA
    ) -> Tensor:
        """Energy of the side chains with each other and the rest, over all pairs `[L, P]`.

        That of a bonded residue with its ligand is part of it.

        Args:
            coords: ligands and side chains `[L, P, N, 3]`, Å.
            cap: soft core, kcal/mol per atom (with the rest) and per pair (with each other).
            weights: weights of the terms.
        """
        size, poses = coords.shape[:2]
        chains = coords.gather(2, self._index(coords, self.place.shape[1])).flatten(0, 1)[None]
        within = self.own.evaluate(chains, cap)[0]
        around = interaction(
            chains[:, :, : self.types.shape[1]].contiguous(), self.types[:1],
            self.around_coords, self.around_types, weights, cap,
        )  # fmt: skip
        held = (within + around.atoms.sum(-1)).view(size, poses)
        return held if self.bonded is None else held + self.bonded.evaluate(coords, cap)[0]

    def _index(self, coords: Tensor, count: int) -> Tensor:
        """Places of the first atoms of the side chains, for ``gather`` `[L, P, count, 3]`."""
        place = self.place[:, None, :count, None]
        return place.expand(-1, coords.shape[1], -1, 3)


@dataclass(frozen=True, eq=False)
class SideField:
    """Flexible side chains of a receptor with their grid, made once for all ligands.

    Attributes:
        chains: the side chains.
        around: the rest of the receptor near them.
        grid: its energies for their types.
    """

    chains: SideChains
    around: Receptor
    grid: Grid

    @classmethod
    def make(
        cls, receptor: Receptor, chains: SideChains, weights: VinaWeights = VINA
    ) -> "SideField":
        """Tabulate the energies of the rest of a receptor.

        Args:
            receptor: the receptor that the side chains are of.
            chains: the side chains.
            weights: weights of the terms.

        Raises:
            InputError: the side chains are too far apart for one grid.
        """
        around = chains.rest(receptor, backbone=False).near(chains.box)
        moving = chains.types[: chains.moving]
        return cls(chains, around, make_grid(around, chains.box, moving, weights=weights))

    def beside(
        self,
        ligands: Sequence[Ligand],
        weights: VinaWeights = VINA,
        bonded: Sequence[NDArray[np.int64]] = (),
    ) -> SideEnergy:
        """The energy of the side chains beside some ligands, whose atoms come first.

        Args:
            ligands: L molecules.
            weights: weights of the terms.
            bonded: if they are bonded to the first residue, their pairs with it `[k, 2]`.
        """
        chains, size = self.chains, len(ligands)
        moving = torch.as_tensor(chains.types[: chains.moving]).repeat(size, 1)
        facing = moving.clone()
        facing[:, : chains.bonded] = -1
        found, types, starts = [], [], []
        for i, ligand in enumerate(ligands):
            n = len(ligand)
            others = n + np.arange(chains.bonded, chains.moving)
            mine, theirs = np.meshgrid(np.arange(n), others, indexing="ij")
            between = np.stack([mine.ravel(), theirs.ravel()], axis=1)
            pairs = [ligand.interacting_pairs, between, chains.pairs + n, *bonded[i : i + 1]]
            found.append(np.concatenate(pairs))
            types.append(np.concatenate([ligand.types, chains.types]))
            starts.append(n)
        place = torch.tensor(starts)[:, None] + torch.arange(len(chains))
        return SideEnergy(
            place,
            moving,
            facing,
            GridSet.pack([self.grid], [0] * size, moving),
            IntraPairs.pack(found, types, weights),
            IntraPairs.pack([chains.pairs], [chains.types], weights),
            torch.as_tensor(self.around.coords, dtype=torch.float32)[None],
            torch.as_tensor(self.around.types)[None],
            IntraPairs.pack(bonded, types, weights) if bonded else None,
        )

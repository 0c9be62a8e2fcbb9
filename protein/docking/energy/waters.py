"""Waters that a ligand may displace, each for a price.

A water w has the energy e_w of its pairs with all atoms of the ligand. It stays where it is while
e_w is below the price X, and gives way otherwise: a pose has the energy

    sum over w of min(e_w, X),

so that what a water gives counts, and what it costs never exceeds the price. The search has these
energies on its grid, where every ligand atom pays the price at most once; poses are scored, ranked
and reported by the sum above, over all pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.energy.grid import Grid, make_grid
from protein.docking.energy.pairwise import interaction
from protein.docking.energy.terms import VINA, VinaWeights
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.pose import Movable
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.docking.receptors.waters import is_water
from sciddiff.errors import InputError


@dataclass(frozen=True, eq=False)
class PricedWaters(Movable):
    """W waters that may be displaced.

    Attributes:
        labels: their residues, length W.
        coords: places of their oxygens `[W, 3]`, Å.
        types: `[W]`, int64.
        price: kcal/mol for each that is displaced, not negative.
        weights: the scoring function.
    """

    labels: tuple[str, ...]
    coords: Tensor
    types: Tensor
    price: float
    weights: VinaWeights = VINA

    @classmethod
    def of(
        cls, receptor: Receptor, boxes: Sequence[Box], price: float, weights: VinaWeights = VINA
    ) -> "PricedWaters":
        """The waters of a receptor within reach of the boxes.

        Args:
            receptor: the receptor with its waters.
            boxes: where ligand atoms may be.
            price: kcal/mol for each that is displaced.
            weights: the scoring function.

        Raises:
            InputError: there is none, or the price is negative.
        """
        if price < 0:
            raise InputError(f"price of a water: {price:g} is negative; give 0 or more")
        gap = np.min([box.distance(receptor.coords) for box in boxes], axis=0)
        rows = np.flatnonzero(is_water(receptor) & (gap < 8.0))
        if not len(rows):
            raise InputError(
                f"price of a water: {receptor.name} has no water near the box; keep some, as with "
                "--keep HOH"
            )
        return cls(
            tuple(receptor.residues[i] for i in rows),
            torch.as_tensor(receptor.coords[rows], dtype=torch.float32),
            torch.as_tensor(receptor.types[rows]),
            float(price),
            weights,
        )

    def rest(self, receptor: Receptor) -> Receptor:
        """The receptor without these waters."""
        return receptor.select(~np.isin(receptor.residues, self.labels))

    def on_grid(self, grid: Grid, receptor: Receptor, box: Box) -> Grid:
        """Add the energies of the waters to the grid of the rest, each at most the price.

        Args:
            grid: of the rest of the receptor.
            receptor: the receptor with the waters.
            box: the box of the grid.
        """
        mine = receptor.select(np.isin(receptor.residues, self.labels))
        made = make_grid(mine, box, grid.types, grid.spacing, self.weights)
        return replace(grid, values=grid.values + made.values.clamp(max=self.price))

    def pairs(self, coords: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        """Energies e_w of the waters with poses `[L, P, W]`, and their terms `[L, P, W, 5]`.

        Args:
            coords: poses `[L, P, N, 3]`, Å.
            types: types of the atoms `[L, N]`, -1 where there is none of the ligand.
        """
        size, count = len(coords), len(self.coords)
        # Every water is a receptor of its own.
        found = interaction(
            coords.repeat_interleave(count, 0), types.repeat_interleave(count, 0),
            self.coords.repeat(size, 1)[:, None], self.types.repeat(size)[:, None], self.weights,
        )  # fmt: skip
        energy = found.atoms.sum(-1).view(size, count, -1)
        return energy.transpose(1, 2), found.terms.view(size, count, -1, 5).transpose(1, 2)

    def displaced(self, ligand: Ligand, coords: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which waters each pose displaces `[K, W]`.

        Args:
            ligand: the molecule.
            coords: its poses `[K, N, 3]`, Å.
        """
        poses = torch.as_tensor(coords, dtype=torch.float32)[None]
        home = replace(self, coords=self.coords.cpu(), types=self.types.cpu())
        energy, _ = home.pairs(poses, torch.as_tensor(ligand.types)[None])
        return (energy[0] > self.price).numpy()

"""A ligand on its tether: the torsions from the backbone to the ligand, and its place.

The atoms are those of the ligand as it is bound, N, then the A of the flexible side chains. The
torsions are those of the adduct (`protein.docking.molecules.adduct`), from the backbone outwards,
then those of further flexible side chains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.molecules.adduct import Adduct, Bond, pairs_with_residue
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.torsion_tree import TorsionTree, torsion_tree
from protein.docking.receptors.covalent import CovalentSite
from protein.structures.frames import frames_from_backbone

__all__ = ["Tether"]


@dataclass(frozen=True, eq=False)
class Tether:
    """An adduct at its residue.

    Attributes:
        adduct: the adduct.
        site: the residue.
        tree: torsions of the ligand and the side chains together, N + A atoms.
        pairs: pairs of an atom of the ligand and one of its residue that have an energy `[K, 2]`.
    """

    adduct: Adduct
    site: CovalentSite
    tree: TorsionTree
    pairs: NDArray[np.int64]

    @classmethod
    def make(cls, adduct: Adduct, site: CovalentSite) -> Tether:
        """Hang an adduct on the backbone.

        Args:
            adduct: the adduct.
            site: its residue.
        """
        own = torsion_tree(adduct.whole.mol, adduct.place("CA"))
        n, sides = len(adduct.ligand), site.sides
        places = np.asarray(
            [*range(n), *(n + site.names[name] for name in adduct.residue.names)], dtype=np.int64
        )
        # The torsions of further side chains follow those of this residue.
        others = np.flatnonzero(~np.isin(sides.tree.bonds[:, 1], list(site.names.values())))
        count, first = len(own), len(sides.tree) - len(others)
        masks = np.zeros((count + len(others), n + len(sides)), dtype=bool)
        masks[:count, places] = own.masks
        masks[count:, n:] = sides.tree.masks[others]
        fragments = np.zeros(n + len(sides), dtype=np.int64)
        apart = sides.tree.fragments > first
        fragments[n:][apart] = sides.tree.fragments[apart] - first + count
        fragments[places] = own.fragments
        above = sides.tree.parents[others]
        tree = TorsionTree(
            np.concatenate([places[own.bonds], sides.tree.bonds[others] + n]),
            masks,
            np.concatenate([own.parents, np.where(above >= 0, above - first + count, -1)]),
            fragments,
            np.concatenate([places[own.quads], sides.tree.quads[others] + n]),
            adduct.ligand.tree.rotors,
        )
        return cls(adduct, site, tree, places[pairs_with_residue(adduct)])

    @property
    def bond(self) -> Bond:
        """The bond, for tables and files."""
        adduct, n = self.adduct, len(self.adduct.ligand)
        beside = adduct.beside(adduct.place(adduct.residue.atom), adduct.reacting)
        return Bond(
            adduct.ligand, adduct.reacting, self.site.label, adduct.residue.atom,
            tuple(adduct.residue.names[k - n] for k in beside), adduct.warhead.name,
        )  # fmt: skip

    def conformers(self, count: int, seed: int) -> NDArray[np.float64]:
        """Conformers of the ligand in their places beside the residue of the file `[K, N, 3]`, Å.

        The new bond, and the angles beside it, are those of conformers of the adduct.

        Args:
            count: number of conformers wanted; fewer may be returned.
            seed: seed of the embedding.
        """
        made = fresh_conformers(self.adduct.whole, count, seed)
        n, names = len(self.adduct.ligand), self.adduct.residue.names
        ends = list(self.adduct.ends())
        there = [self.site.names[names[k - n]] for k in ends]
        home = _axes(self.site.sides.coords[there])
        local = (made[:, :n] - made[:, ends[:1]]) @ _axes(made[:, ends])
        return local @ home.T + self.site.position


def _axes(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axes `[..., 3, 3]` (columns) of three atoms: along the bond to the first, their plane."""
    points = torch.from_numpy(np.ascontiguousarray(ends[..., ::-1, :]))
    return frames_from_backbone(points)[0].numpy()

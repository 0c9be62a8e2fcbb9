"""The energy of poses: between ligand and receptor, within the ligand, and the score.

``evaluate`` is what searches minimise: interaction plus intramolecular energy, from grids or over
all pairs, with a soft core. ``score`` is what is reported: the interaction over all pairs, its
terms, and the affinity, which is the interaction divided by 1 + 0.05846 per rotor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from protein.docking.energy import compiled
from protein.docking.energy.grid import Grid, GridSet, make_grid
from protein.docking.energy.intramolecular import IntraPairs
from protein.docking.energy.pairwise import PairSum, interaction
from protein.docking.energy.terms import VINA, VinaWeights
from protein.docking.molecules.ligand import Ligand
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor

SCORE_CAP = 1000.0
"""Soft core of Vina's own final score, kcal/mol per atom."""


class Score(NamedTuple):
    """Energies of poses, kcal/mol.

    Attributes:
        affinity: interaction over 1 + weight × rotors, Vina's score `[L, P]`.
        interaction: between ligand and receptor `[L, P]`.
        intramolecular: within the ligand `[L, P]`.
        terms: unweighted terms of the interaction `[L, P, 5]`.
    """

    affinity: Tensor
    interaction: Tensor
    intramolecular: Tensor
    terms: Tensor


@dataclass(frozen=True, eq=False)
class VinaEnergy:
    """Energy of L ligands, each with its receptor.

    Attributes:
        types: `[L, N]`, int64, -1 where padded.
        rotors: Vina's count `[L]`.
        pairs: pairs within the ligands.
        receptor_coords: `[L, M, 3]` or `[1, M, 3]`, Å.
        receptor_types: `[L, M]` or `[1, M]`, -1 where padded.
        grids: of the receptors, None to evaluate all pairs.
        weights: of the terms.
    """

    types: Tensor
    rotors: Tensor
    pairs: IntraPairs
    receptor_coords: Tensor
    receptor_types: Tensor
    grids: GridSet | None = None
    weights: VinaWeights = VINA

    @classmethod
    def build(
        cls,
        ligands: Sequence[Ligand],
        receptors: Sequence[Receptor],
        which: Sequence[int] | None = None,
        grids: Sequence[Grid] | None = None,
        weights: VinaWeights = VINA,
    ) -> "VinaEnergy":
        """Energy of some ligands.

        Args:
            ligands: L molecules; the same one may come several times with other conformers.
            receptors: one or more, cropped to what matters (``Receptor.near`` or ``pocket``).
            which: receptor (and grid) of each ligand; None: the first.
            grids: one per receptor, holding every type of its ligands (``grid_for``).
            weights: of the terms.
        """
        which = [0] * len(ligands) if which is None else list(which)
        padded = _pad([ligand.types for ligand in ligands])
        shared = len(receptors) == 1
        used = receptors if shared else [receptors[w] for w in which]
        coords = torch.zeros(len(used), max(len(r) for r in used), 3)
        for i, receptor in enumerate(used):
            coords[i, : len(receptor)] = torch.as_tensor(receptor.coords, dtype=torch.float32)
        return cls(
            padded,
            torch.tensor([ligand.tree.rotors for ligand in ligands]),
            IntraPairs.pack(ligands, weights),
            coords,
            _pad([receptor.types for receptor in used]),
            None if grids is None else GridSet.pack(grids, which, padded),
            weights,
        )

    def to(self, device: torch.device | str) -> "VinaEnergy":
        """The energy on another device."""
        names = ("types", "rotors", "pairs", "receptor_coords", "receptor_types")
        grids = None if self.grids is None else self.grids.to(device)
        return replace(self, grids=grids, **{n: getattr(self, n).to(device) for n in names})

    def evaluate(self, coords: Tensor, cap: float = float("inf")) -> tuple[Tensor, Tensor]:
        """Interaction plus intramolecular energy, and its gradient.

        Args:
            coords: `[L, P, N, 3]`, Å.
            cap: soft core, kcal/mol per ligand atom (interaction) and per pair (within).

        Returns:
            Energy `[L, P]`, kcal/mol, and gradient `[L, P, N, 3]`, kcal/mol/Å; neither carries
            autograd history.
        """
        if self.grids is not None and compiled.ready(coords, self.grids.values):
            return compiled.evaluate(self.grids, self.pairs, coords, cap)
        with torch.no_grad():
            inside, gradient = self.pairs.evaluate(coords, cap)
            if self.grids is not None:
                atoms, slope = self.grids.evaluate(coords, cap)
                return atoms.sum(-1) + inside, slope + gradient
        with torch.enable_grad():
            leaf = coords.detach().requires_grad_()
            energy = self._interaction(leaf, cap).total
            (slope,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach() + inside, slope + gradient

    def __call__(self, coords: Tensor, cap: float = float("inf")) -> Tensor:
        """Energy of ``evaluate`` as a differentiable function of the coordinates `[L, P]`."""
        energy: Tensor = _Evaluated.apply(coords, self, cap)
        return energy

    def score(self, coords: Tensor) -> Score:
        """Score of poses over all pairs.

        Args:
            coords: `[L, P, N, 3]`, Å.
        """
        with torch.no_grad():
            found = self._interaction(coords, SCORE_CAP)
            inside, _ = self.pairs.evaluate(coords, SCORE_CAP)
            divisor = 1.0 + self.weights.rotors * self.rotors[:, None]
            return Score(found.total / divisor, found.total, inside, found.terms)

    def _interaction(self, coords: Tensor, cap: float) -> PairSum:
        return interaction(
            coords, self.types, self.receptor_coords, self.receptor_types, self.weights, cap
        )


def grid_for(
    ligands: Sequence[Ligand],
    receptor: Receptor,
    box: Box,
    spacing: float = 0.375,
    weights: VinaWeights = VINA,
) -> Grid:
    """Grid of a receptor with a channel for every atom type of some ligands.

    Args:
        ligands: the molecules to dock.
        receptor: the protein.
        box: where to search.
        spacing: Å.
        weights: of the terms.
    """
    types = sorted({int(t) for ligand in ligands for t in ligand.types})
    return make_grid(receptor, box, types, spacing, weights)


class _Evaluated(torch.autograd.Function):
    """Hands the closed-form gradient of ``VinaEnergy.evaluate`` to autograd."""

    @staticmethod
    def forward(ctx: Any, coords: Tensor, energy: VinaEnergy, cap: float) -> Tensor:
        value, gradient = energy.evaluate(coords, cap)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0][..., None, None], None, None


def _pad(arrays: Sequence[np.ndarray]) -> Tensor:
    """Integer arrays `[L, longest]`, -1 where padded."""
    out = torch.full((len(arrays), max(len(a) for a in arrays)), -1, dtype=torch.int64)
    for i, array in enumerate(arrays):
        out[i, : len(array)] = torch.from_numpy(np.asarray(array, dtype=np.int64))
    return out

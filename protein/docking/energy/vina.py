"""The energy of poses: between ligand and receptor, within the ligand, and the score.

Searches minimise ``evaluate``: the interaction plus the intramolecular energy, from grids or over
all pairs, with a soft core. Reports give ``score``: the interaction over all pairs, its terms, and
the affinity, which is the interaction divided by 1 + 0.05846 per rotor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.energy import compiled
from protein.docking.energy.grid import Grid, GridSet, fits, make_grid
from protein.docking.energy.intramolecular import IntraPairs
from protein.docking.energy.pairwise import PairSum, interaction
from protein.docking.energy.side_chains import SideEnergy, SideField
from protein.docking.energy.terms import VINA, VinaWeights, soft_cap
from protein.docking.energy.waters import PricedWaters
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.pose import Movable
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
        side_chains: of the flexible side chains with each other and with the rest of the receptor
            `[L, P]`; 0 for a rigid receptor.
    """

    affinity: Tensor
    interaction: Tensor
    intramolecular: Tensor
    terms: Tensor
    side_chains: Tensor

    @property
    def total(self) -> Tensor:
        """The energy that ranks poses: the sum of its three parts `[L, P]`."""
        return self.interaction + self.intramolecular + self.side_chains


@dataclass(frozen=True, eq=False)
class VinaEnergy(Movable):
    """Energy of L ligands, each with its receptor.

    Attributes:
        types: `[L, N]`, int64, -1 where padded.
        rotors: Vina's count `[L]`.
        pairs: pairs within the ligands.
        receptor_coords: `[L, M, 3]` or `[1, M, 3]`, Å.
        receptor_types: `[L, M]` or `[1, M]`, -1 where padded.
        grids: grids of the receptors; None to evaluate all pairs.
        weights: weights of the terms.
        sides: flexible side chains; their atoms follow the ligand's, and have type -1 in ``types``
            and no place among the receptor's atoms. None for a rigid receptor.
        waters: waters that may be displaced, which are no atoms of the receptor, but in its grids.
    """

    types: Tensor
    rotors: Tensor
    pairs: IntraPairs
    receptor_coords: Tensor
    receptor_types: Tensor
    grids: GridSet | None = None
    weights: VinaWeights = VINA
    sides: SideEnergy | None = None
    waters: PricedWaters | None = None

    @classmethod
    def build(
        cls,
        ligands: Sequence[Ligand],
        receptors: Sequence[Receptor],
        which: Sequence[int] | None = None,
        grids: Sequence[Grid] | None = None,
        weights: VinaWeights = VINA,
        sides: SideField | None = None,
        bonded: Sequence[NDArray[np.int64]] = (),
    ) -> "VinaEnergy":
        """Prepare the energy of some ligands.

        Args:
            ligands: L molecules; the same one may come several times with other conformers.
            receptors: one or more, cropped to what matters (``Receptor.near`` or ``pocket``).
            which: receptor (and grid) of each ligand; None: the first.
            grids: one per receptor, holding every type of its ligands.
            weights: weights of the terms.
            sides: flexible side chains, which the receptors then lack.
            bonded: pairs of each ligand with the side chain that it is bonded to `[k, 2]`; empty
                if they are bonded to none.
        """
        which = [0] * len(ligands) if which is None else list(which)
        most = max(map(len, ligands)) + (0 if sides is None else len(sides.chains))
        types = _pad([ligand.types for ligand in ligands], most)
        shared = len(receptors) == 1
        used = receptors if shared else [receptors[w] for w in which]
        receptor_types = _pad([receptor.types for receptor in used])
        coords = torch.zeros(*receptor_types.shape, 3)
        for row, receptor in zip(coords, used, strict=True):
            row[: len(receptor.types)] = torch.as_tensor(receptor.coords, dtype=torch.float32)
        return cls(
            types,
            torch.tensor([ligand.tree.rotors for ligand in ligands]),
            IntraPairs.pack([x.interacting_pairs for x in ligands], list(types.numpy()), weights),
            coords,
            receptor_types,
            None if grids is None else GridSet.pack(grids, which, types),
            weights,
            None if sides is None else sides.beside(ligands, weights, bonded),
        )

    @cached_property
    def arrays(self) -> tuple[tuple[NDArray[Any], ...], ...]:
        """The tuples ``grid``, ``side`` and ``pairs`` of `protein.docking.energy.kernels`."""
        grids = self.grids
        assert grids is not None  # noqa: S101 - there are no loops without grids
        # Without flexible side chains the second grid is that of no atoms.
        side = replace(grids, channel=grids.channel[:, :0], real=grids.real[:, :0])
        if self.sides is not None:
            side = self.sides.grids
        pairs = self._inner
        rows = pairs.kind * pairs.table.shape[1]
        inside = (pairs.first, pairs.second, rows, pairs.count, pairs.table.flatten())
        return grids.arrays, side.arrays, tuple(x.numpy() for x in inside)

    @property
    def _inner(self) -> IntraPairs:
        """Pairs within what moves: the ligand, and the flexible side chains."""
        return self.pairs if self.sides is None else self.sides.pairs

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
            energy, slope = coords.new_zeros(coords.shape[:2]), torch.zeros_like(coords)
            where = coords.detach().contiguous()
            compiled.run(
                "evaluate", energy.numel(), float(cap), *self.arrays,
                *(x.numpy() for x in (where, energy, slope)), room=[where.shape[2:]] * 2,
            )  # fmt: skip
            return energy, slope
        with torch.no_grad():
            inside, gradient = self._inner.evaluate(coords, cap)
            if self.sides is not None:
                held, pull = self.sides.evaluate(coords, cap)
                inside, gradient = inside + held, gradient + pull
            if self.grids is not None:
                atoms, slope = self.grids.evaluate(coords, cap)
                return atoms.sum(-1) + inside, slope + gradient
        with torch.enable_grad():
            leaf = coords.detach().requires_grad_()
            energy = self._interaction(leaf, cap).atoms.sum(-1)
            (slope,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach() + inside, slope + gradient

    def __call__(self, coords: Tensor, cap: float = float("inf")) -> Tensor:
        """Energy of ``evaluate`` `[L, P]`, as a differentiable function of the coordinates."""
        energy: Tensor = _Evaluated.apply(coords, self, cap)
        return energy

    def score(self, coords: Tensor) -> Score:
        """Score poses over all pairs.

        Args:
            coords: `[L, P, N, 3]`, Å.
        """
        with torch.no_grad():
            inside, _ = self.pairs.evaluate(coords, SCORE_CAP)
            if self.sides is None:
                found, held = self._interaction(coords, SCORE_CAP), torch.zeros_like(inside)
            else:
                # The soft core bends the energy of an atom with all atoms of the receptor.
                rigid = self._interaction(coords, float("inf"))
                turned = self.sides.interaction(coords, self.types, self.weights)
                atoms = soft_cap(rigid.atoms + turned.atoms, SCORE_CAP)
                found = PairSum(rigid.terms + turned.terms, atoms)
                held = self.sides.energy(coords, SCORE_CAP, self.weights)
            total = found.atoms.sum(-1)
            if self.waters is not None:
                each, terms = self.waters.pairs(coords, self.types)
                stays = each <= self.waters.price
                total = total + each.clamp(max=self.waters.price).sum(-1)
                found = found._replace(terms=found.terms + (terms * stays[..., None]).sum(-2))
            divisor = 1.0 + self.weights.rotors * self.rotors[:, None]
            return Score(total / divisor, total, inside, found.terms, held)

    def _interaction(self, coords: Tensor, cap: float) -> PairSum:
        return interaction(
            coords, self.types, self.receptor_coords, self.receptor_types, self.weights, cap
        )


class SearchSpace:
    """A box, the receptor atoms near it, and their grid, which is kept from ligand to ligand.

    Args:
        receptor: the protein.
        box: where to search.
        device: where energies are computed.
        weights: the scoring function.
        sides: flexible side chains of the receptor; None for a rigid one.
        waters: waters of the receptor that may be displaced; None for none.

    Raises:
        InputError: no receptor atom is near the box.
    """

    def __init__(
        self,
        receptor: Receptor,
        box: Box,
        device: torch.device | str = "cpu",
        weights: VinaWeights = VINA,
        sides: SideField | None = None,
        waters: PricedWaters | None = None,
    ) -> None:
        rigid = receptor if sides is None else sides.chains.rest(receptor)
        rigid = rigid if waters is None else waters.rest(rigid)
        self.weights, self.sides, self.waters, self._whole = weights, sides, waters, receptor
        self.box, self.near, self.device = box, rigid.near(box), torch.device(device)
        self._grid: Grid | None = None

    def energy(
        self, ligands: Sequence[Ligand], bonded: Sequence[NDArray[np.int64]] = ()
    ) -> VinaEnergy:
        """Energy of some ligands in the box, on a grid that has a channel for all their types.

        Args:
            ligands: L molecules; the same one may come several times with other conformers.
            bonded: pairs of each with the side chain that it is bonded to `[k, 2]`; empty if they
                are bonded to none.

        Raises:
            InputError: the grid would be too large.
        """
        energy = VinaEnergy.build(
            ligands, [self.near], weights=self.weights, sides=self.sides, bonded=bonded
        )
        types = {t for t in energy.types.flatten().tolist() if t >= 0}
        known = set() if self._grid is None else set(self._grid.types)
        if self._grid is None or not types <= known:
            # Types met before stay, as others will need them, unless the grid grows too large.
            every = types | known if fits(self.box, len(types | known)) else types
            grid = make_grid(self.near, self.box, sorted(every), weights=self.weights)
            if self.waters is not None:
                grid = self.waters.on_grid(grid, self._whole, self.box)
            self._grid = grid
        grids = GridSet.pack([self._grid], [0] * len(ligands), energy.types)
        energy = replace(energy, grids=grids, waters=self.waters)
        return energy if self.device.type == "cpu" else energy.to(self.device)


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


def _pad(arrays: Sequence[np.ndarray], most: int = 0) -> Tensor:
    """Integer arrays `[L, longest]`, or more, -1 where padded."""
    longest = max(most, *(len(a) for a in arrays))
    out = torch.full((len(arrays), longest), -1, dtype=torch.int64)
    for i, array in enumerate(arrays):
        out[i, : len(array)] = torch.from_numpy(np.asarray(array, dtype=np.int64))
    return out

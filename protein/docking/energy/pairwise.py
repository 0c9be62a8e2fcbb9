r"""Energy between ligands and receptor over all pairs of atoms, exact and differentiable.

The energy of ligand atom i is :math:`e_i = \sum_j \sum_k w_k\,t_k(d_{ij})` over the receptor atoms
j within 8 Å and the five terms of ``energy.terms`` (Trott and Olson 2010). The soft core bends
each positive :math:`e_i`. Grids are measured against this function, and it scores final poses.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from protein.docking.energy import compiled
from protein.docking.energy.terms import (
    TYPE_PAIRS,
    VINA,
    VinaWeights,
    pair_terms,
    soft_cap,
    type_pairs,
)
from protein.structures.distances import distances

# Pairs evaluated at once; bounds memory to a few hundred MB.
_MOST_PAIRS = 4_000_000


class PairSum(NamedTuple):
    """Sums over the pairs of each ligand atom.

    Attributes:
        terms: unweighted terms, summed over the ligand `[L, P, 5]`.
        atoms: weighted energy of each ligand atom `[L, P, N]`, kcal/mol, softened by the cap.
    """

    terms: Tensor
    atoms: Tensor


def interaction(
    coords: Tensor,
    types: Tensor,
    receptor_coords: Tensor,
    receptor_types: Tensor,
    weights: VinaWeights = VINA,
    cap: float = float("inf"),
) -> PairSum:
    """Energy between ligand and receptor atoms.

    Args:
        coords: ligand poses `[L, P, N, 3]`, Å.
        types: ligand types `[L, N]`, -1 where padded.
        receptor_coords: `[M, 3]` or `[1, M, 3]` for one receptor, `[L, M, 3]` for one per
            ligand, Å.
        receptor_types: `[M]`, `[1, M]` or `[L, M]`, -1 where padded.
        weights: weights of the terms.
        cap: soft core, kcal/mol per ligand atom.
    """
    size, poses, atoms, _ = coords.shape
    if receptor_coords.ndim == 2:
        receptor_coords, receptor_types = receptor_coords[None], receptor_types[None]
    fixed = not coords.requires_grad and weights.vina_shapes
    if fixed and compiled.ready(coords, receptor_coords):
        found = PairSum(coords.new_zeros(size, poses, 5), coords.new_zeros(size, poses, atoms))
        given = (
            coords.detach().contiguous(), types, (types >= 0).sum(-1),
            receptor_coords.contiguous(), receptor_types.contiguous(), *TYPE_PAIRS,
            weights.pair().double(), *found,
        )  # fmt: skip
        compiled.run("interaction", size * poses, float(cap), *(x.numpy() for x in given))
        return found
    # Poses are independent, so that splitting them bounds memory and changes no number.
    chunk = max(1, _MOST_PAIRS // max(1, size * atoms * receptor_coords.shape[1]))
    receptor_coords = receptor_coords.expand(size, -1, -1)
    receptor_types = receptor_types.expand(size, -1)
    parts = [
        _interaction(part, types, receptor_coords, receptor_types, weights, cap)
        for part in coords.split(chunk, dim=1)
    ]
    return PairSum(
        torch.cat([p.terms for p in parts], dim=1), torch.cat([p.atoms for p in parts], dim=1)
    )


def atom_terms(
    coords: Tensor,
    types: Tensor,
    receptor_coords: Tensor,
    receptor_types: Tensor,
    weights: VinaWeights = VINA,
) -> Tensor:
    """Unweighted terms of each ligand atom, summed over the receptor `[P, N, 5]`.

    Args:
        coords: poses of one ligand `[P, N, 3]`, Å.
        types: its types `[N]`.
        receptor_coords: `[M, 3]`, Å.
        receptor_types: `[M]`.
        weights: the scoring function, whose shapes the terms have.
    """
    tables = (table[types[:, None], receptor_types] for table in type_pairs(weights))
    radii, hydrophobic, hbond = tables
    parts = [
        pair_terms(distances(pose, receptor_coords), radii.to(pose), hydrophobic, hbond, weights)
        for pose in coords
    ]
    return torch.stack([part.sum(1) for part in parts])


def _interaction(
    coords: Tensor,
    types: Tensor,
    receptor_coords: Tensor,
    receptor_types: Tensor,
    weights: VinaWeights,
    cap: float,
) -> PairSum:
    device = coords.device
    row, column = types[:, :, None].clamp(min=0), receptor_types[:, None].clamp(min=0)
    radii, hydrophobic, hbond = (table[row, column] for table in _type_pairs(device, weights))
    delta = coords.unsqueeze(-2) - receptor_coords.to(coords)[:, None, None]
    # Two atoms at one place would make the gradient of the root infinite.
    r = (delta.square().sum(-1) + 1e-12).sqrt()
    terms = pair_terms(
        r, radii.to(coords).unsqueeze(1), hydrophobic.unsqueeze(1), hbond.unsqueeze(1), weights
    )
    # Padded atoms were given type 0 to look something up; their terms are dropped here.
    real = (types >= 0)[:, :, None] & (receptor_types >= 0)[:, None]
    terms = (terms * real[:, None, ..., None]).sum(-2)
    # Weights after the sum over the receptor: five products per ligand atom, not per pair.
    energy = terms @ weights.pair().to(coords)
    return PairSum(terms.sum(-2), soft_cap(energy, cap))


@lru_cache(maxsize=4)
def _type_pairs(device: torch.device, weights: VinaWeights) -> tuple[Tensor, ...]:
    return tuple(table.to(device) for table in type_pairs(weights))

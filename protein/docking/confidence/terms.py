r"""Terms of a pose beside Vina's energy, from which the ranker's linear score is made.

Each says something that Vina's energy leaves out: Vinardo's view of the same contacts, hydrogen
bonds that are made and polar atoms that are buried without one, charges, metals, surfaces that the
receptor covers, and how far torsions are from what crystals of small molecules prefer. All are
invariant under rigid motions. Units are those of the columns in ``TERMS``; surfaces are in Å²/10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.confidence.surface import buried_surface
from protein.docking.confidence.torsion_preferences import torsion_preferences
from protein.docking.energy.pairwise import atom_terms
from protein.docking.energy.terms import VINARDO
from protein.docking.molecules.atom_types import ACCEPTS, DONATES, INDEX, IS_HYDROPHOBIC
from protein.structures.distances import distances

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from protein.docking.molecules.ligand import Ligand
    from protein.docking.receptors.receptor import Receptor

TERMS: tuple[str, ...] = (
    "vinardo_gauss", "vinardo_repulsion", "vinardo_hydrophobic", "vinardo_hbond",
    "torsion_energy", "torsion_strain", "hbonds", "unsatisfied", "unsatisfied_donors",
    "alike", "coulomb", "screened", "metals", "greasy", "greasy_polar",
    "buried_hydrophobic", "open_hydrophobic", "buried_polar", "open_polar",
)  # fmt: skip
"""Names of the terms, in order."""

_CHARGES = {
    ("ASP", "OD1"): -0.5, ("ASP", "OD2"): -0.5, ("GLU", "OE1"): -0.5, ("GLU", "OE2"): -0.5,
    ("ARG", "NH1"): 0.5, ("ARG", "NH2"): 0.5, ("LYS", "NZ"): 1.0,
}  # fmt: skip
_METAL_CHARGE = 2.0
# Groups over whose oxygens a negative charge is spread.
_SHARED_CHARGES = (("[CX3](=O)[O-]", -0.5), ("P(=O)[O-]", -0.5), ("S(=O)(=O)[O-]", -1 / 3))
_BOND, _METAL, _ALIKE = 3.4, 2.8, 3.6
_GREASE, _GREASE_POLAR = 4.5, 4.0
_ABOUT, _DEEP, _DEEP_DONOR = 6.0, 25, 20


def pose_terms(ligand: Ligand, receptor: Receptor, coords: Tensor) -> Tensor:
    """Terms of some poses `[K, len(TERMS)]`.

    Args:
        ligand: the molecule, of N heavy atoms.
        receptor: its atoms within 8 Å of the poses are used.
        coords: poses `[K, N, 3]`, float32, Å.
    """
    if len(coords) == 0:
        return coords.new_zeros(0, len(TERMS))
    near = receptor.pocket(coords.reshape(-1, 3).double().numpy())
    places = torch.as_tensor(near.coords, dtype=coords.dtype).reshape(-1, 3)
    mine, theirs = torch.from_numpy(ligand.types), torch.from_numpy(near.types)
    gauss, _, repulsion, hydrophobic, bonds = (
        atom_terms(coords, mine, places, theirs, VINARDO).sum(1).unbind(-1)
    )
    energy, strain = torsion_preferences(ligand.mol, coords)
    columns = [gauss, repulsion, hydrophobic, bonds, energy, strain]
    apart = distances(coords, places.expand(len(coords), -1, -1))
    columns += _polar(ligand, near, apart) + _charged(ligand, near, apart)
    greasy, fat = _flags(IS_HYDROPHOBIC, ligand.types), _flags(IS_HYDROPHOBIC, near.types)
    polar = _flags(DONATES | ACCEPTS, near.types)
    columns += [
        _count(apart < _GREASE, greasy[:, None] & fat),
        _count(apart < _GREASE_POLAR, greasy[:, None] & polar),
    ]
    covered, free = buried_surface(coords, mine, places, theirs)
    for which in (greasy, ~greasy):
        columns += [covered[:, which].sum(-1) / 10.0, (free - covered)[:, which].sum(-1) / 10.0]
    return torch.stack([column.to(coords.dtype) for column in columns], dim=-1)


def _polar(ligand: Ligand, near: Receptor, apart: Tensor) -> list[Tensor]:
    """Hydrogen bonds, buried polar atoms and donors without one, and pairs that repel."""
    gives, takes = (_flags(x, ligand.types) for x in (DONATES, ACCEPTS))
    their_gives, their_takes = (_flags(x, near.types) for x in (DONATES, ACCEPTS))
    fits = (gives[:, None] & their_takes) | (takes[:, None] & their_gives)
    bonded = ((apart < _BOND) & fits).any(-1)
    about = (apart < _ABOUT).sum(-1)
    only_takes, only_gives = takes & ~gives, gives & ~takes
    alike = (only_takes[:, None] & their_takes & ~their_gives) | (
        only_gives[:, None] & their_gives & ~their_takes
    )
    return [
        (bonded & (gives | takes)).sum(-1),
        (~bonded & (gives | takes) & (about > _DEEP)).sum(-1),
        (~bonded & gives & (about > _DEEP_DONOR)).sum(-1),
        _count(apart < _ALIKE, alike),
    ]


def _charged(ligand: Ligand, near: Receptor, apart: Tensor) -> list[Tensor]:
    """Charges in a dielectric that grows with distance, the same screened, and bonds to metals."""
    product = torch.from_numpy(
        _ligand_charges(ligand.mol)[:, None] * _receptor_charges(near)
    ).to(apart)
    r = apart.clamp(min=2.5)
    metal = _flags(np.arange(len(DONATES)) == INDEX["Met_D"], near.types)
    takes = _flags(ACCEPTS, ligand.types)
    return [
        10.0 * (product / r.square()).sum((-1, -2)),
        3.0 * (product / r * torch.exp(-r / 5.0)).sum((-1, -2)),
        _count(apart < _METAL, takes[:, None] & metal),
    ]


def _ligand_charges(mol: Mol) -> NDArray[np.float64]:
    """Formal charges `[N]`, shared by the oxygens of an acid."""
    from rdkit import Chem

    charges = np.array([float(atom.GetFormalCharge()) for atom in mol.GetAtoms()])
    formal = charges.copy()
    for pattern, share in _SHARED_CHARGES:
        for match in mol.GetSubstructMatches(Chem.MolFromSmarts(pattern)):
            for atom in match[1:]:
                if formal[atom] <= 0:
                    charges[atom] = share
    return charges


def _receptor_charges(near: Receptor) -> NDArray[np.float64]:
    """Charges of side chains and metals `[M]`."""
    named = zip(near.resnames, near.atoms, strict=True)
    charges = np.array([_CHARGES.get(pair, 0.0) for pair in named])
    return np.where(near.types == INDEX["Met_D"], _METAL_CHARGE, charges)


def _flags(table: NDArray[np.bool_], types: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.asarray(table)[types])


def _count(near: Tensor, kind: Tensor) -> Tensor:
    """Number of near pairs of a kind `[K]`, of `[K, N, M]` and `[N, M]`."""
    return (near & kind).sum((-1, -2))

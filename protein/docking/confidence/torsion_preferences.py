r"""How far the torsions of a pose are from what small molecules prefer in crystals.

RDKit has for many patterns of four atoms a potential
:math:`E(\varphi) = \sum_{m=1}^{6} V_m\,(1 + s_m \cos m\varphi)` that was fitted to the Cambridge
Structural Database (Riniker and Landrum, J. Chem. Inf. Model. 55 (2015) 2562; Wang et al.,
J. Chem. Inf. Model. 60 (2020) 2044). What is compared is its height above its own minimum.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from protein.structures.torsions import dihedral

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_MOST = 20.0
_ANGLES = 73


def torsion_preferences(mol: Mol, coords: Tensor) -> tuple[Tensor, Tensor]:
    """Height of all torsions above their minima, and the same as a share of each one's range.

    Args:
        mol: heavy-atom molecule.
        coords: poses `[K, N, 3]`, Å.

    Returns:
        Both `[K]`: in the units of RDKit's potentials, each at most 20, and without a unit.
    """
    atoms, sizes, signs = _potentials(mol)
    if len(atoms) == 0:
        return coords.new_zeros(len(coords)), coords.new_zeros(len(coords))
    every = torch.linspace(-torch.pi, torch.pi, _ANGLES, dtype=torch.float64)
    curve = _height(every.expand(len(atoms), -1).T, sizes, signs)
    low, high = curve.amin(0), curve.amax(0)
    angles = dihedral(*coords[:, atoms.T].double().unbind(1))
    above = (_height(angles, sizes, signs) - low).clamp(min=0.0)
    share = above / (high - low).clamp(min=1e-6)
    return above.clamp(max=_MOST).sum(-1), share.sum(-1)


@lru_cache(maxsize=8)
def _potentials(mol: Mol) -> tuple[Tensor, Tensor, Tensor]:
    """Atoms `[T, 4]`, sizes `[T, 6]` and signs `[T, 6]` of the torsions of heavy atoms."""
    from rdkit.Chem import AddHs
    from rdkit.Chem.rdDistGeom import ETKDGv3, GetExperimentalTorsions

    heavy = mol.GetNumAtoms()
    found = [
        (list(x["atomIndices"]), list(x["V"]), list(x["signs"]))
        for x in GetExperimentalTorsions(AddHs(mol), ETKDGv3())
        if max(x["atomIndices"]) < heavy
    ]
    atoms, sizes, signs = zip(*found, strict=True) if found else ((), (), ())
    return (
        torch.tensor(atoms, dtype=torch.int64).reshape(-1, 4),
        torch.tensor(sizes, dtype=torch.float64).reshape(-1, 6),
        torch.tensor(signs, dtype=torch.float64).reshape(-1, 6),
    )


def _height(angles: Tensor, sizes: Tensor, signs: Tensor) -> Tensor:
    """Potentials `[..., T]` of angles `[..., T]`."""
    multiples = torch.arange(1, 7, dtype=angles.dtype)
    waves = 1.0 + signs * torch.cos(multiples * angles.unsqueeze(-1))
    return (sizes * waves).sum(-1)

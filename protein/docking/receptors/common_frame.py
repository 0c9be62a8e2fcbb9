"""Whether several structures of a receptor are in one frame, as a screen against them needs."""

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.structures.superposition import superposed_rmsd

__all__ = ["frame_fault"]

_REACH = 12.0  # Å from the box, within which residues are compared
_FEWEST = 6  # residues that two structures share there, for anything to be said
_FAR = 4.0  # Å: loops of one frame differ by less on average, structures of two by more


def frame_fault(first: Receptor, other: Receptor, box: Box) -> str:
    """Why a structure cannot be searched with the box of another; empty if it can.

    C-alpha atoms of the residues near the box are paired by chain, number and name. Where the
    structures share too few, as with other numbers of residues, only an empty box is a fault.

    Args:
        first: the structure around which the box was chosen.
        other: another structure of the protein.
        box: where ligand atoms may be.

    Returns:
        One sentence with its remedy.
    """
    if not (box.distance(other.coords) <= 4.0).any():
        return "no atom of it is in or near the box; superpose it on the first structure"
    a, b = _alphas(first), _alphas(other)
    near = [key for key in a.keys() & b.keys() if box.distance(a[key]) < _REACH]
    if len(near) < _FEWEST:
        return ""
    x, y = (np.stack([of[key] for key in near]) for of in (a, b))
    apart = float(np.sqrt(np.square(x - y).sum(-1).mean()))
    after = float(superposed_rmsd(torch.as_tensor(y), torch.as_tensor(x)))
    if apart < _FAR or after > apart / 2:
        return ""
    return (
        f"its C-alpha atoms near the box are {apart:.1f} Å from those of the first structure, and "
        f"{after:.1f} Å once superposed; superpose it first"
    )


def _alphas(receptor: Receptor) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Places of the C-alpha atoms `[3]`, Å, by label and name of their residues."""
    found = zip(receptor.atoms, receptor.residues, receptor.resnames, receptor.coords, strict=True)
    return {(label, name): xyz for atom, label, name, xyz in found if atom == "CA"}

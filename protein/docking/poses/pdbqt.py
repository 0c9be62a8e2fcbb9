"""Poses as PDBQT, the format of the AutoDock programs, written by Meeko."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.ligand import Ligand, quietly
from sciddiff.errors import InputError, brief


def pdbqt_text(ligand: Ligand, coords: NDArray[np.floating]) -> str:
    """Text of one pose, with polar hydrogens, torsion tree, and the SMILES in its remarks.

    Args:
        ligand: the molecule.
        coords: `[N, 3]`, Å.

    Raises:
        InputError: Meeko is not installed, or cannot write the molecule.
    """
    from rdkit.Chem import AddHs

    try:
        meeko: Any = importlib.import_module("meeko")
    except ImportError as error:
        raise InputError("PDBQT is written by Meeko; run: pip install meeko") from error
    try:
        full = AddHs(ligand.with_coords(coords), addCoords=True)
        (setup,) = quietly(meeko.MoleculePreparation().prepare, full)
        text, good, reason = meeko.PDBQTWriterLegacy.write_string(setup)
    except Exception as error:  # Meeko raises whatever its typing meets
        raise InputError(f"{ligand.name}: Meeko cannot write it ({brief(error)})") from error
    if not good:
        raise InputError(f"{ligand.name}: Meeko cannot write it ({reason})")
    return str(text)

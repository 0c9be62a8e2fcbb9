"""Fresh conformers of a ligand, and the stereochemistry of coordinates.

Every conformer is checked against the stereochemistry that the input specifies. What the input
leaves open may have either configuration, which ``stereoisomer`` names.
"""

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.ligand import Ligand, quietly
from sciddiff.errors import InputError

# Force constant of the walls that hold atoms, kcal/mol/Å², and steps of that minimisation.
_WALL = 50.0
_RELAXATION = 500


def fresh_conformers(
    ligand: Ligand, n: int = 1, seed: int = 0, attempts: int = 200
) -> NDArray[np.float64]:
    """Make conformers by ETKDGv3 and a short MMFF94 relaxation, without input coordinates.

    Args:
        ligand: the molecule.
        n: number of conformers wanted; fewer may be returned.
        seed: seed of the embedding; the same seed gives the same conformers.
        attempts: embeddings that are tried for each conformer, and as many again from random
            coordinates. A number and not a time, so that no result depends on the machine's load.

    Returns:
        Heavy-atom coordinates `[K, N, 3]`, 1 <= K <= n, Å.

    Raises:
        InputError: the embedding failed, or no conformer has the stereochemistry of the input.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    full = Chem.AddHs(ligand.mol)
    for random_coords in (False, True):
        parameters = rdDistGeom.ETKDGv3()
        # RDKit multiplies the seed by the number of the conformer: 0 would make them all alike.
        parameters.randomSeed = 1 + seed % (2**31 - 2)
        parameters.useRandomCoords = random_coords
        parameters.maxIterations = attempts
        ids = list(quietly(rdDistGeom.EmbedMultipleConfs, full, n, parameters))
        if ids:
            break
    else:
        raise InputError(
            f"{ligand.name}: no 3-D conformer could be made (strained or impossible "
            "stereochemistry?); check the structure"
        )
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
        quietly(rdForceFieldHelpers.MMFFOptimizeMoleculeConfs, full, maxIters=200)
    else:
        quietly(rdForceFieldHelpers.UFFOptimizeMoleculeConfs, full, maxIters=200)
    heavy = [a.GetIdx() for a in full.GetAtoms() if a.GetAtomicNum() > 1]
    kept = []
    for conformer in full.GetConformers():
        coords = conformer.GetPositions()[heavy]
        if np.isfinite(coords).all() and same_stereo(ligand, coords):
            kept.append(coords)
    if not kept:
        raise InputError(
            f"{ligand.name}: every conformer lost the stereochemistry of the input; check its "
            "stereocentres"
        )
    return np.stack(kept)


def relax_geometry(
    ligand: Ligand, coords: NDArray[np.float64], reach: float = 0.3
) -> NDArray[np.float64]:
    """Coordinates with MMFF94s bonds, angles and rings; UFF where MMFF has no parameters.

    Hydrogens are added as the stereochemistry of the molecule demands, and heavy atoms are held by
    harmonic walls around their places. The receptor is not seen.

    Args:
        ligand: the molecule.
        coords: `[N, 3]`, Å.
        reach: distance from its place at which the wall of an atom begins, Å.

    Returns:
        `[N, 3]`, Å; as given where RDKit has no force field for the molecule.
    """
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers

    full = Chem.AddHs(ligand.with_coords(coords), addCoords=True)
    properties = quietly(rdForceFieldHelpers.MMFFGetMoleculeProperties, full, "MMFF94s")
    if properties is not None:
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(full, properties)
        hold = field.MMFFAddPositionConstraint
    elif quietly(rdForceFieldHelpers.UFFHasAllMoleculeParams, full):
        field = rdForceFieldHelpers.UFFGetMoleculeForceField(full)
        hold = field.UFFAddPositionConstraint
    else:
        return coords
    field.Initialize()
    for i in range(len(ligand)):
        hold(i, reach, _WALL)
    quietly(field.Minimize, maxIts=_RELAXATION)
    found = full.GetConformer().GetPositions()[: len(ligand)]
    return found if np.isfinite(found).all() else coords


def same_stereo(ligand: Ligand, coords: NDArray[np.floating]) -> bool:
    """Whether coordinates have every stereocentre and double bond that the ligand specifies.

    Args:
        ligand: the molecule with its stereochemistry.
        coords: `[N, 3]`, Å.
    """
    return _isomer(ligand, coords, every=False) == _isomer(ligand, None, every=False)


def stereoisomer(ligand: Ligand, coords: NDArray[np.floating]) -> str:
    """Isomeric SMILES of coordinates, which decide what the ligand leaves open.

    Args:
        ligand: the molecule.
        coords: `[N, 3]`, Å.
    """
    return _isomer(ligand, coords, every=True)


def _isomer(ligand: Ligand, coords: NDArray[np.floating] | None, every: bool) -> str:
    """Canonical SMILES of coordinates or of the input, with every centre or the given ones."""
    from rdkit import Chem

    mol = Chem.Mol(ligand.mol) if coords is None else ligand.with_coords(coords)
    if coords is not None:
        Chem.AssignStereochemistryFrom3D(mol)
    open_bonds = (Chem.BondStereo.STEREONONE, Chem.BondStereo.STEREOANY)
    if not every:
        for given, found in zip(ligand.mol.GetAtoms(), mol.GetAtoms(), strict=True):
            if given.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED:
                found.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    for given, found in zip(ligand.mol.GetBonds(), mol.GetBonds(), strict=True):
        # The directions of single bonds would bring back the double bonds that are left open.
        found.SetBondDir(Chem.BondDir.NONE)
        if not every and given.GetStereo() in open_bonds:
            found.SetStereo(Chem.BondStereo.STEREONONE)
    # Read once more, as centres that differ only by open ones are none any longer.
    return Chem.CanonSmiles(Chem.MolToSmiles(mol))

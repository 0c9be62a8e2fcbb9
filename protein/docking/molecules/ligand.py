"""Small molecules for docking: which are accepted, and their symmetries.

A ``Ligand`` is the heavy-atom view of one RDKit molecule. Charges and tautomers are kept as given;
hydrogens are used only to find donors and to embed conformers. Stereochemistry comes from the
coordinates of a 3-D input, and otherwise from wedges or SMILES.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from protein.docking.molecules.atom_types import ligand_types
from protein.docking.molecules.torsion_tree import (
    TorsionTree,
    interacting_pairs,
    macrocycles,
    torsion_tree,
)
from sciddiff.errors import InputError, MissingExtra, brief

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

ELEMENTS: frozenset[str] = frozenset("B C N O F Si P S Cl Se Br I".split())
"""Elements of a ligand that have an energy type."""

# Automorphisms beyond this many (fullerenes, several tert-butyls) are left out of symmetry.
_MOST_SYMMETRIES = 4096


@dataclass(frozen=True)
class LigandSettings:
    """Limits on the size of a ligand.

    Attributes:
        max_torsions: rotatable bonds above which a molecule is refused (peptides).
        max_atoms: heavy atoms above which a molecule is refused.
    """

    max_torsions: int = 32
    max_atoms: int = 120


_LONGEST_SMILES = 10_000

LIMITS = LigandSettings()
"""The default limits."""


@dataclass(frozen=True, eq=False)
class Ligand:
    """One molecule of N heavy atoms.

    Attributes:
        mol: RDKit molecule without explicit hydrogens, sanitised, stereochemistry assigned.
        tree: its torsion tree.
        types: energy types of the atoms `[N]`; see ``atom_types``.
        interacting_pairs: pairs i < j of atoms that have an energy with each other `[K, 2]`; see
            ``torsion_tree``.
        name: name of the molecule in tables.
        coords: input coordinates `[N, 3]`, float64, Å; None without a 3-D input.
        labelled: SMILES with the isotopes of hydrogen, if there are any; empty otherwise.
    """

    mol: "Mol"
    tree: TorsionTree
    types: NDArray[np.int64]
    interacting_pairs: NDArray[np.int64]
    name: str = ""
    coords: NDArray[np.float64] | None = None
    labelled: str = ""

    def __len__(self) -> int:
        """Number of heavy atoms N."""
        return self.mol.GetNumAtoms()

    @cached_property
    def smiles(self) -> str:
        """Canonical isomeric SMILES, with all isotopes of the input."""
        from rdkit.Chem import MolToSmiles

        return self.labelled or MolToSmiles(self.mol)

    @cached_property
    def macrocycle(self) -> bool:
        """Whether it has a ring of twelve members or more, which takes many shapes."""
        return bool(macrocycles(self.mol))

    @cached_property
    def open_stereo(self) -> int:
        """Stereocentres and double bonds whose configuration the input leaves open.

        Only those that heavy atoms can show and that last are counted, see `shows_isomers`.
        """
        from rdkit.Chem import FindPotentialStereo, StereoSpecified

        found = FindPotentialStereo(self.mol)
        open_ones = [i for i in found if i.specified == StereoSpecified.Unspecified]
        return sum(shows_isomers(self.mol, info) for info in open_ones)

    @cached_property
    def symmetries(self) -> NDArray[np.int64]:
        """Automorphisms of the molecular graph `[K, N]`, the identity among them.

        Row k lists, for each atom, the atom that takes its place. Terminal groups that differ
        only in where the double bond or charge is drawn (carboxylate, phosphate, sulfonate,
        nitro, guanidinium) count as symmetric.
        """
        parameters = _chem().SubstructMatchParameters()
        parameters.uniquify = False
        parameters.maxMatches = _MOST_SYMMETRIES
        parameters.useChirality = False
        plain = delocalised(self.mol)
        matches = plain.GetSubstructMatches(plain, parameters)
        if len(matches) == _MOST_SYMMETRIES:
            _log.warning("more than %d symmetries; the rest is left out", _MOST_SYMMETRIES)
        identity = np.arange(len(self))[None]
        return np.unique(np.concatenate([identity, np.asarray(matches, np.int64)]), axis=0)

    def require_coords(self) -> NDArray[np.float64]:
        """Input coordinates `[N, 3]`.

        Raises:
            InputError: the input has none (SMILES or a flat drawing).
        """
        if self.coords is None:
            raise InputError(
                f"{self.name or 'ligand'}: has no 3-D coordinates; give an SDF or MOL2 file of a "
                "pose, not a SMILES or a flat drawing"
            )
        return self.coords

    def with_coords(self, coords: NDArray[np.floating]) -> "Mol":
        """Copy of the molecule with one conformer.

        Args:
            coords: `[N, 3]`, Å.
        """
        from rdkit.Chem import Conformer, Mol

        mol = Mol(self.mol)
        mol.RemoveAllConformers()
        conformer = Conformer(len(self))
        conformer.Set3D(True)
        conformer.SetPositions(np.ascontiguousarray(coords, dtype=np.float64))
        mol.AddConformer(conformer)
        return mol


def ligand_from_mol(
    mol: "Mol | None", name: str = "ligand", settings: LigandSettings = LIMITS
) -> Ligand:
    """Check a molecule and make a ``Ligand`` of it.

    Args:
        mol: molecule that RDKit parsed; it is sanitised here if it was not.
        name: name for messages and tables.
        settings: limits on the size of a molecule.

    Raises:
        InputError: the molecule cannot be docked; the message says why.
        MissingExtra: RDKit is not installed.
    """
    Chem = _chem()
    if mol is None or mol.GetNumAtoms() == 0:
        raise InputError(f"{name}: is not a readable molecule; check the record")
    full = Chem.Mol(mol)
    _check_elements(full, name)
    try:
        Chem.SanitizeMol(full)
        heavy = Chem.RemoveAllHs(full)
    except Exception as error:  # RDKit raises several unrelated types for bad chemistry
        raise InputError(f"{name}: {_chemistry(error)}") from error
    _check(heavy, name, settings)
    coords = input_coords(heavy)
    if coords is not None:
        Chem.AssignStereochemistryFrom3D(heavy)
    else:
        Chem.AssignStereochemistry(heavy, cleanIt=True, force=True)
    tree = torsion_tree(heavy)
    if len(tree) > settings.max_torsions:
        raise InputError(
            f"{name}: has {len(tree)} rotatable bonds, above {settings.max_torsions} (a peptide "
            "or polymer?); dock a smaller piece or use a peptide method"
        )
    pairs = interacting_pairs(heavy, tree)
    heavy.RemoveAllConformers()
    deuterated = any(a.GetAtomicNum() == 1 and a.GetIsotope() for a in full.GetAtoms())
    if coords is not None:
        Chem.AssignStereochemistryFrom3D(full)
    labelled = Chem.MolToSmiles(Chem.RemoveHs(full)) if deuterated else ""
    return Ligand(heavy, tree, ligand_types(heavy), pairs, name, coords, labelled)


def shows_isomers(mol: "Mol", info: Any) -> bool:
    """Whether a potential centre or double bond has configurations that are different molecules.

    Not so: a ``C=NH``, a centre such as a phosphate's, two of whose ends differ only in where
    charge and hydrogen are drawn, and a nitrogen with a hydrogen, which loses it, inverts and
    takes it up again.

    Args:
        mol: heavy-atom molecule.
        info: what RDKit's ``FindPotentialStereo`` says of it.
    """
    from rdkit.Chem import StereoType

    if info.type == StereoType.Bond_Double:
        bond = mol.GetBondWithIdx(info.centeredOn)
        return bool(min(bond.GetBeginAtom().GetDegree(), bond.GetEndAtom().GetDegree()) > 1)
    atom = mol.GetAtomWithIdx(info.centeredOn)
    if atom.GetAtomicNum() == 7 and atom.GetTotalNumHs():
        return False
    ends = [n.GetAtomicNum() for n in atom.GetNeighbors() if n.GetDegree() == 1]
    return len(ends) == len(set(ends))


def ligand_from_smiles(smiles: str, name: str = "", settings: LigandSettings = LIMITS) -> Ligand:
    """Make a ``Ligand`` from a SMILES string.

    Raises:
        InputError: RDKit cannot read it, or the molecule is refused.
    """
    label = name or brief(ValueError(smiles))
    return ligand_from_mol(mol_from_smiles(smiles, label), label, settings)


def mol_from_smiles(smiles: str, name: str) -> "Mol":
    """Parse a SMILES string, without sanitising its molecule.

    Args:
        smiles: the string.
        name: name for messages.

    Raises:
        InputError: RDKit cannot read it.
    """
    if len(smiles) > _LONGEST_SMILES:  # RDKit would take minutes and gigabytes to say so
        raise InputError(
            f"{name}: has {len(smiles):,} characters of SMILES, above {_LONGEST_SMILES:,}; dock "
            "a smaller piece"
        )
    mol = quietly(_chem().MolFromSmiles, smiles, sanitize=False)
    if mol is None or not smiles.strip():
        shown = brief(ValueError(repr(smiles)))
        raise InputError(f"{name}: {shown} is not a valid SMILES; check rings and brackets")
    return mol


def quietly(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call an RDKit function with its messages to stderr turned off."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        return function(*args, **kwargs)


def delocalised(mol: "Mol") -> "Mol":
    """Copy without charges in which bonds to terminal O, S, N of one centre look alike.

    Args:
        mol: heavy-atom molecule.
    """
    Chem = _chem()
    copy = Chem.RWMol(mol)
    for atom in copy.GetAtoms():
        ends = [
            b for b in atom.GetBonds()
            if b.GetOtherAtom(atom).GetDegree() == 1
            and b.GetOtherAtom(atom).GetAtomicNum() in (7, 8, 16)
        ]  # fmt: skip
        if len(ends) > 1 and any(b.GetBondTypeAsDouble() > 1 for b in ends):
            for bond in ends:
                bond.SetBondType(Chem.BondType.ONEANDAHALF)
    for atom in copy.GetAtoms():
        atom.SetFormalCharge(0)
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(0)
    for bond in copy.GetBonds():
        bond.SetStereo(Chem.BondStereo.STEREONONE)
    return copy.GetMol()


def _check_elements(mol: "Mol", name: str) -> None:
    symbols = {atom.GetSymbol() for atom in mol.GetAtoms()} - {"H", "D"}
    if "*" in symbols or "R" in symbols:
        raise InputError(f"{name}: has an attachment point (*); give a whole molecule")
    strange = sorted(symbols - ELEMENTS)
    if strange:
        raise InputError(
            f"{name}: holds {', '.join(strange)}, a metal or element without docking parameters; "
            "remove it or dock the organic part (dock --strip-salts takes counter-ions off)"
        )
    if not symbols:
        raise InputError(f"{name}: has no heavy atom; check the record")


def _check(mol: "Mol", name: str, settings: LigandSettings) -> None:
    Chem = _chem()
    parts = Chem.GetMolFrags(mol)
    if len(parts) > 1:
        sizes = ", ".join(str(len(part)) for part in parts)
        raise InputError(
            f"{name}: is a salt or mixture of {len(parts)} parts ({sizes} heavy atoms); give the "
            "part alone, or dock with --strip-salts"
        )
    if mol.GetNumAtoms() > settings.max_atoms:
        raise InputError(
            f"{name}: has {mol.GetNumAtoms()} heavy atoms, above {settings.max_atoms}; dock a "
            "smaller piece"
        )
    radicals = [a.GetIdx() + 1 for a in mol.GetAtoms() if a.GetNumRadicalElectrons()]
    if radicals:
        raise InputError(
            f"{name}: atom {radicals[0]} is a radical (a wrong charge or a missing hydrogen); "
            "correct its formal charge"
        )


def _chemistry(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "valence" in text.lower():
        return f"has a wrong valence or charge ({text}); correct the formal charge or the bonds"
    if "kekulize" in text.lower():
        return f"has an impossible aromatic ring ({text}); check bond orders and [nH]"
    return f"is refused by RDKit ({text[:160]}); check its bond orders and charges"


def input_coords(mol: "Mol") -> NDArray[np.float64] | None:
    """Coordinates of a molecule `[N, 3]`, Å; None where there are none, or a flat drawing.

    Args:
        mol: molecule with or without a conformer.
    """
    if mol.GetNumConformers() == 0:
        return None
    conformer = mol.GetConformer()
    coords = np.asarray(conformer.GetPositions())
    flat = not conformer.Is3D() and bool(np.ptp(coords[:, 2]) < 1e-3)
    distinct = len(coords) == 1 or np.ptp(coords, axis=0).max() > 0.1
    return coords if not flat and distinct and np.isfinite(coords).all() else None


def _chem() -> Any:
    try:
        from rdkit import Chem
    except ImportError as error:
        raise MissingExtra("rdkit", "docking") from error
    return Chem

"""States of a molecule: stereoisomers, tautomers, protonation states, and salts without ions.

A drawing often leaves open what binds: centres without a configuration, a tautomer, a charge. Each
state that is enumerated is a molecule of its own and names its input as its parent.

- *Stereoisomers* are those of centres and double bonds that the input leaves open, and no others.
- *Tautomers* are those of RDKit that move hydrogens between N, O and S alone (no enols), and have
  no fewer aromatic atoms and no more iminols than the input.
- *Protonation states* at a pH are those of Dimorphite-DL (Ropp et al., *J. Cheminform.* 11 (2019)
  14). The first has every group on its side of the mean pKa of such groups; the others are those
  of groups whose pKa is within its spread of the pH.

States are numbered in this order: the tautomer that was given first, then by RDKit's score; the
protonation states of each; and within these the stereoisomers that have a shape. Equal outcomes
are counted once: molecules of one SMILES, and drawings of one molecule that differ only in where
double bonds and charges are drawn, as the two of a guanidinium.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protein.docking.molecules.files import LigandRecord, ligand_records
from protein.docking.molecules.ligand import (
    LIMITS,
    LigandSettings,
    ligand_from_mol,
    quietly,
    shows_isomers,
)
from protein.docking.molecules.sources import STATE_COLUMNS, LigandSource
from sciddiff.cli.fingerprint import digest
from sciddiff.errors import InputError, MissingExtra, reading
from sciddiff.files import read_table, replacing
from sciddiff.names import Names, cell, text_of

if TYPE_CHECKING:
    from rdkit.Chem import Mol

STATES = "states.csv"
"""Table of the states of a library, which is docked in its place."""

KINDS: tuple[str, ...] = ("stereo", "tautomers", "protomers")
"""What can be enumerated."""

_COLUMNS = ("name", "smiles", *STATE_COLUMNS, "digest")
# Tautomers and protonation states of one molecule beyond which none is made.
_MOST_TRIED = 256
# Embeddings after which a configuration counts as impossible.
_EMBEDDINGS = 30
# Assignments of open centres that are compared to learn whether several stereoisomers are open.
_COMPARED = 256
_IMINOL = "[#6;!a](=[NX2;!a])[OX2H,SX2H]"


@dataclass(frozen=True)
class StateSettings:
    """Which states are made of each molecule.

    Attributes:
        kinds: some of ``KINDS``.
        most: largest number of states of one molecule.
        ph: pH of the protonation states.
        strip: whether the largest part of a salt or mixture is taken.
    """

    kinds: tuple[str, ...] = ()
    most: int = 8
    ph: float = 7.4
    strip: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise InputError(f"states: {unknown[0]!r} is none of {', '.join(KINDS)}; correct it")


@dataclass(frozen=True)
class States:
    """States of one molecule.

    Attributes:
        smiles: canonical isomeric SMILES of each.
        note: what was left out or taken off, one sentence; empty if there is nothing to say.
    """

    smiles: tuple[str, ...]
    note: str = ""


def enumerate_states(
    mol: "Mol", settings: StateSettings, name: str = "ligand", limits: LigandSettings = LIMITS
) -> States:
    """Make the states of a molecule.

    Args:
        mol: molecule that RDKit parsed; it is sanitised here if it was not.
        settings: which states.
        name: name for messages.
        limits: limits on the size of a molecule.

    Raises:
        InputError: the molecule cannot be docked; the message says why.
        MissingExtra: protonation states are asked for and Dimorphite-DL is not installed.

    >>> from rdkit.Chem import MolFromSmiles
    >>> enumerate_states(MolFromSmiles("CC(F)Cl"), StateSettings(("stereo",))).smiles
    ('C[C@H](F)Cl', 'C[C@@H](F)Cl')
    """
    from rdkit import Chem

    notes: list[str] = []
    if settings.strip:
        mol, taken_off = largest_part(mol)
        notes += [f"without {', '.join(taken_off)}"] if taken_off else []
    ligand = quietly(ligand_from_mol, mol, name, limits)
    found = [ligand.mol]
    if "tautomers" in settings.kinds:
        found = quietly(_tautomers, ligand.mol)
    if "protomers" in settings.kinds:
        found = _each(found, lambda one: _protomers(one, settings.ph))
    open_stereo = "stereo" in settings.kinds and ligand.open_stereo > 0
    made: dict[str, str] = {}
    for one in found:
        isomers = quietly(_stereoisomers, one, settings.most + 1) if open_stereo else [one]
        for isomer in isomers:
            made.setdefault(_species(isomer), Chem.CanonSmiles(Chem.MolToSmiles(isomer)))
        if len(made) > settings.most:
            notes.append(f"the first {settings.most} of more states are kept")
            break
    return States(tuple(islice(made.values(), settings.most)), "; ".join(notes))


def largest_part(mol: "Mol") -> tuple["Mol", list[str]]:
    """The part of a salt or mixture with the most heavy atoms, and SMILES of the other parts.

    Usual counter-ions and solvents, of which RDKit has a list, are taken only where all parts are
    such: of an amine with sulfuric acid it is the amine.

    Args:
        mol: molecule of one or several parts, sanitised or not; of parts of one size, the first
            one that has carbon is taken.
    """
    from rdkit import Chem
    from rdkit.Chem.SaltRemover import SaltRemover

    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    if len(parts) < 2:
        return mol, []
    remover = SaltRemover()

    def size(part: Any) -> tuple[bool, int, bool]:
        numbers = [atom.GetAtomicNum() for atom in part.GetAtoms() if atom.GetAtomicNum() > 1]
        part.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(part)
        usual = remover.StripMol(part).GetNumAtoms() == 0
        return not usual, len(numbers), 6 in numbers

    best = max(range(len(parts)), key=lambda i: (size(parts[i]), -i))
    others = [quietly(Chem.MolToSmiles, part) for i, part in enumerate(parts) if i != best]
    return parts[best], sorted(others)


def write_states(
    source: LigandSource, path: Path, settings: StateSettings, limits: LigandSettings = LIMITS
) -> None:
    """Write the table of the states of all molecules of a source, which is read as a library.

    A molecule that has none, since it cannot be docked, is a row with the reason. Rows of a table
    that is there already are taken over where neither record nor settings have changed.

    Args:
        source: file, folder or SMILES, or several.
        path: table to write.
        settings: which states.
        limits: limits on the size of a molecule.

    Raises:
        InputError: the source cannot be read.
        MissingExtra: protonation states are asked for and Dimorphite-DL is not installed.
    """
    known = _known(path)
    text, names = io.StringIO(), Names()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in ligand_records(source, check=False):
        made_of = digest([record.digest, asdict(settings), asdict(limits)])
        rows = known.get(made_of) or list(_rows(record, settings, limits))
        for number, row in enumerate(rows, 1):
            wanted = record.name if len(rows) == 1 else f"{record.name}_state{number}"
            name = names.unique(wanted, record.name)
            said = {"name": name, "parent": record.name, "digest": made_of}
            writer.writerow({key: cell(value) for key, value in {**row, **said}.items()})
    with replacing(path) as out:
        out.write(text.getvalue().encode("utf-8"))


def _rows(
    record: LigandRecord, settings: StateSettings, limits: LigandSettings
) -> Iterator[dict[str, str]]:
    try:
        states = enumerate_states(record.molecule(), settings, record.name, limits)
    except InputError as error:
        yield {"smiles": "", "state_error": str(error)}
        return
    for smiles in states.smiles:
        yield {"smiles": smiles, "state_note": states.note}


def _known(path: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of an earlier table by the digest of what they were made of."""
    known: dict[str, list[dict[str, str]]] = {}
    if path.is_file():
        with reading(path, "a table of states", "remove it and run the same command again"):
            for row in read_table(path):
                kept = {key: text_of(row[key]) for key in _COLUMNS}
                known.setdefault(kept.pop("digest"), []).append(kept)
    return known


def _each(mols: Iterable["Mol"], make: Callable[["Mol"], Iterable["Mol"]]) -> list["Mol"]:
    return list(islice((made for mol in mols for made in make(mol)), _MOST_TRIED))


def _tautomers(mol: "Mol") -> list["Mol"]:
    """The molecule, and then its tautomers by RDKit's score."""
    from rdkit import Chem
    from rdkit.Chem.MolStandardize import rdMolStandardize

    tools = rdMolStandardize.TautomerEnumerator()
    tools.SetMaxTautomers(_MOST_TRIED)
    tools.SetRemoveSp3Stereo(False)
    tools.SetRemoveBondStereo(False)
    iminol = Chem.MolFromSmarts(_IMINOL)

    def shape(one: Any) -> tuple[int, int, list[int]]:
        atoms = list(one.GetAtoms())
        carbons = [atom.GetTotalNumHs() for atom in atoms if atom.GetAtomicNum() == 6]
        aromatic = sum(atom.GetIsAromatic() for atom in atoms)
        return aromatic, len(one.GetSubstructMatches(iminol)), carbons

    aromatic, iminols, carbons = shape(mol)
    scored = []
    for one in tools.Enumerate(mol):
        has, rare, hydrogens = shape(one)
        if has >= aromatic and rare <= iminols and hydrogens == carbons:
            scored.append((-tools.ScoreTautomer(one), Chem.MolToSmiles(one), one))
    scored.sort(key=lambda entry: entry[:2])
    given = Chem.MolToSmiles(mol)
    return [mol, *(one for _, smiles, one in scored if smiles != given)]


def _protomers(mol: "Mol", ph: float) -> list["Mol"]:
    """Protonation states at a pH, the likeliest first; the molecule where there is none."""
    from rdkit import Chem

    try:
        from dimorphite_dl import protonate_smiles
    except ImportError as error:
        raise MissingExtra("dimorphite-dl", "states") from error

    given, found = Chem.MolToSmiles(mol), []
    for spread in (0.0, 1.0):
        made = protonate_smiles(given, ph_min=ph, ph_max=ph, precision=spread,
                                max_variants=_MOST_TRIED)  # fmt: skip
        read = [quietly(Chem.MolFromSmiles, smiles) for smiles in made]
        found += sorted({Chem.MolToSmiles(one) for one in read if one is not None})
    mols = [Chem.MolFromSmiles(smiles) for smiles in dict.fromkeys(found)]
    return mols or [mol]


def _species(mol: "Mol") -> str:
    """A name that all drawings of one molecule share: its atoms with their hydrogens, who is
    bonded to whom, the configurations, and the charge of the whole.
    """
    from rdkit import Chem

    copy = Chem.RWMol(mol)
    charge = Chem.GetFormalCharge(mol)
    for atom in copy.GetAtoms():
        hydrogens = atom.GetTotalNumHs()
        atom.SetFormalCharge(0)
        atom.SetIsAromatic(False)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(hydrogens)
    for bond in copy.GetBonds():
        bond.SetIsAromatic(False)
        if bond.GetStereo() == Chem.BondStereo.STEREONONE:
            bond.SetBondType(Chem.BondType.SINGLE)
    return f"{Chem.MolToSmiles(copy, allHsExplicit=True)} {charge:+d}"


def has_open_stereo(mol: "Mol") -> bool:
    """Whether the input leaves several stereoisomers open that differ and can be.

    The centres of ``Ligand.open_stereo`` may all depend on each other or be none, as those of
    bicyclooctane, cubane and adamantane.

    Args:
        mol: molecule of heavy atoms.

    >>> from rdkit.Chem import MolFromSmiles
    >>> [has_open_stereo(MolFromSmiles(s)) for s in ("C1CC2CCC1CC2", "NC12CC3CC(CC(C3)C1)C2")]
    [False, False]
    >>> has_open_stereo(MolFromSmiles("CC1CCC(C)CC1"))
    True
    """
    return len(quietly(_stereoisomers, mol, 2, _COMPARED)) > 1


def _stereoisomers(mol: "Mol", most: int, tried: int = 0) -> list["Mol"]:
    from rdkit import Chem
    from rdkit.Chem.EnumerateStereoisomers import (
        EnumerateStereoisomers,
        StereoEnumerationOptions,
    )
    from rdkit.Chem.rdMolDescriptors import CalcNumBridgeheadAtoms

    # What is no isomer has any configuration while the others are enumerated, and then none.
    held = [
        info.centeredOn for info in Chem.FindPotentialStereo(mol)
        if info.type == Chem.StereoType.Atom_Tetrahedral
        and info.specified == Chem.StereoSpecified.Unspecified
        and not shows_isomers(mol, info)
    ]  # fmt: skip
    copy = Chem.Mol(mol)
    for i in held:
        copy.GetAtomWithIdx(i).SetChiralTag(Chem.ChiralType.CHI_TETRAHEDRAL_CW)

    def different() -> Iterator["Mol"]:
        seen = set()
        options = StereoEnumerationOptions(onlyUnassigned=True, unique=True, maxIsomers=tried)
        for isomer in EnumerateStereoisomers(copy, options):
            for i in held:
                isomer.GetAtomWithIdx(i).SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
            if held:
                Chem.AssignStereochemistry(isomer, cleanIt=True, force=True)
            name = Chem.MolToSmiles(isomer)
            if name not in seen:
                seen.add(name)
                yield isomer

    isomers = different()
    if CalcNumBridgeheadAtoms(mol):  # only bridges make configurations depend on each other
        isomers = filter(_has_shape, isomers)
    return list(islice(isomers, most)) or [mol]


def _has_shape(mol: "Mol") -> bool:
    from rdkit.Chem import AddHs
    from rdkit.Chem.rdDistGeom import EmbedMolecule, ETKDGv3

    parameters = ETKDGv3()
    parameters.randomSeed, parameters.maxIterations = 1, _EMBEDDINGS
    return EmbedMolecule(AddHs(mol), parameters) >= 0

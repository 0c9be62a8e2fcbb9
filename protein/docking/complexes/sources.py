"""Complexes in a folder of files, and what is read of each.

Three kinds are found, at any depth: folders with ``ID_protein.pdb`` and ``ID_ligand.sdf`` or
``.mol2`` (PDBbind); folders with ``protein.pdb`` or ``receptor.pdb`` (also ``.cif``), or
``backbone.pdb`` if side chains are unknown, and ``ligand.sdf`` or ``.mol2``; and, with a table of
components, structure files whose ligands are residues of a known name. If a folder above them is
called train, val or test, it names the split.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein.docking.complexes.archive import complex_arrays
from protein.docking.complexes.complex import make_complex, match
from protein.docking.complexes.components import ligands_of_structure
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.files import read_ligand
from protein.docking.molecules.ligand import LIMITS, Ligand, LigandSettings
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.structures.parse import STRUCTURE_SUFFIXES
from protein.structures.residues import parent_letter
from sciddiff.errors import InputError
from sciddiff.names import Names

_log = logging.getLogger(__name__)
_SPLITS = {"train": "train", "train_backbone": "train", "val": "val", "test": "test"}
_PROTEINS = tuple(n + s for n in ("protein", "receptor") for s in STRUCTURE_SUFFIXES)
_LIGANDS = (".sdf", ".mol2", ".mol")
_CONTACT = 8.0


@dataclass(frozen=True)
class ReadSettings:
    """Bounds of a training complex.

    Attributes:
        conformers: number of fresh conformers, of which the closest are kept.
        kept: number of conformers kept.
        max_rmsd: largest RMSD of a matched conformer from the crystal pose, Å.
        min_distance: smallest distance of ligand and protein that are not bonded, Å.
        max_distance: largest distance at which a ligand touches the protein, Å.
        max_atoms: largest number of heavy atoms of a ligand.
        max_torsions: largest number of rotatable bonds of a ligand.
        seed: seed of the conformers.
    """

    conformers: int = 4
    kept: int = 3
    max_rmsd: float = 1.2
    min_distance: float = 1.7
    max_distance: float = 5.0
    max_atoms: int = 70
    max_torsions: int = 24
    seed: int = 1


@dataclass(frozen=True)
class Source:
    """Files of one complex, or one structure file with its ligands inside.

    Attributes:
        id: name of the complex.
        receptor: structure file.
        ligands: files of the ligand, the best first; empty if the structure holds the ligands.
        split: split that the folder names; may be empty.
        backbone: whether side chains are missing.
    """

    id: str
    receptor: Path
    ligands: tuple[Path, ...] = ()
    split: str = ""
    backbone: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (self.receptor, *self.ligands)


@dataclass(frozen=True, eq=False)
class Item:
    """One complex that was kept.

    Attributes:
        id: name of the complex.
        arrays: see ``archive.complex_arrays``.
        info: plain values: smiles, scaffold, sequences, split, source, rmsd.
    """

    id: str
    arrays: Mapping[str, NDArray]
    info: dict[str, object]

    @property
    def sequences(self) -> list[str]:
        """Sequences of the chains that line the pocket."""
        return list(self.info["sequences"])  # type: ignore[call-overload]


@dataclass(frozen=True)
class Dropped:
    """A complex or file that was not kept, and why."""

    id: str
    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Reading:
    """What one source gave."""

    items: list[Item] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def find_sources(folder: Path, structures: bool = False) -> list[Source]:
    """Complexes below a folder, sorted by path.

    Args:
        folder: where to look.
        structures: whether to take structure files without a ligand file as well.

    Raises:
        InputError: the folder does not exist, or holds no complex.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of complexes")
    found: list[Source] = []
    folders = [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]
    for place in folders:
        split = next((_SPLITS[p] for p in place.relative_to(folder).parts if p in _SPLITS), "")
        found += _in_folder(place, split, structures)
    if not found:
        wanted = "ID_protein.pdb with ID_ligand.sdf, or protein.pdb with ligand.sdf"
        more = "" if structures else "; for plain structure files give --components"
        raise InputError(f"{folder}: no complex ({wanted}){more}")
    return found


def unique_names(folder: Path, sources: Sequence[Source]) -> list[str]:
    """Names of the complexes of a folder: their own, with their folder where two are alike.

    Args:
        folder: folder that was searched.
        sources: from ``find_sources``.
    """
    listed = list(sources)
    ids = [source.id.lower() for source in listed]
    count, names = Counter(ids), Names()
    return [
        names.unique(
            source.id
            if count[source.id.lower()] == 1
            else "_".join((*source.receptor.parent.relative_to(folder).parts[:-1], source.id)),
            f"complex_{number}",
        )
        for number, source in enumerate(listed, 1)
    ]


def read_source(
    source: Source, settings: ReadSettings, components: Mapping[str, str] | None = None
) -> Reading:
    """Read the complexes of a source; an error becomes a row and never an exception.

    Args:
        source: the files.
        settings: bounds of a complex.
        components: SMILES of ligand residues by name, for structure files.
    """
    try:
        if source.ligands:
            receptor = read_receptor(source.receptor, whole=not source.backbone)
            pairs = [(source.id, first_readable(source.ligands), receptor)]
            refused: list[tuple[str, str]] = []
        else:
            pairs, refused = ligands_of_structure(source.receptor, components or {})
    except InputError as error:
        detail = str(error).removeprefix(f"{source.receptor}: ")
        return Reading(dropped=[Dropped(source.id, str(source.receptor), "unreadable", detail)])
    except Exception as error:  # noqa: BLE001 - one odd file must not cost a night's work
        return Reading(dropped=[_failed(source.id, source, error)])
    reading = Reading()
    for name, reason in refused:
        reading.dropped.append(Dropped(name, str(source.receptor), "component", reason))
    for name, ligand, receptor in pairs:
        try:
            found = _read(name, ligand, receptor, source, settings)
        except InputError as error:
            found = Dropped(name, str(source.receptor), "ligand", str(error))
        except Exception as error:  # noqa: BLE001
            found = _failed(name, source, error)
        (reading.items if isinstance(found, Item) else reading.dropped).append(found)  # type: ignore[arg-type]
    return reading


def _in_folder(place: Path, split: str, structures: bool) -> list[Source]:
    files = {file.name.lower(): file for file in sorted(place.iterdir()) if file.is_file()}
    found, used = [], set()
    plain = next((name for name in _PROTEINS if name in files), "backbone.pdb")
    for name, file in files.items():
        stem = name.split(".")[0]
        if name == plain:
            ligands = [files[f"ligand{s}"] for s in _LIGANDS if f"ligand{s}" in files]
            title = place.name
        elif stem.endswith("_protein") and name.endswith(STRUCTURE_SUFFIXES):
            title = file.name.split(".")[0].removesuffix("_protein")
            names = [f"{title.lower()}_ligand{s}" for s in _LIGANDS]
            ligands = [files[n] for n in names if n in files]
        else:
            continue
        if ligands:
            found.append(Source(title, file, tuple(ligands), split, name == "backbone.pdb"))
            used.add(name)
    # Beside the files of a complex lie pockets and other cuts of it; they are no complexes.
    if structures and not used:
        for name, file in files.items():
            if name.endswith(STRUCTURE_SUFFIXES):
                found.append(Source(file.name.split(".")[0], file, (), split))
    return found


def first_readable(files: tuple[Path, ...], limits: LigandSettings = LIMITS) -> Ligand:
    """Read the ligand of a complex from the first of its files that can be read.

    Args:
        files: the best first.
        limits: limits on the size of a ligand.

    Raises:
        InputError: no file can be read; the message is that of the first.
    """
    error: InputError | None = None
    for file in files:
        try:
            return read_ligand(file, limits)
        except InputError as refused:
            error = error or refused
    raise error or InputError("no ligand file")


def _read(
    name: str, ligand: Ligand, receptor: Receptor, source: Source, settings: ReadSettings
) -> Item | Dropped:
    def drop(reason: str, detail: str) -> Dropped:
        return Dropped(name, str(source.receptor), reason, detail)

    if len(ligand) > settings.max_atoms or len(ligand.tree) > settings.max_torsions:
        sizes = f"{len(ligand)} heavy atoms and {len(ligand.tree)} rotatable bonds"
        bounds = f"at most {settings.max_atoms} and {settings.max_torsions}"
        return drop("large ligand", f"{sizes}; {bounds}")
    if len(ligand) < 5:
        return drop("small ligand", f"{len(ligand)} heavy atoms")
    crystal = ligand.require_coords()
    near = receptor.pocket(crystal, _CONTACT)
    gap = _gap(crystal, near.coords)
    if gap > settings.max_distance:
        return drop("no contact", f"closest atoms {gap:.1f} Å apart")
    if gap < settings.min_distance and not source.backbone:
        return drop("too close", f"closest atoms {gap:.1f} Å apart: bonded, or a double site")
    fresh = fresh_conformers(ligand, settings.conformers, settings.seed)
    matched, rmsd = match(ligand.tree, fresh, crystal)
    good = rmsd <= settings.max_rmsd
    if not good.any():
        return drop("conformers", f"none within {settings.max_rmsd:g} Å (best {rmsd[0]:.1f})")
    chosen = matched[good][: settings.kept]
    item = make_complex(name, ligand, receptor, chosen, source.backbone)
    info: dict[str, object] = {
        "smiles": ligand.smiles,
        "scaffold": scaffold(ligand),
        "sequences": sequences(near, receptor),
        "split": source.split,
        "source": str(source.receptor),
        "rmsd": float(rmsd[0]),
    }
    return Item(name, complex_arrays(item), info)


def scaffold(ligand: Ligand) -> str:
    """Murcko scaffold of at least two rings as SMILES, else the molecule itself without stereo.

    Two ligands that share it are called relatives.
    """
    from rdkit.Chem import MolToSmiles
    from rdkit.Chem.Scaffolds import MurckoScaffold

    core = MurckoScaffold.GetScaffoldForMol(ligand.mol)
    rings = core.GetRingInfo().NumRings() if core.GetNumAtoms() else 0
    return MolToSmiles(core if rings >= 2 else ligand.mol, isomericSmiles=False)


def sequences(near: Receptor, receptor: Receptor) -> list[str]:
    """Sequences of the chains that line the pocket, the closest first by number of atoms."""
    lining: dict[str, int] = {}
    for label in near.residues:
        chain = label.partition(":")[0]
        lining[chain] = lining.get(chain, 0) + 1
    letters: dict[str, list[str]] = {chain: [] for chain in lining}
    for atom, name, label in zip(
        receptor.atoms, receptor.resnames, receptor.residues, strict=True
    ):
        chain = label.partition(":")[0]
        letter = parent_letter(name) if atom == "CA" else None
        if letter and chain in letters:
            letters[chain].append(letter)
    chains = sorted(lining, key=lambda chain: -lining[chain])
    return [text for chain in chains if len(text := "".join(letters[chain])) >= 20]


def _gap(ligand: NDArray[np.float64], receptor: NDArray[np.float64]) -> float:
    from scipy.spatial import KDTree

    if len(receptor) == 0:
        return float("inf")
    return float(np.min(KDTree(receptor).query(ligand)[0]))


def _failed(name: str, source: Source, error: Exception) -> Dropped:
    _log.warning("%s: %s", source.receptor, error, exc_info=True)
    detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return Dropped(name, str(source.receptor), "failed", detail)

"""Read backbones from PDB and mmCIF files, plain or gzipped, as found in the wild.

Rules, each reported in ``Structure.notes``:

- *alternate locations*: per residue one conformer, that of highest total backbone occupancy,
  then the first letter; a point mutation (two residues at one place) likewise;
- *modified residues* become their parents (``MSE`` to M, ``HIE`` to H, …); a residue of unknown
  name belongs to the chain, as X, when a peptide bond ties it to a neighbour;
- *missing atoms*: a residue without N, CA or C, or with these at impossible distances, is
  dropped; a missing O is rebuilt in the peptide plane;
- *insertion codes, numbering and chain identifiers* are the author's; a chain without a name is
  given one, and a chain whose numbering starts again is read as several;
- waters, ligands and nucleic acids are counted and left out.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protein.structures.alternates import locations, occupancy
from protein.structures.chain import Backbone, OtherAtom, SideAtom, Structure
from protein.structures.parse import parse_file
from protein.structures.residues import WATERS, is_nucleotide, is_standard, parent_letter
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from Bio.PDB.Chain import Chain
    from Bio.PDB.Residue import Residue

_BACKBONE = ("N", "CA", "C", "O")
_OXYGENS = ("OT1", "O1", "OXT")  # what a carboxyl end may call its oxygen
# Outside these N–CA and CA–C distances (Å) the atoms cannot be a residue and its frame is noise.
_SANE_BOND = (0.9, 2.2)
# A residue of unknown name is part of the chain below this C–N distance, Å.
_TIE = 2.0


def read_structure(
    path: str | os.PathLike[str], model: int = 0, *, side_chains: bool = False
) -> Structure:
    """Backbones of every protein chain in a structure file.

    Args:
        path: ``.pdb``, ``.ent``, ``.cif`` or ``.mmcif``, optionally ``.gz``; the content, not
            the suffix, decides how it is read.
        model: which model, counted from 0 in file order (NMR ensembles have many).
        side_chains: keep the heavy atoms of the side chains too, and those of ligands, ions,
            nucleic acids and incomplete residues.

    Returns:
        The chains in file order, with resolution, notes and counts.

    Raises:
        InputError: no such file, not a structure, corrupt, empty, CA-only, without protein, or
            without that model.
    """
    file = Path(path)
    parsed = parse_file(file)
    models = list(parsed.structure)
    if not 0 <= model < len(models):
        raise InputError(
            f"{file}: no model {model}; it has {len(models)}, numbered 0 to {len(models) - 1}"
        )
    counts: Counter[str] = Counter(parsed.counts)
    if len(models) > 1:
        counts["models"] = len(models)
    others: dict[str, str] = {}
    around: list[OtherAtom] | None = [] if side_chains else None
    chains = [_read_chain(chain, file, counts, others, around) for chain in models[model]]
    kept = [chain for chain in chains if chain is not None]
    if not kept:
        raise InputError(f"{file}: {_why_nothing(counts)}")
    return Structure(
        chains=tuple(kept),
        resolution=parsed.resolution,
        source=str(file),
        notes=(*parsed.notes, *_notes(counts, model, side_chains)),
        counts={key: value for key, value in counts.items() if value},
        others=others,
        surroundings=tuple(around or ()),
    )


def _read_chain(
    chain: "Chain",
    file: Path,
    counts: Counter[str],
    others: dict[str, str],
    around: list[OtherAtom] | None,
) -> Backbone | None:
    """Backbone of one Biopython chain; None when it holds no complete residue.

    What is left out is counted, and named in ``others``; its atoms are added to ``around``, a list
    only where side chains are read.
    """

    def label(residue: "Residue") -> str:
        return f"{chain.id.strip()}{residue.id[1]}{residue.id[2].strip()}"

    candidates = []
    for entry in chain:
        found = _classify(entry, counts)
        if isinstance(found, str):
            others[label(entry)] = f"{found} ({entry.get_resname().strip()})"
            if around is not None and found != "a water":
                around += _other_atoms(_one_residue(entry, Counter()), chain.id)
        else:
            candidates.append(found)
    keep = _tied_or_known([(atoms, known) for _, _, atoms, _, known in candidates])
    counts["ligands"] += int((~keep).sum())
    for i in np.flatnonzero(~keep):
        others[label(candidates[i][0])] = f"a ligand ({candidates[i][0].get_resname().strip()})"
        if around is not None:
            around += _other_atoms(candidates[i][0], chain.id)
    rows, letters, ids, sides, b_factors = [], [], [], [], []
    for residue, letter, atoms, b_factor, _ in (candidates[i] for i in np.flatnonzero(keep)):
        name = residue.get_resname().strip().upper()
        if not _is_sane(atoms):
            others[label(residue)] = f"a residue without a complete N, CA and C ({name})"
            counts["ca_only"] += int(np.isfinite(atoms[1]).all() and np.isnan(atoms[[0, 2]]).all())
            counts["dropped_residues"] += 1
            if around is not None:
                around += _other_atoms(residue, chain.id)
            continue
        counts["modified"] += int(not is_standard(name) and name != "UNK")
        rows.append(atoms)
        b_factors.append(b_factor)
        letters.append(letter)
        ids.append((residue.id[1], residue.id[2].strip()))
        if around is not None:
            sides.append(_side_chain(residue))
    if not rows:
        return None
    coords = np.stack(rows)
    missing_o = np.isnan(coords[:, 3]).any(axis=-1)
    if missing_o.any():
        coords[missing_o, 3] = _rebuilt_oxygens(coords)[missing_o]
        counts["built_o"] += int(missing_o.sum())
    return Backbone(
        coords=coords.astype(np.float32),
        sequence="".join(letters),
        chain_id=chain.id.strip(),
        residue_numbers=np.asarray([number for number, _ in ids], dtype=np.int64),
        insertion_codes=tuple(code for _, code in ids),
        built_o=np.asarray(missing_o),
        name=file.name,
        side_chains=tuple(sides),
        b_factors=np.asarray(b_factors, dtype=np.float32),
    )


def _classify(
    entry: Any, counts: Counter[str]
) -> tuple["Residue", str, NDArray[np.float64], float, bool] | str:
    """Residue, letter, atoms `[4, 3]` (NaN where absent), B factor of CA, known name; or what
    else it is.

    A name is known when it is an amino acid, or a modified one, of the polymer; others count
    only if bonded to the chain.
    """
    residue = _one_residue(entry, counts)
    name, hetero = residue.get_resname().strip().upper(), residue.id[0]
    if name in WATERS or hetero == "W":
        counts["waters"] += 1
        return "a water"
    letter = parent_letter(name)
    if letter is None and is_nucleotide(name):
        counts["nucleic"] += 1
        return "a nucleotide"
    present = len({"N", "CA", "C"} & set(residue.child_dict))
    # CA alone may also be calcium: an unknown or free-standing residue needs its backbone.
    if present < (3 if letter is None else 1 if hetero != " " else 0):
        counts["ligands"] += 1
        return "a ligand or ion"
    # Free amino acids are deposited as HETATM under their usual names; modified residues of a
    # chain are HETATM under names of their own.
    free_standing = hetero != " " and is_standard(name)
    known = letter is not None and not free_standing
    return residue, letter or "X", *_backbone_atoms(residue, counts), known


def _one_residue(entry: Any, counts: Counter[str]) -> "Residue":
    """The residue of highest occupancy where a file has two at one place."""
    if entry.is_disordered() != 2:
        return entry
    counts["altlocs"] += 1

    def rank(residue: "Residue") -> tuple[float, str]:
        pairs = [pair for atom in residue.get_unpacked_list() for pair in locations(atom).items()]
        total = sum(occupancy(atom) for _, atom in pairs) / max(len(pairs), 1)
        return -total, min((letter for letter, _ in pairs), default="~")

    return min(entry.disordered_get_list(), key=rank)


def _backbone_atoms(residue: "Residue", counts: Counter[str]) -> tuple[NDArray[np.float64], float]:
    """N, CA, C, O `[4, 3]` of one conformer, NaN where absent; the B factor of CA."""
    choices, best, several = _conformer(residue, (*_BACKBONE, *_OXYGENS))
    counts["altlocs"] += int(several)
    atoms, b_factor = np.full((4, 3), np.nan), 0.0
    for row, name in enumerate(_BACKBONE):
        # A chain end may call its oxygen OT1 (force fields) or have only OXT.
        names = (name,) if name != "O" else ("O", *_OXYGENS)
        for found in (choices[n] for n in names if n in choices):
            atom = found.get(best) or found.get("") or max(found.values(), key=occupancy)
            atoms[row] = atom.get_coord()
            b_factor = float(atom.get_bfactor() or 0.0) if name == "CA" else b_factor
            break
    return atoms, b_factor


def _conformer(
    residue: "Residue", names: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], str, bool]:
    """Locations of the atoms of these names; the letter of the fullest backbone; whether there
    are several.
    """
    choices = {
        name: locations(residue.child_dict[name]) for name in names if name in residue.child_dict
    }
    totals: defaultdict[str, float] = defaultdict(float)
    for name in _BACKBONE:
        for letter, atom in choices.get(name, {}).items():
            totals[letter] += occupancy(atom) if letter else 0.0
    letters = [letter for letter in totals if letter]
    best = min(letters, key=lambda letter: (-totals[letter], letter)) if letters else ""
    return choices, best, len(letters) > 1


def _side_chain(residue: "Residue") -> tuple[SideAtom, ...]:
    """Heavy side-chain atoms of a standard residue, of the conformer its backbone has.

    Selenomethionine is written as methionine; other modified residues, which would not fit the
    name of their parent, have none.
    """
    name = residue.get_resname().strip().upper()
    if not is_standard(name) and name != "MSE":
        return ()
    found = [atom for atom in _heavy_atoms(residue) if atom.name not in (*_BACKBONE, *_OXYGENS)]
    if name == "MSE":
        found = [SideAtom("SD", "S", a.position) if a.name == "SE" else a for a in found]
    return tuple(found)


def _other_atoms(residue: "Residue", chain: str) -> list[OtherAtom]:
    """Atoms but hydrogen of a residue that is no part of a chain."""
    name, (_, number, code) = residue.get_resname().strip(), residue.id
    return [
        OtherAtom(*atom, name, chain.strip(), number, code.strip())
        for atom in _heavy_atoms(residue)
    ]


def _heavy_atoms(residue: "Residue") -> list[SideAtom]:
    """Atoms but hydrogen, of the conformer that the backbone has."""
    choices, best, _ = _conformer(residue, list(residue.child_dict))
    atoms = []
    for name, found in choices.items():
        atom = found.get(best) or found.get("") or max(found.values(), key=occupancy)
        element = str(atom.element).upper()
        if element not in ("H", "D"):
            x, y, z = (round(float(value), 3) for value in atom.get_coord())
            atoms.append(SideAtom(name, element, (x, y, z)))
    return atoms


def _is_sane(atoms: NDArray[np.float64]) -> bool:
    """Whether N, CA and C are present at distances a residue can have."""
    if not np.isfinite(atoms[:3]).all():
        return False
    bonds = np.linalg.norm(np.diff(atoms[:3], axis=0), axis=-1)
    return bool((bonds > _SANE_BOND[0]).all() and (bonds < _SANE_BOND[1]).all())


def _tied_or_known(entries: list[tuple[NDArray[np.float64], bool]]) -> NDArray[np.bool_]:
    """Keep known residues, and unknown ones peptide-bonded to a neighbour `[n]`."""
    keep = np.asarray([known for _, known in entries], dtype=bool)
    if keep.all():
        return keep
    atoms = np.stack([a for a, _ in entries])
    tied = np.linalg.norm(atoms[1:, 0] - atoms[:-1, 2], axis=-1) < _TIE
    joined = np.zeros(len(keep), dtype=bool)
    joined[1:] |= tied
    joined[:-1] |= tied
    return keep | joined


def _rebuilt_oxygens(coords: NDArray[np.float64]) -> NDArray[np.float64]:
    """O of every residue from N, CA, C `[L, 3]`."""
    import torch

    from protein.structures.frames import oxygen_positions

    ncac = torch.from_numpy(coords[:, :3].copy())
    joined = torch.zeros(len(coords), dtype=torch.bool)
    joined[:-1] = (ncac[1:, 0] - ncac[:-1, 2]).norm(dim=-1) < _TIE
    return oxygen_positions(ncac, joined).numpy()


def _why_nothing(counts: Counter[str]) -> str:
    """What the file holds instead of a protein backbone, and the remedy."""
    if counts["ca_only"]:
        return (
            f"has only CA atoms ({counts['ca_only']} residues); rebuild the full backbone first "
            "(for example with PULCHRA) or use another entry"
        )
    if counts["nucleic"]:
        return (
            f"holds nucleic acid only ({counts['nucleic']} nucleotides); "
            "give a file with a protein chain"
        )
    if counts["dropped_residues"]:
        return (
            f"none of its {counts['dropped_residues']} residues has N, CA and C at sane "
            "distances; check the file or download it again"
        )
    others = ", ".join(f"{counts[k]} {k}" for k in ("waters", "ligands") if counts[k])
    return f"has no amino-acid residue ({others or 'no atoms'}); give a file with a protein chain"


def _notes(counts: Counter[str], model: int, around: bool) -> tuple[str, ...]:
    """Counts as sentences."""
    fate = "kept beside the chains" if around else "ignored"
    sentences = {
        "models": f"{counts['models']} models, number {model} used",
        "modified": f"{counts['modified']} modified residues read as their parents",
        "altlocs": f"{counts['altlocs']} residues with alternate locations, the fullest kept",
        "dropped_residues": f"{counts['dropped_residues']} residues dropped, backbone incomplete",
        "built_o": f"{counts['built_o']} carbonyl O rebuilt from N, CA, C",
        "nucleic": f"{counts['nucleic']} nucleotides {fate}",
        "ligands": f"{counts['ligands']} ligands and ions {fate}",
        "waters": f"{counts['waters']} waters ignored",
    }
    return tuple(text for key, text in sentences.items() if counts[key])

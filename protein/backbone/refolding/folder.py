"""Read the predicted structures of a folder, and compare each with the design of its name."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protein.backbone.folder import Folder, preferred, structure_suffix
from protein.backbone.metrics.tm import Progress, tm_scores
from protein.backbone.refolding.confidence import confidence_of
from protein.backbone.refolding.judged import USUAL, Refold, Refolding, Thresholds, few
from protein.backbone.refolding.names import DesignNames, Match
from protein.backbone.refolding.pairing import Pairing, pairings
from protein.structures.chain import Backbone
from protein.structures.read import read_structure
from protein.structures.superposition import superposed_rmsd
from sciddiff.errors import InputError

# Folders in which tools keep what they started from: templates, alignments, prepared input.
_INPUTS = re.compile(r"\..*|.*_env|templates.*|msas?|processed", re.IGNORECASE)
# ColabFold's structures after each recycle: steps on the way to a prediction.
_RECYCLE = re.compile(r".*\.r\d+", re.IGNORECASE)

# Å; no program puts every atom where the design has it, so such a file is the design.
_SAME = 0.01


@final
@dataclass(frozen=True)
class _Found:
    """A predicted structure and what its name says."""

    file: Path
    stem: str
    match: Match


@final
@dataclass(frozen=True, eq=False)
class _Compared:
    """A prediction beside its design, before its TM-score is known."""

    found: _Found
    pairing: Pairing
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]
    rmsd: float
    plddt: float | None
    ptm: float | None
    iptm: float | None
    notes: tuple[str, ...]


def read_refolded(
    folder: Path,
    directory: Path,
    designs: Folder,
    thresholds: Thresholds = USUAL,
    workers: int = 1,
    progress: Progress | None = None,
) -> Refolding:
    """Compare the predicted structures of a folder with designs.

    Args:
        folder: predictions of any tool, in folders of any depth.
        directory: the folder of the designs; its own files are no predictions.
        designs: what it holds.
        thresholds: what a prediction has to reach.
        workers: processes for TM-scores.
        progress: called as ``progress(stage, done, total)``.

    Raises:
        InputError: there is no such folder, or nothing in it can be compared with a design.
    """
    names = sorted(designs.structures)
    files = _predictions(folder, directory)
    matched, unmatched = _matched(folder, files, DesignNames(names))
    if not matched:
        raise InputError(
            f"{folder}: none of its {len(files)} structures is named after a design of "
            f"{directory} ({few(unmatched)}; the designs are {few(names)}); "
            "call the sequences NAME_1, NAME_2 before they are folded"
        )
    compared: list[_Compared] = []
    left_out: dict[str, str] = {}
    for done, found in enumerate(matched, start=1):
        try:
            compared.append(_compared(found, designs))
        except InputError as error:
            name = str(found.file.relative_to(folder))
            left_out[name] = str(error).removeprefix(f"{found.file}: ")
        if progress is not None:
            progress("reading refolded structures", done, len(matched))
    if not compared:
        name, reason = next(iter(left_out.items()))
        more = f" (and {len(left_out) - 1} more like it)" if len(left_out) > 1 else ""
        raise InputError(f"{folder / name}: {reason}{more}")
    scores = tm_scores([(one.theirs, one.ours) for one in compared], workers, progress)
    refolds = [
        _refold(one, float(tm), folder, designs, thresholds)
        for one, tm in zip(compared, scores, strict=True)
    ]
    refolds.sort(key=lambda one: (one.design, one.sequence, one.file))
    notes = [note for one in compared for note in one.notes]
    silent = sum(one.plddt is None for one in refolds)
    if silent:
        notes.append(
            f"{silent} of {len(refolds)} refolded structures have no pLDDT in their B factors or "
            "in a file beside them; they are judged without"
        )
    return Refolding(
        str(folder),
        thresholds,
        tuple(refolds),
        tuple(names),
        tuple(unmatched),
        left_out,
        tuple(notes),
    )


def _predictions(folder: Path, directory: Path) -> list[Path]:
    """One file of every predicted structure below a folder, in order."""
    if folder.is_file():
        raise InputError(f"{folder}: is a file; unpack it and give the folder of structures")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of refolded structures")
    groups: defaultdict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in _walk(folder, directory.resolve()):
        stem = file.name[: -len(structure_suffix(file))]
        # What was relaxed is the same prediction as before.
        groups[file.parent, re.sub(r"(?i)(?<![a-z])unrelaxed", "relaxed", stem)].append(file)
    if not groups:
        same = folder.resolve() == directory.resolve()
        raise InputError(
            f"{folder}: is the folder of the designs themselves; give the folder of the "
            "structures that were predicted from their sequences"
            if same
            else f"{folder}: holds no .pdb or .cif file; give a folder of refolded structures"
        )
    chosen = []
    for (_, key), files in groups.items():
        relaxed = [file for file in files if file.name.startswith(key)]
        chosen.append(preferred(relaxed or files))
    return chosen


def _walk(folder: Path, designs: Path) -> Iterator[Path]:
    """Structure files that may be predictions, folder by folder, in order."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _INPUTS.fullmatch(name))
        if Path(place).resolve() == designs:
            continue
        for file in (Path(place, name) for name in sorted(files)):
            suffix = structure_suffix(file)
            if suffix and not _RECYCLE.fullmatch(file.name[: -len(suffix)]):
                yield file


def _matched(
    folder: Path, files: Sequence[Path], names: DesignNames
) -> tuple[list[_Found], list[str]]:
    """Files with a design, and the names of those without."""
    matched, unmatched = [], []
    for file in files:
        stem = file.name[: -len(structure_suffix(file))]
        below = file.relative_to(folder)
        folders = [*(part for part in below.parts[-2::-1]), folder.resolve().name]
        match = names.match(stem, folders)
        if match is None:
            unmatched.append(str(below))
        else:
            matched.append(_Found(file, stem, match))
    return matched, unmatched


def _compared(found: _Found, designs: Folder) -> _Compared:
    """Superpose a prediction on its design.

    Raises:
        InputError: it cannot be read, or has other lengths.
    """
    design = designs.structures[found.match.design]
    chains = read_structure(found.file).chains
    measured = {id(chain) for chain in designs.measured(found.match.design)}
    designed = [number for number, chain in enumerate(design) if id(chain) in measured]
    ways = pairings(design, chains, designed)
    if not ways:
        raise InputError(
            f"{found.file}: has {_lengths(chains)}, but {found.match.design} has "
            f"{_lengths(design)}; fold a sequence of that design"
        )
    ours, theirs = (np.concatenate([c.ca for c in side]).astype(np.float64)
                    for side in (design, chains))  # fmt: skip
    rmsds = [_rmsd(ours[way.design], theirs[way.refold]) for way in ways]
    best = int(np.argmin(rmsds))
    way = ways[best]
    if np.abs(ours[way.design] - theirs[way.refold]).max() < _SAME:
        raise InputError(
            f"{found.file}: has the coordinates of {found.match.design} itself; give what a "
            "program predicted from its sequences"
        )
    sure = confidence_of(found.file, found.stem, chains)
    return _Compared(
        found,
        way,
        ours[way.design],
        theirs[way.refold],
        rmsds[best],
        None if sure.plddt is None else float(sure.plddt[way.refold].mean()),
        sure.ptm,
        sure.iptm,
        sure.notes,
    )


def _rmsd(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    return float(superposed_rmsd(torch.from_numpy(theirs), torch.from_numpy(ours)))


def _refold(
    one: _Compared, tm: float, folder: Path, designs: Folder, thresholds: Thresholds
) -> Refold:
    match, chains = one.found.match, designs.structures[one.found.match.design]
    return Refold(
        design=match.design,
        sequence=match.sequence,
        prediction=match.prediction,
        file=str(one.found.file.relative_to(folder)),
        chains=" ".join(chains[number].chain_id for number in one.pairing.chains),
        residues=len(one.ours),
        sc_rmsd=one.rmsd,
        sc_tm=tm,
        plddt=one.plddt,
        ptm=one.ptm,
        iptm=one.iptm,
        passes=thresholds.met(one.rmsd, tm, one.plddt),
    )


def _lengths(chains: Sequence[Backbone]) -> str:
    """Residues in all, and of each chain where there are several."""
    total = sum(len(chain) for chain in chains)
    each = f" ({' + '.join(str(len(chain)) for chain in chains)})" if len(chains) > 1 else ""
    return f"{total} residue{'s' * (total != 1)}{each}"

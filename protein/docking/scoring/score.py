r"""Scores of existing poses: energies, strain, clashes, contacts, verdicts and confidence.

Energies are those of docking (``protein.docking.energy``), over all pairs within 8 Å and without
a grid. Strain is the intramolecular energy above that of the best of a few fresh conformers. A
clash is a pair of heavy atoms closer than 0.75 times the sum of their van der Waals radii, as in
PoseBusters (Buttenschoen et al., *Chem. Sci.* 2024); pairs with a metal ion, which binds at such
distances, are left out. A contact is a pair within 4 Å.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.confidence.pose_set import pose_set
from protein.docking.confidence.ranker import Ranker
from protein.docking.energy.pairwise import atom_terms
from protein.docking.energy.terms import CUTOFF, VINA, VinaWeights
from protein.docking.energy.vina import SCORE_CAP, Score, VinaEnergy
from protein.docking.molecules.atom_types import METALS
from protein.docking.molecules.conformers import fresh_conformers
from protein.docking.molecules.ligand import Ligand
from protein.docking.poses.files import GivenPose, read_poses, runs
from protein.docking.poses.metrics import Verdict, bust
from protein.docking.poses.pose import LigandBatch
from protein.docking.receptors.receptor import Receptor
from protein.docking.receptors.waters import is_water
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.ranking import Docked
from sciddiff.errors import InputError, MissingExtra

_log = logging.getLogger(__name__)

CLASH = 0.75
"""Fraction of the sum of van der Waals radii below which two heavy atoms clash."""

CONTACT = 4.0
"""Largest distance of a contact, Å."""

# A minimised pose may move by this much before it meets atoms that were left out, Å.
_MARGIN = 4.0
# Poses minimised together over all pairs; bounds memory.
_AT_ONCE = 16


@dataclass(frozen=True)
class ScoreSettings:
    """What to compute.

    Attributes:
        minimize: whether each pose is first moved to the nearest minimum of the energy; its bonds,
            angles and rings do not change.
        evaluations: evaluations of the energy in that minimisation.
        check: whether PoseBusters checks the poses.
        conformers: number of fresh conformers that strain refers to; 0 for no strain.
        seed: seed of these conformers.
        weights: the scoring function.
        per_atom: whether the terms of each ligand atom are kept.
    """

    minimize: bool = False
    evaluations: int = 80
    check: bool = False
    conformers: int = 4
    seed: int = 0
    weights: VinaWeights = VINA
    per_atom: bool = False


@dataclass(frozen=True, eq=False)
class PoseScores:
    """Scores of K poses of one ligand of N atoms.

    Attributes:
        coords: coordinates, after minimisation if there was one `[K, N, 3]`, Å.
        affinity: Vina's score `[K]`, kcal/mol.
        energy: interaction plus intramolecular, by which docking ranks `[K]`, kcal/mol.
        intramolecular: `[K]`, kcal/mol.
        terms: unweighted terms of the interaction `[K, 5]`.
        strain: `[K]`, kcal/mol; NaN if no conformer could be made.
        clashes: number of pairs of atoms that clash `[K]`.
        contacts: number of pairs of atoms in contact `[K]`.
        residues: residues in contact with each pose, length K.
        affinity_given: affinity before minimisation `[K]`, kcal/mol; None without minimisation.
        moved: RMSD from the pose before minimisation `[K]`, Å; None without minimisation.
        verdicts: verdicts of PoseBusters, K of them or none.
        confidence: P(RMSD < 2 Å) `[K]`; None without a ranking model.
        atoms: unweighted terms of each ligand atom `[K, N, 5]`; None if they were not asked for.
        weights: the scoring function.
    """

    coords: NDArray[np.float64]
    affinity: NDArray[np.float64]
    energy: NDArray[np.float64]
    intramolecular: NDArray[np.float64]
    terms: NDArray[np.float64]
    strain: NDArray[np.float64]
    clashes: NDArray[np.int64]
    contacts: NDArray[np.int64]
    residues: tuple[tuple[str, ...], ...]
    affinity_given: NDArray[np.float64] | None = None
    moved: NDArray[np.float64] | None = None
    verdicts: tuple[Verdict, ...] = ()
    confidence: NDArray[np.float64] | None = None
    atoms: NDArray[np.float64] | None = None
    weights: VinaWeights = VINA


def score_poses(
    ligand: Ligand,
    coords: NDArray[np.float64],
    receptor: Receptor,
    settings: ScoreSettings = ScoreSettings(),
    ranker: Ranker | None = None,
    receptor_file: Path | None = None,
) -> PoseScores:
    """Score poses of one ligand.

    Args:
        ligand: the molecule.
        coords: `[K, N, 3]`, Å, in the frame of the receptor.
        receptor: the protein.
        settings: what to compute.
        ranker: ranker that gives the confidence, if there is one.
        receptor_file: PDB file for PoseBusters, of whose waters those of the receptor count;
            without it, only the ligand is checked.

    Raises:
        InputError: a pose is beyond 8 Å from every atom of the receptor.
        MissingExtra: PoseBusters is requested but not installed.
    """
    reach = CUTOFF + (_MARGIN if settings.minimize else 0.0)
    near = receptor.pocket(coords.reshape(-1, 3), reach)
    if gaps(coords, near).max() > CUTOFF:
        raise InputError(
            f"{ligand.name}: no atom of {receptor.name} within {CUTOFF:.0f} Å of the pose; check "
            "that they share a frame"
        )
    given = _score(ligand, coords, near, settings)
    placed, score = coords, given
    if settings.minimize:
        groups = np.array_split(coords, -(-len(coords) // _AT_ONCE))
        placed = np.concatenate([_minimized(ligand, g, near, settings) for g in groups])
        score = _score(ligand, placed, near, settings)
    clashes, contacts, residues = _touching(ligand, placed, near)
    energies = Docked(
        placed,
        _numbers(score.interaction + score.intramolecular),
        _numbers(score.affinity),
        _numbers(score.intramolecular),
        _numbers(score.terms),
    )
    confidence = None
    if ranker is not None:
        confidence = ranker.probabilities(pose_set(ligand, near, energies), given=True)
    return PoseScores(
        placed,
        energies.affinity,
        energies.energy,
        energies.intramolecular,
        energies.terms,
        _numbers(score.intramolecular) - _relaxed(ligand, settings),
        clashes,
        contacts,
        residues,
        _numbers(given.affinity) if settings.minimize else None,
        np.sqrt(np.square(placed - coords).sum(-1).mean(-1)) if settings.minimize else None,
        _verdicts(ligand, placed, receptor, receptor_file) if settings.check else (),
        confidence,
        _atoms(ligand, placed, near, settings) if settings.per_atom else None,
        settings.weights,
    )


def score_files(
    files: Sequence[Path],
    receptor: Receptor,
    settings: ScoreSettings = ScoreSettings(),
    ranker: Ranker | None = None,
    receptor_file: Path | None = None,
    template: Ligand | None = None,
) -> Iterator[tuple[GivenPose, PoseScores | str, int]]:
    """Score every record of some files.

    Args:
        files: files of poses of any molecules.
        receptor: the protein.
        settings: what to compute.
        ranker: ranker that gives the confidence, if there is one.
        receptor_file: PDB file for PoseBusters.
        template: the molecule that all poses are of; None to take it from the files.

    Yields:
        The record, the scores of the poses scored with it or the reason why it has none, and its
        place among them.

    Raises:
        MissingExtra: PoseBusters is asked for and not installed.
    """
    for file in files:
        try:
            for group in runs(read_poses(file, template)):
                yield from _scored(group, receptor, settings, ranker, receptor_file)
        except InputError as error:
            yield GivenPose(file, 0, file.name.split(".")[0], None, error=str(error)), "", 0


def _scored(
    group: Sequence[GivenPose],
    receptor: Receptor,
    settings: ScoreSettings,
    ranker: Ranker | None,
    receptor_file: Path | None,
) -> Iterator[tuple[GivenPose, PoseScores | str, int]]:
    """Score a group of poses of one molecule; if that fails, score them one by one."""
    ligand = group[0].ligand
    if ligand is None:
        yield from ((pose, pose.error, 0) for pose in group)
        return
    coords = np.stack([pose.coords for pose in group])
    try:
        scores = score_poses(ligand, coords, receptor, settings, ranker, receptor_file)
    except MissingExtra:
        raise
    except Exception as error:  # noqa: BLE001 - whatever one pose does, the others are scored
        if len(group) > 1:
            for pose in group:
                yield from _scored([pose], receptor, settings, ranker, receptor_file)
            return
        if not isinstance(error, InputError):
            _log.warning("%s: %s", group[0].name, error, exc_info=True)
        yield group[0], " ".join(str(error).split())[:300], 0
        return
    yield from ((pose, scores, k) for k, pose in enumerate(group))


def gaps(coords: NDArray[np.float64], near: Receptor) -> NDArray[np.float64]:
    """Distance of each pose from the closest receptor atom `[K]`, Å; infinite without atoms.

    Args:
        coords: `[K, N, 3]`, Å.
        near: atoms near the poses.
    """
    from scipy.spatial import KDTree

    if len(near) == 0:
        return np.full(len(coords), np.inf)
    return np.asarray(KDTree(near.coords).query(coords)[0]).min(-1)


def _score(
    ligand: Ligand, coords: NDArray[np.float64], near: Receptor, settings: ScoreSettings
) -> Score:
    energy = VinaEnergy.build([ligand], [near], weights=settings.weights)
    return energy.score(torch.as_tensor(coords, dtype=torch.float32).unsqueeze(0))


def _verdicts(
    ligand: Ligand, coords: NDArray[np.float64], receptor: Receptor, file: Path | None
) -> tuple[Verdict, ...]:
    """Verdicts beside the file, but of its waters those alone that the receptor holds."""
    return tuple(bust(ligand, coords, file, receptor.coords[is_water(receptor)]))


def _atoms(
    ligand: Ligand, coords: NDArray[np.float64], near: Receptor, settings: ScoreSettings
) -> NDArray[np.float64]:
    """Unweighted terms of each ligand atom `[K, N, 5]`."""
    types = (torch.as_tensor(x) for x in (ligand.types, near.types))
    mine, theirs = types
    where = (torch.as_tensor(x, dtype=torch.float64) for x in (coords, near.coords))
    poses, atoms = where
    return atom_terms(poses, mine, atoms, theirs, settings.weights).numpy()


def _numbers(values: torch.Tensor) -> NDArray[np.float64]:
    return values[0].double().numpy()


def _minimized(
    ligand: Ligand, coords: NDArray[np.float64], near: Receptor, settings: ScoreSettings
) -> NDArray[np.float64]:
    """Poses at the minima below them; each is its own reference conformer."""
    count = len(coords)
    batch = LigandBatch.pack([ligand.tree] * count, list(coords))
    centre = torch.as_tensor(coords.mean(1, keepdims=True), dtype=torch.float32)
    start = batch.identity(1)._replace(translation=centre)
    energy = VinaEnergy.build([ligand] * count, [near], weights=settings.weights)
    found = minimize(batch, energy, start, MinimizeSettings(settings.evaluations, SCORE_CAP))
    return found.coords[:, 0].double().numpy()


def _relaxed(ligand: Ligand, settings: ScoreSettings) -> float:
    """Least energy within fresh conformers, kcal/mol; NaN without any."""
    if settings.conformers == 0:
        return float("nan")
    try:
        # A wrong bond can make a molecule that has no shape: the search for one must end soon.
        made = fresh_conformers(ligand, settings.conformers, settings.seed, attempts=20)
    except InputError as error:
        _log.info("no strain: %s", error)
        return float("nan")
    pairs = VinaEnergy.build([ligand], [_nothing()], weights=settings.weights).pairs
    energy, _ = pairs.evaluate(torch.as_tensor(made, dtype=torch.float32).unsqueeze(0))
    return float(energy.min())


def _nothing() -> Receptor:
    return Receptor(np.zeros((0, 3)), np.zeros(0, np.int64), (), (), (), ())


def _touching(
    ligand: Ligand, coords: NDArray[np.float64], near: Receptor
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[tuple[str, ...], ...]]:
    """Clashes `[K]`, contacts `[K]`, and residues in contact of each pose."""
    mine = _radii(atom.GetSymbol() for atom in ligand.mol.GetAtoms())
    theirs = _radii(near.elements)
    metal = np.asarray([element in METALS for element in near.elements], dtype=bool)
    limit = np.where(metal, 0.0, CLASH * (mine[:, None] + theirs))
    clashes, contacts, residues = [], [], []
    for pose in coords:
        distance = np.linalg.norm(pose[:, None] - near.coords, axis=-1)
        close = distance < CONTACT
        clashes.append(int((distance < limit).sum()))
        contacts.append(int(close.sum()))
        hit = np.flatnonzero(close.any(0))
        residues.append(tuple(dict.fromkeys(near.residues[i] for i in hit)))
    return np.asarray(clashes), np.asarray(contacts), tuple(residues)


def _radii(symbols: Iterable[str]) -> NDArray[np.float64]:
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    return np.asarray([table.GetRvdw(symbol.capitalize()) for symbol in symbols])

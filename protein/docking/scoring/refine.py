"""Refinement of poses that any program made: cleaned, minimised in their pocket, checked, ranked.

A pose goes through these steps. Its bonds, angles and rings are relaxed by MMFF94 with its heavy
atoms held near their places, and hydrogens put in as the stereochemistry of the molecule demands.
It is moved to the nearest minimum of the docking energy. A pose that then has the wrong
stereochemistry, or that PoseBusters calls impossible, is dropped with the reason; the others are
ranked by confidence, or by energy without a ranker.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein.docking.confidence.pose_set import pose_set
from protein.docking.confidence.ranker import Ranker
from protein.docking.energy.terms import CUTOFF
from protein.docking.molecules.conformers import relax_geometry, same_stereo
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.result import Result
from protein.docking.poses.files import GivenPose
from protein.docking.poses.metrics import Verdict
from protein.docking.receptors.receptor import Receptor
from protein.docking.scoring.score import PoseScores, ScoreSettings, gaps, score_poses
from protein.docking.search.ranking import Docked
from sciddiff.errors import MissingExtra

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefineSettings:
    """How poses are refined.

    Attributes:
        relax: whether bonds, angles and rings are relaxed first.
        check: whether PoseBusters drops poses.
        poses: largest number of poses kept for each molecule.
        seed: seed of the conformers that strain refers to.
    """

    relax: bool = True
    check: bool = True
    poses: int = 100
    seed: int = 0

    @property
    def score(self) -> ScoreSettings:
        """The same as settings of scores."""
        return ScoreSettings(minimize=True, check=self.check, seed=self.seed)


@dataclass(frozen=True, eq=False)
class RefinedPose:
    """What became of one given pose.

    Attributes:
        given: the pose as it was read.
        status: ``kept``, ``dropped`` (its reason is a verdict), or ``failed``.
        reason: why it was not kept.
        rank: its place among the kept poses of its molecule, from 1; 0 if it was not kept.
        moved: RMSD from the given pose, Å; NaN if it was not refined.
        confidence: P(RMSD < 2 Å) beside the other poses that were not dropped; None without one.
        scores: scores of the poses that were scored with it; None if it has none.
        place: its index among these.
    """

    given: GivenPose
    status: str
    reason: str = ""
    rank: int = 0
    moved: float = float("nan")
    confidence: float | None = None
    scores: PoseScores | None = None
    place: int = 0


@dataclass(frozen=True, eq=False)
class RefinedLigand:
    """The refined poses of one molecule.

    Attributes:
        ligand: the molecule; None for poses that could not be read.
        poses: what became of each pose, in the order of the input.
        result: kept poses, ranked; its error says why there are none.
        verdicts: verdicts of PoseBusters on the kept poses, or none.
    """

    ligand: Ligand | None
    poses: tuple[RefinedPose, ...]
    result: Result
    verdicts: tuple[Verdict, ...] = ()


def refine_poses(
    poses: Iterable[GivenPose],
    receptor: Receptor,
    settings: RefineSettings = RefineSettings(),
    ranker: Ranker | None = None,
    receptor_file: Path | None = None,
) -> Iterator[RefinedLigand]:
    """Refine poses, those of one molecule together.

    Args:
        poses: poses in any order; like molecules with their atoms in one order are one molecule.
        receptor: the protein.
        settings: how to refine.
        ranker: ranks the kept poses; None to rank them by energy.
        receptor_file: PDB file for PoseBusters; without it, only the molecule is checked.

    Yields:
        One for each molecule, in the order of its first pose; poses that cannot be read are one
        entry without a molecule.

    Raises:
        MissingExtra: PoseBusters is asked for and not installed.
    """
    for group in pose_groups(poses):
        yield refine_group(group, receptor, settings, ranker, receptor_file)


def pose_groups(poses: Iterable[GivenPose]) -> list[list[GivenPose]]:
    """Poses of one molecule together, in the order of its first; unreadable ones are a group.

    Args:
        poses: poses in any order.
    """
    groups: dict[object, list[GivenPose]] = {}
    for pose in poses:
        groups.setdefault(None if pose.ligand is None else _key(pose.ligand), []).append(pose)
    return list(groups.values())


def refine_group(
    group: Sequence[GivenPose],
    receptor: Receptor,
    settings: RefineSettings = RefineSettings(),
    ranker: Ranker | None = None,
    receptor_file: Path | None = None,
) -> RefinedLigand:
    """Refine the poses of one molecule.

    Args:
        group: one of `pose_groups`.
        receptor: the protein.
        settings: how to refine.
        ranker: ranks the kept poses; None to rank them by energy.
        receptor_file: PDB file for PoseBusters; without it, only the molecule is checked.

    Raises:
        MissingExtra: PoseBusters is asked for and not installed.
    """
    if (ligand := group[0].ligand) is None:
        failed = tuple(RefinedPose(pose, "failed", pose.error) for pose in group)
        return RefinedLigand(None, failed, Result(None, group[0].error))
    return _refined(ligand, group, receptor, settings, ranker, receptor_file)


def _key(ligand: Ligand) -> tuple[object, ...]:
    """Equal for one molecule with its atoms in one order."""
    atoms = tuple(atom.GetAtomicNum() for atom in ligand.mol.GetAtoms())
    bonds = ((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in ligand.mol.GetBonds())
    return ligand.smiles, atoms, tuple(sorted(tuple(sorted(bond)) for bond in bonds))


def _refined(
    ligand: Ligand,
    group: Sequence[GivenPose],
    receptor: Receptor,
    settings: RefineSettings,
    ranker: Ranker | None,
    receptor_file: Path | None,
) -> RefinedLigand:
    found = [_relaxed(ligand, pose, receptor, settings) for pose in group]
    rows = [i for i, (_, pose) in enumerate(found) if pose.status == "kept"]
    done = [pose for _, pose in found]
    scores: PoseScores | None = None
    if rows:
        coords = np.stack([found[i][0] for i in rows])
        try:
            scores = score_poses(ligand, coords, receptor, settings.score, None, receptor_file)
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001 - one odd molecule must not cost the others
            _log.warning("%s: %s", group[0].name, error, exc_info=True)
            reason = " ".join(str(error).split())[:300]
            for i in rows:
                done[i] = replace(done[i], status="failed", reason=reason)
    if scores is None:
        return _none_left(ligand, done)
    for k, i in enumerate(rows):
        done[i] = _judged(ligand, done[i], scores, k)
    left = [i for i in rows if done[i].status == "kept"]
    if not left:
        return _none_left(ligand, done)
    places = [done[i].place for i in left]
    docked = Docked(
        scores.coords, scores.energy, scores.affinity, scores.intramolecular, scores.terms
    ).taken(places)
    order = np.argsort(docked.energy, kind="stable")
    if ranker is not None:
        judged = ranker.probabilities(pose_set(ligand, receptor, docked), given=True)
        docked = replace(docked, confidence=judged)
        order = np.argsort(-judged, kind="stable")
    for rank, k in enumerate(order.tolist(), 1):
        kept = rank <= settings.poses
        reason = "" if kept else f"is not among the first {settings.poses}"
        done[left[k]] = replace(
            done[left[k]], rank=rank if kept else 0, status="kept" if kept else "dropped",
            reason=reason,
            confidence=None if docked.confidence is None else float(docked.confidence[k]),
        )  # fmt: skip
    order = order[: settings.poses]
    best = [places[k] for k in order]
    strain = scores.strain[best]
    verdicts = tuple(scores.verdicts[k] for k in best) if scores.verdicts else ()
    result = Result(docked.taken(order.tolist()), "", strain, notes=_notes(done))
    return RefinedLigand(ligand, tuple(done), result, verdicts)


def _none_left(ligand: Ligand, done: Sequence[RefinedPose]) -> RefinedLigand:
    reasons = list(dict.fromkeys(pose.reason for pose in done))
    return RefinedLigand(ligand, tuple(done), Result(None, f"no pose is left: {reasons[0]}"))


def _notes(done: Sequence[RefinedPose]) -> tuple[str, ...]:
    lost = sum(pose.status != "kept" for pose in done)
    return (f"{lost} of {len(done)} poses were dropped",) if lost else ()


def _relaxed(
    ligand: Ligand, pose: GivenPose, receptor: Receptor, settings: RefineSettings
) -> tuple[NDArray[np.float64], RefinedPose]:
    """A pose with relaxed geometry, or why there is none."""
    if not np.isfinite(pose.coords).all():
        return pose.coords, RefinedPose(pose, "failed", "has coordinates that are not finite")
    coords = relax_geometry(ligand, pose.coords) if settings.relax else pose.coords
    if not same_stereo(ligand, coords):
        return coords, RefinedPose(pose, "dropped", "has the wrong stereochemistry")
    if gaps(coords[None], receptor.pocket(coords))[0] > CUTOFF:
        reason = f"no atom of {receptor.name} is within {CUTOFF:.0f} Å; check their frames"
        return coords, RefinedPose(pose, "failed", reason)
    return coords, RefinedPose(pose, "kept")


def _judged(ligand: Ligand, pose: RefinedPose, scores: PoseScores, k: int) -> RefinedPose:
    coords = scores.coords[k]
    moved = float(np.sqrt(np.square(coords - pose.given.coords).sum(-1).mean()))
    pose = replace(pose, scores=scores, place=k, moved=moved)
    if not (np.isfinite(coords).all() and same_stereo(ligand, coords)):
        return replace(pose, status="dropped", reason="lost its stereochemistry")
    if scores.verdicts and not scores.verdicts[k].valid:
        failed = ", ".join(scores.verdicts[k].failed)
        return replace(pose, status="dropped", reason=f"fails checks of PoseBusters: {failed}")
    return pose

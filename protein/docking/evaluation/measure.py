"""Poses of one complex against its crystal ligand.

The RMSD is over heavy atoms in the frame of the receptor, and is the least over all ways to match
the atoms of the pose to those of the crystal ligand. Atoms are matched by the chemical graph; if
files disagree about bond orders, charges or tautomers, they are matched by elements and
connections alone. A pose that cannot be read keeps its rank and has an infinite RMSD.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protein.docking.complexes.sources import first_readable
from protein.docking.evaluation.cases import Case, confidence_of_name
from protein.docking.molecules.conformers import same_stereo
from protein.docking.molecules.ligand import Ligand, delocalised
from protein.docking.poses.files import ANY_SIZE, GivenPose, read_poses
from protein.docking.poses.metrics import Verdict, bust, pdb_file, symmetric_rmsd
from sciddiff.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_log = logging.getLogger(__name__)
_MOST_MATCHES = 4096


@dataclass(frozen=True)
class PoseResult:
    """One pose.

    Attributes:
        rank: its place among the poses of the complex, from 1.
        file: file that holds it.
        record: place in the file, from 1.
        rmsd: RMSD to the crystal ligand, Å; infinite if it cannot be computed.
        centroid: distance of the centres of the heavy atoms, Å.
        stereo_kept: whether it has the stereochemistry of the crystal ligand.
        confidence: confidence that the file gives; None if it gives none.
        affinity: affinity that the file gives, kcal/mol.
        verdict: verdict of PoseBusters, if it was run.
        reason: why it has no RMSD.
    """

    rank: int
    file: str
    record: int
    rmsd: float = inf
    centroid: float = inf
    stereo_kept: bool | None = None
    confidence: float | None = None
    affinity: float | None = None
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True)
class CaseResult:
    """One complex.

    Attributes:
        id: name.
        poses: by rank; empty for a failure.
        reason: why it failed.
        heavy_atoms: number of heavy atoms of the crystal ligand.
        torsions: number of torsions of the crystal ligand.
        reference: its file.
        receptor: structure file.
    """

    id: str
    poses: tuple[PoseResult, ...] = ()
    reason: str = ""
    heavy_atoms: int = 0
    torsions: int = 0
    reference: str = ""
    receptor: str = ""

    @property
    def failed(self) -> bool:
        """Whether no pose has an RMSD."""
        return not any(isfinite(pose.rmsd) for pose in self.poses)

    def best(self, first: int) -> float:
        """Least RMSD among the first poses, Å; infinite if there is none."""
        return min((pose.rmsd for pose in self.poses[:first]), default=inf)


def measure(case: Case, checked: int = 1) -> CaseResult:
    """Measure the poses of a complex; an error becomes the reason of a failure.

    Args:
        case: files of the complex.
        checked: first poses that PoseBusters judges, where there is a receptor.

    Raises:
        MissingExtra: PoseBusters is asked for and not installed.
    """
    receptor = "" if case.receptor is None else str(case.receptor)
    blank = CaseResult(case.id, receptor=receptor, reference=str(case.references[0]))
    if not case.poses:
        return replace(blank, reason=case.reason or "no file of poses")
    try:
        return _measure(blank, case, checked)
    except MissingExtra:
        raise
    except InputError as error:
        return replace(blank, reason=str(error))
    except Exception as error:  # noqa: BLE001 - one odd file must not cost the others
        _log.warning("%s: %s", case.id, error, exc_info=True)
        text = " ".join(str(error).split())[:200]
        return replace(blank, reason=f"{type(error).__name__}: {text}")


def matches(pose: Ligand, truth: Ligand) -> NDArray[np.int64]:
    """Ways to match the atoms of two records of one molecule.

    Args:
        pose: N atoms.
        truth: N atoms.

    Returns:
        `[S, N]`, for each atom of ``pose`` one of ``truth``; S = 0 for different molecules.
    """
    from rdkit.Chem import SubstructMatchParameters

    size = len(pose)
    if size != len(truth) or pose.mol.GetNumBonds() != truth.mol.GetNumBonds():
        return np.zeros((0, size), np.int64)
    parameters = SubstructMatchParameters()
    parameters.uniquify = False
    parameters.useChirality = False
    parameters.maxMatches = _MOST_MATCHES
    for simplify in (delocalised, _skeleton):
        found = simplify(truth.mol).GetSubstructMatches(simplify(pose.mol), parameters)
        if found:
            return np.asarray(found, np.int64)
    return np.zeros((0, size), np.int64)


def _skeleton(mol: "Mol") -> "Mol":
    """Copy with elements and connections alone."""
    from rdkit.Chem import BondType

    copy = delocalised(mol)
    for atom in copy.GetAtoms():
        atom.SetIsAromatic(False)
    for bond in copy.GetBonds():
        bond.SetIsAromatic(False)
        bond.SetBondType(BondType.SINGLE)
    return copy


@dataclass
class _Truth:
    """The crystal ligand, and how the molecules met so far match it."""

    ligand: Ligand
    coords: NDArray[np.float64]
    # Keyed by the object itself, which the dictionary keeps alive.
    matched: dict[Ligand, NDArray[np.int64]] = field(default_factory=dict)

    def measure(self, rank: int, pose: GivenPose) -> PoseResult:
        blank = PoseResult(
            rank,
            str(pose.file),
            pose.record,
            confidence=_number(pose.tags.get("confidence") or confidence_of_name(pose.file)),
            affinity=_number(pose.tags.get("affinity", "")),
            reason=pose.error,
        )
        if pose.ligand is None:
            return blank
        if pose.ligand not in self.matched:
            self.matched[pose.ligand] = matches(pose.ligand, self.ligand)
        ways = self.matched[pose.ligand]
        if len(ways) == 0:
            return replace(blank, reason="is another molecule than the crystal ligand")
        ordered = np.empty_like(pose.coords)
        ordered[ways[0]] = pose.coords
        return replace(
            blank,
            rmsd=float(symmetric_rmsd(pose.coords[None], self.coords, ways)[0]),
            centroid=float(np.linalg.norm(pose.coords.mean(0) - self.coords.mean(0))),
            stereo_kept=same_stereo(self.ligand, ordered),
        )


def _measure(blank: CaseResult, case: Case, checked: int) -> CaseResult:
    ligand = first_readable(case.references, ANY_SIZE)
    truth = _Truth(ligand, ligand.require_coords())
    given = list(chain.from_iterable(read_poses(file) for file in case.poses))
    poses = [truth.measure(rank, pose) for rank, pose in enumerate(given, 1)]
    if checked and case.receptor is not None:
        poses = _judged(poses, given, case.receptor, checked)
    reason = ""
    if not any(isfinite(pose.rmsd) for pose in poses):
        reason = poses[0].reason if poses else "the files hold no pose"
    return replace(
        blank,
        poses=tuple(poses),
        reason=reason,
        heavy_atoms=len(ligand),
        torsions=len(ligand.tree),
    )


def _judged(
    poses: Sequence[PoseResult], given: Sequence[GivenPose], receptor: Path, checked: int
) -> list[PoseResult]:
    """Poses with the verdicts of PoseBusters on the first of them."""
    judged = list(poses)
    with ExitStack() as stack:
        file = stack.enter_context(pdb_file(receptor))
        for k, pose in enumerate(given[:checked]):
            if pose.ligand is not None:
                (verdict,) = bust(pose.ligand, pose.coords[None], file)
                judged[k] = replace(poses[k], verdict=verdict)
    return judged


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None

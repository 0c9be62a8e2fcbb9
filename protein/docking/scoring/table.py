"""The table of scores: one row for every record, including those that failed."""

import numpy as np

from protein.docking.energy.terms import TERMS
from protein.docking.molecules.conformers import same_stereo
from protein.docking.poses.files import GivenPose
from protein.docking.scoring.score import PoseScores, ScoreSettings


def score_columns(settings: ScoreSettings, confidence: bool = False) -> list[str]:
    """Columns of the table of scores.

    Args:
        settings: what was computed.
        confidence: whether there was a ranking model.
    """
    return [
        "index", "file", "record", "name", "status", "reason", "smiles", "heavy_atoms",
        "torsions", *(["confidence"] if confidence else []), "affinity", "energy",
        "intramolecular", "strain", *(f"term_{name}" for name in TERMS), "clashes", "contacts",
        "residues", "stereo_kept", *(["affinity_given", "moved"] if settings.minimize else []),
        *(["valid", "failed_checks"] if settings.check else []),
    ]  # fmt: skip


def score_row(index: int, pose: GivenPose, scores: PoseScores | str, k: int) -> dict[str, str]:
    """One row of the table; a pose that failed has a reason instead of figures.

    Args:
        index: place in the table, from 1.
        pose: the record.
        scores: scores of its group, or why there are none.
        k: its index in the group.
    """
    row = {
        "index": str(index),
        "file": str(pose.file),
        "record": str(pose.record) if pose.record else "",
        "name": pose.name,
    }
    if isinstance(scores, str) or pose.ligand is None:
        reason = " ".join((pose.error or str(scores)).split())
        return {**row, "status": "failed", "reason": reason}
    ligand = pose.ligand
    return {
        **row,
        "status": "ok",
        "smiles": ligand.smiles,
        "heavy_atoms": str(len(ligand)),
        "torsions": str(len(ligand.tree)),
        **score_tags(scores, k),
        "residues": " ".join(scores.residues[k]),
        "stereo_kept": "yes" if same_stereo(ligand, scores.coords[k]) else "no",
    }


def score_tags(scores: PoseScores, k: int) -> dict[str, str]:
    """Figures of one pose, under the names of the tags of docked poses.

    Args:
        scores: scores of K poses.
        k: index of the pose.
    """
    tags = {} if scores.confidence is None else {"confidence": f"{scores.confidence[k]:.4f}"}
    for name in ("affinity", "energy", "intramolecular", "strain", "affinity_given", "moved"):
        values = getattr(scores, name)
        if values is not None:
            tags[name] = f"{values[k]:.3f}" if np.isfinite(values[k]) else ""
    tags |= {f"term_{name}": f"{scores.terms[k, i]:.4f}" for i, name in enumerate(TERMS)}
    tags |= {name: str(int(getattr(scores, name)[k])) for name in ("clashes", "contacts")}
    if scores.verdicts:
        tags["valid"] = "yes" if scores.verdicts[k].valid else "no"
        tags["failed_checks"] = " ".join(scores.verdicts[k].failed)
    return tags


ATOM_COLUMNS: tuple[str, ...] = ("index", "name", "atom", "element", "energy", *TERMS)
"""Columns of the table of atoms."""


def atom_rows(index: int, pose: GivenPose, scores: PoseScores, k: int) -> list[dict[str, str]]:
    """Rows of the table of atoms for one pose; none if its terms were not asked for.

    Args:
        index: place of the pose in the table of scores, from 1.
        pose: the record.
        scores: scores of its group.
        k: its index in the group.
    """
    if scores.atoms is None or pose.ligand is None:
        return []
    weight = scores.weights.pair().double().numpy()
    return [
        {
            "index": str(index), "name": pose.name, "atom": str(atom.GetIdx() + 1),
            "element": atom.GetSymbol(), "energy": f"{terms @ weight:.4f}",
            **{name: f"{value:.4f}" for name, value in zip(TERMS, terms, strict=True)},
        }
        for atom, terms in zip(pose.ligand.mol.GetAtoms(), scores.atoms[k], strict=True)
    ]  # fmt: skip

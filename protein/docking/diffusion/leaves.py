"""The leaves of a state of docking, and the pose that they make together."""

from protein.docking.poses.pose import LigandBatch, Pose
from sciddiff.state import State

TRANSLATION, ROTATION, TORSIONS = "translation", "rotation", "torsions"


def padded_pose(x: State, ligands: LigandBatch) -> Pose:
    """The pose of a state, one per sample: torsions padded, a pose dimension of 1.

    Args:
        x: leaves ``translation``, ``rotation``, ``torsions``.
        ligands: one per sample.
    """
    torsions = x[TORSIONS].new_zeros(ligands.torsion_mask.shape)
    torsions = torsions.masked_scatter(ligands.torsion_mask, x[TORSIONS])
    return Pose(
        x[TRANSLATION].unsqueeze(1), x[ROTATION].unsqueeze(1), torsions.unsqueeze(1)
    )

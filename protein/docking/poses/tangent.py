"""The gradient of a function of coordinates by translation, rotation and torsions."""

import torch
from torch import Tensor

from protein.docking.poses.pose import LigandBatch, Pose, take_rows


def tangent_gradient(batch: LigandBatch, pose: Pose, coords: Tensor, gradient: Tensor) -> Tensor:
    """Gradient in the tangent space of poses from the gradient by coordinates, in closed form.

    Args:
        batch: the ligands.
        pose: their poses.
        coords: ``coordinates(batch, pose)``, `[L, P, N, 3]`.
        gradient: gradient by the coordinates `[L, P, N, 3]`, 0 where padded.

    Returns:
        `[L, P, 6 + T]`: by translation, by body-frame rotation vector (R Exp(v)), by torsions.
    """
    arm = coords - pose.translation.unsqueeze(-2)
    twist = torch.linalg.cross(arm, gradient)
    # Only atoms of a ligand that is not bonded feel its translation and rotation.
    own = batch.loose[:, None, :, None]
    total, torque = (
        (x if batch.anchored is None else x * own).sum(-2) for x in (gradient, twist)
    )
    rotation = (torque.unsqueeze(-2) @ pose.rotation).squeeze(-2)
    if batch.torsion_mask.shape[1] == 0:
        return torch.cat([total, rotation], dim=-1)
    ends = take_rows(arm, batch.bonds.flatten(1))
    start, end = ends[..., 0::2, :], ends[..., 1::2, :]
    axis = torch.nn.functional.normalize(end - start, dim=-1, eps=1e-6)
    sums = batch.moved.unsqueeze(1) @ torch.cat([twist, gradient, arm], dim=-1)
    twists, forces, arms = sums.split(3, dim=-1)
    size = batch.moved.sum(-1)[:, None, :, None]
    count = batch.atom_mask.sum(-1)[:, None, None, None]
    # Turning a branch of the ligand shifts the centre, which is held: the whole moves back.
    back = torch.linalg.cross(arms - size * start, total.unsqueeze(-2).expand_as(arms)) / count
    back = back.masked_fill(batch.swings[:, None, :, None], 0.0)
    turn = twists - torch.linalg.cross(start, forces) - back
    torsions = (axis * turn).sum(-1) * batch.torsion_mask.unsqueeze(1)
    return torch.cat([total, rotation, torsions], dim=-1)

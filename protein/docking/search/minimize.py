r"""Local minimisation of many poses at once, on R³ × SO(3) × Tᵐ.

Every pose has its own quasi-Newton search (BFGS with a dense inverse Hessian, the space has 6 + T
dimensions) and its own line search. All advance together, one evaluation of the energy at a time:
a pose whose step lowered the energy enough (Armijo) takes it and starts the next one, a pose whose
step did not halves it, so that no evaluation waits for another pose. Steps are tangent vectors;
the first metric is that of the mean squared displacement of the atoms,

.. math:: |v|^2 = \frac1N \sum_n |\dot x_n|^2,

which makes a radian of a long branch as large as its ångströms.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from protein.docking.energy import compiled
from protein.docking.energy.grid import GridSet
from protein.docking.energy.intramolecular import IntraPairs
from protein.docking.energy.vina import VinaEnergy
from protein.docking.poses.pose import LigandBatch, Pose, coordinates, retract, tangent_gradient
from sciddiff.manifolds import so3

_ARMIJO = 1e-4
# Largest change of a coordinate in one step: Å, radians, radians.
_LIMITS = (1.0, 0.6, 0.8)
# Root-mean-square displacement of the first step, Å.
_FIRST = 0.1
_SMALLEST = 1e-3


class Field(Protocol):
    """A function of coordinates with its gradient."""

    def evaluate(self, coords: Tensor, cap: float = float("inf")) -> tuple[Tensor, Tensor]:
        """Energy `[L, P]` and gradient `[L, P, N, 3]` of coordinates `[L, P, N, 3]`."""
        ...


@dataclass(frozen=True)
class MinimizeSettings:
    """How far to minimise.

    Attributes:
        evaluations: of the energy, per pose.
        cap: soft core handed to the field, kcal/mol.
    """

    evaluations: int = 60
    cap: float = float("inf")


@dataclass(frozen=True, eq=False)
class Minimum:
    """Poses after minimisation.

    Attributes:
        pose: where they are.
        coords: their coordinates `[L, P, N, 3]`, Å.
        energy: of the field there `[L, P]`, never above that of the start.
        gradient: in the tangent space `[L, P, 6 + T]`.
    """

    pose: Pose
    coords: Tensor
    energy: Tensor
    gradient: Tensor


def minimize(
    batch: LigandBatch, field: Field, pose: Pose, settings: MinimizeSettings = MinimizeSettings()
) -> Minimum:
    """Minimise a field from given poses.

    Args:
        batch: the ligands.
        field: energy of coordinates.
        pose: starts, `[L, P, ...]`.
        settings: effort and soft core.
    """
    with torch.no_grad():
        if isinstance(field, VinaEnergy) and field.grids is not None:
            if compiled.ready(batch.reference, field.grids.values, *pose):
                return _compiled(batch, field.grids, field.pairs, pose, settings)
        return _minimize(batch, field, pose, settings)


def _compiled(
    batch: LigandBatch, grids: GridSet, pairs: IntraPairs, pose: Pose, settings: MinimizeSettings
) -> Minimum:
    pose, x, value, gradient = compiled.minimize(
        batch, grids, pairs, pose, settings.evaluations, settings.cap, _limits(batch)
    )
    pose = pose._replace(rotation=so3.orthonormalize(pose.rotation))
    return Minimum(pose, x, value, gradient)


def _minimize(batch: LigandBatch, field: Field, pose: Pose, settings: MinimizeSettings) -> Minimum:
    def evaluate(at: Pose) -> tuple[Tensor, Tensor, Tensor]:
        x = coordinates(batch, at)
        energy, slope = field.evaluate(x, settings.cap)
        return x, energy, tangent_gradient(batch, at, x, slope)

    limits = _limits(batch)
    metric = metric_diagonal(batch).unsqueeze(1).expand(-1, pose.translation.shape[1], -1)
    x, energy, gradient = evaluate(pose)
    inverse, fresh = _start(metric, gradient)
    direction = _limited(-_apply(inverse, gradient), limits)
    alpha = torch.ones_like(energy)
    for _ in range(settings.evaluations - 1):
        step = alpha.unsqueeze(-1) * direction
        trial = retract(pose, step)
        new_x, new_energy, new_gradient = evaluate(trial)
        slope = (gradient * step).sum(-1)
        good = new_energy <= energy + _ARMIJO * slope
        change = new_gradient - gradient
        inverse = _update(inverse, metric, step, change, good, fresh)
        fresh = fresh & ~good
        # The next length if the step failed: minimum of the parabola through what is known.
        curve = (new_energy - energy - slope).clamp(min=1e-12)
        shrink = (-0.5 * slope / curve).clamp(0.1, 0.5)
        pose = Pose(*(choose(good, a, b) for a, b in zip(trial, pose, strict=True)))
        x, energy = choose(good, new_x, x), torch.where(good, new_energy, energy)
        gradient = choose(good, new_gradient, gradient)
        alpha = torch.where(good, torch.ones_like(alpha), alpha * shrink)
        proposal = -_apply(inverse, gradient)
        lost = (alpha < _SMALLEST) | ((proposal * gradient).sum(-1) >= 0)
        restart, _ = _start(metric, gradient)
        inverse = choose(lost, restart, inverse)
        fresh = fresh | lost
        proposal = torch.where(lost.unsqueeze(-1), -_apply(restart, gradient), proposal)
        alpha = torch.where(lost, torch.ones_like(alpha), alpha)
        direction = choose(good | lost, _limited(proposal, limits), direction)
    pose = pose._replace(rotation=so3.orthonormalize(pose.rotation))
    return Minimum(pose, x, energy, gradient)


def metric_diagonal(batch: LigandBatch) -> Tensor:
    """Mean squared displacement of atoms by a unit of each coordinate `[L, 6 + T]`, Å².

    Args:
        batch: the ligands, in their reference conformers.
    """
    x = batch.reference
    count = batch.atom_mask.sum(-1, keepdim=True).to(x.dtype)
    gyration = x.square().sum((-1, -2)).unsqueeze(-1) / count
    rotation = (2 / 3 * gyration).clamp(min=0.5).expand(-1, 3)
    ends = x.unsqueeze(1).expand(-1, max(1, batch.bonds.shape[1]), -1, -1)
    ends = ends[:, : batch.bonds.shape[1]].gather(2, batch.bonds[..., None].expand(-1, -1, -1, 3))
    start, end = ends.unbind(2)
    axis = torch.nn.functional.normalize(end - start, dim=-1, eps=1e-6)
    arm = x.unsqueeze(1) - start.unsqueeze(2)
    off = arm - (arm * axis.unsqueeze(2)).sum(-1, keepdim=True) * axis.unsqueeze(2)
    torsion = (off.square().sum(-1) * batch.moved).sum(-1) / count
    torsion = torch.where(batch.torsion_mask, torsion.clamp(min=0.1), torch.ones_like(torsion))
    return torch.cat([torch.ones_like(rotation), rotation, torsion], dim=-1)


def _limits(batch: LigandBatch) -> Tensor:
    shift, turn, twist = _LIMITS
    tail = [twist] * batch.torsion_mask.shape[1]
    return torch.tensor([shift] * 3 + [turn] * 3 + tail, device=batch.reference.device)


def _start(metric: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """First inverse Hessian `[L, P, D, D]`: a short step down the gradient of the metric."""
    down = gradient / metric
    length = (down * gradient).sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
    diagonal = (_FIRST / length).clamp(max=0.1) / metric
    return torch.diag_embed(diagonal), torch.ones_like(length.squeeze(-1), dtype=torch.bool)


def _update(
    inverse: Tensor, metric: Tensor, step: Tensor, change: Tensor, good: Tensor, fresh: Tensor
) -> Tensor:
    """BFGS update of the inverse Hessian where the step was taken and has positive curvature."""
    curvature = (step * change).sum(-1)
    size = (step.square().sum(-1) * change.square().sum(-1)).sqrt()
    useful = good & (curvature > 1e-4 * size) & (curvature > 1e-10)
    safe = torch.where(useful, curvature, torch.ones_like(curvature))
    # After the first step the scale of the metric is known (Nocedal and Wright, eq. 6.20).
    scale = safe / ((change / metric) * change).sum(-1).clamp(min=1e-12)
    scaled = torch.diag_embed(scale.unsqueeze(-1) / metric)
    old = choose(useful & fresh, scaled, inverse)
    hy = _apply(old, change)
    factor = (1 + (change * hy).sum(-1) / safe) / safe
    outer = step.unsqueeze(-1) * (
        factor[..., None, None] * step.unsqueeze(-2) - hy.unsqueeze(-2) / safe[..., None, None]
    )
    cross = hy.unsqueeze(-1) * step.unsqueeze(-2) / safe[..., None, None]
    return choose(useful, old + outer - cross, inverse)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _limited(step: Tensor, limits: Tensor) -> Tensor:
    """Steps shortened, as a whole, to the largest allowed change of any coordinate."""
    excess = (step.abs() / limits).amax(-1, keepdim=True).clamp(min=1.0)
    return step / excess


def choose(where: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """``torch.where`` with a condition `[L, P]` on values `[L, P, ...]`.

    Args:
        where: `[L, P]`, bool.
        yes: values where true.
        no: values elsewhere.
    """
    return torch.where(where.view(*where.shape, *(1,) * (yes.ndim - 2)), yes, no)

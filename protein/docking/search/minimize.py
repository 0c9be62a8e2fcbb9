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
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from protein.docking.energy import compiled
from protein.docking.energy.vina import VinaEnergy
from protein.docking.poses.pose import (
    LigandBatch,
    Pose,
    T,
    coordinates,
    map_tensors,
    retract,
    tangent_gradient,
)
from sciddiff.manifolds import so3

_ARMIJO = 1e-4
# Largest change of a coordinate in one step: Å of the centre, radians of the whole, of a torsion.
_SHIFT, _TURN, _TWIST = 1.0, 0.6, 0.8
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


class Minimum(NamedTuple):
    """Poses after minimisation.

    Attributes:
        pose: where they are.
        coords: their coordinates `[L, P, N, 3]`, Å.
        energy: of the field there `[L, P]`, never above that of the start.
    """

    pose: Pose
    coords: Tensor
    energy: Tensor


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
    limits = batch.reference.new_full((batch.dofs,), _TWIST)
    limits[:3], limits[3:6] = _SHIFT, _TURN
    vina = field if isinstance(field, VinaEnergy) else None
    grids = None if vina is None else vina.grids
    with torch.no_grad():
        if vina and grids and compiled.ready(batch.reference, grids.values, *pose):
            found = Minimum(*compiled.minimize(
                batch, grids, vina.pairs, pose, settings.evaluations, settings.cap, limits
            ))  # fmt: skip
        else:
            found = _minimize(batch, field, pose, settings, limits)
        rotation = so3.orthonormalize(found.pose.rotation)
        return found._replace(pose=found.pose._replace(rotation=rotation))


def _minimize(
    batch: LigandBatch, field: Field, pose: Pose, settings: MinimizeSettings, limits: Tensor
) -> Minimum:
    def evaluate(at: Pose) -> tuple[Tensor, Tensor, Tensor]:
        x = coordinates(batch, at)
        energy, slope = field.evaluate(x, settings.cap)
        return x, energy, tangent_gradient(batch, at, x, slope)

    metric = batch.metric.to(batch.reference).unsqueeze(1)
    metric = metric.expand(-1, pose.translation.shape[1], -1)
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
        there, here = Minimum(trial, new_x, new_energy), Minimum(pose, x, energy)
        pose, x, energy = choose(good, there, here)
        gradient = _where(good, new_gradient, gradient)
        alpha = torch.where(good, torch.ones_like(alpha), alpha * shrink)
        proposal = -_apply(inverse, gradient)
        lost = (alpha < _SMALLEST) | ((proposal * gradient).sum(-1) >= 0)
        restart, _ = _start(metric, gradient)
        inverse = _where(lost, restart, inverse)
        fresh = fresh | lost
        proposal = torch.where(lost.unsqueeze(-1), -_apply(restart, gradient), proposal)
        alpha = torch.where(lost, torch.ones_like(alpha), alpha)
        direction = _where(good | lost, _limited(proposal, limits), direction)
    return Minimum(pose, x, energy)


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
    old = _where(useful & fresh, scaled, inverse)
    hy = _apply(old, change)
    factor = (1 + (change * hy).sum(-1) / safe) / safe
    outer = step.unsqueeze(-1) * (
        factor[..., None, None] * step.unsqueeze(-2) - hy.unsqueeze(-2) / safe[..., None, None]
    )
    cross = hy.unsqueeze(-1) * step.unsqueeze(-2) / safe[..., None, None]
    return _where(useful, old + outer - cross, inverse)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _limited(step: Tensor, limits: Tensor) -> Tensor:
    """Steps shortened, as a whole, to the largest allowed change of any coordinate."""
    excess = (step.abs() / limits).amax(-1, keepdim=True).clamp(min=1.0)
    return step / excess


def choose(where: Tensor, yes: T, no: T) -> T:
    """Poses taken from one of two sets, each by a condition of its own.

    Args:
        where: `[L, P]`, bool.
        yes: named tuple of tensors `[L, P, ...]`, taken where true.
        no: taken elsewhere.
    """
    return map_tensors(lambda a, b: _where(where, a, b), yes, no)


def _where(where: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(where.view(*where.shape, *(1,) * (yes.ndim - 2)), yes, no)

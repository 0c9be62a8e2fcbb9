r"""Local minimisation of many poses at once, on R³ × SO(3) × Tᵐ.

Every pose has its own quasi-Newton search (BFGS with a dense inverse Hessian, as the space has
only 6 + T dimensions) and its own line search (Nocedal and Wright, *Numerical Optimization*,
2006). All advance together, one evaluation of the energy at a time: a pose whose step lowered the
energy enough (Armijo) takes it and starts the next one, and a pose whose step did not shortens it,
so that no evaluation waits for another pose. Steps are tangent vectors; the first metric is that
of the mean squared displacement of the atoms,

.. math:: |v|^2 = \frac1N \sum_n |\dot x_n|^2,

which makes a radian of a long branch as large as its ångströms.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from protein.docking.energy import compiled
from protein.docking.energy.constants import ARMIJO, FIRST, SHIFT, SMALLEST, TURN, TWIST
from protein.docking.energy.vina import VinaEnergy
from protein.docking.poses.pose import (
    LigandBatch,
    Pose,
    T,
    coordinates,
    map_tensors,
    retract,
)
from protein.docking.poses.tangent import tangent_gradient
from sciddiff.manifolds import so3


class Field(Protocol):
    """A function of coordinates with its gradient."""

    def evaluate(self, coords: Tensor, cap: float = float("inf")) -> tuple[Tensor, Tensor]:
        """Energy `[L, P]` and gradient `[L, P, N, 3]` of coordinates `[L, P, N, 3]`."""
        ...


@dataclass(frozen=True)
class MinimizeSettings:
    """Effort of a minimisation.

    Attributes:
        evaluations: evaluations of the energy per pose.
        cap: soft core of the field, kcal/mol.
    """

    evaluations: int = 60
    cap: float = float("inf")


class Minimum(NamedTuple):
    """Poses after minimisation.

    Attributes:
        pose: the poses `[L, P, ...]`.
        coords: their coordinates `[L, P, N, 3]`, Å.
        energy: energy of the field there `[L, P]`, never above that of the start.
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
        pose: poses to start from `[L, P, ...]`.
        settings: number of evaluations, and the soft core.
    """
    with torch.no_grad():
        if (
            isinstance(field, VinaEnergy)
            and field.grids is not None
            and compiled.ready(batch.reference, field.grids.values, *pose)
        ):
            pose = Pose(*(x.detach().contiguous().clone() for x in pose))
            size, poses, _ = pose.translation.shape
            x = pose.translation.new_zeros(size, poses, batch.reference.shape[1], 3)
            found = Minimum(pose, x, x.new_zeros(size, poses))
            compiled.minimize(
                size * poses, settings.evaluations, float(settings.cap), batch.arrays,
                *field.arrays, *(t.numpy() for t in (*pose, found.coords, found.energy)),
            )  # fmt: skip
        else:
            found = _minimize(batch, field, pose, settings)
        # In double precision, so that no bit depends on how many are made orthonormal together.
        rotation = so3.orthonormalize(found.pose.rotation.double()).to(found.coords.dtype)
        return found._replace(pose=found.pose._replace(rotation=rotation))


def _minimize(batch: LigandBatch, field: Field, pose: Pose, settings: MinimizeSettings) -> Minimum:
    def evaluate(at: Pose) -> tuple[Tensor, Tensor, Tensor]:
        x = coordinates(batch, at)
        energy, slope = field.evaluate(x, settings.cap)
        return x, energy, tangent_gradient(batch, at, x, slope)

    limits = batch.reference.new_full((batch.dofs,), TWIST)
    limits[:3], limits[3:6] = SHIFT, TURN
    metric = batch.metric.to(batch.reference).unsqueeze(1)
    metric = metric.expand(-1, pose.translation.shape[1], -1)
    x, energy, gradient = evaluate(pose)
    inverse, fresh = _start(metric, gradient)
    direction = _limited(-_apply(inverse, gradient), limits)
    alpha = torch.ones_like(energy)
    # Every turn evaluates one trial of every pose. Until it is accepted, pose, x, energy and
    # gradient stay those of the best pose so far. `inverse` is positive definite throughout, so
    # that `direction` goes down.
    for _ in range(settings.evaluations - 1):
        step = alpha.unsqueeze(-1) * direction
        trial = retract(pose, step)
        new_x, new_energy, new_gradient = evaluate(trial)
        slope = (gradient * step).sum(-1)
        good = new_energy <= energy + ARMIJO * slope  # sufficient decrease (eq. 3.4)
        change = new_gradient - gradient
        inverse = _update(inverse, metric, step, change, good, fresh)
        fresh = fresh & ~good
        # The next length if the step failed: the minimum of the parabola through both energies and
        # the slope (eq. 3.58), held between a tenth and a half of this length.
        curve = (new_energy - energy - slope).clamp(min=1e-12)
        shrink = (-0.5 * slope / curve).clamp(0.1, 0.5)
        there, here = Minimum(trial, new_x, new_energy), Minimum(pose, x, energy)
        pose, x, energy = choose(good, there, here)
        gradient = _where(good, new_gradient, gradient)
        alpha = torch.where(good, torch.ones_like(alpha), alpha * shrink)
        # A direction that leads uphill or nowhere is given up for that of steepest descent.
        proposal = -_apply(inverse, gradient)
        lost = (alpha < SMALLEST) | ((proposal * gradient).sum(-1) >= 0)
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
    diagonal = (FIRST / length).clamp(max=0.1) / metric
    return torch.diag_embed(diagonal), torch.ones_like(length.squeeze(-1), dtype=torch.bool)


def _update(
    inverse: Tensor, metric: Tensor, step: Tensor, change: Tensor, good: Tensor, fresh: Tensor
) -> Tensor:
    """BFGS update of the inverse Hessian (eq. 6.17), with s the step and y the change of gradient.

    H + (1 + yᵀHy / sᵀy) s sᵀ / sᵀy - (s (Hy)ᵀ + Hy sᵀ) / sᵀy, where the step was taken and sᵀy is
    positive, which keeps H positive definite. Elsewhere H stays as it is.
    """
    curvature = (step * change).sum(-1)
    size = (step.square().sum(-1) * change.square().sum(-1)).sqrt()
    useful = good & (curvature > 1e-4 * size) & (curvature > 1e-10)
    safe = torch.where(useful, curvature, torch.ones_like(curvature))
    # After the first step the scale of the metric is known (eq. 6.20).
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

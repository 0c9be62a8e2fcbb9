r"""Heads of the docking network: from channels of atoms to motions of the ligand.

With :math:`r_n` from the ligand's center, forces :math:`f_n` and torques :math:`w_n` mixed from
the polar and axial channels of atom n, and torsion k about the unit axis :math:`e` through
:math:`b`, moving the atoms of its branch:

.. math:: \dot t = \overline{f}, \qquad
    \omega = \overline{w} + \frac{\overline{r \times f'}}{\overline{r^2}}, \qquad
    \dot\tau_k = \sum_c m_c \left\{ e \cdot w_c,\;
        \frac{e \cdot \sum_\mathrm{branch} (x_n - b) \times f_{nc}}{\sum_\mathrm{branch}
        \rho_n^2} \right\} ,

where the weights m come from scalars. All are pseudoscalars or vectors of the right parity.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from protein.docking.diffusion.tensor_product import Channels, Widths
from protein.docking.poses.pose import LigandBatch

_FLOOR = 1.0  # Å²; keeps the motion of a branch that hardly moves finite


@final
class PoseHeads(nn.Module):
    """Velocities of translation, rotation and torsions.

    Args:
        widths: numbers of channels of an atom.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.widths = widths
        s, v, q = widths.scalars, widths.vectors, widths.pseudo
        self.norm = nn.LayerNorm(s)
        self.gates = nn.Sequential(nn.Linear(s + 1, s), nn.SiLU(), nn.Linear(s, 3 * v))
        self.torsion = nn.Linear(v, v, bias=False)
        terms = 5 * v + 2 * q
        self.mix = nn.Sequential(nn.Linear(2 * s + 1, s), nn.SiLU(), nn.Linear(s, terms))

    def forward(
        self, nodes: Channels, ligands: LigandBatch, coords: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Velocities.

        Args:
            nodes: channels of the real ligand atoms `[A, ...]`.
            ligands: L = B.
            coords: `[B, N, 3]`, Å.
            t: `[B]`.

        Returns:
            Translation `[B, 3]` (Å), rotation `[B, 3]` (of the root fragment, in the frame of the
            pocket, radians) and torsions `[B, T]` (radians), per unit of time.
        """
        mask = ligands.atom_mask
        count = mask.sum(-1, keepdim=True).to(coords.dtype)
        scalars = _padded(self.norm(nodes.scalars), mask)
        times = t[:, None, None].expand(-1, mask.shape[1], 1)
        gates = self.gates(torch.cat([scalars, times], dim=-1)) * mask.unsqueeze(-1)
        polar, axial = _padded(nodes.vectors, mask).chunk(2, dim=-1)
        pull, lever, torque = (g.unsqueeze(-2) for g in gates.chunk(3, dim=-1))
        arm = (coords - _mean(coords, mask, count)) * mask.unsqueeze(-1)
        shift = 4.0 * (polar * pull).sum((1, 3)) / count
        forces = (polar * lever).sum(-1)
        size = arm.square().sum((1, 2)).unsqueeze(-1) + _FLOOR
        turn = (axial * torque).sum((1, 3)) / count
        turn = turn + torch.linalg.cross(arm, forces).sum(1) / size * 2.0
        if ligands.torsion_mask.shape[1] == 0:
            return shift, turn, t.new_zeros(len(t), 0)
        twist = self._twist(nodes, scalars, polar, axial, ligands, arm, t)
        return shift, turn - rigid_part(ligands, arm, twist), twist

    def _twist(
        self,
        nodes: Channels,
        scalars: Tensor,
        polar: Tensor,
        axial: Tensor,
        ligands: LigandBatch,
        arm: Tensor,
        t: Tensor,
    ) -> Tensor:
        bonds, moved = ligands.bonds, ligands.moved
        start, axis = axes(ligands, arm)
        e = axis.unsqueeze(-1)
        v = self.widths.vectors
        # At the ends of the axis, and averaged over the branch.
        ends = _gather(axial, bonds.flatten(1)).unflatten(1, (-1, 2))
        at_ends = (ends * e.unsqueeze(2)).sum(3)
        members = moved.sum(-1, keepdim=True)
        branch = torch.einsum("btn,bnic->btic", moved, axial) / (members.unsqueeze(-1) + 1.0)
        along = (branch * e).sum(2)
        # Torque of the polar channels about the axis: (x - b) x f along e is f along e x (x - b).
        forces = self.torsion(polar)
        rho, total = _levers(start, axis, arm, moved)
        swing = torch.einsum("btni,bnic->btc", rho, forces) / total.unsqueeze(-1)
        other = ligands.atom_mask.unsqueeze(1).to(moved) - moved
        rho, total = _levers(start, axis, arm, other)
        back = -torch.einsum("btni,bnic->btc", rho, forces) / total.unsqueeze(-1)
        pseudo = _gather(_padded(nodes.pseudo, ligands.atom_mask), bonds.flatten(1))
        odd = torch.cat(
            [at_ends.flatten(2), along, swing, back, pseudo.unflatten(1, (-1, 2)).flatten(2)], -1
        )
        around = _gather(scalars, bonds.flatten(1)).unflatten(1, (-1, 2)).flatten(2)
        times = t[:, None, None].expand(-1, bonds.shape[1], 1)
        weights = self.mix(torch.cat([around, times], dim=-1))
        twist = (functional.softsign(weights / 4.0) * 4.0 * odd).sum(-1) / (5 * v) ** 0.5
        return twist * ligands.torsion_mask


def axes(ligands: LigandBatch, arm: Tensor) -> tuple[Tensor, Tensor]:
    """A point on each torsion axis and its direction, both `[B, T, 3]`.

    Args:
        ligands: L = B.
        arm: coordinates `[B, N, 3]`.
    """
    start, end = _gather(arm, ligands.bonds.flatten(1)).unflatten(1, (-1, 2)).unbind(2)
    return start, functional.normalize(end - start, dim=-1, eps=1e-6)


def rigid_part(ligands: LigandBatch, arm: Tensor, twist: Tensor) -> Tensor:
    """Angular velocity of the whole ligand when its torsions turn and the root rests.

    It is that of a rigid body with the same angular momentum about the center, which a
    superposition on the old coordinates would undo to first order.

    Args:
        ligands: L = B.
        arm: coordinates from the center `[B, N, 3]`, 0 where padded.
        twist: angular velocities of the torsions `[B, T]`.

    Returns:
        `[B, 3]`.
    """
    start, axis = axes(ligands, arm)
    # Sum over the branch of r x (e x (r - b)), expanded so that no [B, T, N, 3] is needed.
    moved = ligands.moved
    outer = torch.einsum("btn,bni,bnj->btij", moved, arm, arm)
    first = torch.einsum("btn,bni->bti", moved, arm)
    trace = outer.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    momentum = axis * trace - (outer @ axis.unsqueeze(-1)).squeeze(-1)
    momentum = momentum - axis * (first * start).sum(-1, keepdim=True)
    momentum = momentum + start * (first * axis).sum(-1, keepdim=True)
    total = (momentum * twist.unsqueeze(-1)).sum(1)
    squares = arm.square().sum((1, 2))[:, None, None]
    eye = torch.eye(3, dtype=arm.dtype, device=arm.device)
    inertia = squares * eye - torch.einsum("bni,bnj->bij", arm, arm)
    # A rod cannot be told to turn about itself.
    inertia = inertia + (0.01 * squares + 0.1) * eye
    # Without the check that would make the host wait: the matrix is positive definite.
    return torch.linalg.solve_ex(inertia, total.unsqueeze(-1)).result.squeeze(-1)


def _levers(start: Tensor, axis: Tensor, arm: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """``e x (x - b)`` of the members `[B, T, N, 3]`, and the sum of its squares `[B, T]`."""
    offset = arm.unsqueeze(1) - start.unsqueeze(2)
    rho = torch.linalg.cross(axis.unsqueeze(2).expand_as(offset), offset)
    rho = rho * members.unsqueeze(-1)
    return rho, rho.square().sum((-1, -2)) + _FLOOR


def _padded(rows: Tensor, mask: Tensor) -> Tensor:
    """Rows of real atoms `[A, ...]` back in their places `[B, N, ...]`, 0 elsewhere."""
    full = rows.new_zeros(*mask.shape, *rows.shape[1:])
    full[mask] = rows
    return full


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """``values[b, index[b, k]]``: `[B, N, ...]` and `[B, K]` to `[B, K, ...]`."""
    return values[torch.arange(len(index), device=index.device)[:, None], index]


def _mean(coords: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    return ((coords * mask.unsqueeze(-1)).sum(1) / count).unsqueeze(1)

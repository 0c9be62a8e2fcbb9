"""Junction relaxation: the smallest moves of residue frames that make every peptide bond a good
one.

A network places frames to within a few hundredths of an ångström; crystallographic bond lengths
are ten times
tighter. Each residue's N, CA, C stay rigid at ideal geometry, and the frames are moved by
gradient descent on

    E = sum over junctions of z^2 (C-N length, both angles, omega)  +  overlaps
        + hydrogen bonds  +  k |moves|^2,

with z in the standard deviations of Engh & Huber (2001), softened so that one bad junction does
not
tear at its neighbours, and the hydrogen bonds those of Kabsch & Sander (1983) between groups that
already lie near each other: a sheet or a helix that is almost formed closes, as it does in any
force field. Nothing else speaks of torsions or secondary structure, so what fold the design has,
and its handedness, is the network's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protein.structures import geometry_constants as ideal
from protein.structures.frames import oxygen_positions
from sciddiff.manifolds.so3 import exp_map


@dataclass(frozen=True)
class PolishSettings:
    """How hard the junctions are relaxed.

    Attributes:
        steps: gradient steps; 0 leaves the frames alone.
        rate: largest move of a frame per step, in Å (and in units of 1/2 Å per radian).
        restraint: weight that holds frames where the network put them, per Å^2.
        overlap: weight on backbone atoms that come too close, per Å^2.
        hydrogen_bond: weight on the energy of backbone hydrogen bonds, per kcal/mol.
    """

    steps: int = 140
    rate: float = 0.06
    restraint: float = 0.02
    overlap: float = 20.0
    hydrogen_bond: float = 4.0


DEFAULT = PolishSettings()
"""Settings of a finished design."""

# Closest approach (Å) of backbone heavy atoms of residues that are three or more apart. N and O
# may hydrogen bond.
_NEAR, _REACH = 8.0, 5.0  # Å, between CA atoms and between N and O
_CLOSEST = (
    (3.0, 3.2, 3.2, 2.7),
    (3.2, 3.85, 3.5, 3.1),
    (3.2, 3.5, 3.4, 3.1),
    (2.7, 3.1, 3.1, 3.0),
)


def polish(
    positions: Tensor,
    rotations: Tensor,
    mask: Tensor,
    bonded: Tensor,
    fixed: Tensor | None = None,
    settings: PolishSettings = DEFAULT,
) -> tuple[Tensor, Tensor]:
    """Relax the junctions of a batch of backbones.

    Args:
        positions: CA positions in Å `[B, N, 3]`.
        rotations: residue frames `[B, N, 3, 3]`.
        mask: real residues `[B, N]`.
        bonded: residue i is bonded to i + 1 `[B, N]`; false in the last column.
        fixed: residues that must not move `[B, N]`.
        settings: weights and number of steps.

    Returns:
        New positions `[B, N, 3]` and rotations `[B, N, 3, 3]`.
    """
    if settings.steps == 0 or positions.shape[1] < 2:
        return positions, rotations
    # In double precision, so that a design is the same to the file's last digit in any batch.
    kind = positions.dtype
    positions, rotations = positions.double(), rotations.double()
    movable = (mask if fixed is None else mask & ~fixed).to(positions)[..., None]
    bonded = bonded & mask & torch.roll(mask, -1, 1)
    bonded[:, -1] = False
    moves = torch.zeros(*positions.shape[:2], 6, dtype=positions.dtype, device=positions.device)
    first, second = torch.zeros_like(moves), torch.zeros_like(moves)
    local = positions.new_tensor([ideal.LOCAL_N, ideal.LOCAL_CA, ideal.LOCAL_C])
    far = _far_pairs(mask)
    with torch.enable_grad():
        for step in range(1, settings.steps + 1):
            variable = moves.detach().requires_grad_(True)
            x, r = _moved(positions, rotations, variable * movable)
            energy = _energy(x, r, local, bonded, far, settings)
            energy = energy + settings.restraint * variable.square().sum()
            (gradient,) = torch.autograd.grad(energy, variable)
            # Adam (Kingma & Ba 2015) with a linearly falling rate: per-residue moves of like size.
            first = 0.9 * first + 0.1 * gradient
            second = 0.95 * second + 0.05 * gradient.square()
            size = settings.rate * (1.0 - (step - 1) / settings.steps)
            scale = (second / (1.0 - 0.95**step)).sqrt() + 1e-6
            moves = moves - size * (first / (1.0 - 0.9**step)) / scale
    positions, rotations = _moved(positions, rotations, moves * movable)
    return positions.to(kind), rotations.to(kind)


def _moved(positions: Tensor, rotations: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Apply moves `[B, N, 6]`: a turn (in units of half a radian) and a shift (Å), both in the
    residue's frame.
    """
    shift = torch.matmul(rotations, moves[..., 3:, None])[..., 0]
    return positions + shift, torch.matmul(rotations, exp_map(0.5 * moves[..., :3]))


def _energy(
    x: Tensor, r: Tensor, local: Tensor, bonded: Tensor, far: Tensor, settings: PolishSettings
) -> Tensor:
    atoms = torch.matmul(local, r.transpose(-1, -2)) + x[:, :, None]
    full = torch.cat([atoms, oxygen_positions(atoms, bonded)[..., None, :]], dim=-2)
    with torch.no_grad():
        b, i, j = far
        near = far[:, (full[b, i, 1] - full[b, j, 1]).square().sum(-1) < _NEAR**2]
    energy = _junction_energy(atoms, bonded) + settings.overlap * _overlap(full, near)
    if settings.hydrogen_bond > 0.0:
        energy = energy + settings.hydrogen_bond * _hydrogen_bonds(full, bonded, near)
    return energy


def _junction_energy(atoms: Tensor, bonded: Tensor) -> Tensor:
    ca, c = atoms[:, :-1, 1], atoms[:, :-1, 2]
    n, ca2 = atoms[:, 1:, 0], atoms[:, 1:, 1]
    bond, out, into = n - c, ca - c, ca2 - n
    length = _norm(bond)
    z_length = (length - ideal.C_N) / ideal.C_N_SD
    z_angle = (_angle(out, bond) - ideal.CA_C_N) / ideal.CA_C_N_SD
    z_next = (_angle(-bond, into) - ideal.C_N_CA) / ideal.C_N_CA_SD
    # omega from the planes (CA, C, N) and (C, N, CA); cis junctions stay cis.
    a, b = torch.linalg.cross(-out, bond), torch.linalg.cross(bond, into)
    cosine = (a * b).sum(-1) / (_norm(a) * _norm(b))
    planar = 1.0 - cosine.abs()
    z_omega = planar / (1.0 - math.cos(math.radians(6.0)))
    z = torch.stack([z_length.square(), z_angle.square(), z_next.square(), 0.5 * z_omega], -1)
    soft = 2.0 * ((1.0 + z).sqrt() - 1.0)
    return (soft * bonded[:, :-1, None]).sum()


def _overlap(full: Tensor, near: Tensor) -> Tensor:
    b, i, j = near
    closest = full.new_tensor(_CLOSEST)
    apart = _norm(full[b, i][:, :, None] - full[b, j][:, None])
    return (closest - apart).clamp_min(0.0).square().sum()


def _hydrogen_bonds(full: Tensor, bonded: Tensor, near: Tensor) -> Tensor:
    """Electrostatic energy of N-H...O=C, kcal/mol (Kabsch & Sander 1983, eq. 1), both ways
    round.
    """
    n, ca, c, o = full.unbind(-2)
    before = torch.roll(c, 1, dims=1)
    direction = _unit(n - before) + _unit(n - ca)
    hydrogen = n + 1.01 * _unit(direction)
    has_hydrogen = torch.roll(bonded, 1, dims=1)
    b, i, j = torch.cat([near, near[[0, 2, 1]]], dim=1)
    h, donor, oxygen, carbon = hydrogen[b, i], n[b, i], o[b, j], c[b, j]
    inverse = 1.0 / _norm(oxygen - donor) + 1.0 / _norm(carbon - h)
    inverse = inverse - 1.0 / _norm(oxygen - h) - 1.0 / _norm(carbon - donor)
    # Bonds below -2.5 kcal/mol are formed; those beyond reach or repelled are left alone.
    energy = (27.9 * inverse).clamp(-2.5, 0.0)
    within = (oxygen - donor).square().sum(-1) < _REACH**2
    return (energy * (within & has_hydrogen[b, i])).sum()


def _far_pairs(mask: Tensor) -> Tensor:
    """Pairs of real residues of one protein with i + 3 <= j: `[3, pairs]` (protein, i, j)."""
    n = mask.shape[1]
    upper = torch.ones(n, n, dtype=torch.bool, device=mask.device).triu(3)
    pairs = upper & mask[:, :, None] & mask[:, None, :]
    return pairs.nonzero().T


def _norm(v: Tensor) -> Tensor:
    return (v.square().sum(-1) + 1e-12).sqrt()


def _unit(v: Tensor) -> Tensor:
    return v / _norm(v)[..., None]


def _angle(u: Tensor, v: Tensor) -> Tensor:
    cross = _norm(torch.linalg.cross(u, v))
    return torch.atan2(cross, (u * v).sum(-1))

"""Junction relaxation: the smallest moves of residue frames that make every peptide bond a good
one.

A network places frames to within a few hundredths of an ångström; crystallographic bond lengths
are ten times tighter. Each residue's N, CA, C stay rigid at ideal geometry, and the frames are
moved by gradient descent on::

    E = sum over junctions of z^2 (C-N length, both angles, omega)  +  overlaps
        + hydrogen bonds  +  changes of phi and psi  +  k |moves|^2,

with z in the standard deviations of Engh & Huber (2001), softened so that one bad junction does
not tear at its neighbours, and the hydrogen bonds those of Kabsch & Sander (1983) between groups
that already lie near each other: a sheet or a helix that is almost formed closes, as it does in
any force field. phi and psi are held where the network put them: hydrogen bonds and overlaps would
bend residues out of the favoured Ramachandran region, in which 98 % of the residues lie before
relaxation, 82 % after one without this term and 98 % after one with it. The firmer they are held,
the more may hydrogen bonds weigh, which close strands that lie side by side. No term knows which
torsions or which secondary structure are better, so what fold the design has, and its handedness,
is the network's own. `protein.backbone.polish_energy` has the terms and their gradients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.backbone.polish_energy import Energy, Topology
from protein.backbone.polish_rotations import to_components, to_rows, turned
from protein.backbone.polish_vectors import Array, cross
from protein.structures import geometry_constants as ideal
from protein.structures.frames import backbone_from_frames


@dataclass(frozen=True)
class PolishSettings:
    """How hard the junctions are relaxed.

    Attributes:
        steps: gradient steps, and a fourth as many for a second stage (`settling`); 0 leaves the
            frames alone.
        rate: largest move of a frame per step, in Å (and in units of 1/2 Å per radian).
        restraint: weight that holds frames where the network put them, per Å^2.
        overlap: weight on backbone atoms that come too close, per Å^2.
        hydrogen_bond: weight on the energy of backbone hydrogen bonds, per kcal/mol.
        torsion: weight that holds phi and psi where the network put them, per radian^2.
        rounds: times a backbone is relaxed at most; only one whose chain is still open somewhere
            is relaxed again, held then to where it has come, and with a third of the weights on
            overlaps, hydrogen bonds and torsions, so that they do not keep the chain open.
    """

    steps: int = 240
    rate: float = 0.06
    restraint: float = 0.02
    overlap: float = 120.0
    hydrogen_bond: float = 10.0
    torsion: float = 15.0
    rounds: int = 4

    def settling(self) -> PolishSettings:
        """The settings of a second, shorter relaxation: hydrogen bonds that have closed pull no
        more than a little, and bond angles that they bent come to rest.
        """
        return replace(
            self,
            steps=self.steps // 4,
            rate=self.rate / 2.0,
            overlap=self.overlap / 3.0,
            hydrogen_bond=self.hydrogen_bond / 20.0,
            torsion=self.torsion * 4.0 / 3.0,
        )

    def mending(self) -> PolishSettings:
        """The settings for a backbone whose chain was left open: bonds and angles come first."""
        return replace(
            self,
            overlap=self.overlap / 3.0,
            hydrogen_bond=self.hydrogen_bond / 3.0,
            torsion=self.torsion / 3.0,
        )


DEFAULT = PolishSettings()
"""Settings of a finished design."""


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
    bonded = bonded & mask & torch.roll(mask, -1, 1)
    bonded[:, -1] = False
    movable = mask if fixed is None else mask & ~fixed
    for stage in (settings, settings.settling()):
        positions, rotations = _round(positions, rotations, mask, bonded, movable, stage)
    mending = settings.mending()
    for _ in range(settings.rounds - 1):
        again = _open(positions, rotations, bonded, movable)
        if not again.any():
            break
        positions, rotations = positions.clone(), rotations.clone()
        positions[again], rotations[again] = _round(
            positions[again], rotations[again], mask[again], bonded[again], movable[again],
            mending,
        )  # fmt: skip
    return positions, rotations


def _open(positions: Tensor, rotations: Tensor, bonded: Tensor, movable: Tensor) -> Tensor:
    """Which backbones have a C-N bond that is off by more than 4 standard deviations and can be
    mended `[B]`.
    """
    atoms = backbone_from_frames(rotations, positions, bonded=bonded)
    following = torch.roll(atoms[..., 0, :], -1, 1)
    length = torch.linalg.vector_norm(following - atoms[..., 2, :], dim=-1)
    off = (length - ideal.C_N).abs() > 4.0 * ideal.C_N_SD
    return (off & bonded & (movable | torch.roll(movable, -1, 1))).any(1)


def _round(
    positions: Tensor,
    rotations: Tensor,
    mask: Tensor,
    bonded: Tensor,
    movable: Tensor,
    settings: PolishSettings,
) -> tuple[Tensor, Tensor]:
    """Relax every backbone of a batch once."""
    # In double precision, so that a design is the same to the file's last digit in any batch.
    shape = (*positions.shape[:2], 3)
    x, r = (_array(value.double()) for value in (positions, rotations))
    x, r = to_components(x, 1), to_components(r, 2)
    free = _array(movable).reshape(-1).astype(np.float64)
    topology = Topology.of(_array(mask), _array(bonded))
    moves = _relaxed(x, r, free, topology, settings)
    x, r = _moved(x, r, moves * free)
    new = torch.from_numpy(to_rows(x, shape)), torch.from_numpy(to_rows(r, (*shape, 3)))
    return new[0].to(positions), new[1].to(rotations)


def _array(value: Tensor) -> NDArray:
    return value.detach().cpu().numpy()


def _relaxed(
    x: Array, r: Array, movable: Array, topology: Topology, settings: PolishSettings
) -> Array:
    """The moves `[6, n]` that relax all junctions: a turn (in units of half a radian) and a shift
    (Å), both in the residue's frame.

    Adam (Kingma & Ba 2015) with a linearly falling rate: per-residue moves of like size.
    """
    energy = Energy(topology, settings.overlap, settings.hydrogen_bond, settings.torsion)
    energy.hold(x, r)
    moves = np.zeros((6, x.shape[1]))
    first, second = np.zeros_like(moves), np.zeros_like(moves)
    for step in range(1, settings.steps + 1):
        variable = moves * movable
        now, frames = _moved(x, r, variable)
        _, shift, turn = energy(now, frames)
        gradient = np.concatenate([_of_turn(variable[:3], frames, turn), _in_frame(r, shift)])
        gradient *= movable
        gradient += 2.0 * settings.restraint * moves
        first += 0.1 * (gradient - first)
        second += 0.05 * (gradient * gradient - second)
        size = settings.rate * (1.0 - (step - 1) / settings.steps) / (1.0 - 0.9**step)
        scale = np.sqrt(second / (1.0 - 0.95**step))
        scale += 1e-6
        moves -= size * first / scale
    return moves


def _moved(x: Array, r: Array, moves: Array) -> tuple[Array, Array]:
    """Apply moves: positions `[3, n]` and frames `[3, 3, n]`."""
    shift = r * moves[3:]
    return x + shift[:, 0] + shift[:, 1] + shift[:, 2], turned(r, 0.5 * moves[:3])


def _in_frame(r: Array, v: Array) -> Array:
    """Components of laboratory vectors `[3, n]` along the axes of frames `[3, 3, n]`."""
    terms = r * v[:, None]
    return terms[0] + terms[1] + terms[2]


def _of_turn(variable: Array, frames: Array, turn: Array) -> Array:
    """Gradient for the turning part of the moves, from that for a turn in the laboratory.

    By the transposed right Jacobian of Exp at ``v`` (Chirikjian 2012, eq. 10.86):
    ``t + (1 - cos a) / a^2 v x t + (a - sin a) / a^3 v x (v x t)``.
    """
    v = 0.5 * variable
    torque = _in_frame(frames, turn)
    square = v[0] ** 2 + v[1] ** 2 + v[2] ** 2
    a = np.sqrt(np.maximum(square, 1e-4))
    small = square < 1e-4
    one = np.where(small, 0.5 - square / 24.0, (1.0 - np.cos(a)) / a**2)
    two = np.where(small, 1.0 / 6.0 - square / 120.0, (a - np.sin(a)) / a**3)
    once = cross(v, torque)
    return 0.5 * (torque + one * once + two * cross(v, once))

r"""From torsions to the atoms of side chains and back, for all residues at once.

A residue has fourteen places for atoms: N, CA, C, O, and up to ten of its side chain, CB first.
Atoms that turn together form a rigid group. Group 0 is CB, which the backbone places; group k
hangs on the axis of :math:`\chi_k`:

.. math:: F_1 = F(N, C_\alpha, C_\beta) \, R_x(\chi_1), \qquad
          F_k = F_{k-1} \, T_k \, R_x(\chi_k),

with constant steps :math:`T_k` of the residue, and an atom is a constant point of its group
(AlphaFold 2, Jumper et al. 2021, supplement, algorithm 24). All bond lengths and angles of the
side chain are those of `protein.sidechains.internal`, and the torsion that is read from built
atoms is exactly the one that built them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.sequence.alphabet import LETTERS
from protein.sidechains.internal import MOST_ATOMS, MOST_CHI, SYMMETRIC, placements, side_atoms
from protein.structures.geometry_constants import (
    ATOM_NAMES,
    CA_CB,
    CB_IN_BOND_BASIS,
    CB_OF_PROLINE,
    N_CA,
    N_CA_C,
)
from protein.structures.torsions import dihedral, extend
from sciddiff.manifolds.torus import wrap

__all__ = ["ATOMS", "ELEMENTS", "Tables", "build", "tables", "torsions"]

ATOMS = len(ATOM_NAMES) + MOST_ATOMS
"""Places for the atoms of a residue."""

ELEMENTS = "CNOS"
"""Elements of the atoms of a protein, in the order of `Tables.elements`."""


@final
@dataclass(frozen=True, eq=False)
class Tables:
    """What the geometry of the twenty residues needs, by token.

    Attributes:
        present: which places have an atom `[20, 14]`, bool.
        elements: element of each place, as a number of `ELEMENTS` `[20, 14]`, int64.
        chi: which torsions there are `[20, 4]`, bool.
        quads: places of the four atoms of each torsion `[20, 4, 4]`, int64; 0 where there is none.
        periods: 2 for the torsion of a symmetric end, else 1 `[20, 4]`.
        swaps: places after half a turn of the symmetric end `[20, 14]`, int64.
        beta: CB in the basis of the bonds N-CA and CA-C, see `geometry_constants` `[20, 3]`.
        groups: group of each atom of the side chain `[20, 10]`, int64.
        points: the atom in its group, at torsion 0 `[20, 10, 3]`, Å.
        turns: rotation of the step to group k + 1 `[20, 4, 3, 3]`; the first is not used.
        shifts: translation of that step `[20, 4, 3]`, Å.
    """

    present: Tensor
    elements: Tensor
    chi: Tensor
    quads: Tensor
    periods: Tensor
    swaps: Tensor
    beta: Tensor
    groups: Tensor
    points: Tensor
    turns: Tensor
    shifts: Tensor


def build(backbone: Tensor, tokens: Tensor, chi: Tensor) -> Tensor:
    """Atoms of side chains of ideal geometry.

    Args:
        backbone: N, CA, C (more are ignored) `[..., L, >=3, 3]`, Å.
        tokens: residues `[..., L]`, int64, 0 to 19.
        chi: torsions `[..., L, 4]`, rad; those that a residue lacks are not read.

    Returns:
        The atoms of the side chain `[..., L, 10, 3]`, Å; places without an atom hold CA.
    """
    t = _on(backbone)
    alpha = backbone[..., 1, :]
    beta = alpha + _apply(_bonds(backbone), t.beta[tokens])
    rotation = _frame(backbone[..., 0, :], alpha, beta) @ _about_x(chi[..., 0])
    origin, rotations, origins = beta, [rotation], [beta]
    turns, shifts = t.turns[tokens], t.shifts[tokens]
    for k in range(1, MOST_CHI):
        origin = origin + _apply(rotation, shifts[..., k, :])
        rotation = rotation @ turns[..., k, :, :] @ _about_x(chi[..., k])
        rotations.append(rotation)
        origins.append(origin)
    groups = t.groups[tokens]
    # CB lies at the origin of the first group: it needs no group of its own.
    which = (groups - 1).clamp(min=0)
    frames = torch.stack(rotations, dim=-3)
    frames = frames.gather(-3, which[..., None, None].expand(*which.shape, 3, 3))
    places = torch.stack(origins, dim=-2)
    places = places.gather(-2, which[..., None].expand(*which.shape, 3))
    atoms = places + _apply(frames, t.points[tokens])
    there = t.present[tokens][..., len(ATOM_NAMES) :, None]
    return torch.where(there, atoms, alpha[..., None, :])


def torsions(atoms: Tensor, tokens: Tensor) -> Tensor:
    """Torsions of side chains.

    Args:
        atoms: all fourteen places `[..., L, 14, 3]`, Å.
        tokens: residues `[..., L]`, int64, 0 to 19.

    Returns:
        `[..., L, 4]`, rad, in [-pi, pi); 0 where a residue has none. NaN where an atom is.
    """
    t = _on(atoms)
    quads = t.quads[tokens]
    flat = quads.flatten(-2)
    points = atoms.gather(-2, flat[..., None].expand(*flat.shape, 3)).unflatten(-2, (MOST_CHI, 4))
    found = wrap(dihedral(*points.unbind(-2)))
    return torch.where(t.chi[tokens], found, torch.zeros_like(found))


@cache
def tables() -> Tables:
    """The tables, in float64 on the processor."""
    count = len(LETTERS)
    names = {a: (*ATOM_NAMES, *side_atoms()[a]) for a in LETTERS}
    present = np.zeros((count, ATOMS), dtype=bool)
    elements = np.zeros((count, ATOMS), dtype=np.int64)
    chi = np.zeros((count, MOST_CHI), dtype=bool)
    quads = np.zeros((count, MOST_CHI, 4), dtype=np.int64)
    periods = np.ones((count, MOST_CHI))
    swaps = np.tile(np.arange(ATOMS), (count, 1))
    beta = np.tile(CB_IN_BOND_BASIS, (count, 1))
    beta[LETTERS.index("P")] = CB_OF_PROLINE
    groups = np.zeros((count, MOST_ATOMS), dtype=np.int64)
    points = np.zeros((count, MOST_ATOMS, 3))
    turns = np.tile(np.eye(3), (count, MOST_CHI, 1, 1))
    shifts = np.zeros((count, MOST_CHI, 3))
    for token, letter in enumerate(LETTERS):
        own = names[letter]
        place = {name: k for k, name in enumerate(own)}
        present[token, : len(own)] = True
        elements[token, : len(own)] = [ELEMENTS.index(name[0]) for name in own]
        rigid = _rigid(letter)
        for row in placements()[letter]:
            slot = place[row.atom] - len(ATOM_NAMES)
            groups[token, slot], points[token, slot] = rigid.group[row.atom], rigid.point[row.atom]
            if row.chi and not chi[token, row.chi - 1]:
                chi[token, row.chi - 1] = True
                quads[token, row.chi - 1] = [place[name] for name in (*row.before, row.atom)]
        for k, (turn, shift) in rigid.steps.items():
            turns[token, k - 1], shifts[token, k - 1] = turn, shift
        if letter in SYMMETRIC:
            periods[token, SYMMETRIC[letter] - 1] = 2.0
            for name, slot in place.items():
                pair = name[:-1] + {"1": "2", "2": "1"}.get(name[-1], name[-1])
                swaps[token, slot] = place.get(pair, slot)
    made = (present, elements, chi, quads, periods, swaps, beta, groups, points, turns, shifts)
    return Tables(*(torch.from_numpy(array) for array in made))


@dataclass(frozen=True)
class _Rigid:
    """A side chain at torsions of 0: group and place in it of each atom, and steps to groups."""

    group: dict[str, int]
    point: dict[str, NDArray[np.float64]]
    steps: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]


def _rigid(letter: str) -> _Rigid:
    # Only N, CA and CB matter for what hangs on them; the angle at CA is of no account.
    at = {"CA": np.zeros(3), "CB": np.asarray([CA_CB, 0.0, 0.0])}
    at["N"] = N_CA * np.asarray([math.cos(N_CA_C), math.sin(N_CA_C), 0.0])
    frames: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    group, point, steps = {"CB": 0}, {}, {}
    for row in placements()[letter]:
        a, b, c = (at[name] for name in row.before)
        at[row.atom] = extend([a, b, c], row.length, math.radians(row.angle),
                               math.radians(row.torsion))  # fmt: skip
        own = row.chi or group[row.before[2]]
        if own not in frames:
            frames[own] = (_axes(a, b, c), c)
            if own > 1:
                before, origin = frames[own - 1]
                steps[own] = (before.T @ frames[own][0], before.T @ (c - origin))
        axes, origin = frames[own]
        group[row.atom], point[row.atom] = own, (at[row.atom] - origin) @ axes
    return _Rigid(group, point, steps)


def _axes(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.float64]:
    return _frame(*(torch.from_numpy(point) for point in (a, b, c))).numpy()


def _bonds(backbone: Tensor) -> Tensor:
    """The bonds N-CA and CA-C as columns after their product `[..., 3, 3]`."""
    first = backbone[..., 1, :] - backbone[..., 0, :]
    second = backbone[..., 2, :] - backbone[..., 1, :]
    return torch.stack([torch.linalg.cross(first, second), first, second], dim=-1)


def _frame(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Axes `[..., 3, 3]` (columns): x from b to c, y to the side of a."""
    x = torch.nn.functional.normalize(c - b, dim=-1)
    z = torch.nn.functional.normalize(torch.linalg.cross(x, a - b), dim=-1)
    return torch.stack((x, torch.linalg.cross(z, x), z), dim=-1)


def _about_x(angle: Tensor) -> Tensor:
    """Rotation about x `[..., 3, 3]`."""
    cos, sin = angle.cos(), angle.sin()
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    rows = torch.stack((one, zero, zero, zero, cos, -sin, zero, sin, cos), dim=-1)
    return rows.unflatten(-1, (3, 3))


def _apply(rotation: Tensor, points: Tensor) -> Tensor:
    return (rotation @ points[..., None])[..., 0]


def _on(like: Tensor) -> Tables:
    """The tables on the device and in the type of a tensor."""
    return _converted(like.device, like.dtype)


@cache
def _converted(device: torch.device, dtype: torch.dtype) -> Tables:
    fields = vars(tables()).items()
    return Tables(
        **{k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in fields}
    )

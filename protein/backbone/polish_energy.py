r"""The energy of `protein.backbone.polish` and its forces, in NumPy.

A hundred residues make arrays so small that a relaxation costs what calling the operations costs,
so the gradient is written out instead of recorded, over arrays with components first: points of
all residues of all proteins in one row, ``[3, n]``, frames ``[3, 3, n]``.

Residues are rigid: what pulls at an atom acts on its residue as a force and a torque about CA.
Carbonyl O stands where `protein.structures.frames.oxygen_positions` puts it, in the plane of CA, C
and the next N; amide H 1.01 Å from N, halfway between the directions away from C(-1) and CA. Both
pass on what pulls at them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein.backbone.polish_torsions import held_torsions, torsions
from protein.backbone.polish_vectors import (
    TINY,
    Array,
    cross,
    dot,
    following,
    norm,
    previous,
    squared_length,
)
from protein.structures import geometry_constants as ideal

Indices = NDArray[np.int64]

_NEAR, _REACH = 8.0, 5.0  # Å, between CA atoms and between N and O of a hydrogen bond
_SKIN = 1.0  # Å, by which the lists of near atoms may be out of date
# Closest approach (Å) of N, CA, C, O of residues that are three or more apart. N and O may
# hydrogen bond.
_CLOSEST = np.array(
    [[3.0, 3.2, 3.2, 2.7], [3.2, 3.85, 3.5, 3.1], [3.2, 3.5, 3.4, 3.1], [2.7, 3.1, 3.1, 3.0]]
)
_N, _CA, _C, _O, _H = range(5)
# Of residues two apart, C of the first and N of the last are held close by the bonds between them:
# in 0.5 % of natives they are nearer than this.
_CLOSEST_SECOND = _CLOSEST.copy()
_CLOSEST_SECOND[_C, _N] = 2.95
_N_H = 1.01  # Å
# The four distances of a hydrogen bond, residue of the donor and of the acceptor.
_DONORS, _ACCEPTORS = np.array([[[_N], [_H], [_H], [_N]], [[_O], [_C], [_O], [_C]]])
_SIGNS = np.array([[1.0], [1.0], [-1.0], [-1.0]])
_ALONG, _ACROSS = (-ideal.C_O * f(ideal.CA_C_O) for f in (math.cos, math.sin))
_FLAT = 1.0 - math.cos(math.radians(6.0))


@dataclass(frozen=True)
class Topology:
    """What is bonded to what, over the residues of all proteins in one row.

    Attributes:
        bonded: residue i is bonded to i + 1 `[n]`.
        far: pairs of residues that may touch, `[2, pairs]`, three or more apart in one protein.
        second: pairs of residues that are two apart, `[2, pairs]`.
    """

    bonded: NDArray[np.bool_]
    far: Indices
    second: Indices

    @staticmethod
    def of(mask: NDArray[np.bool_], bonded: NDArray[np.bool_]) -> Topology:
        """From the real residues and the bonds of a padded batch, `[B, N]` each."""
        size, length = mask.shape
        i, j = np.triu_indices(length, 3)
        protein, pair = (mask[:, i] & mask[:, j]).nonzero()
        far = length * protein + np.stack([i[pair], j[pair]])
        rows = mask.reshape(-1)
        both = mask[:, :-2] & mask[:, 2:]
        first = (np.arange(rows.size).reshape(mask.shape)[:, : max(length - 2, 0)])[both]
        return Topology(bonded.reshape(-1), far, np.stack([first, first + 2]))


class Energy:
    """Energy and forces of rigid residues; remembers which pairs are near from call to call.

    Args:
        topology: bonds and pairs.
        overlap: weight on atoms that come too close, per Å^2.
        hydrogen_bond: weight on hydrogen bonds, per kcal/mol.
        torsion: weight that holds phi and psi where `hold` found them, per radian^2.
    """

    def __init__(
        self, topology: Topology, overlap: float, hydrogen_bond: float, torsion: float = 0.0
    ) -> None:
        bonded = topology.bonded
        self._topology = topology
        self._overlap, self._hydrogen_bond = overlap, hydrogen_bond
        self._torsion, self._held = torsion, np.zeros((2, 2, len(bonded) - 1))
        self._weight = bonded[:-1].astype(np.float64)
        self._has_hydrogen = np.roll(bonded, 1)
        # O of a residue without successor takes the psi of the one before, or a default.
        self._carried = np.flatnonzero(~bonded & np.roll(bonded, 1))
        self._lone = np.flatnonzero(~bonded & ~np.roll(bonded, 1))
        self._lists: _Lists | None = None

    def __call__(self, x: Array, r: Array) -> tuple[float, Array, Array]:
        """Energy, and its derivatives for shifts and turns of the residues.

        Args:
            x: CA positions in Å `[3, n]`.
            r: residue frames `[3, 3, n]`.

        Returns:
            The energy, the gradient for a shift `[3, n]` and for a turn about CA, both in the
            laboratory `[3, n]`.
        """
        arm_n, arm_c = _arms(r)
        atoms = _placed(x, arm_n, arm_c)
        oxygen = _Oxygen(atoms, r, self._carried, self._lone)
        atoms[:, _O] = oxygen.position
        hydrogen = _Hydrogen(atoms)
        atoms[:, _H] = hydrogen.position
        gradient = np.zeros_like(atoms)
        energy = self._pairs(atoms, gradient)
        energy += _junctions(atoms, self._weight, gradient)
        if self._torsion > 0.0:
            weight = self._torsion * self._weight
            energy += held_torsions(atoms, self._held, weight, gradient)
        hydrogen.pass_on(gradient)
        turn = oxygen.pass_on(gradient)
        turn += cross(arm_n, gradient[:, _N])
        turn += cross(arm_c, gradient[:, _C])
        return energy, gradient[:, _N] + gradient[:, _CA] + gradient[:, _C], turn

    def hold(self, x: Array, r: Array) -> None:
        """Hold phi and psi where they are now.

        Args:
            x: CA positions in Å `[3, n]`.
            r: residue frames `[3, 3, n]`.
        """
        self._held = torsions(_placed(x, *_arms(r)))

    def _pairs(self, atoms: Array, gradient: Array) -> float:
        """Overlaps and hydrogen bonds."""
        heavy = atoms[:, :4]
        lists = self._lists
        if lists is None or squared_length(heavy - lists.heavy).max() > (0.5 * _SKIN) ** 2:
            lists = self._lists = _Lists.of(heavy, self._topology, self._has_hydrogen)
        flat = atoms.reshape(3, -1)
        terms = [_overlaps(flat, lists, self._overlap)]
        if self._hydrogen_bond > 0.0:
            terms.append(_bonds(flat, atoms.shape[2], lists, self._hydrogen_bond))
        places = np.concatenate([places for _, places, _ in terms])
        pulls = np.concatenate([pull for _, _, pull in terms], axis=1)
        for component in range(3):
            total = np.bincount(places, pulls[component], minlength=flat.shape[1])
            gradient[component] += total.reshape(gradient[component].shape)
        return sum(energy for energy, _, _ in terms)


@dataclass(frozen=True)
class _Lists:
    """Which atoms may touch until one has moved by half of `_SKIN`.

    Attributes:
        heavy: N, CA, C, O when the lists were made `[3, 4, n]`.
        overlap: pairs of atoms, numbered along the rows of all atoms `[2, pairs]`.
        closest: their closest approach, Å `[pairs]`.
        bond: donor and acceptor residues `[2, bonds]`.
    """

    heavy: Array
    overlap: Indices
    closest: Array
    bond: Indices

    @staticmethod
    def of(heavy: Array, topology: Topology, has_hydrogen: NDArray[np.bool_]) -> _Lists:
        """From the places of the atoms."""
        ca, count, far = heavy[:, _CA], heavy.shape[2], topology.far
        close = squared_length(ca[:, far[0]] - ca[:, far[1]]) < (_NEAR + _SKIN) ** 2
        near = far[:, close]
        i, j = np.concatenate([near, topology.second], axis=1)
        limits = np.empty((4, 4, len(i)))
        limits[:, :, : near.shape[1]] = _CLOSEST[:, :, None]
        limits[:, :, near.shape[1] :] = _CLOSEST_SECOND[:, :, None]
        apart = heavy[:, :, None, i] - heavy[:, None, :, j]
        a, b, pair = np.nonzero(squared_length(apart) < (limits + _SKIN) ** 2)
        overlap = np.stack([a * count + i[pair], b * count + j[pair]])
        closest = limits[a, b, pair]
        bond = np.concatenate([near, near[::-1]], axis=1)
        bond = bond[:, has_hydrogen[bond[0]]]
        i, j = bond
        within = squared_length(heavy[:, _O, j] - heavy[:, _N, i]) < (_REACH + _SKIN) ** 2
        return _Lists(heavy.copy(), overlap, closest, bond[:, within])


def _arms(r: Array) -> tuple[Array, Array]:
    """N and C as seen from CA."""
    along, up = r[:, 0], r[:, 1]
    return ideal.LOCAL_N[0] * along + ideal.LOCAL_N[1] * up, ideal.LOCAL_C[0] * along


def _placed(x: Array, arm_n: Array, arm_c: Array) -> Array:
    """N, CA and C in their places, with room for O and H `[3, 5, n]`."""
    atoms = np.empty((3, 5, x.shape[1]))
    atoms[:, _N], atoms[:, _CA], atoms[:, _C] = x + arm_n, x, x + arm_c
    return atoms


def _overlaps(atoms: Array, lists: _Lists, weight: float) -> tuple[float, Indices, Array]:
    """``weight`` times the squared overlap of atoms ``[3, 5 n]``: energy, where, gradients."""
    apart = atoms[:, lists.overlap[0]] - atoms[:, lists.overlap[1]]
    square = squared_length(apart)
    (touching,) = np.nonzero(square < lists.closest**2)
    distance = np.sqrt(square[touching] + TINY)
    depth = lists.closest[touching] - distance
    pull = apart[:, touching] * (-2.0 * weight * depth / distance)
    places = lists.overlap[:, touching].reshape(-1)
    return weight * float(depth @ depth), places, np.concatenate([pull, -pull], axis=1)


def _bonds(atoms: Array, count: int, lists: _Lists, weight: float) -> tuple[float, Indices, Array]:
    """N-H...O=C electrostatics (Kabsch & Sander 1983, eq. 1) of atoms ``[3, 5 n]``."""
    i, j = lists.bond
    square = squared_length(atoms[:, _O * count + j] - atoms[:, _N * count + i])
    within = square < _REACH**2
    within &= squared_length(atoms[:, _CA * count + j] - atoms[:, _CA * count + i]) < _NEAR**2
    i, j = lists.bond[:, within]
    donors, acceptors = _DONORS * count + i, _ACCEPTORS * count + j
    away = atoms[:, acceptors] - atoms[:, donors]
    inverse = _SIGNS / np.sqrt(squared_length(away) + TINY)
    value = 27.9 * inverse.sum(axis=0)
    # Bonds below -2.5 kcal/mol are formed; those that are repelled are left alone.
    slope = np.where((value > -2.5) & (value < 0.0), -27.9 * weight, 0.0)
    pull = (away * (inverse**3 * slope)).reshape(3, -1)
    places = np.concatenate([acceptors.reshape(-1), donors.reshape(-1)])
    energy = weight * float(np.minimum(np.maximum(value, -2.5), 0.0).sum())
    return energy, places, np.concatenate([pull, -pull], axis=1)


def _junctions(atoms: Array, weight: Array, gradient: Array) -> float:
    """Softened squares of deviations of the peptide bonds, in standard deviations."""
    c, n = atoms[:, _C, :-1], atoms[:, _N, 1:]
    bond, out, into = n - c, atoms[:, _CA, :-1] - c, atoms[:, _CA, 1:] - n
    length = norm(bond)
    z = (length - ideal.C_N) / ideal.C_N_SD
    energy, slope = _soft(z * z, weight)
    of_bond = bond * (slope * 2.0 * z / (ideal.C_N_SD * length))
    energy_out, of_out, more = _bend(out, bond, ideal.CA_C_N, ideal.CA_C_N_SD, weight)
    of_bond += more
    energy_into, of_into, more = _bend(into, -bond, ideal.C_N_CA, ideal.C_N_CA_SD, weight)
    of_bond -= more
    # omega from the planes (CA, C, N) and (C, N, CA); cis junctions stay cis.
    a, b = cross(bond, out), cross(bond, into)
    over_a, over_b = 1.0 / norm(a), 1.0 / norm(b)
    a *= over_a
    b *= over_b
    cosine = dot(a, b)
    energy_omega, slope = _soft((1.0 - np.abs(cosine)) * (0.5 / _FLAT), weight)
    slope *= np.copysign(0.5 / _FLAT, -cosine)
    of_a, of_b = (b - cosine * a) * (slope * over_a), (a - cosine * b) * (slope * over_b)
    of_bond += cross(out, of_a) + cross(into, of_b)
    of_out -= cross(bond, of_a)
    of_into -= cross(bond, of_b)
    gradient[:, _N, 1:] += of_bond - of_into
    gradient[:, _C, :-1] -= of_bond + of_out
    gradient[:, _CA, :-1] += of_out
    gradient[:, _CA, 1:] += of_into
    return energy + energy_out + energy_into + energy_omega


def _soft(z: Array, weight: Array) -> tuple[float, Array]:
    """Sum of ``2 (sqrt(1 + z) - 1)``, and its derivative."""
    root = np.sqrt(1.0 + z)
    return 2.0 * float(weight @ (root - 1.0)), weight / root


def _bend(
    u: Array, v: Array, mean: float, deviation: float, weight: Array
) -> tuple[float, Array, Array]:
    """Softened squared deviation of the angle of two vectors, and its gradients there."""
    over_u, over_v = 1.0 / norm(u), 1.0 / norm(v)
    u, v = u * over_u, v * over_v
    cosine = dot(u, v)
    sine = norm(cross(u, v))
    z = (np.arctan2(sine, cosine) - mean) / deviation
    energy, slope = _soft(z * z, weight)
    slope *= 2.0 * z / (deviation * sine)
    return energy, (u * cosine - v) * (slope * over_u), (v * cosine - u) * (slope * over_v)


class _Oxygen:
    """Carbonyl oxygens, and how what pulls at them pulls at the rest."""

    def __init__(self, atoms: Array, r: Array, carried: Indices, lone: Indices) -> None:
        self._axis, self._r, self._carried, self._lone = r[:, 0], r, carried, lone
        self._to_next = following(atoms[:, _N]) - atoms[:, _C]
        self._along = dot(self._axis, self._to_next)
        across = self._to_next - self._axis * self._along
        self._length = norm(across)
        self._direction = across / self._length
        before = carried - 1
        local = np.einsum("ijn,in->jn", r[:, :, before], self._direction[:, before])
        self._direction[:, carried] = np.einsum("ijn,jn->in", r[:, :, carried], local)
        psi = ideal.DEFAULT_PSI
        self._direction[:, lone] = math.cos(psi) * r[:, 1, lone] + math.sin(psi) * r[:, 2, lone]
        self.position = atoms[:, _C] + _ALONG * self._axis + _ACROSS * self._direction

    def pass_on(self, gradient: Array) -> Array:
        """Give the gradient of O to N and C; what is left turns the residues."""
        pull = gradient[:, _O]
        of_direction = _ACROSS * pull
        ends = np.concatenate([self._carried, self._lone])
        turn = np.zeros_like(pull)
        turn[:, ends] = cross(self._direction[:, ends], of_direction[:, ends])
        carried, before = self._carried, self._carried - 1
        local = np.einsum("ijn,in->jn", self._r[:, :, carried], of_direction[:, carried])
        back = np.einsum("ijn,jn->in", self._r[:, :, before], local)
        of_direction[:, before] += back
        turn[:, before] -= cross(self._direction[:, before], back)
        of_direction[:, ends] = 0.0
        of_across = of_direction - self._direction * dot(self._direction, of_direction)
        of_across /= self._length
        tilt = dot(self._axis, of_across)
        of_next = of_across - self._axis * tilt
        of_axis = _ALONG * pull - of_across * self._along - self._to_next * tilt
        gradient[:, _C] += pull - of_next
        gradient[:, _N, 1:] += of_next[:, :-1]
        turn += cross(self._axis, of_axis)
        return turn


class _Hydrogen:
    """Amide hydrogens, and how what pulls at them pulls at the rest."""

    def __init__(self, atoms: Array) -> None:
        n = atoms[:, _N]
        before, ca = n - previous(atoms[:, _C]), n - atoms[:, _CA]
        self._over_before, self._over_ca = 1.0 / norm(before), 1.0 / norm(ca)
        self._before, self._ca = before * self._over_before, ca * self._over_ca
        middle = self._before + self._ca
        self._over_middle = 1.0 / norm(middle)
        self._middle = middle * self._over_middle
        self.position = n + _N_H * self._middle

    def pass_on(self, gradient: Array) -> None:
        """Give the gradient of H to N, CA and the C before."""
        pull = gradient[:, _H]
        of_middle = (pull - self._middle * dot(self._middle, pull)) * (_N_H * self._over_middle)
        of_before = of_middle - self._before * dot(self._before, of_middle)
        of_before *= self._over_before
        of_ca = (of_middle - self._ca * dot(self._ca, of_middle)) * self._over_ca
        gradient[:, _N] += pull + of_before + of_ca
        gradient[:, _CA] -= of_ca
        gradient[:, _C, :-1] -= of_before[:, 1:]

"""A term of `protein.backbone.polish_energy` that holds phi and psi where the network put them."""

from __future__ import annotations

import numpy as np

from protein.backbone.polish_vectors import TINY, Array, cross, dot, norm, squared_length

_N, _CA, _C = range(3)


def torsions(atoms: Array) -> Array:
    """Cosine and sine of psi of every residue but the last, and of phi of the next one.

    Args:
        atoms: N, CA, C and any others `[3, >=3, n]`, Å.

    Returns:
        ``[2, 2, n - 1]``: psi and phi, cosine and sine.
    """
    return np.stack([_Torsion(*sites).cosine_and_sine for sites in _sites(atoms)])


def _sites(atoms: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The four atoms of psi of every residue but the last, and of phi of the next one."""
    n, ca, c = atoms[:, _N], atoms[:, _CA], atoms[:, _C]
    psi = (n[:, :-1], ca[:, :-1], c[:, :-1], n[:, 1:])
    phi = (c[:, :-1], n[:, 1:], ca[:, 1:], c[:, 1:])
    return psi, phi


def held_torsions(atoms: Array, held: Array, weight: Array, gradient: Array) -> float:
    """The sum of ``2 weight (1 - cos(angle - held))``: squares, for small moves.

    Args:
        atoms: N, CA, C and any others `[3, >=3, n]`, Å.
        held: what `torsions` gave for the angles to keep `[2, 2, n - 1]`.
        weight: per radian^2, of the two torsions of every bond to the next residue `[n - 1]`.
        gradient: of the energy for the atoms `[3, >=3, n]`; that of this term is added.
    """
    energy = 0.0
    places = ((_N, 0), (_CA, 0), (_C, 0), (_N, 1)), ((_C, 0), (_N, 1), (_CA, 1), (_C, 1))
    for sites, (cosine, sine), where in zip(_sites(atoms), held, places, strict=True):
        torsion = _Torsion(*sites)
        now = torsion.cosine_and_sine
        energy += 2.0 * float(weight @ (1.0 - now[0] * cosine - now[1] * sine))
        slope = 2.0 * weight * (now[1] * cosine - now[0] * sine)
        for (atom, later), pull in zip(where, torsion.gradients(slope), strict=True):
            gradient[:, atom, later : later + pull.shape[1]] += pull
    return energy


class _Torsion:
    """Torsions of four points each, with gradients (Blondel & Karplus 1996, eq. 27)."""

    def __init__(self, a: Array, b: Array, c: Array, d: Array) -> None:
        self._f, self._g, self._h = a - b, b - c, d - c
        self._m, self._k = cross(self._f, self._g), cross(self._h, self._g)
        self._over_m = 1.0 / (squared_length(self._m) + TINY)
        self._over_k = 1.0 / (squared_length(self._k) + TINY)
        self._length = norm(self._g)

    @property
    def cosine_and_sine(self) -> Array:
        """Cosine and sine of the torsions `[2, n]`."""
        scale = np.sqrt(self._over_m * self._over_k)
        cosine = dot(self._m, self._k) * scale
        sine = dot(cross(self._k, self._m), self._g) * scale / self._length
        return np.stack([cosine, sine])

    def gradients(self, slope: Array) -> tuple[Array, Array, Array, Array]:
        """``slope`` times the derivatives of the angles for the four points, `[3, n]` each."""
        first = self._m * (slope * self._length * self._over_m)
        last = self._k * (slope * self._length * self._over_k)
        square = self._length * self._length
        middle = first * (dot(self._f, self._g) / square)
        middle -= last * (dot(self._h, self._g) / square)
        return -first, first + middle, -last - middle, last

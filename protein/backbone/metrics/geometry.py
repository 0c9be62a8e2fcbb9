"""Bonds, breaks, clashes, torsions and handedness of one backbone.

Everything works on coordinates ``[L, 4, 3]`` (N, CA, C, O; Å) of one or more chains laid end to
end; ``linked[i]`` says that residue i+1 continues the chain of residue i, so that nothing is
measured across chain ends. Ideal values are those of Engh & Huber; a CA–CA step is compared
with the nearer of its trans and cis values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from protein.structures import geometry_constants as geo
from protein.structures.torsions import backbone_torsions, bond_angle, dihedral
from sciddiff.errors import InputError

Array: TypeAlias = NDArray[np.float64]

MIN_RESIDUES = 6
"""Shortest chain that can be measured: secondary structure is undefined below it."""

CA_CA_SD = 0.05
"""Spread of the CA–CA step, Å: what one standard deviation of the bonds and angles gives."""

BROKEN_C_N = 1.7
BROKEN_CA_CA = 4.3
"""A design is broken where C–N or CA–CA exceeds these (Å); training data uses stricter ones."""

CA_STEP = (3.6, 4.0)
"""Range of a normal CA–CA step, Å; cis peptides (2.9 Å) count as outside."""

CA_CLASH = 3.6
"""CA atoms at least three residues apart and closer than this clash, Å."""

TRANS_OMEGA = 150.0
"""A peptide is trans when |omega| exceeds this, degrees."""

RADII = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80}
"""Radii of atoms by Bondi (1964), Å."""

OVERLAP = 0.4
"""Spheres of two atoms that overlap by more, Å, are MolProbity's clash (Chen et al. 2010)."""

POLAR_CONTACT = 2.4
"""N and O may come this close, Å, since without hydrogens any may be bonded."""

_RADII = np.array([RADII[name[0]] for name in geo.ATOM_NAMES])
_POLAR = np.array([name[0] in "NO" for name in geo.ATOM_NAMES])


@dataclass(frozen=True, eq=False)
class Torsions:
    """Backbone torsions in degrees, NaN where undefined.

    Attributes:
        phi: C(i−1)–N–CA–C `[L]`.
        psi: N–CA–C–N(i+1) `[L]`.
        omega: CA–C–N(i+1)–CA(i+1) `[L]`, of the peptide that follows residue i.
    """

    phi: Array
    psi: Array
    omega: Array


def check_coords(name: str, coords: NDArray[np.floating]) -> Array:
    """Return the coordinates as float64 after checking that they can be measured.

    Args:
        name: label for the message.
        coords: N, CA, C, O `[L, 4, 3]`, Å.

    Raises:
        InputError: wrong shape, fewer than six residues, or values that are not finite.
    """
    array = np.asarray(coords, dtype=np.float64)
    if array.ndim != 3 or array.shape[1:] != (4, 3):
        raise InputError(f"{name}: coordinates have shape {array.shape}; give [L, 4, 3]")
    if len(array) < MIN_RESIDUES:
        raise InputError(
            f"{name}: {len(array)} residues; metrics need a chain of at least {MIN_RESIDUES}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name}: coordinates are not finite; drop or regenerate this design")
    return array


def linked_residues(length: int, chain_lengths: Sequence[int] | None = None) -> NDArray[np.bool_]:
    """Which residues are meant to be joined to the next one `[L−1]`.

    Args:
        length: residues in all, L.
        chain_lengths: residues of each chain in order; one chain by default.

    Raises:
        InputError: the chain lengths do not add up to L.
    """
    linked = np.ones(max(length - 1, 0), dtype=bool)
    if chain_lengths is not None:
        if sum(chain_lengths) != length or min(chain_lengths, default=0) < 1:
            raise InputError(
                f"chain_lengths: {list(chain_lengths)} do not add up to {length} residues; "
                "give the number of residues of each chain"
            )
        linked[np.cumsum(chain_lengths)[:-1] - 1] = False
    return linked


def distance(a: Array, b: Array) -> Array:
    """Distance between points `[..., 3]`, Å."""
    return np.linalg.norm(a - b, axis=-1)


def ca_torsions(ca: Array) -> Array:
    """Torsion of four consecutive CA atoms `[L−3]`, degrees: +50 in a right-handed helix."""
    points = torch.from_numpy(np.ascontiguousarray(ca, dtype=np.float64))
    return np.degrees(dihedral(points[:-3], points[1:-2], points[2:-1], points[3:]).numpy())


def _angle(a: Array, b: Array, c: Array) -> Array:
    """Angle at b between points `[..., 3]`, radians."""
    return bond_angle(*(torch.from_numpy(np.ascontiguousarray(p)) for p in (a, b, c))).numpy()


def bond_z_scores(coords: Array, linked: NDArray[np.bool_] | None = None) -> dict[str, Array]:
    """Deviations of bond lengths and of the CA–CA step, in standard deviations.

    Args:
        coords: `[L, 4, 3]`, Å.
        linked: residues joined to the next `[L−1]`; all by default.

    Returns:
        ``N-CA``, ``CA-C``, ``C-O`` `[L]` and ``C-N``, ``CA-CA`` `[joined pairs]`.
    """
    n, ca, c, o = coords.swapaxes(0, 1)
    i = np.flatnonzero(linked_residues(len(coords)) if linked is None else linked)
    lengths = {
        "N-CA": distance(n, ca),
        "CA-C": distance(ca, c),
        "C-O": distance(c, o),
        "C-N": distance(c[i], n[i + 1]),
    }
    z = {
        key: (value - geo.BOND_LENGTHS[key][0]) / geo.BOND_LENGTHS[key][1]
        for key, value in lengths.items()
    }
    step = distance(ca[i], ca[i + 1])
    middle = (geo.CA_CA_TRANS + geo.CA_CA_CIS) / 2
    z["CA-CA"] = (step - np.where(step > middle, geo.CA_CA_TRANS, geo.CA_CA_CIS)) / CA_CA_SD
    return z


def angle_z_scores(coords: Array, linked: NDArray[np.bool_] | None = None) -> dict[str, Array]:
    """Deviations of bond angles, in standard deviations.

    Args:
        coords: `[L, 4, 3]`, Å.
        linked: residues joined to the next `[L−1]`; all by default.

    Returns:
        ``N-CA-C`` `[L]` and ``CA-C-N``, ``C-N-CA`` `[joined pairs]`.
    """
    n, ca, c, _ = coords.swapaxes(0, 1)
    i = np.flatnonzero(linked_residues(len(coords)) if linked is None else linked)
    angles = {
        "N-CA-C": _angle(n, ca, c),
        "CA-C-N": _angle(ca[i], c[i], n[i + 1]),
        "C-N-CA": _angle(c[i], n[i + 1], ca[i + 1]),
    }
    return {
        key: (value - geo.BOND_ANGLES[key][0]) / geo.BOND_ANGLES[key][1]
        for key, value in angles.items()
    }


def worst_z(scores: dict[str, Array], keys: Sequence[str] | None = None) -> float:
    """Largest absolute z-score over the named bonds or angles."""
    chosen = [scores[key] for key in (keys or scores)]
    return float(max((np.abs(z).max() for z in chosen if z.size), default=0.0))


def chain_breaks(coords: Array, linked: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Where the chain is broken: C–N above 1.7 Å or CA–CA above 4.3 Å `[L−1]`."""
    expected = linked_residues(len(coords)) if linked is None else linked
    peptide = distance(coords[:-1, 2], coords[1:, 0])
    step = distance(coords[:-1, 1], coords[1:, 1])
    return expected & ((peptide > BROKEN_C_N) | (step > BROKEN_CA_CA))


def odd_ca_fraction(coords: Array, linked: NDArray[np.bool_] | None = None) -> float:
    """Fraction of CA–CA steps outside 3.6–4.0 Å."""
    expected = linked_residues(len(coords)) if linked is None else linked
    step = distance(coords[:-1, 1], coords[1:, 1])[expected]
    return float(((step < CA_STEP[0]) | (step > CA_STEP[1])).mean()) if step.size else 0.0


def ca_clashes(coords: Array) -> int:
    """Pairs of CA atoms three or more residues apart and closer than 3.6 Å."""
    first, second, gap = _close_pairs(coords[:, 1], CA_CLASH)
    return int(((second - first >= 3) & (gap < CA_CLASH)).sum())


def atom_overlaps(coords: Array) -> int:
    """Pairs of atoms two or more residues apart whose spheres overlap by more than 0.4 Å.

    N and O may approach to 2.4 Å, since hydrogens, and so hydrogen bonds, are unknown.
    """
    first, second, gap = _close_pairs(coords.reshape(-1, 3), 2 * _RADII.max())
    limit = closest_approach().numpy()[first % 4, second % 4]
    return int(((second // 4 - first // 4 >= 2) & (gap < limit)).sum())


@cache
def closest_approach() -> torch.Tensor:
    """Distance below which N, CA, C, O of one residue overlap those of another `[4, 4]`, Å."""
    limit = _RADII[:, None] + _RADII[None, :] - OVERLAP
    polar = _POLAR[:, None] & _POLAR[None, :]
    return torch.from_numpy(np.where(polar, POLAR_CONTACT, limit))


def _close_pairs(points: Array, radius: float) -> tuple[NDArray, NDArray, Array]:
    """Indices i < j of points within a radius, and their distances, by a k-d tree."""
    from scipy.spatial import KDTree

    pairs = KDTree(points).query_pairs(radius, output_type="ndarray")
    first, second = pairs.min(axis=1), pairs.max(axis=1)
    return first, second, distance(points[first], points[second])


def torsions(coords: Array, linked: NDArray[np.bool_] | None = None) -> Torsions:
    """Backbone torsions phi, psi and omega of every residue, degrees.

    Args:
        coords: `[L, 4, 3]`, Å.
        linked: residues joined to the next `[L−1]`; all by default.
    """
    expected = linked_residues(len(coords)) if linked is None else linked
    angles = np.degrees(backbone_torsions(coords, np.append(expected, False)))
    return Torsions(angles[:, 0], angles[:, 1], angles[:, 2])


def left_handed_quads(coords: Array, helix: NDArray[np.bool_]) -> int:
    """Runs of four helical residues whose CA torsion is negative (right-handed: +50°).

    A mirror image passes every test of lengths and angles; this one it fails.

    Args:
        coords: `[L, 4, 3]`, Å.
        helix: residues assigned helical `[L]`.
    """
    quads = helix[:-3] & helix[1:-2] & helix[2:-1] & helix[3:]
    return int((quads & (ca_torsions(coords[:, 1]) < 0)).sum())

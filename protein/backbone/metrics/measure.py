"""All figures of one backbone, and the flags a reviewer should look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics import geometry, shape
from protein.backbone.metrics.geometry import Torsions
from protein.backbone.metrics.secondary import COIL, HELIX, STRAND, states_of
from protein.structures.filters import expected_radius

SIGMAS = 4.0
"""Bonds and angles further than this many standard deviations from ideal are wrong."""

FLAG_ANGLE = 5.0
"""Angles are flagged later than at 4 σ, which one native chain in ten exceeds somewhere."""

MIN_REGULAR = 0.35
"""A chain with a smaller share of helix and strand is flagged as mostly coil."""

LOOSE = 1.35
"""A chain with a larger Rg ratio is flagged as extended."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on one chain.

    Attributes:
        row: one value per figure that needs no other chain.
        torsions: phi, psi, omega, degrees.
        states: secondary structure `[L]`: coil 0, helix 1, strand 2.
    """

    row: dict[str, Any]
    torsions: Torsions
    states: NDArray[np.int64]


def measure(
    name: str, coords: NDArray[np.floating], chain_lengths: Sequence[int] | None = None
) -> Measured:
    """Figures of one backbone that depend on nothing but its coordinates.

    Args:
        name: name of the design.
        coords: N, CA, C, O `[L, 4, 3]`, Å; chains of a complex follow one another.
        chain_lengths: residues of each chain; one chain by default.

    Raises:
        InputError: the coordinates cannot be measured.
    """
    x = geometry.check_coords(name, coords)
    linked = geometry.linked_residues(len(x), chain_lengths)
    states = states_of(x)
    angles = geometry.torsions(x, linked)
    row: dict[str, Any] = {"name": name, "length": len(x)}
    row |= _covalent(x, linked)
    row |= _torsional(angles)
    row["left_handed"] = geometry.left_handed_quads(x, states == HELIX)
    for key, state in (("helix", HELIX), ("strand", STRAND), ("coil", COIL)):
        row[key] = float((states == state).mean())
    rg = shape.radius_of_gyration(x)
    row |= {"rg": rg, "rg_ratio": rg / float(expected_radius(len(x)))}
    row |= shape.contact_figures(shape.distance_map(x))
    row["core"] = shape.core_fraction(x)
    row["flags"] = "; ".join(flags(row))
    return Measured(row, angles, states)


def _covalent(x: geometry.Array, linked: NDArray[np.bool_]) -> dict[str, Any]:
    bonds = geometry.bond_z_scores(x, linked)
    worst_bond = geometry.worst_z(bonds, ("N-CA", "CA-C", "C-N", "CA-CA"))
    worst_angle = geometry.worst_z(geometry.angle_z_scores(x, linked))
    breaks = int(geometry.chain_breaks(x, linked).sum())
    return {
        "intact": breaks == 0 and worst_bond <= SIGMAS,
        "broken": breaks > 0,
        "breaks": breaks,
        "max_bond_z": worst_bond,
        "bonds_4_sigma": worst_bond <= SIGMAS,
        "max_angle_z": worst_angle,
        "angles_4_sigma": worst_angle <= SIGMAS,
        "bad_ca": geometry.odd_ca_fraction(x, linked),
        "clashes_per_100": 100.0 * geometry.ca_clashes(x) / len(x),
        "overlaps_per_100": 100.0 * geometry.atom_overlaps(x) / len(x),
    }


def _torsional(angles: Torsions) -> dict[str, float]:
    phi = angles.phi[np.isfinite(angles.phi)]
    omega = angles.omega[np.isfinite(angles.omega)]
    return {
        "phi_negative": float((phi < 0).mean()),
        "trans": float((np.abs(omega) > geometry.TRANS_OMEGA).mean()),
    }


def flags(row: dict[str, Any]) -> list[str]:
    """What a reviewer should look at in one design, in words; empty when nothing."""
    found = {
        f"{row['breaks']} chain break{'s' * (row['breaks'] > 1)}": row["broken"],
        "bond length": not row["bonds_4_sigma"] and not row["broken"],
        "bond angle": row["max_angle_z"] > FLAG_ANGLE and not row["broken"],
        "left-handed helix": row["left_handed"] > 0,
        "CA clash": row["clashes_per_100"] > 0,
        "atom overlaps": row["overlaps_per_100"] > 2.0,
        "mostly coil": row["helix"] + row["strand"] < MIN_REGULAR,
        "extended": row["rg_ratio"] > LOOSE,
    }
    return [word for word, true in found.items() if true]

"""How chains meet: contacts, overlaps and buried area between them.

Buried area is that of backbone atoms and ideal CB atoms (Shrake & Rupley 1973, probe 1.4 Å): of
designs nothing else is known, and natives are measured the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.backbone.contact import CLASH
from protein.backbone.metrics.geometry import Array
from protein.backbone.metrics.shape import CONTACT
from protein.structures.spheres import spread_points

HOTSPOT = 8.0
"""A hotspot is met when a CB of the design is within this distance of its CB, Å."""

_PROBE = 1.4
_RADII = np.array([1.65, 1.87, 1.76, 1.40, 1.87])  # N, CA, C, O, CB, united with hydrogens; Å
_POINTS = 96


def interface_figures(
    chains: Sequence[NDArray[np.floating]], partners: Sequence[int] | None = None
) -> dict[str, Any]:
    """Figures of the contact between chains.

    Args:
        chains: N, CA, C, O `[L, 4, 3]` of each chain, Å.
        partners: number of the side each chain is on; each chain is its own by default.

    Returns:
        ``interface_contacts`` (contacts of CA atoms within 8 Å that a residue has with the other
        sides: mean over all residues, or of two sides over the smaller), ``chain_clashes`` (CA
        pairs of different chains below 3.6 Å), ``buried_area`` (Å², mean of the sides).
    """
    sides = np.asarray(range(len(chains)) if partners is None else partners)
    side = np.repeat(sides, [len(chain) for chain in chains])
    chain = np.repeat(np.arange(len(chains)), [len(c) for c in chains])
    x = np.concatenate([np.asarray(c, dtype=np.float64) for c in chains])
    i, j, gap = _near(x[:, 1], CONTACT)
    sizes = np.unique(side, return_counts=True)[1]
    residues = int(sizes.min()) if len(sizes) == 2 else len(side) / 2
    return {
        "interface_contacts": float((side[i] != side[j]).sum()) / residues,
        "chain_clashes": int(((chain[i] != chain[j]) & (gap < CLASH)).sum()),
        "buried_area": _buried(x, side),
    }


def hotspots_met(
    binder: NDArray[np.floating], target: NDArray[np.floating], rows: Sequence[int]
) -> float:
    """Share of a target's hotspots near which the binder has a CB.

    Args:
        binder: N, CA, C, O `[L, 4, 3]`, Å.
        target: the same of the target `[M, 4, 3]`.
        rows: the hotspots' rows in it.
    """
    ours, theirs = _beta_carbons(binder), _beta_carbons(target)[list(rows)]
    gap = np.linalg.norm(theirs[:, None] - ours[None], axis=-1)
    return float((gap.min(1) < HOTSPOT).mean())


def _near(x: Array, reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Pairs of points closer than so far, and their distances."""
    from scipy.spatial import KDTree

    pairs = KDTree(x).query_pairs(reach, output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    return i, j, np.linalg.norm(x[i] - x[j], axis=-1)


def _beta_carbons(x: NDArray[np.floating]) -> Array:
    import torch

    from protein.structures.frames import beta_carbons

    return beta_carbons(torch.from_numpy(np.asarray(x, dtype=np.float64))).numpy()


def _buried(x: Array, side: NDArray[np.int64]) -> float:
    """Area that is exposed in each side alone and not in the whole, Å²; half of it per side."""
    atoms = np.concatenate([x, _beta_carbons(x)[:, None]], axis=1).reshape(-1, 3)
    radii = np.tile(_RADII, len(x)) + _PROBE
    of = np.repeat(side, len(_RADII))
    whole = _exposed(atoms, radii)
    alone = np.zeros(len(atoms))
    for one in np.unique(side):
        rows = np.flatnonzero(of == one)
        alone[rows] = _exposed(atoms[rows], radii[rows])
    return float((alone - whole).sum()) / len(np.unique(side))


def _exposed(atoms: Array, radii: Array) -> Array:
    """Accessible area of every atom `[n]`, Å²."""
    sphere = spread_points(_POINTS).numpy()
    i, j, _ = _near(atoms, 2.0 * float(radii.max()))
    centre, other = np.concatenate([i, j]), np.concatenate([j, i])
    order = np.argsort(centre, kind="stable")
    centre, other = centre[order], other[order]
    covered = np.zeros((len(atoms), _POINTS), dtype=bool)
    # In portions, so that a large assembly does not fill the memory.
    for start in range(0, len(centre), 20_000):
        a, b = centre[start : start + 20_000], other[start : start + 20_000]
        apart = atoms[a] - atoms[b]
        # |p + r s - q|^2 < R^2 for the points of the sphere around p.
        reach = (
            (apart * apart).sum(1)[:, None]
            + radii[a, None] ** 2
            + 2.0 * radii[a, None] * (apart @ sphere.T)
        )
        hidden = reach < radii[b, None] ** 2
        np.logical_or.at(covered, a, hidden)
    share = 1.0 - covered.mean(1)
    return 4.0 * np.pi * radii**2 * share

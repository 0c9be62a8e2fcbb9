"""Compactness, contacts and packing of one backbone.

The radius of gyration is compared with ``2.2 L^0.38`` Å, the law of folded proteins
(Skolnick et al. 1997); contact order follows Plaxco, Simons & Baker (1998); burial counts
neighbours in a cone along CA→CB (Rosetta's layer selector), so that it measures whether there
is a core that side chains could fill.
"""

from __future__ import annotations

import numpy as np

from protein.backbone.metrics.geometry import Array
from protein.structures import filters

CONTACT = 8.0
"""CA atoms closer than this are in contact, Å."""

LONG_RANGE = 12
"""A contact is long-range from this separation along the chain."""

CORE_NEIGHBOURS = 5.2
"""Neighbours in the cone above which a residue belongs to the core."""


def radius_of_gyration(coords: Array) -> float:
    """Root mean square distance of CA atoms from their centre, Å."""
    return filters.radius_of_gyration(coords[:, 1])


def distance_map(coords: Array) -> Array:
    """CA–CA distances `[L, L]`, Å."""
    from scipy.spatial.distance import pdist, squareform

    return squareform(pdist(coords[:, 1]))


def contact_figures(distances: Array) -> dict[str, float]:
    """Contacts per residue, long-range contacts per residue and relative contact order.

    Contacts are pairs three or more residues apart (as in the clash count); the contact order
    is their mean separation over the length.

    Args:
        distances: CA–CA distances `[L, L]`, Å.
    """
    length = len(distances)
    i, j = np.triu_indices(length, 3)
    gap = (j - i)[distances[i, j] < CONTACT]
    return {
        "contacts": len(gap) / length,
        "long_range_contacts": float((gap >= LONG_RANGE).sum()) / length,
        "contact_order": float(gap.mean()) / length if len(gap) else 0.0,
    }


def cone_neighbours(coords: Array) -> Array:
    """Neighbours of each residue in a soft cone along CA→CB `[L]`.

    ``n_i = Σ_j 1/(1 + exp(d_ij − 9)) · max(0, (cos θ_ij + 0.5)/1.5)²`` with d from CB(i) to
    CB(j) in Å and θ the angle of that line with CA(i)→CB(i).

    Args:
        coords: `[L, 4, 3]`, Å.
    """
    import torch

    from protein.structures.frames import beta_carbons

    ca, cb = coords[:, 1], beta_carbons(torch.from_numpy(coords)).numpy()
    axis = cb - ca
    axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-9)
    line = cb[None] - cb[:, None]
    gap = np.linalg.norm(line, axis=-1)
    cosine = np.einsum("id,ijd->ij", axis, line) / np.maximum(gap, 1e-9)
    near = 1.0 / (1.0 + np.exp(np.minimum(gap - 9.0, 60.0)))
    weight = near * np.clip((cosine + 0.5) / 1.5, 0.0, None) ** 2
    np.fill_diagonal(weight, 0.0)
    return weight.sum(axis=1)


def core_fraction(coords: Array) -> float:
    """Fraction of residues with enough neighbours to lie in a core."""
    return float((cone_neighbours(coords) > CORE_NEIGHBOURS).mean())

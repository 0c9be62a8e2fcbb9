"""Classes of residues that do not touch, so that those of one class can be drawn at once.

Rows that one call of the network reveals are drawn independently of each other, which loses
nothing where they do not touch. Residues touch if their CA atoms are closer than 8 Å; natives need
eight classes or so, at most about ten.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONTACT", "colour_classes", "contact_pairs"]

CONTACT = 8.0
"""Distance of CA atoms below which two residues touch, Å."""


def contact_pairs(
    atoms: NDArray[np.float32], neighbours: NDArray[np.int64], linked: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Pairs of residues that touch, among those that the network joins, each in both orders.

    Args:
        atoms: N, CA, C, O `[L, 4, 3]`, Å.
        neighbours: rows of the nearest residues `[L, k]`.
        linked: which of these are neighbours `[L, k]`.

    Returns:
        Rows `[P, 2]`, without repeats.
    """
    ca = atoms[:, 1]
    near = linked & (np.linalg.norm(ca[neighbours] - ca[:, None], axis=-1) < CONTACT)
    first, place = np.nonzero(near)
    pairs = np.stack([first, neighbours[first, place]], axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)


def colour_classes(
    pairs: NDArray[np.int64], rows: NDArray[np.bool_], group: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The class of every row, from 0; no two rows of a class touch, unless they are tied.

    The greedy colouring by falling number of contacts (Welsh and Powell, 1967), found in rounds:
    each takes all rows at once that come before their uncoloured neighbours (Jones and Plassmann,
    1993).

    Args:
        pairs: rows that touch, in both orders `[P, 2]`.
        rows: rows that need a class `[L]`; others get class 0.
        group: number of the group of tied rows, which have one class `[L]`; -1: alone.

    Returns:
        Classes `[L]`, int64.
    """
    length = len(rows)
    node = np.arange(length)
    if group is not None:
        # The first row of a group stands for all.
        for_group = np.full(int(group.max(initial=-1)) + 1, length)
        tied = group >= 0
        np.minimum.at(for_group, group[tied], node[tied])
        node = np.where(tied, for_group[np.maximum(group, 0)] if tied.any() else node, node)
    wanted = np.zeros(length, dtype=bool)
    wanted[node[rows]] = True
    a, b = node[pairs[:, 0]], node[pairs[:, 1]]
    kept = wanted[a] & wanted[b] & (a != b)
    a, b = a[kept], b[kept]
    degree = np.bincount(a, minlength=length)
    rank = np.empty(length, dtype=np.int64)
    rank[np.lexsort((np.arange(length), -degree))] = np.arange(length)
    colour = np.full(length, -1)
    while (left := wanted & (colour < 0)).any():
        ahead = left[b] & (rank[b] < rank[a])
        waits = np.bincount(a[ahead], minlength=length) > 0
        ready = left & ~waits
        used = np.zeros((length, int(colour.max()) + 2), dtype=bool)
        said = ready[a] & (colour[b] >= 0)
        used[a[said], colour[b[said]]] = True
        colour[ready] = used[ready].argmin(1)
    return np.maximum(colour[node], 0)

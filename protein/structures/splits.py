"""Train, validation and test splits by cluster."""

import numpy as np
from numpy.typing import NDArray

from protein.structures.archive import SPLITS
from sciddiff.errors import InputError


def split_by_cluster(
    clusters: NDArray[np.integer], val: float, test: float, seed: int
) -> NDArray[np.str_]:
    """Assign whole clusters to splits, at random, until each holds its share of chains.

    Args:
        clusters: cluster of each chain `[n]`.
        val: share of chains for validation, 0 to 1.
        test: share of chains for testing, 0 to 1.
        seed: of the shuffle.

    Returns:
        ``train``, ``val`` or ``test`` of each chain `[n]`. A cluster larger than a split's
        remaining room goes to train; with three clusters or more no wanted split stays empty.

    Raises:
        InputError: shares that are negative or leave nothing to train on.
    """
    if val < 0 or test < 0 or val + test >= 1:
        raise InputError(f"val {val:g} and test {test:g}: give shares >= 0 with a sum below 1")
    names, sizes = np.unique(clusters, return_counts=True)
    room = {"test": round(test * len(clusters)), "val": round(val * len(clusters))}
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = np.full(len(names), "train", dtype="<U5")
    for i in order:
        for split in room:
            if sizes[i] <= room[split]:
                chosen[i] = split
                room[split] -= int(sizes[i])
                break
    wanted = {"test": test, "val": val}
    for split, share in wanted.items():
        train = [i for i in order if chosen[i] == "train"]
        if share > 0 and split not in chosen and len(names) >= len(SPLITS) and len(train) > 1:
            chosen[min(train, key=lambda i: sizes[i])] = split
    return chosen[np.searchsorted(names, clusters)]

"""Numbers of ligands and of their draws, from which the core makes random streams.

What is drawn for a ligand depends only on the seed, the purpose and the ligand's number. It does
not depend on the ligands that it is docked with, nor on how many draws they have.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sciddiff.streams import index_of, seed_of


def draw_indices(numbers: Sequence[int], counts: Sequence[int]) -> Tensor:
    """Sample indices of several draws for each of some ligands `[Σ counts]`.

    >>> draw_indices([3, 5], [2, 1]).tolist()
    [3, 4294967299, 5]

    Args:
        numbers: numbers of the ligands, each in [0, 2^32).
        counts: number of draws of each ligand.

    Raises:
        InputError: a number is out of range.
    """
    pairs = zip(numbers, counts, strict=True)
    return torch.tensor([index_of(n, k) for n, count in pairs for k in range(count)])


def number_of(name: str) -> int:
    """Number of a ligand that is known by its name alone, in [0, 2^32).

    Args:
        name: name of the ligand, such as that of its complex.
    """
    return seed_of(0, "ligand", name, bits=32)

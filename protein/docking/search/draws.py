"""Random numbers of docking: which draw of which ligand takes which stream.

What is drawn for a ligand depends on the seed, the purpose and the ligand's number, and on nothing
else: not on the ligands that it is docked with, nor on how many conformers they have. This is the
one place where these are made into streams.
"""

from collections.abc import Sequence
from hashlib import blake2b

import torch

from sciddiff.errors import InputError
from sciddiff.streams import Streams

_DRAWS = 2**20
_NUMBERS = 2**42


def streams(seed: int, purpose: str, numbers: Sequence[int], counts: Sequence[int]) -> Streams:
    """Streams of several draws for each of some ligands.

    No two purposes, ligands or draws share a stream of one seed.

    Args:
        seed: of the whole run.
        purpose: what is drawn, such as ``search``.
        numbers: of the ligands, each in [0, 2^42).
        counts: draws of each ligand, at most 2^20.

    Raises:
        InputError: a number or a count is out of range.
    """
    if max(counts, default=0) > _DRAWS or not all(0 <= n < _NUMBERS for n in numbers):
        raise InputError(f"draws: give at most {_DRAWS} for a ligand, and numbers below 2^42")
    pairs = zip(numbers, counts, strict=True)
    return Streams(
        _key(seed, purpose), torch.tensor([n * _DRAWS + k for n, c in pairs for k in range(c)])
    )


def embedding_seed(seed: int, number: int) -> int:
    """Seed of the conformers of a ligand, in [0, 2^31 - 2).

    Args:
        seed: of the whole run.
        number: of the ligand.
    """
    return _key(seed, f"conformers {number}") % (2**31 - 2)


def number_of(name: str) -> int:
    """Number of a ligand that is known by its name alone, in [0, 2^42).

    Args:
        name: such as that of a complex.
    """
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") % _NUMBERS


def _key(seed: int, purpose: str) -> int:
    text = f"{seed} {purpose}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")

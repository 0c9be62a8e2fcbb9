"""Residues as tokens: the twenty amino acids, and the symbol that hides one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
"""The amino acids in the order of their tokens, 0 to 19; ProteinMPNN's order without its X."""

MASK = len(LETTERS)
"""The token that hides a residue. Networks read it and never write it."""

_TOKEN_OF = np.full(128, MASK, dtype=np.int64)
_TOKEN_OF[np.frombuffer(LETTERS.encode(), dtype=np.uint8)] = np.arange(MASK)


def tokens(sequence: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Tokens of one-letter amino acids.

    Args:
        sequence: upper-case letters, length L; X or any other letter is an unknown residue.

    Returns:
        Tokens `[L]`, int64, 0 where unknown, and which residues are unknown `[L]`, bool.

    >>> tokens("ACX")
    (array([0, 1, 0]), array([False, False,  True]))
    """
    codes = np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)
    found = _TOKEN_OF[np.minimum(codes, 127)]
    unknown = found == MASK
    return np.where(unknown, 0, found), unknown


def letters(found: ArrayLike) -> str:
    """One-letter amino acids of tokens `[L]`; X for the mask.

    >>> letters([0, 19, 20])
    'AYX'
    """
    table = np.array(list(LETTERS + "X"))
    return "".join(table[np.asarray(found)].tolist())

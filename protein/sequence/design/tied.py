"""Which residues are tied: by hand, or as equal chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS
from protein.sequence.design.residues import Residues
from protein.sequence.design.wishes import Wishes, tied_items
from protein.structures.chain import Backbone
from sciddiff.errors import InputError

__all__ = ["Tied", "equal_chains", "tied_groups"]

_COMMON = 0.8  # of the residues of the shorter of two equal chains, found in both


@final
@dataclass(frozen=True, eq=False)
class Tied:
    """What ties make of L rows.

    Attributes:
        group: number of the group of each row `[L]`, -1 for rows that are alone or held.
        forced: the token that a row has because it is tied to one that is held `[L]`, else -1.
        designed: rows that are still drawn `[L]`.
        notes: sentences on rows that are held by their ties.
    """

    group: NDArray[np.int64]
    forced: NDArray[np.int64]
    designed: NDArray[np.bool_]
    notes: tuple[str, ...]


def tied_groups(
    residues: Residues,
    native: NDArray[np.int64],
    known: NDArray[np.bool_],
    designed: NDArray[np.bool_],
    wishes: Wishes,
) -> Tied:
    """Resolve the ties that are wished.

    A row that is tied to a fixed one has its amino acid.

    Raises:
        InputError: residues that are not there, sides of different lengths, a residue tied to
            itself, fixed residues of different amino acids in one group, or no equal chains.
    """
    pairs = _by_hand(residues, wishes)
    if wishes.symmetric:
        pairs += _by_symmetry(residues, designed)
    root = np.arange(len(residues))
    for one, other in pairs:  # as many as the user has named
        low, high = sorted((root[one], root[other]))
        root[root == high] = low
    members, size = np.unique(root, return_counts=True)
    group = np.full(len(residues), -1, dtype=np.int64)
    forced = np.full(len(residues), -1, dtype=np.int64)
    drawn, notes = designed.copy(), []
    for number, head in enumerate(members[size > 1]):
        rows = np.flatnonzero(root == head)
        held = rows[~designed[rows] & known[rows]]
        found = np.unique(native[held])
        if len(found) > 1:
            first, second = held[0], held[native[held] != native[held[0]]][0]
            names = [f"{residues.labels[row]} ({LETTERS[native[row]]})" for row in (first, second)]
            raise InputError(
                f"{residues.source}: {names[0]} and {names[1]} are tied, and fixed to different "
                "amino acids; leave out the tie, or fix one of them only"
            )
        free = rows[designed[rows]]
        if len(found):
            drawn[free], forced[free] = False, found[0]
        elif len(free) > 1:
            group[free] = number
    follow = np.flatnonzero(forced >= 0).tolist()
    if follow:
        notes.append(f"{residues.words(follow)} is fixed to what it is tied to")
    return Tied(group, forced, drawn, tuple(notes))


def _by_hand(residues: Residues, wishes: Wishes) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for sides in tied_items(wishes.tie):
        rows = [residues.rows(side, "--tie") for side in sides]
        text = "=".join(sides)
        for side, some in zip(sides[1:], rows[1:], strict=True):
            if len(some) != len(rows[0]):
                raise InputError(
                    f"--tie {text}: {sides[0]} has {len(rows[0])} residues in {residues.source} "
                    f"and {side} has {len(some)}; name as many on every side"
                )
        flat = [row for some in rows for row in some]
        if len(set(flat)) < len(flat):
            raise InputError(f"--tie {text}: a residue is tied to itself; name others")
        pairs += [(a, b) for some in rows[1:] for a, b in zip(rows[0], some, strict=True)]
    return pairs


def _by_symmetry(residues: Residues, designed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs of rows of the same number in equal chains."""
    chain_of = residues.chain_of
    chains = [c for k, c in enumerate(residues.chains) if designed[chain_of == k].any()]
    groups = equal_chains(chains)
    pairs: list[tuple[int, int]] = []
    for first, *others in groups:
        for other in others:
            places = [(residues.row(first.chain_id, *key), residues.row(other.chain_id, *key))
                      for key in _letters(first)]  # fmt: skip
            pairs += [(a, b) for a, b in places if a is not None and b is not None]
    if not pairs:
        what = ", ".join(f"{c.chain_id} ({len(c)})" for c in chains)
        raise InputError(
            f"--symmetric: {residues.source} has no two equal chains among those designed, "
            f"{what}; tie residues by --tie A1-50=B1-50"
        )
    return pairs


def equal_chains(chains: list[Backbone]) -> list[list[Backbone]]:
    """Chains that have the same residues under the same numbers, in groups of two or more.

    Chains may lack residues that others have, as crystals do: they are equal if their common
    residues agree and are at least 80 % of the shorter chain.
    """
    groups: list[list[Backbone]] = []
    for chain in chains:
        home = next((group for group in groups if _equal(group[0], chain)), None)
        if home is None:
            groups.append([chain])
        else:
            home.append(chain)
    return [group for group in groups if len(group) > 1]


def _equal(one: Backbone, other: Backbone) -> bool:
    mine, theirs = _letters(one), _letters(other)
    common = mine.keys() & theirs.keys()
    enough = len(common) >= _COMMON * min(len(mine), len(theirs))
    return enough and all(mine[name] == theirs[name] for name in common)


def _letters(chain: Backbone) -> dict[tuple[int, str], str]:
    """Amino acid by number and insertion code."""
    names = zip(chain.residue_numbers.tolist(), chain.insertion_codes, strict=True)
    return dict(zip(names, chain.sequence, strict=True))

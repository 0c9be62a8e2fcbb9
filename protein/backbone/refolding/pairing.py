"""Which residues of a predicted structure stand for which residues of its design.

Chains correspond in their order. Chains of one sequence are alike, so that a tool may number them
as it likes: of these, every order is a candidate. Residues correspond by their place where a chain
has as many as the other; where some are missing, by their numbers or their sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from protein.structures.chain import Backbone

MOST_ORDERS = 720
"""Orders of chains that are tried at most: all orders of six chains of one sequence."""

FEWEST = 3
"""A superposition needs as many points."""

_TELLING = 6  # different letters that a sequence needs to be more than a placeholder
_AGREE = 0.9  # share of equal letters in two chains of one sequence

Rows: TypeAlias = NDArray[np.int64]
_Order: TypeAlias = tuple[tuple[int, int], ...]


@final
@dataclass(frozen=True, eq=False)
class Pairing:
    """One way in which two structures correspond.

    Attributes:
        design: rows of the design, over its chains end to end `[n]`.
        refold: rows of the prediction, in the same order `[n]`.
        chains: which chains of the design take part, by their number from 0.
    """

    design: Rows
    refold: Rows
    chains: tuple[int, ...]


def pairings(
    design: Sequence[Backbone], refold: Sequence[Backbone], designed: Sequence[int] = ()
) -> list[Pairing]:
    """The ways in which a prediction may correspond to its design; none if lengths differ.

    A prediction with fewer chains than the design, such as of a binder without its target or of
    one chain of an assembly, is compared with as many of the design's chains; a design with fewer
    chains likewise. One chain may hold all of the other's end to end.

    Args:
        design: chains of the design.
        refold: chains of the prediction.
        designed: numbers of the chains that were designed; where the prediction has fewer chains
            than the design, these are the first choice.
    """
    fits = [[_paired(one, two) for two in refold] for one in design]
    orders = list(islice(_orders(fits, design, refold), MOST_ORDERS))
    chosen = [order for order in orders if {i for i, _ in order} <= set(designed)]
    ours, theirs = _starts(design), _starts(refold)
    found = []
    for order in chosen or orders:
        pairs = [(fits[i][j], i, j) for i, j in order]
        known = [(rows, i, j) for rows, i, j in pairs if rows is not None]
        found.append(
            Pairing(
                np.concatenate([rows[0] + ours[i] for rows, i, _ in known]),
                np.concatenate([rows[1] + theirs[j] for rows, _, j in known]),
                tuple(i for i, _ in order),
            )
        )
    total = int(ours[-1])
    if not found and total == int(theirs[-1]) and 1 in (len(design), len(refold)):
        rows = np.arange(total)
        found = [Pairing(rows, rows, tuple(range(len(design))))]
    return [pairing for pairing in found if len(pairing.design) >= FEWEST]


def _starts(chains: Sequence[Backbone]) -> NDArray[np.int64]:
    """Row at which each chain begins, and the number of all rows."""
    return np.cumsum([0, *(len(chain) for chain in chains)])


def _orders(
    fits: Sequence[Sequence[tuple[Rows, Rows] | None]],
    design: Sequence[Backbone],
    refold: Sequence[Backbone],
) -> Iterator[_Order]:
    """Pairs (chain of the design, chain of the prediction), the order of the files first."""
    n, m = len(design), len(refold)
    if n != m:
        for ours in combinations(range(n), min(n, m)):
            for theirs in combinations(range(m), min(n, m)):
                order = tuple(zip(ours, theirs, strict=True))
                if all(fits[i][j] is not None for i, j in order):
                    yield order
        return
    alike = [[one.sequence == two.sequence for two in refold] for one in refold]
    found = False
    for allowed in (alike, [[True] * n] * n):
        # Chains of different sequences change places only where lengths say that they did.
        for taken in _assigned(fits, allowed, ()):
            found = True
            yield tuple(enumerate(taken))
        if found:
            return


def _assigned(
    fits: Sequence[Sequence[tuple[Rows, Rows] | None]],
    allowed: Sequence[Sequence[bool]],
    taken: tuple[int, ...],
) -> Iterator[tuple[int, ...]]:
    """Complete a choice of one chain of the prediction for every chain of the design."""
    i = len(taken)
    if i == len(fits):
        yield taken
        return
    for j in range(len(fits)):
        if j not in taken and allowed[i][j] and fits[i][j] is not None:
            yield from _assigned(fits, allowed, (*taken, j))


def _paired(one: Backbone, two: Backbone) -> tuple[Rows, Rows] | None:
    """Rows of two chains that correspond, in order; None if their lengths say that they do not."""
    if len(one) == len(two):
        return np.arange(len(one)), np.arange(len(two))
    swapped = len(one) > len(two)
    short, long = (two, one) if swapped else (one, two)
    rows = _by_number(short, long)
    if rows is None:
        rows = _by_sequence(short, long)
    if rows is None:
        return None
    pair = np.arange(len(short)), rows
    return (pair[1], pair[0]) if swapped else pair


def _by_number(short: Backbone, long: Backbone) -> Rows | None:
    """Rows of the longer chain whose numbers the shorter one has: as they are, or counted from
    the first residue.

    That residues are missing is believed where both chains end at the same number, so that the
    gap shows, or where the letters agree.
    """
    place = {
        (int(number) - int(long.residue_numbers[0]), code): row
        for row, (number, code) in enumerate(
            zip(long.residue_numbers, long.insertion_codes, strict=True)
        )
    }
    shifts = (long.residue_numbers[0], short.residue_numbers[0])
    for first in dict.fromkeys(int(shift) for shift in shifts):
        keys = [
            (int(number) - first, code)
            for number, code in zip(short.residue_numbers, short.insertion_codes, strict=True)
        ]
        if not all(key in place for key in keys):
            continue
        rows = np.asarray([place[key] for key in keys], dtype=np.int64)
        ends = rows[0] == 0 and rows[-1] == len(long) - 1
        if (np.diff(rows) > 0).all() and (ends or _agree(short, long, rows)):
            return rows
    return None


def _by_sequence(short: Backbone, long: Backbone) -> Rows | None:
    """Rows of the longer chain at which the shorter one's sequence stands, if only there."""
    if len(set(short.sequence)) < _TELLING or long.sequence.count(short.sequence) != 1:
        return None
    return long.sequence.index(short.sequence) + np.arange(len(short))


def _agree(short: Backbone, long: Backbone, rows: Rows) -> bool:
    """Whether two chains have one sequence, and it is no placeholder."""
    letters = [long.sequence[row] for row in rows]
    if min(len(set(short.sequence)), len(set(letters))) < _TELLING:
        return False
    same = [a == b for a, b in zip(short.sequence, letters, strict=True)]
    return sum(same) >= _AGREE * len(same)

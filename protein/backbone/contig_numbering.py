"""Chains and residue numbers of a scaffold as it is written.

The rule, so that a motif is found where its user knows it:

- a chain of the design carries the identifier of the motif chain most of its motif residues come
  from; where an earlier chain of the design has that one, or where there is no motif, it takes
  the first free letter;
- a motif residue keeps its number and its insertion code. Only a residue grafted from another
  motif chain onto a number that is taken gives way, and is numbered like a designed one;
- designed residues count on from the residue before them, and those in front of the first motif
  count down from it. Where these numbers would run into a motif residue, or fall below 1, the
  stretch is numbered above the highest number of its chain instead.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

__all__ = ["chain_identifiers", "residue_labels"]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits

Label = tuple[int, str]
"""Residue number and insertion code."""


def chain_identifiers(sources: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Identifier of every chain of the design.

    Args:
        sources: for each chain, the motif chain of each residue, empty where designed.
    """
    named: list[str | None] = []
    for chain in sources:
        common = Counter(name for name in chain if name).most_common(1)
        wanted = common[0][0] if common else None
        named.append(None if wanted in named else wanted)
    motif_chains = {name for chain in sources for name in chain}
    free = (letter for letter in _LETTERS if letter not in motif_chains)
    return tuple(name if name is not None else next(free) for name in named)


def residue_labels(
    identifier: str, sources: Sequence[str], labels: Sequence[Label]
) -> list[Label]:
    """Number and insertion code of every residue of one chain; no two are the same.

    Args:
        identifier: the chain's.
        sources: motif chain of each residue, empty where designed.
        labels: number and insertion code in the motif chain; ignored where designed.
    """
    own = Counter(name for name in sources if name).most_common(1)
    home = own[0][0] if own else identifier
    written: list[Label | None] = [None] * len(sources)
    taken: set[Label] = set()
    for from_home in (True, False):
        for i, name in enumerate(sources):
            if name and (name == home) == from_home and labels[i] not in taken:
                written[i] = labels[i]
                taken.add(labels[i])
    numbers = {number for number, _ in taken}
    top = max(numbers, default=0)
    result = list(written)
    for empty, group in groupby(range(len(result)), key=lambda i: written[i] is None):
        rows = list(group)
        if empty:
            start = _start(written, rows, result, numbers) if numbers else 1
            start = top + 1 if start is None else start
            result[rows[0] : rows[-1] + 1] = [(start + k, "") for k in range(len(rows))]
            top = max(top, start + len(rows) - 1)
            numbers.update(range(start, start + len(rows)))
    return [label for label in result if label is not None]


def _start(
    written: Sequence[Label | None],
    rows: list[int],
    result: Sequence[Label | None],
    used: set[int],
) -> int | None:
    """First number of an unnumbered stretch in its natural place; None if there is no room."""
    before = result[rows[0] - 1] if rows[0] else None
    after = written[rows[-1] + 1] if rows[-1] + 1 < len(written) else None
    if before is None and after is None:
        return None
    start = before[0] + 1 if before is not None else after[0] - len(rows) if after else 1
    wanted = range(start, start + len(rows))
    in_order = after is None or wanted[-1] < after[0]
    return start if start > 0 and in_order and used.isdisjoint(wanted) else None

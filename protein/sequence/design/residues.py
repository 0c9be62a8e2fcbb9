"""Residues of a structure by the names that its file gives them: chain, number, insertion code.

Lists of residues are written in the language of contigs (`protein.structures.contig_syntax`):
``A10-20,B35,C``. A range runs in the order of the file from its first residue to its last, and
takes what is there in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.structures.chain import Backbone
from protein.structures.contig_syntax import Motif, parse_contig
from sciddiff.errors import InputError

__all__ = ["Residues"]


@final
class Residues:
    """The residues of several chains, end to end.

    Args:
        chains: chains in order.
        source: the file, for messages.

    >>> residues = Residues([Backbone.from_coords(np.zeros((3, 4, 3)), chain_id="B")], "x.pdb")
    >>> residues.rows("B2-3", "--fix"), residues.words([1, 2]), residues.words([0, 1, 2])
    ([1, 2], 'B2-3', 'B')
    """

    def __init__(self, chains: Sequence[Backbone], source: str) -> None:
        self.chains, self.source = tuple(chains), source
        self.keys = tuple(key for chain in self.chains for key in _keys(chain))
        self.labels = tuple(_label(*key) for key in self.keys)
        self._row = {key: row for row, key in enumerate(self.keys)}
        ends = np.cumsum([len(chain) for chain in self.chains]).tolist()
        starts = [0, *ends[:-1]]
        ids = [chain.chain_id for chain in self.chains]
        self._spans = {name: (a, b) for name, a, b in zip(ids, starts, ends, strict=True)}

    def row(self, chain: str, number: int, code: str = "") -> int | None:
        """Row of a residue; None if it is not there."""
        return self._row.get((chain, number, code))

    def __len__(self) -> int:
        """Number of residues."""
        return len(self.labels)

    @property
    def chain_of(self) -> NDArray[np.int64]:
        """Number of the chain of every residue `[L]`."""
        return np.repeat(np.arange(len(self.chains)), [len(chain) for chain in self.chains])

    def rows(self, text: str, option: str) -> list[int]:
        """Rows of the residues that a list names, in its order.

        Args:
            text: the list.
            option: where it was given, for messages.

        Raises:
            InputError: it is not understood, or names a residue or chain that is not there.
        """
        try:
            plan = parse_contig(text)
        except InputError as error:
            said = str(error).removeprefix("contig ")
            raise InputError(f"{option} {said}") from error
        found: list[int] = []
        for segment in (part for chain in plan.chains for part in chain):
            if not isinstance(segment, Motif):
                first = self.labels[0] if self.labels else "A1"
                raise InputError(
                    f"{option} {text!r}: {segment.text} names no chain; write it as in {first}"
                )
            found += self._segment(segment, option)
        return found

    def _segment(self, segment: Motif, option: str) -> list[int]:
        if segment.chain not in self._spans:
            have = ", ".join(self._spans)
            raise InputError(
                f"{option} {segment.text}: {self.source} has no protein chain {segment.chain}; "
                f"it has {have}"
            )
        if segment.whole:
            return list(range(*self._spans[segment.chain]))
        first = self._one(segment.chain, segment.start, segment.start_code, segment.text, option)
        last = self._one(segment.chain, segment.stop, segment.stop_code, segment.text, option)
        if last < first:
            raise InputError(
                f"{option} {segment.text}: is reversed, {self.labels[last]} comes first in "
                f"{self.source}; swap its ends"
            )
        return list(range(first, last + 1))

    def _one(self, chain: str, number: int, code: str, text: str, option: str) -> int:
        if (chain, number, code) in self._row:
            return self._row[chain, number, code]
        start, stop = self._spans[chain]
        one = self.chains[[c.chain_id for c in self.chains].index(chain)]
        near = start + int(np.abs(one.residue_numbers - number).argmin())
        raise InputError(
            f"{option} {text}: residue {_label(chain, number, code)} is not in {self.source}, or "
            f"lacks N, CA or C; the nearest is {self.labels[near]} (chain {chain} has "
            f"{one.number_ranges()})"
        )

    def words(self, rows: Sequence[int]) -> str:
        """A list that names the rows, as short as possible: ``A10-20,B35``."""
        if not len(rows):
            return ""
        ordered = np.unique(np.asarray(rows))
        chain = self.chain_of[ordered]
        cuts = np.flatnonzero((np.diff(ordered) > 1) | (np.diff(chain) > 0)) + 1
        return ",".join(self._run(part) for part in np.split(ordered, cuts))

    def _run(self, part: NDArray[np.integer]) -> str:
        first, last = self.keys[part[0]], self.keys[part[-1]]
        if len(part) == len(self.chains[self.chain_of[part[0]]]):
            return f"{first[0]}{_colon(first[0])}"
        end = f"-{last[1]}{last[2]}" if len(part) > 1 else ""
        return f"{_label(*first)}{end}"


Key = tuple[str, int, str]
"""Chain identifier, author's number, insertion code."""


def _keys(chain: Backbone) -> list[Key]:
    numbers = chain.residue_numbers.tolist()
    codes = zip(numbers, chain.insertion_codes, strict=True)
    return [(chain.chain_id, number, code) for number, code in codes]


def _label(chain: str, number: int, code: str) -> str:
    """The name of a residue as a contig has it."""
    return f"{chain}{_colon(chain)}{number}{code}"


def _colon(chain: str) -> str:
    return "" if chain.isalpha() else ":"

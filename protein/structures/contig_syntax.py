"""The contig language: what is designed, what is kept, and in which order.

A contig is read from the N-terminus of the design. Its items are separated by ``,`` or ``/``:

=============== =====================================================================
``10-40``       10 to 40 designed residues
``15``          exactly 15 designed residues
``A25-45``      residues 25 to 45 of chain A of the motif file (``A25-A45`` too)
``A25``         that residue alone
``A52B-60``     from residue 52 with insertion code B
``A-3-5``       from residue -3 to residue 5
``/0`` + space  the chain ends here and another begins
=============== =====================================================================

Chain identifiers are in the case the file has them; one that is not made of letters alone needs
the colon. The language is that of RFdiffusion (Watson et al. 2023) with the colon added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn, final

from sciddiff.errors import InputError

__all__ = ["ContigPlan", "Designed", "Motif", "Segment", "parse_contig"]

_DESIGNED = re.compile(r"(\d+)(?:-(\d+))?")
_NUMBERS = r"(-?\d+)([A-Za-z]?)(?:-(?:(?P=chain):?)?(-?\d+)([A-Za-z]?))?"
_MOTIF = re.compile(rf"(?P<chain>[A-Za-z]+){_NUMBERS}")
_NAMED = re.compile(rf"(?P<chain>[A-Za-z0-9]+):(?:{_NUMBERS})?")
_WHOLE = re.compile(r"(?P<chain>[A-Za-z]+)")
_LONGEST_TEXT = 10_000  # characters; the longest design has 512 residues
_MOST_RESIDUES = 10**6  # of one designed stretch; far beyond what is made, and no huge number
# An item and what ends it: the chain break "/0" needs no separator behind it.
_ITEM = re.compile(r"\s*(?P<item>[^,/\s]*)\s*(?P<end>[,/]|$|(?=\S))")


@final
@dataclass(frozen=True)
class Designed:
    """A stretch to be designed.

    Attributes:
        low: fewest residues.
        high: most residues.
        text: as written.
    """

    low: int
    high: int
    text: str


@final
@dataclass(frozen=True)
class Motif:
    """Residues to be kept, first and last included.

    Attributes:
        chain: chain identifier in the motif file.
        start: author's number of the first residue.
        start_code: its insertion code, or empty.
        stop: author's number of the last residue.
        stop_code: its insertion code, or empty.
        text: as written.
        whole: every residue of the chain; the numbers say nothing then.
    """

    chain: str
    start: int
    start_code: str
    stop: int
    stop_code: str
    text: str
    whole: bool = False


Segment = Designed | Motif


@final
@dataclass(frozen=True)
class ContigPlan:
    """A contig as written: segments of each chain, from the N-terminus.

    Attributes:
        text: the contig.
        chains: segments of every chain; no two designed ones side by side.
    """

    text: str
    chains: tuple[tuple[Segment, ...], ...]

    @property
    def motifs(self) -> tuple[Motif, ...]:
        """Every motif segment, in order."""
        return tuple(s for chain in self.chains for s in chain if isinstance(s, Motif))


def parse_contig(text: str) -> ContigPlan:
    """Read a contig.

    Args:
        text: for instance ``"10-40,A25-45,10-40"`` or ``"A1-100/0 70-100"``.

    Raises:
        InputError: an item that is not understood, a range that falls, or an empty chain; the
            message names the item.
    """
    chains: list[list[Segment]] = [[]]
    position, count, after_slash = 0, 0, False
    stripped = text.strip().strip("[]'\"")
    if not stripped:
        raise InputError("contig: empty; write for instance 10-40,A25-45,10-40")
    if len(stripped) > _LONGEST_TEXT:
        raise InputError(
            f"contig {stripped[:30]}...: has {len(stripped)} characters and {_LONGEST_TEXT} is "
            "the most; shorten it"
        )
    while position < len(stripped):
        match = _ITEM.match(stripped, position)
        item, end = (match["item"], match["end"]) if match else ("", "")
        count += 1
        if item == "0" and after_slash:
            _close(text, chains[-1], count)
            chains.append([])
        else:
            if not item:
                _fail(text, count, "is empty; separate items by one comma")
            _append(chains[-1], _segment(text, count, item))
            if not end and match and match.end() < len(stripped):
                _fail(text, count, f"{item!r} has no comma behind it; separate items by commas")
        after_slash = end == "/"
        position = match.end() if match else len(stripped)
    if stripped[-1] in ",/":
        _fail(text, count + 1, "is empty; leave out the last separator")
    if not chains[-1]:
        chains.pop()  # a contig may end with the mark of the end of its last chain
    else:
        _close(text, chains[-1], count)
    return ContigPlan(text.strip(), tuple(map(tuple, chains)))


def _segment(text: str, count: int, item: str) -> Segment:
    if match := _DESIGNED.fullmatch(item):
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low:
            _fail(text, count, f"{item!r} is reversed; write {high}-{low}")
        if high > _MOST_RESIDUES:
            _fail(text, count, f"{item!r} is more than {_MOST_RESIDUES} residues; write fewer")
        return Designed(low, high, item)
    if match := _WHOLE.fullmatch(item):
        return Motif(match["chain"], 0, "", 0, "", item, whole=True)
    if match := _MOTIF.fullmatch(item) or _NAMED.fullmatch(item):
        if match[2] is None:
            return Motif(match["chain"], 0, "", 0, "", item, whole=True)
        chain, start, start_code = match["chain"], int(match[2]), match[3]
        single = match[4] is None
        stop, stop_code = (start, start_code) if single else (int(match[4]), match[5])
        if stop < start:
            swapped = f"{chain}{stop}{stop_code}-{start}{start_code}"
            _fail(text, count, f"{item!r} is reversed; write {swapped}")
        return Motif(chain, start, start_code, stop, stop_code, item)
    other = re.fullmatch(r"([A-Za-z]+)(-?\d+)[A-Za-z]?-([A-Za-z]+)-?\d+[A-Za-z]?", item)
    if other and other[1] != other[3]:
        _fail(text, count, f"{item!r} spans two chains; write one item for each chain")
    _fail(text, count, f"{item!r} is not understood; write 15, 10-40, A, A25 or A25-45")


def _append(chain: list[Segment], segment: Segment) -> None:
    """Add a segment, merging designed neighbours."""
    last = chain[-1] if chain else None
    if isinstance(segment, Designed) and isinstance(last, Designed):
        text = f"{last.text},{segment.text}"
        chain[-1] = Designed(last.low + segment.low, last.high + segment.high, text)
    else:
        chain.append(segment)


def _close(text: str, chain: list[Segment], count: int) -> None:
    """Check a finished chain; one that is wholly designed has at least one residue."""
    if not chain:
        _fail(text, count, "ends a chain without residues; leave out one /0")
    first = chain[0]
    if len(chain) == 1 and isinstance(first, Designed):
        if first.high == 0:
            _fail(text, count, f"{first.text!r} makes a chain without residues; give a length")
        chain[0] = Designed(max(first.low, 1), first.high, first.text)


def _fail(text: str, count: int, problem: str) -> NoReturn:
    raise InputError(f"contig {text.strip()!r}: item {count} {problem}")

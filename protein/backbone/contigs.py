"""Motif scaffolding: a contig and a motif become the residues of one design.

`parse_contig` reads the contig (the language is in `protein.backbone.contig_syntax`), `resolve`
draws the lengths of the designed stretches and fetches the motif. Coordinates are in Å, in the
motif file's own frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.backbone.contig_lengths import draw_lengths, stretch_bounds
from protein.backbone.contig_numbering import chain_identifiers, residue_labels
from protein.backbone.contig_syntax import ContigPlan, Motif, parse_contig
from protein.structures.chain import Backbone, Structure
from sciddiff.errors import InputError

__all__ = ["ContigPlan", "ResolvedContig", "ResolvedSegment", "parse_contig", "resolve"]

_CHAIN_JUMP = 200  # residue numbers skipped between chains, more than the network tells apart
_LISTED = 10_000  # residues of a range beyond which the absent ones are not listed one by one


@final
@dataclass(frozen=True)
class ResolvedSegment:
    """A stretch of the design.

    Attributes:
        chain: which chain of the design, from 0.
        start: its first residue, counted over the whole design from 0.
        stop: one past its last residue.
        motif: whether it is kept from the motif.
        text: what the contig says of it.
    """

    chain: int
    start: int
    stop: int
    motif: bool
    text: str


@final
@dataclass(frozen=True, eq=False)
class ResolvedContig:
    """One design's residues, N in all, from the N-terminus of the first chain on.

    Attributes:
        text: the contig.
        source: the motif's file, or empty.
        residue_index: consecutive along a chain, with a jump between chains, int64 `[N]`.
        chain_index: chain of each residue from 0, int64 `[N]`.
        fixed: residues kept from the motif, bool `[N]`.
        coords: N, CA, C, O in Å where fixed, zero elsewhere, float32 `[N, 4, 3]`.
        source_chains: chain in the motif file, empty where designed, length N.
        source_numbers: author's number in the motif file, 0 where designed, int64 `[N]`.
        source_codes: insertion code in the motif file, length N.
        sequence: one-letter amino acids; designed residues are alanine, length N.
        segments: the stretches, in order.
        notes: sentences about what was adjusted or is unusual.
    """

    text: str
    source: str
    residue_index: NDArray[np.int64]
    chain_index: NDArray[np.int64]
    fixed: NDArray[np.bool_]
    coords: NDArray[np.float32]
    source_chains: tuple[str, ...]
    source_numbers: NDArray[np.int64]
    source_codes: tuple[str, ...]
    sequence: str
    segments: tuple[ResolvedSegment, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of residues."""
        return len(self.fixed)

    @cached_property
    def _written(self) -> tuple[tuple[str, ...], list[tuple[int, str]]]:
        rows = [np.flatnonzero(self.chain_index == c) for c in range(self.segments[-1].chain + 1)]
        sources = [[self.source_chains[i] for i in chain] for chain in rows]
        names = chain_identifiers(sources)
        labels: list[tuple[int, str]] = []
        for name, chain, source in zip(names, rows, sources, strict=True):
            known = [(int(self.source_numbers[i]), self.source_codes[i]) for i in chain]
            labels += residue_labels(name, source, known)
        return tuple(names[c] for c in self.chain_index), labels

    def output_numbering(self) -> tuple[tuple[str, ...], tuple[int, ...], str]:
        """Chain identifier, number and one-letter code of every residue as it is written.

        Motif residues keep theirs; the rule is in `protein.backbone.contig_numbering`. The
        insertion codes that go with the numbers are in `output_insertion_codes`.
        """
        chains, labels = self._written
        return chains, tuple(number for number, _ in labels), self.sequence

    def output_insertion_codes(self) -> tuple[str, ...]:
        """Insertion code of every residue as it is written, empty where there is none."""
        return tuple(code for _, code in self._written[1])

    def describe(self) -> str:
        """Table of the design's stretches: place, chain and numbers as written, origin."""
        chains, labels = self._written
        names = [f"{number}{code}" for number, code in labels]
        rows = [("residues", "length", "chain", "written", "from")]
        for s in self.segments:
            if s.stop == s.start:
                continue
            origin = f"motif {s.text}" if s.motif else f"designed ({s.text})"
            rows.append(
                (
                    _span(str(s.start + 1), str(s.stop)),
                    str(s.stop - s.start),
                    chains[s.start],
                    _span(names[s.start], names[s.stop - 1]),
                    origin,
                )
            )
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = [
            "  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)) for row in rows
        ]
        kept = int(self.fixed.sum())
        of = f" of {self.source}" if self.source else ""
        head = f"{self.text}: {len(self)} residues, {kept} kept{of}"
        return "\n".join(
            [head, *(line.rstrip() for line in lines), *(f"note: {n}" for n in self.notes)]
        )


def resolve(
    plan: ContigPlan,
    motif: Structure | Backbone | None,
    rng: np.random.Generator,
    length: tuple[int, int] | None = None,
) -> ResolvedContig:
    """Draw the lengths of a contig and fetch its motif.

    Without `length` every designed stretch has its own uniform length; with it, all choices that
    give a total in the range are equally likely. A stretch between two motif segments is never
    drawn too short to reach from one to the other.

    Args:
        plan: the contig.
        motif: where the motif residues come from; None for a contig without any.
        rng: decides the lengths.
        length: fewest and most residues of the whole design.

    Raises:
        InputError: residues that are absent or used twice, a range that falls, or lengths that
            cannot be met.
    """
    source = "" if motif is None else motif.source if isinstance(motif, Structure) else motif.name
    kept = {segment: _fetch(plan, segment, motif, source) for segment in plan.motifs}
    _check_unique(plan, kept)
    notes: list[str] = []
    spans = [stretch_bounds(plan, chain, kept, notes) for chain in plan.chains]
    free = [span for chain in spans for span in chain]
    fixed = sum(len(rows) for rows in kept.values())
    drawn = iter(draw_lengths(plan, free, fixed, rng, length))
    counts = [
        [len(kept[s]) if isinstance(s, Motif) else next(drawn) for s in chain]
        for chain in plan.chains
    ]
    return _assemble(plan, source, kept, counts, tuple(notes))


def _fetch(
    plan: ContigPlan, segment: Motif, motif: Structure | Backbone | None, source: str
) -> Backbone:
    """The residues of a motif segment.

    Raises:
        InputError: no structure, no such chain, or some residue is absent or incomplete.
    """
    where = f"contig {plan.text!r}: {segment.text}"
    if motif is None:
        raise InputError(f"{where} needs a structure; give the motif file")
    if isinstance(motif, Structure):
        chain = motif.chain(segment.chain)
    elif motif.chain_id == segment.chain:
        chain = motif
    else:
        raise InputError(
            f"{source or 'motif'}: no protein chain {segment.chain!r}; it has {motif.chain_id}"
        )
    labels = list(zip(chain.residue_numbers.tolist(), chain.insertion_codes, strict=True))
    ends = [(segment.start, segment.start_code), (segment.stop, segment.stop_code)]
    asked = range(segment.start, min(segment.stop, segment.start + _LISTED) + 1)
    missing = sorted(set(asked) - set(chain.residue_numbers.tolist()))
    absent_ends = [end for end in ends if end not in labels]
    if not absent_ends:
        first, last = (labels.index(end) for end in ends)
        if last < first:
            code = f"{segment.chain}{segment.stop}{segment.stop_code}"
            raise InputError(f"{where} is reversed: {code} comes first in the file; swap its ends")
        part = chain.select(slice(first, last + 1))
        missing = _gaps(part)
    if absent_ends or missing:
        names = _ranges(missing) or ",".join(f"{n}{c}" for n, c in dict.fromkeys(absent_ends))
        present = chain.number_ranges() or "none"
        raise InputError(
            f"{source or 'motif'}: residues {segment.chain}{names} of contig {segment.text} are "
            f"absent or lack N, CA or C; chain {segment.chain} has {present}"
        )
    unusable = [label for label, use in zip(part.labels, part.mask, strict=True) if not use]
    if unusable:
        raise InputError(f"{where} holds residues without a usable backbone: {','.join(unusable)}")
    return part


def _gaps(part: Backbone) -> list[int]:
    """Numbers missing inside a stretch; those skipped along an unbroken chain are not."""
    numbers = part.residue_numbers
    jumps = np.flatnonzero((np.diff(numbers) > 1) & ~part.bonded[:-1])
    return [n for i in jumps for n in range(int(numbers[i]) + 1, int(numbers[i + 1]))]


def _ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as people write them: ``30-33,40``."""
    if not numbers:
        return ""
    array = np.asarray(numbers)
    parts = np.split(array, np.flatnonzero(np.diff(array) > 1) + 1)
    return ",".join(_span(str(p[0]), str(p[-1])) for p in parts)


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"


def _check_unique(plan: ContigPlan, kept: dict[Motif, Backbone]) -> None:
    """Every motif residue has one place.

    Raises:
        InputError: a residue is named twice.
    """
    labels = [label for segment in plan.motifs for label in kept[segment].labels]
    twice = list(dict.fromkeys(label for label in labels if labels.count(label) > 1))
    if twice:
        names = ", ".join(twice[:5]) + (", ..." if len(twice) > 5 else "")
        raise InputError(f"contig {plan.text!r}: {names} named twice; a residue has one place")


def _assemble(
    plan: ContigPlan,
    source: str,
    kept: dict[Motif, Backbone],
    counts: list[list[int]],
    notes: tuple[str, ...],
) -> ResolvedContig:
    """Arrays of a design whose stretches have these lengths."""
    n = sum(map(sum, counts))
    coords, fixed = np.zeros((n, 4, 3), dtype=np.float32), np.zeros(n, dtype=bool)
    chain_index, numbers = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    chains, codes, sequence = [""] * n, [""] * n, ["A"] * n
    segments: list[ResolvedSegment] = []
    at = 0
    for c, (chain, sizes) in enumerate(zip(plan.chains, counts, strict=True)):
        for segment, size in zip(chain, sizes, strict=True):
            rows = slice(at, at + size)
            chain_index[rows] = c
            if isinstance(segment, Motif):
                part = kept[segment]
                coords[rows], fixed[rows] = part.coords, True
                numbers[rows] = part.residue_numbers
                chains[rows], codes[rows] = [segment.chain] * size, part.insertion_codes
                sequence[rows] = part.sequence
            motif = isinstance(segment, Motif)
            segments.append(ResolvedSegment(c, at, at + size, motif, segment.text))
            at += size
    return ResolvedContig(
        text=plan.text,
        source=source,
        residue_index=np.arange(n, dtype=np.int64) + _CHAIN_JUMP * chain_index,
        chain_index=chain_index,
        fixed=fixed,
        coords=coords,
        source_chains=tuple(chains),
        source_numbers=numbers,
        source_codes=tuple(codes),
        sequence="".join(sequence),
        segments=tuple(segments),
        notes=notes,
    )

"""Motif scaffolding: a contig and a motif become the residues of one design.

`parse_contig` reads the contig (the language is in `protein.structures.contig_syntax`), `resolve`
draws the lengths of the designed stretches and fetches the motif. Coordinates are in Å, in the
motif file's own frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.backbone.contig_lengths import draw_lengths, stretch_bounds
from protein.backbone.contig_motif import (
    check_unique,
    example,
    kept_residues,
    look_alikes,
)
from protein.backbone.contig_numbering import chain_identifiers, residue_labels
from protein.structures.chain import Backbone, SideAtom, Structure
from protein.structures.contig_syntax import ContigPlan, Motif, parse_contig
from sciddiff.errors import InputError

__all__ = [
    "ContigPlan",
    "ResolvedContig",
    "ResolvedSegment",
    "arranged",
    "parse_contig",
    "resolve",
]

_ORDERS = 50  # drawn before an unindexed motif is given up
_CHAIN_JUMP = 200  # residue numbers skipped between chains, more than the network tells apart


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
        side_chains: side-chain atoms of motif residues, empty where designed, length N.
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
    side_chains: tuple[tuple[SideAtom, ...], ...]
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

    def motif_map(self) -> list[tuple[str, str]]:
        """Every motif residue as the motif's file names it and as the design names it.

        Both are written ``A25``: chain, number and insertion code.
        """
        chains, labels = self._written
        pairs = []
        for row in np.flatnonzero(self.fixed):
            number, code = labels[row]
            source = f"{self.source_chains[row]}{self.source_numbers[row]}{self.source_codes[row]}"
            pairs.append((source, f"{chains[row]}{number}{code}"))
        return pairs

    def drawn(self) -> str:
        """The contig with the lengths that were drawn: ``23/A25-45/17``."""
        chains: list[list[str]] = [[] for _ in range(self.segments[-1].chain + 1)]
        for segment in self.segments:
            if segment.stop > segment.start:
                size = str(segment.stop - segment.start)
                chains[segment.chain].append(segment.text if segment.motif else size)
        return "/0 ".join("/".join(words) for words in chains)

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
    if isinstance(motif, Structure) and not plan.motifs:
        raise InputError(
            f"contig {plan.text!r}: keeps nothing of {source or 'the motif'}, whose chains are "
            f"{', '.join(c.chain_id for c in motif.chains)}; name residues such as "
            f"{example(motif.chains[0])}, or use --length for a design without a motif"
        )
    kept = {segment: kept_residues(plan, segment, motif, source) for segment in plan.motifs}
    check_unique(plan, kept)
    notes = look_alikes(plan, motif)
    spans = [stretch_bounds(plan, chain, kept, notes) for chain in plan.chains]
    free = [span for chain in spans for span in chain]
    fixed = sum(len(rows) for rows in kept.values())
    drawn = iter(draw_lengths(plan, free, fixed, rng, length))
    counts = [
        [len(kept[s]) if isinstance(s, Motif) else next(drawn) for s in chain]
        for chain in plan.chains
    ]
    return _assemble(plan, source, kept, counts, tuple(notes))


def arranged(
    plan: ContigPlan,
    motif: Structure,
    rng: np.random.Generator,
    length: tuple[int, int] | None,
) -> ResolvedContig:
    """Draw where the pieces of a motif lie along the chain: their order, and what is between.

    Orders are equally likely, and so are all lengths of the stretches before, between and behind
    the pieces that fit an order and the total. An order that the total cannot bridge is drawn
    again.

    Args:
        plan: the pieces, in any order, without designed stretches.
        motif: where they come from.
        rng: decides.
        length: fewest and most residues of the whole design.

    Raises:
        InputError: a designed stretch or a chain break among the pieces, no length, a residue
            that is absent or named twice, or no order that fits the length.
    """
    where = f"unindexed motif {plan.text!r}"
    if len(plan.chains) > 1 or len(plan.motifs) < sum(map(len, plan.chains)):
        raise InputError(f"{where}: name pieces alone, as in A25-27,A55; --length says the rest")
    if length is None:
        raise InputError(f"{where}: needs the length of a design; give --length 80-120")
    pieces, refused = plan.motifs, None
    check_unique(plan, {p: kept_residues(plan, p, motif, motif.source) for p in pieces})
    for _ in range(_ORDERS):
        order = rng.permutation(len(pieces))
        items = [f"0-{length[1]}"]
        for place in order:
            items += [pieces[place].text, f"0-{length[1]}"]
        try:
            return resolve(parse_contig(",".join(items)), motif, rng, length)
        except InputError as error:
            refused = error
    raise InputError(f"{where}: no order of its pieces fits {length[0]}-{length[1]}: {refused}")


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"


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
    sides: list[tuple[SideAtom, ...]] = [()] * n
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
                if part.side_chains:
                    sides[rows] = part.side_chains
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
        side_chains=tuple(sides),
        segments=tuple(segments),
        notes=notes,
    )

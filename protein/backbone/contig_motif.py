"""The residues that a contig keeps, fetched from the motif's structure; or why they cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protein.structures.chain import Backbone, Structure
from protein.structures.contig_syntax import ContigPlan, Motif
from sciddiff.errors import InputError

_JOINED = 2.0  # Å, C to N of two residues that a chain runs through
_LISTED = 10_000  # residues of a range beyond which the absent ones are not listed one by one


def motif_rows(plan: ContigPlan, structure: Structure) -> list[int]:
    """Rows of a structure's residues, all chains end to end, that a list of residues names.

    Args:
        plan: a contig of residues alone, such as ``A37,A40-42``.
        structure: the residues' structure.

    Raises:
        InputError: a residue that is absent or named twice, or an item that is no residue.
    """
    if any(not isinstance(segment, Motif) for chain in plan.chains for segment in chain):
        raise InputError(f"residues {plan.text!r}: name residues alone, such as A37,A40-42")
    kept = {s: kept_residues(plan, s, structure, structure.source) for s in plan.motifs}
    check_unique(plan, kept)
    labels = [label for chain in structure.chains for label in chain.labels]
    place = {label: row for row, label in enumerate(labels)}
    return [place[label] for part in kept.values() for label in part.labels]


def look_alikes(plan: ContigPlan, motif: Structure | Backbone | None) -> list[str]:
    """Designed lengths that may have been meant as residues of a chain named by a digit."""
    chains = motif.chains if isinstance(motif, Structure) else ()
    notes = []
    for chain in chains:
        for segment in (part for one in plan.chains for part in one):
            name, text = chain.chain_id, segment.text
            if isinstance(segment, Motif) or not text.startswith(name) or len(text) == len(name):
                continue
            notes.append(
                f"{text} designs that many residues; residues of chain {name} would be "
                f"{example(chain)}"
            )
    return notes


def example(chain: Backbone) -> str:
    """Some residues of a chain as a contig names them."""
    colon = "" if chain.chain_id.isalpha() else ":"
    last = chain.residue_numbers[min(9, len(chain) - 1)]
    return f"{chain.chain_id}{colon}{chain.residue_numbers[0]}-{last}"


def kept_residues(
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
        chain, others = motif.chain(segment.chain), motif.others
    elif motif.chain_id == segment.chain:
        chain, others = motif, {}
    else:
        raise InputError(
            f"{source or 'motif'}: no protein chain {segment.chain!r}; it has {motif.chain_id}"
        )
    part, missing = chain, []
    if not segment.whole:
        part, missing = _stretch(where, segment, chain)
    missing = missing or _gaps(part)
    if missing:
        names = ",".join(f"{segment.chain}{name}" for name in _ranges(missing).split(","))
        known = [others[f"{segment.chain}{n}"] for n in missing if f"{segment.chain}{n}" in others]
        what = f"is {known[0]}" if known else "are absent or lack N, CA or C"
        raise InputError(
            f"{source or 'motif'}: residues {names} of contig {segment.text} {what}; name "
            f"residues of the protein, chain {segment.chain} has "
            f"{chain.number_ranges() or 'none'}"
        )
    unusable = [label for label, use in zip(part.labels, part.mask, strict=True) if not use]
    if unusable:
        raise InputError(f"{where} holds residues without a usable backbone: {','.join(unusable)}")
    _check_unbroken(where, part)
    return part


def _stretch(where: str, segment: Motif, chain: Backbone) -> tuple[Backbone, list[int | str]]:
    """The residues from a segment's first to its last, and those that are not there."""
    labels = list(zip(chain.residue_numbers.tolist(), chain.insertion_codes, strict=True))
    ends = [(segment.start, segment.start_code), (segment.stop, segment.stop_code)]
    absent = [f"{n}{c}" if c else n for n, c in dict.fromkeys(ends) if (n, c) not in labels]
    if absent:
        asked = range(segment.start, min(segment.stop, segment.start + _LISTED) + 1)
        numbers = sorted(set(asked) - set(chain.residue_numbers.tolist()))
        return chain, [*numbers] or absent
    first, last = (labels.index(end) for end in ends)
    if last < first:
        code = f"{segment.chain}{segment.stop}{segment.stop_code}"
        raise InputError(f"{where} is reversed: {code} comes first in the file; swap its ends")
    return chain.select(slice(first, last + 1)), []


def _check_unbroken(where: str, part: Backbone) -> None:
    """A kept stretch is one piece of chain, whatever its numbers say.

    Raises:
        InputError: two residues that follow each other are not bonded.
    """
    gaps = np.linalg.norm(part.coords[1:, 0] - part.coords[:-1, 2], axis=-1)
    broken = np.flatnonzero(gaps > _JOINED)
    if len(broken):
        i = int(broken[0])
        raise InputError(
            f"{where}: the chain is broken between {part.labels[i]} and {part.labels[i + 1]} "
            f"(C-N {gaps[i]:.1f} Å); name the pieces and put designed residues between them"
        )


def _gaps(part: Backbone) -> list[int | str]:
    """Numbers missing inside a stretch; those skipped along an unbroken chain are not."""
    numbers = part.residue_numbers
    jumps = np.flatnonzero((np.diff(numbers) > 1) & ~part.bonded[:-1])
    return [n for i in jumps for n in range(int(numbers[i]) + 1, int(numbers[i + 1]))]


def _ranges(names: Sequence[int | str]) -> str:
    """Sorted numbers as people write them, ``30-33,40``; names with codes as they are."""
    if any(isinstance(name, str) for name in names):
        return ",".join(map(str, names))
    array = np.asarray(names)
    parts = np.split(array, np.flatnonzero(np.diff(array) > 1) + 1)
    return ",".join(_span(str(p[0]), str(p[-1])) for p in parts)


def check_unique(plan: ContigPlan, kept: dict[Motif, Backbone]) -> None:
    """Every motif residue has one place.

    Raises:
        InputError: a residue is named twice.
    """
    labels = [label for segment in plan.motifs for label in kept[segment].labels]
    twice = list(dict.fromkeys(label for label in labels if labels.count(label) > 1))
    if twice:
        names = ", ".join(twice[:5]) + (", ..." if len(twice) > 5 else "")
        raise InputError(f"contig {plan.text!r}: {names} named twice; a residue has one place")


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first}-{last}"

"""How long the designed stretches of a contig may be, and a draw of their lengths.

A stretch between two motif segments has to reach from one to the other. Lengths are drawn
uniformly; under a constraint on the total, uniformly among all choices that meet it, by
convolution of the laws of the stretches rather than by trial and error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from protein.backbone.request import LONGEST
from protein.structures.chain import Backbone
from protein.structures.contig_syntax import ContigPlan, Designed, Motif, Segment
from sciddiff.errors import InputError

__all__ = ["draw_lengths", "stretch_bounds"]

_JOINED = 2.0  # Å, C to N of two residues that a chain can run through
_STEP = 3.9  # Å, the most that one residue adds to the distance between CA atoms


def stretch_bounds(
    plan: ContigPlan,
    chain: tuple[Segment, ...],
    kept: Mapping[Motif, Backbone],
    notes: list[str],
) -> list[tuple[int, int]]:
    """Fewest and most residues of every designed stretch of a chain, long enough to bridge.

    Args:
        plan: the contig, for messages.
        chain: segments of one chain.
        kept: residues of every motif segment.
        notes: receives a sentence for every stretch whose shortest lengths are left out.

    Raises:
        InputError: two motif segments that no chain allowed here can join.
    """
    spans = []
    for i, segment in enumerate(chain):
        left = chain[i - 1] if i else None
        right = chain[i + 1] if i + 1 < len(chain) else None
        if isinstance(segment, Motif):
            if isinstance(left, Motif):
                _check_joined(plan, kept[left], kept[segment])
            continue
        low = segment.low
        if isinstance(left, Motif) and isinstance(right, Motif):
            low = max(low, _bridge(plan, segment, kept[left], kept[right]))
            if low > segment.low:
                notes.append(
                    f"{segment.text} between {left.text} and {right.text} "
                    f"needs at least {low} residues to reach; shorter ones are not drawn"
                )
        spans.append((low, segment.high))
    return spans


def _check_joined(plan: ContigPlan, left: Backbone, right: Backbone) -> None:
    apart = float(np.linalg.norm(right.coords[0, 0] - left.coords[-1, 2]))
    if apart > _JOINED:
        raise InputError(
            f"contig {plan.text!r}: {left.labels[-1]} and {right.labels[0]} are not bonded in the "
            f"motif (C-N {apart:.1f} Å); put designed residues or a chain break between them"
        )


def _bridge(plan: ContigPlan, segment: Designed, left: Backbone, right: Backbone) -> int:
    """Fewest residues that reach from one motif segment to the next."""
    if float(np.linalg.norm(right.coords[0, 0] - left.coords[-1, 2])) <= _JOINED:
        return 0
    apart = float(np.linalg.norm(right.ca[0] - left.ca[-1]))
    need = max(1, math.ceil(apart / _STEP) - 1)
    if segment.high < need:
        raise InputError(
            f"contig {plan.text!r}: {segment.text} residues cannot reach from {left.labels[-1]} "
            f"to {right.labels[0]}, {apart:.1f} Å apart; allow at least {need}"
        )
    return need


def draw_lengths(
    plan: ContigPlan,
    free: Sequence[tuple[int, int]],
    fixed: int,
    rng: np.random.Generator,
    length: tuple[int, int] | None,
) -> list[int]:
    """Length of every designed stretch.

    Args:
        plan: the contig, for messages.
        free: fewest and most residues of every stretch.
        fixed: residues of the motif.
        rng: decides.
        length: fewest and most residues in all.

    Raises:
        InputError: no choice gives an allowed total.
    """
    low, high = fixed + sum(a for a, _ in free), fixed + sum(b for _, b in free)
    first, last = (low, high) if length is None else length
    first, last = max(first, low, 1), min(last, high)
    if first > last:
        asked = "residues" if length is None else f"residues, never {_span(*length)}"
        raise InputError(
            f"contig {plan.text!r}: makes {_span(low, high)} {asked}; "
            "change its ranges or the length"
        )
    if last > LONGEST:
        raise InputError(
            f"contig {plan.text!r}: makes up to {last} residues and {LONGEST} is the most; "
            "narrow its ranges or give a length"
        )
    free = [(a, min(b, last - fixed)) for a, b in free]
    # tails[k][s]: share of the choices for stretches k, k+1, ... that add up to s.
    tails = [np.ones(1)]
    for a, b in reversed(free):
        uniform = np.zeros(b + 1)
        uniform[a:] = 1.0 / (b - a + 1)
        tails.insert(0, np.convolve(uniform, tails[0]))
    below, above = first - fixed, last - fixed
    drawn: list[int] = []
    for k, (a, b) in enumerate(free):
        lengths = np.arange(a, b + 1)
        sums = np.concatenate([[0.0], np.cumsum(tails[k + 1])])
        top = np.clip(above - lengths + 1, 0, len(sums) - 1)
        weight = sums[top] - sums[np.clip(below - lengths, 0, len(sums) - 1)]
        weight = weight.clip(0.0)
        drawn.append(int(rng.choice(lengths, p=weight / weight.sum())))
        below, above = below - drawn[-1], above - drawn[-1]
    return drawn


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"

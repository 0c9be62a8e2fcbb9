"""What is kept of a packed structure: its file with side chains, and its figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import LETTERS
from protein.sidechains.geometry import tables
from protein.sidechains.internal import side_atoms
from protein.sidechains.measure import compare, figures
from protein.sidechains.packer import Packed
from protein.sidechains.targets import Target
from protein.structures.chain import Backbone, SideAtom
from sciddiff.errors import reading
from sciddiff.files import read_json, replacing

__all__ = ["Record", "packed_chains", "record_of", "side_chain_atoms"]

_AGAIN = "remove it and run the command again"


@final
@dataclass(frozen=True)
class Record:
    """One packed structure of L residues.

    Attributes:
        residues: number of residues.
        packed: residues whose side chains were drawn.
        fixed: residues whose side chains were held.
        clashes: pairs of atoms too close.
        draw_clashes: the same in the draws.
        score: log-density of the drawn torsions, nats a torsion; higher is likelier.
        confidence: mean over the drawn residues.
        own: how near the side chains of the file are, where it has them: see
            `protein.sidechains.measure.figures`.
        chi: torsions of each residue, degrees; None where it has none.
        row_confidence: of each residue.
        row_spread: circular standard deviation of the first torsion over the draws, degrees.
        row_score: log-density of each residue, nats.
        row_clashes: pairs of atoms too close at each residue.
        drawn: whether a residue was drawn.
    """

    residues: int
    packed: int
    fixed: int
    clashes: int
    draw_clashes: list[int]
    score: float
    confidence: float
    own: dict[str, float]
    chi: list[list[float | None]]
    row_confidence: list[float]
    row_spread: list[float]
    row_score: list[float]
    row_clashes: list[int]
    drawn: list[bool]

    def write(self, file: Path) -> None:
        """Write it as JSON; the file appears whole."""
        with replacing(file) as out:
            out.write((json.dumps(asdict(self)) + "\n").encode())

    @staticmethod
    def read(file: Path) -> Record:
        """Read a record.

        Raises:
            InputError: it is damaged.
        """
        with reading(file, "a record of side chains", _AGAIN):
            return Record(**read_json(file, _AGAIN))


def record_of(packed: Packed) -> Record:
    """The figures of a packed structure."""
    template = packed.template
    has = tables().chi.numpy()[template.tokens] & ~template.unknown[:, None]
    drawn = has[:, 0] & ~packed.fixed
    angles = int(has[drawn].sum())
    own = figures([compare(template, packed.sides, drawn)])
    degrees = np.degrees(packed.chi)
    return Record(
        residues=len(template),
        packed=int(drawn.sum()),
        fixed=int(packed.fixed.sum()),
        clashes=packed.total,
        draw_clashes=packed.draw_clashes.tolist(),
        score=round(float(packed.scores[drawn].sum()) / max(angles, 1), 4),
        confidence=_mean(packed.confidence[drawn]),
        own={k: round(v, 4) for k, v in own.items()} if own["residues"] else {},
        chi=[
            [round(float(v), 2) if there else None for v, there in zip(row, which, strict=True)]
            for row, which in zip(degrees, has, strict=True)
        ],
        row_confidence=_rounded(packed.confidence),
        row_spread=_rounded(np.degrees(packed.spread)),
        row_score=_rounded(np.where(drawn, packed.scores, 0.0)),
        row_clashes=packed.clashes.tolist(),
        drawn=drawn.tolist(),
    )


def packed_chains(
    target: Target, sides: NDArray[np.floating], held: NDArray[np.bool_]
) -> list[Backbone]:
    """The chains of a target with side chains; those held are as in its file.

    Args:
        target: what was packed.
        sides: atoms of the side chains `[L, 10, 3]`, Å.
        held: residues whose side chains are as they were `[L]`.
    """
    chains, start = [], 0
    for chain in target.structure.chains:
        rows = range(start, start + len(chain))
        start += len(chain)
        made = tuple(
            chain.side_chains[row - rows.start]
            if held[row]
            else side_chain_atoms(target.sequence[row], sides[row])
            for row in rows
        )
        text = target.sequence[rows.start : rows.stop]
        chains.append(replace(chain, sequence=text, side_chains=made))
    return chains


def side_chain_atoms(letter: str, places: NDArray[np.floating]) -> tuple[SideAtom, ...]:
    """The atoms of a side chain with their names; none for an unknown residue.

    Args:
        letter: the residue.
        places: `[10, 3]`, Å.
    """
    if letter not in LETTERS:
        return ()
    named: Iterable[Any] = zip(side_atoms()[letter], places.tolist(), strict=False)
    return tuple(SideAtom(name, name[0], (x, y, z)) for name, (x, y, z) in named)


def _mean(values: NDArray[np.floating]) -> float:
    return round(float(values.mean()), 4) if len(values) else math.nan


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [round(float(value), 4) for value in values]

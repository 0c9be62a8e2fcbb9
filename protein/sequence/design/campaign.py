"""Designs of a folder, made in blocks that any number of processes share.

A design is finished when both of its files are there, its record and its structure. It depends on
the request, its template, its temperature and its number alone, so that a rerun makes just the
missing ones and a larger number adds to those that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.design.engine import SequenceDesigner
from protein.sequence.design.plan import Plan
from protein.sequence.design.records import Record, records_of
from protein.sequence.design.redraw import draw_native_like
from protein.sequence.design.settings import DrawSettings
from protein.structures.write import write_mmcif
from sciddiff.cli.options import MOST
from sciddiff.cli.parts import Parts
from sciddiff.errors import InputError

__all__ = ["DESIGNS", "SequenceParts", "design_stem", "native_stem"]

DESIGNS = "designs"
"""Folder of the records and structures of all designs."""

BLOCK = 64
"""Designs that one process takes at a time."""


def design_stem(plan: Plan, temperature: float, index: int) -> str:
    """Stem of the files of a design, numbered from 1."""
    return f"{plan.name}_T{temperature:g}_{index + 1:04d}"


def native_stem(plan: Plan) -> str:
    """Stem of the record of the structure's own sequence."""
    return f"{plan.name}_native"


@final
@dataclass(frozen=True)
class Block:
    """Some designs of one template, or the template's own sequence.

    Attributes:
        plan: what is designed.
        temperature: at which; None for the template's own sequence.
        indices: which, from 0.
    """

    plan: Plan
    temperature: float | None
    indices: range

    def stems(self) -> list[str]:
        """Stems of the files of its designs."""
        if self.temperature is None:
            return [native_stem(self.plan)]
        return [design_stem(self.plan, self.temperature, index) for index in self.indices]


@final
class SequenceParts(Parts):
    """The first sequences of every template at every temperature, in blocks.

    Args:
        directory: where everything is written.
        plans: what is designed.
        temperatures: at which sequences are drawn.
        number: sequences for each template and temperature.
        settings: how they are drawn.
        designer: encodes a structure.
        on_done: called with the number of sequences that were finished.

    Raises:
        InputError: more sequences in all than one command makes.
    """

    def __init__(
        self,
        directory: Path,
        plans: Sequence[Plan],
        temperatures: Sequence[float],
        number: int,
        settings: DrawSettings,
        designer: Callable[[Plan], SequenceDesigner],
        on_done: Callable[[int], None] = lambda designs: None,
    ) -> None:
        self.directory, self.plans = directory, plans
        self.temperatures, self.number = temperatures, number
        self.settings, self.on_done = settings, on_done
        self._encode = designer
        self._last: SequenceDesigner | None = None
        self.made = 0
        total = len(plans) * len(temperatures) * number
        if total > MOST:
            raise InputError(
                f"--number {number}: {total:,} sequences in all, and {MOST:,} are the most; ask "
                "for fewer, or in several commands"
            )

    @property
    def begun(self) -> bool:
        """Whether any design is there, or being made."""
        return any((self.directory / DESIGNS).glob("*.json")) or self.taken

    def items(self) -> Iterator[Block]:
        """The blocks, template by template."""
        for plan in self.plans:
            yield Block(plan, None, range(1))
            for temperature in self.temperatures:
                for first in range(0, self.number, BLOCK):
                    last = min(first + BLOCK, self.number)
                    yield Block(plan, temperature, range(first, last))

    def record(self, part: int) -> Path:
        """The last file of a block."""
        block = next(item for number, item in enumerate(self.items()) if number == part)
        return self.file(block.stems()[-1])

    def file(self, stem: str) -> Path:
        """Record of a design."""
        return self.directory / DESIGNS / f"{stem}.json"

    def structure(self, stem: str) -> Path:
        """Structure of a design."""
        return self.directory / DESIGNS / f"{stem}.cif"

    def finished(self, part: int, item: Block) -> bool:
        """Whether every design of a block is there."""
        return not self._missing(item)

    def left(self) -> int:
        """Designs that are still to be made."""
        return sum(
            len(self._missing(item)) for item in self.items() if item.temperature is not None
        )

    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return not any(self._missing(item) for item in self.items())

    def _missing(self, item: Block) -> list[int]:
        stems = item.stems()
        if item.temperature is None:
            return [] if self.file(stems[0]).exists() else [0]
        there = [self.file(s).exists() and self.structure(s).exists() for s in stems]
        return [index for index, done in zip(item.indices, there, strict=True) if not done]

    def do(self, part: int, item: Block) -> None:
        """Draw and score the designs of a block that are missing."""
        designer = self.designer(item.plan)
        if item.temperature is None:
            self._own(designer)
            return
        missing = self._missing(item)
        found, redrawn = draw_native_like(designer, missing, item.temperature)
        rewards = designer.rewards(found)
        records = records_of(
            item.plan,
            found,
            designer.score(found),
            item.temperature,
            [index + 1 for index in missing],
            redrawn.tolist(),
            None if rewards is None else rewards.tolist(),
        )
        for index, record, sequence in zip(missing, records, found, strict=True):
            stem = design_stem(item.plan, item.temperature, index)
            self._write_structure(item.plan, stem, record, sequence)
            record.write(self.file(stem))
            self.made += 1
        self.on_done(len(missing))

    def designer(self, plan: Plan) -> SequenceDesigner:
        """The template of a plan, encoded; the last one is kept."""
        if self._last is None or self._last.plan is not plan:
            self._last = self._encode(plan)
        return self._last

    def _own(self, designer: SequenceDesigner) -> None:
        """Score the structure's own sequence."""
        plan = designer.plan
        known = (plan.known | plan.held)[None]
        own = plan.tokens[None]
        [record] = records_of(
            plan,
            own,
            designer.score(own, known),
            float("nan"),
            [0],
        )
        record.write(self.file(native_stem(plan)))

    def _write_structure(
        self, plan: Plan, stem: str, record: Record, sequence: NDArray[np.int64]
    ) -> None:
        """The backbone with the names of the designed residues; their probability as B factor."""
        pieces = plan.pieces(np.where(plan.designed | plan.held, sequence, 20), whole=True)
        chains = [
            replace(chain, sequence=text, side_chains=())
            for chain, text in zip(plan.template.chains, pieces, strict=True)
        ]
        title = f"{plan.name}, sequence {record.sample} at temperature {record.temperature:g}"
        write_mmcif(
            self.structure(stem), chains, 100.0 * np.asarray(record.probability), title=title
        )

"""Designs of a folder, made in blocks that any number of processes share.

A design is finished when both of its files are there (each is written whole or not at all). It
depends on (request, seed, index) alone, so that a rerun makes just the missing ones. A design
whose chains overlap is not written: it is sampled again with other noise, and given up after so
many attempts; then a small file in ``failed/`` says why. What was asked for is kept by
`sciddiff.cli.campaign.Campaign`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from protein.backbone.request import design_name
from sciddiff.cli.parts import Parts
from sciddiff.files import replacing

if TYPE_CHECKING:
    from protein.backbone.designs import Design
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.modes import Item, Mode
    from sciddiff.checkpoint import Model
    from sciddiff.denoiser import Denoiser
    from sciddiff.state import State

BLOCK = 32
"""Designs that one process takes at a time; enough to group them by length."""

TRAJECTORIES, FAILED = "trajectories", "failed"
"""Folders, inside that of the designs, of every step of each and of what was given up."""


@final
@dataclass(frozen=True)
class Outcome:
    """What became of the first designs of a folder.

    Attributes:
        delivered: names of those that are there.
        failed: why the others are not, by name.
    """

    delivered: list[str]
    failed: dict[str, str]

    @staticmethod
    def of(directory: Path, n: int) -> Outcome:
        """From the files of a folder."""
        delivered, failed = [], {}
        for index in range(n):
            name = design_name(index)
            if finished(directory, index):
                delivered.append(name)
            elif said := given_up(directory, name):
                failed[name] = str(said["reason"])
        return Outcome(delivered, failed)


@final
class DesignParts(Parts):
    """The first designs of a request, in blocks.

    Args:
        directory: Where their files are.
        number: How many designs are wanted.
        mode: What is designed.
        settings: How it is sampled.
        model: Returns the model; called when the first design is made.
        on_step: Called with the number of designs that took a step, after each.
        attempts: How often a design is tried whose chains overlap.
        trajectory: Write every step of every design too.
    """

    def __init__(
        self,
        directory: Path,
        number: int,
        mode: Mode,
        settings: GenerateSettings,
        model: Callable[[], Model],
        on_step: Callable[[int], None] = lambda designs: None,
        attempts: int = 1,
        trajectory: bool = False,
    ) -> None:
        self.directory, self.number = directory, number
        self.mode, self.settings, self.on_step = mode, settings, on_step
        self.attempts, self.trajectory = attempts, trajectory
        self._model = model
        self.made = 0

    @cached_property
    def denoiser(self) -> Denoiser:
        """The network that the mode samples with."""
        return self.mode.denoiser(self._model().denoiser)

    @property
    def begun(self) -> bool:
        """Whether any design is there, given up, or being made."""
        there = any(self.directory.glob("design_*.cif"))
        return there or any((self.directory / FAILED).glob("*.json")) or self.taken

    def items(self) -> Iterator[range]:
        """The indices of each block."""
        for first in range(0, self.number, BLOCK):
            yield range(first, min(first + BLOCK, self.number))

    def record(self, part: int) -> Path:
        """The last file of the last design of a whole block."""
        return self.directory / f"{design_name(BLOCK * (part + 1) - 1)}.cif"

    def finished(self, part: int, item: range) -> bool:
        """Whether every design of a block is there or given up."""
        return not self.missing(item)

    def do(self, part: int, item: range) -> None:
        """Make the designs of a block that are missing."""
        left = self.missing(item)
        for attempt in range(self.attempts):
            again: list[int] = []
            for one in self.mode.templates(left):
                for design in self._sampled(one, attempt):
                    clashes = design.clashes
                    if clashes:
                        again.append(design.index)
                        self._give_up(design.name, clashes, attempt + 1)
                        continue
                    design.write(self.directory)
                    self._record_of(design.name).unlink(missing_ok=True)
                    self.made += 1
            left = sorted(again)
            if not left:
                break
        self.made += len(left)

    def missing(self, indices: range) -> list[int]:
        """Which designs are neither there nor given up after as many attempts."""
        return [i for i in missing(self.directory, indices) if not self._hopeless(design_name(i))]

    def _hopeless(self, name: str) -> bool:
        return int(given_up(self.directory, name).get("attempts", 0)) >= self.attempts

    def _record_of(self, name: str) -> Path:
        return self.directory / FAILED / f"{name}.json"

    def _give_up(self, name: str, clashes: int, attempts: int) -> None:
        if attempts < self.attempts:
            return
        pairs = "pair" if clashes == 1 else "pairs"
        reason = f"its chains overlap ({clashes} {pairs} of CA atoms below 3.6 Å)"
        with replacing(self._record_of(name)) as out:
            out.write(json.dumps({"reason": reason, "attempts": attempts}).encode())

    def _sampled(self, item: Item, attempt: int) -> list[Design]:
        from protein.backbone.generate import generate

        states: list[State] = []
        size = item.batch.size
        made = generate(
            self.denoiser,
            item.batch,
            self.settings.attempt(attempt),
            item.numbering,
            item.start,
            item.offset,
            lambda done, total: self.on_step(size if attempt == 0 else 0),
            states.append if self.trajectory else None,
        )
        made = [self.mode.finish(design) for design in made]
        if states:
            self._write_steps(item, states, made)
        return made

    def _write_steps(self, item: Item, states: Sequence[State], made: Sequence[Design]) -> None:
        """One file for each design: a model for every step, and the finished design."""
        from protein.backbone.designs import designs_from_state
        from protein.backbone.polish import PolishSettings
        from protein.structures.write import write_models

        batch = item.batch.to(next(iter(states[0].values())).device)
        none = PolishSettings(steps=0)
        steps = [designs_from_state(batch, state, item.numbering, none) for state in states[:-1]]
        for row, design in enumerate(made):
            models = [*(self.mode.finish(step[row]) for step in steps), design]
            chains = [[replace(c, side_chains=()) for c in one.chains] for one in models]
            write_models(self.directory / TRAJECTORIES / f"{design.name}.cif", chains)


def missing(directory: Path, indices: range | int) -> list[int]:
    """Indices, of a range or the first so many designs of a folder, that are not finished."""
    listed = range(indices) if isinstance(indices, int) else indices
    return [index for index in listed if not finished(directory, index)]


def finished(directory: Path, index: int) -> bool:
    """Whether both files of a design are there."""
    stem = directory / design_name(index)
    return stem.with_suffix(".pdb").exists() and stem.with_suffix(".cif").exists()


def given_up(directory: Path, name: str) -> dict[str, Any]:
    """Why a design was given up, and after how many ``attempts``; empty if it was not."""
    try:
        found = json.loads((directory / FAILED / f"{name}.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and "reason" in found else {}
    except (OSError, ValueError):
        return {}

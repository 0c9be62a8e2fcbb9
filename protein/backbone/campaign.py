"""Designs of a folder, made in blocks that any number of processes share.

A design is finished when both of its files are there (each is written whole or not at all). It
depends on (request, seed, index) alone, so that a rerun makes just the missing ones. What was
asked for is kept by `sciddiff.cli.campaign.Campaign`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

from protein.backbone.request import design_name
from sciddiff.cli.parts import Parts

if TYPE_CHECKING:
    from protein.backbone.generate import GenerateSettings
    from protein.backbone.modes import Mode
    from sciddiff.checkpoint import Model
    from sciddiff.denoiser import Denoiser

BLOCK = 32
"""Designs that one process takes at a time; enough to group them by length."""


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
    """

    def __init__(
        self,
        directory: Path,
        number: int,
        mode: Mode,
        settings: GenerateSettings,
        model: Callable[[], Model],
        on_step: Callable[[int], None] = lambda designs: None,
    ) -> None:
        self.directory, self.number = directory, number
        self.mode, self.settings, self.on_step = mode, settings, on_step
        self._model = model
        self.made = 0

    @cached_property
    def denoiser(self) -> Denoiser:
        """The network that the mode samples with."""
        return self.mode.denoiser(self._model().denoiser)

    @property
    def begun(self) -> bool:
        """Whether any design is there, or being made."""
        return any(self.directory.glob("design_*.cif")) or self.taken

    def items(self) -> Iterator[range]:
        """The indices of each block."""
        for first in range(0, self.number, BLOCK):
            yield range(first, min(first + BLOCK, self.number))

    def record(self, part: int) -> Path:
        """The last file of the last design of a whole block."""
        return self.directory / f"{design_name(BLOCK * (part + 1) - 1)}.cif"

    def finished(self, part: int, item: range) -> bool:
        """Whether every design of a block is there."""
        return not self._missing(item)

    def do(self, part: int, item: range) -> None:
        """Make the designs of a block that are missing."""
        from protein.backbone.generate import generate

        for one in self.mode.templates(self._missing(item)):
            size = one.batch.size
            designs = generate(
                self.denoiser,
                one.batch,
                self.settings,
                one.numbering,
                one.start,
                one.offset,
                lambda done, total, size=size: self.on_step(size),
            )
            for design in designs:
                self.mode.finish(design, one).write(self.directory)
            self.made += size

    def _missing(self, indices: range) -> list[int]:
        return [index for index in indices if not finished(self.directory, index)]


def missing(directory: Path, n: int) -> list[int]:
    """Indices among the first `n` designs of a folder that are not finished."""
    return [index for index in range(n) if not finished(directory, index)]


def finished(directory: Path, index: int) -> bool:
    """Whether both files of a design are there."""
    stem = directory / design_name(index)
    return stem.with_suffix(".pdb").exists() and stem.with_suffix(".cif").exists()

"""What every way of using the generator has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from protein.backbone.designs import Design, Numbering
from protein.backbone.generate import Start
from sciddiff.denoiser import Denoiser
from sciddiff.state import Batch


@dataclass(frozen=True)
class Item:
    """One batch to sample.

    Attributes:
        batch: templates, with `cond["index"]`.
        numbering: residue names of each design; None for one chain numbered from 1.
        start: where a partial run starts.
        offset: where the noise is centred, nm `[3]` or `[B, 3]`; the origin by default.
    """

    batch: Batch
    numbering: tuple[Numbering, ...] | None = None
    start: Start | None = None
    offset: Tensor | None = None


class Mode(ABC):
    """A way to use the generator.

    Attributes:
        request: plain values that decide the designs, for the run record.
        inputs: files whose content decides the designs too.
        notes: sentences about those files and the request, each with the file it is about.
    """

    request: dict[str, Any]
    inputs: tuple[Path, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @abstractmethod
    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches for these design indices."""

    @abstractmethod
    def describe(self) -> str:
        """What will be made, for `--plan`."""

    @abstractmethod
    def sizes(self, index: int) -> tuple[int, int]:
        """Residues of a design's longest chain, and residues that the network sees at once."""

    def denoiser(self, base: Denoiser) -> Denoiser:
        """The denoiser to sample with."""
        return base

    def finish(self, design: Design) -> Design:
        """Last touch on a design before it is written."""
        return design

    def facts(self, index: int) -> dict[str, Any]:
        """What the record and the table say of a design beside its figures; plain values."""
        return {}

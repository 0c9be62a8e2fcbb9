"""Packed structures of a folder, made one by one by any number of processes.

A structure is finished when its record is there, which is written after its files. It depends on
the request and the structure alone, so that a rerun makes just the missing ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch

from protein.sidechains.geometry import build
from protein.sidechains.packer import Packed, PackSettings, pack
from protein.sidechains.records import packed_chains, record_of
from protein.sidechains.targets import Target
from protein.structures.geometry_constants import ATOM_NAMES
from protein.structures.pdb_text import fit_columns, fits_columns
from protein.structures.write import write_mmcif, write_pdb
from sciddiff.cli.parts import Parts
from sciddiff.errors import InputError

if TYPE_CHECKING:
    from sciddiff.checkpoint import Model

__all__ = ["DRAWS", "PACKED", "PackParts"]

PACKED = "packed"
"""Folder of the packed structures and their records."""

DRAWS = "draws"
"""Folder of all draws, where they are asked for."""


@final
class PackParts(Parts):
    """Structures to pack.

    Args:
        directory: where everything is written.
        targets: what is packed.
        settings: how.
        model: returns the model; called when the first structure is packed.
        device: where it is.
        write_draws: write every draw as well.
        on_done: called with 1 for each structure that was finished.
    """

    def __init__(
        self,
        directory: Path,
        targets: Sequence[Target],
        settings: PackSettings,
        model: Callable[[], Model],
        device: torch.device | str = "cpu",
        write_draws: bool = False,
        on_done: Callable[[int], None] = lambda structures: None,
    ) -> None:
        self.directory, self.targets, self.settings = directory, targets, settings
        self.write_draws, self.on_done = write_draws, on_done
        self._load, self._device = model, device
        self.made = 0

    @cached_property
    def _model(self) -> Model:
        return self._load()

    def items(self) -> Iterator[Target]:
        """The structures."""
        yield from self.targets

    def file(self, target: Target) -> Path:
        """Record of a structure."""
        return self.directory / PACKED / f"{target.name}.json"

    def record(self, part: int) -> Path:
        """See `Parts.record`."""
        return self.file(self.targets[part])

    @property
    def begun(self) -> bool:
        """Whether any structure is there, or being made."""
        return any((self.directory / PACKED).glob("*.json")) or self.taken

    def left(self) -> int:
        """Structures that are still to be packed."""
        return sum(not self.file(target).exists() for target in self.targets)

    def do(self, part: int, item: Target) -> None:
        """Pack a structure, and write its files and then its record."""
        made = pack(self._model.denoiser, item.template, item.fixed, self.settings, self._device)
        folder = self.directory / PACKED
        folder.mkdir(parents=True, exist_ok=True)
        self._write(item, made, folder / item.name)
        if self.write_draws:
            self._write_draws(item, made)
        record_of(made).write(self.file(item))
        self.made += 1
        self.on_done(1)

    def _write(self, target: Target, made: Packed, stem: Path) -> None:
        """The structure with its ligands as mmCIF, and as PDB where that holds all names."""
        chains = packed_chains(target, made.sides, made.fixed)
        confidence = 100.0 * made.confidence
        title = f"{target.name}, side chains packed"
        cif, pdb = stem.with_name(f"{stem.name}.cif"), stem.with_name(f"{stem.name}.pdb")
        others = target.structure.surroundings
        write_mmcif(cif, chains, confidence, title=title, others=others)
        try:
            fits = fits_columns(others) and not fit_columns(chains, pdb)[1]
        except InputError:  # more chains than it has letters for
            fits = False
        if fits:
            write_pdb(pdb, chains, confidence, title=title, others=others)

    def _write_draws(self, target: Target, made: Packed) -> None:
        folder = self.directory / DRAWS
        folder.mkdir(parents=True, exist_ok=True)
        backbone = torch.from_numpy(np.nan_to_num(made.template.atoms[:, : len(ATOM_NAMES)]))
        tokens = torch.from_numpy(made.template.tokens)
        for number, chi in enumerate(made.draws, start=1):
            sides = build(backbone.double(), tokens, torch.from_numpy(chi)).numpy()
            chains = packed_chains(target, sides, made.fixed)
            title = f"{target.name}, draw {number} of its side chains"
            others = target.structure.surroundings
            file = folder / f"{target.name}_{number:02d}.cif"
            write_mmcif(file, chains, title=title, others=others)

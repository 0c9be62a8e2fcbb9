"""Designs: sampled frames as chains a user can open.

Frames come in nm around the origin; a design is one or more `Backbone` chains in Å with relaxed
peptide bonds. Folders of designs are in `protein.backbone.folder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.backbone.contact import clashes
from protein.backbone.data import NM
from protein.backbone.network import ROTATIONS, TRANSLATIONS
from protein.backbone.polish import DEFAULT, PolishSettings, polish
from protein.sequence.alphabet import MASK, letters
from protein.sequence.samples import SEQUENCE
from protein.structures.chain import Backbone, SideAtom
from protein.structures.frames import backbone_from_frames
from sciddiff.errors import InputError
from sciddiff.state import Batch, State

if TYPE_CHECKING:
    from Bio.PDB.Structure import Structure

MOTIF_B, DESIGNED_B = 1.0, 0.0
"""B factors of residues that were kept and of residues that were designed, as in RFdiffusion."""


@dataclass(frozen=True)
class Numbering:
    """Names of the residues of a design as they are written.

    Attributes:
        chain_ids: chain of each residue, length N.
        residue_numbers: number within its chain, length N.
        sequence: one-letter code of each residue; designed residues are alanine.
        fixed: residues that came from the user's motif `[N]`.
        insertion_codes: one per residue; empty for none at all.
    """

    chain_ids: tuple[str, ...]
    residue_numbers: tuple[int, ...]
    sequence: str
    fixed: NDArray[np.bool_]
    insertion_codes: tuple[str, ...] = ()

    @staticmethod
    def plain(length: int) -> Numbering:
        """One chain A of alanine, numbered from 1."""
        return Numbering(
            ("A",) * length,
            tuple(range(1, length + 1)),
            "A" * length,
            np.zeros(length, dtype=bool),
        )


@dataclass(frozen=True)
class Design:
    """One designed backbone.

    Attributes:
        name: stem of its files.
        index: which design of the run it is, from 0.
        chains: its chains, Å.
        fixed: residues held from a motif, over all chains in order.
    """

    name: str
    index: int
    chains: tuple[Backbone, ...]
    fixed: NDArray[np.bool_]

    @property
    def coords(self) -> NDArray[np.float32]:
        """N, CA, C, O of all chains in order, Å `[L, 4, 3]`."""
        return np.concatenate([chain.coords for chain in self.chains])

    @property
    def clashes(self) -> int:
        """Pairs of CA atoms of different chains that are closer than 3.6 Å."""
        return clashes([torch.from_numpy(chain.ca) for chain in self.chains])

    def moved(
        self,
        coords: NDArray[np.floating],
        side_chains: Sequence[tuple[SideAtom, ...]] = (),
    ) -> Design:
        """The same design with other coordinates, Å `[L, 4, 3]`, and side chains at them."""
        starts = np.cumsum([0, *(len(chain) for chain in self.chains)])
        chains = [
            replace(
                chain,
                coords=np.asarray(coords[a:b], dtype=np.float32),
                side_chains=tuple(side_chains[a:b]),
            )
            for chain, a, b in zip(self.chains, starts, starts[1:], strict=False)
        ]
        return replace(self, chains=tuple(chains))

    def copied(self, rotations: NDArray[np.floating], chain_ids: Sequence[str]) -> Design:
        """An assembly: its first chain turned by each rotation `[n, 3, 3]`, side chains
        included, and named by `chain_ids`.
        """
        unit, still = self.chains[0], np.zeros(3)
        chains = [
            replace(unit.transformed(r, still), chain_id=name)
            for r, name in zip(np.asarray(rotations), chain_ids, strict=True)
        ]
        return replace(self, chains=tuple(chains), fixed=np.tile(self.fixed, len(chains)))

    def joined(self, others: Sequence[Backbone]) -> Design:
        """The design and further chains that were there before it, such as a binder's target."""
        held = np.ones(sum(len(chain) for chain in others), dtype=bool)
        fixed = np.concatenate([self.fixed, held])
        return replace(self, chains=(*self.chains, *others), fixed=fixed)

    def to_biopython(self) -> Structure:
        """The design as a structure of Biopython: one model, its chains, N, CA, C and O of every
        residue.

        Raises:
            MissingExtra: Biopython is not installed.
        """
        from protein.structures.biopython import to_biopython

        return to_biopython(self.chains, self.name)

    def write(self, directory: Path) -> list[Path]:
        """Write `<name>.cif` and `<name>.pdb`, each appearing whole or not at all.

        B factors are 1 for residues that were kept and 0 for those that were designed.
        """
        from protein.structures.write import write_mmcif, write_pdb

        paths = [directory / f"{self.name}.pdb", directory / f"{self.name}.cif"]
        values = np.where(self.fixed, MOTIF_B, DESIGNED_B)
        # The mmCIF first: it holds everything, whatever PDB cannot.
        write_mmcif(paths[1], self.chains, values)
        write_pdb(paths[0], self.chains, values)
        return paths


def designs_from_state(
    batch: Batch,
    x: State,
    numbering: Numbering | Sequence[Numbering] | None = None,
    settings: PolishSettings = DEFAULT,
) -> list[Design]:
    """Turn sampled frames into designs.

    Args:
        batch: the template that was sampled.
        x: `translations [B, N, 3]` in nm, `rotations [B, N, 3, 3]`; tokens `sequence [B, N]`, if
            there are any, take the place of the sequence of the numbering.
        numbering: names of the residues, of each sample or the same for all; one chain numbered
            from 1 by default.
        settings: junction relaxation.

    Raises:
        InputError: a sample is not finite; the message names it.
    """
    layout = batch.layouts[TRANSLATIONS]
    positions, rotations = x[TRANSLATIONS].float() / NM, x[ROTATIONS].float()
    mask = layout.mask
    if mask is None:
        mask = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
    finite = (torch.isfinite(positions).all(-1) | ~mask).all(1).tolist()
    if not all(finite):
        raise InputError(
            f"{batch.ids[finite.index(False)]}: the sampler gave coordinates that are not finite; "
            "use more steps or another seed, and report the command"
        )
    bonded = bonded_residues(batch, mask)
    positions, rotations = polish(positions, rotations, mask, bonded, layout.fixed, settings)
    coords = backbone_from_frames(rotations, positions, bonded=bonded).cpu().numpy()
    lengths = mask.sum(1).tolist()
    indices = batch.cond["index"].tolist() if "index" in batch.cond else list(range(batch.size))
    sequences = _sequences(batch, x, lengths)
    shared = isinstance(numbering, Numbering)
    designs = []
    for b, length in enumerate(lengths):
        names = numbering if shared else numbering[b] if numbering else Numbering.plain(length)
        if sequences is not None:
            names = replace(names, sequence=sequences[b])
        chains = _split(coords[b, :length], names, batch.ids[b])
        designs.append(Design(batch.ids[b], int(indices[b]), chains, names.fixed))
    return designs


def _sequences(batch: Batch, x: State, lengths: list[int]) -> list[str] | None:
    """One-letter codes of each sample, X where nobody knows; None for states without tokens."""
    if SEQUENCE not in x:
        return None
    leaf = x[SEQUENCE].cpu()
    unknown = batch.cond.get("unknown")
    if unknown is not None:
        leaf = torch.where(unknown.cpu(), MASK, leaf)
    return [letters(row[:length].numpy()) for row, length in zip(leaf, lengths, strict=True)]


def bonded_residues(batch: Batch, mask: Tensor) -> Tensor:
    """Residue i is bonded to i + 1: next number of the same chain `[B, N]`; false in the last
    column.
    """
    index = batch.cond["residue_index"]
    follows = torch.roll(index, -1, 1) - index == 1
    if "chain_index" in batch.cond:
        chain = batch.cond["chain_index"]
        follows &= torch.roll(chain, -1, 1) == chain
    follows &= mask & torch.roll(mask, -1, 1)
    follows[:, -1] = False
    return follows


def _split(coords: NDArray[np.float32], names: Numbering, label: str) -> tuple[Backbone, ...]:
    ids = np.asarray(names.chain_ids)
    chains = []
    for chain_id in dict.fromkeys(names.chain_ids):
        rows = np.flatnonzero(ids == chain_id)
        chains.append(
            Backbone(
                coords[rows],
                "".join(names.sequence[i] for i in rows),
                chain_id,
                np.asarray(names.residue_numbers, dtype=np.int64)[rows],
                tuple(names.insertion_codes[i] for i in rows) if names.insertion_codes else (),
                name=label,
            )
        )
    return tuple(chains)

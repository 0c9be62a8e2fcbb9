"""Symmetric scaffolds: every copy of the unit holds its own copy of a motif in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from protein.backbone.contact import CLASH, clashes
from protein.backbone.contigs import ResolvedContig
from protein.backbone.data import NM
from protein.backbone.designs import Design
from protein.backbone.domain import backbone_path
from protein.backbone.modes.base import Item
from protein.backbone.modes.scaffolds import Scaffolds
from protein.backbone.point_groups import PointGroup
from protein.backbone.symmetry import (
    SymmetricNetwork,
    assembly_numbering,
    touching,
)
from protein.structures.axes import Axis, cyclic_axis
from protein.structures.chain import Structure
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError


@final
class SymmetricScaffolds(Scaffolds):
    """Symmetric assemblies whose units hold a motif in place.

    Where the axes run is decided by the motif's file. If it holds copies of the motif's chain
    that a turn of a cyclic group maps on each other, the axis is theirs. Otherwise the axes pass
    through the origin of the file's coordinates as `protein.backbone.symmetry` describes: those of
    ``C_n`` along z. The motif stays where it is, so that the distance from the axes is not free.

    Args:
        contig: what is kept and what is designed of one unit, a single chain.
        motif: file the kept residues are taken from.
        fold: one of `FOLDS`.
        seed: seed of the lengths.
        n: number of designs.
        length: fewest and most residues of a unit.
        model: which model of the file, from 0.
        symmetry: the point group, such as C3.
        unindexed: `contig` names pieces alone, whose places every design draws.

    Raises:
        InputError: a contig of several chains, or a motif whose copies overlap.
    """

    def __init__(
        self,
        contig: str,
        motif: Path,
        fold: str,
        seed: int,
        n: int,
        length: tuple[int, int] | None,
        model: int,
        symmetry: str,
        unindexed: bool = False,
    ) -> None:
        self._group = PointGroup.parse(symmetry)
        self._axis: Axis | None = None
        super().__init__(contig, motif, fold, seed, n, length, model, unindexed)
        if len(self._plan.chains) > 1:
            raise InputError(
                f"contig {contig!r}: has {len(self._plan.chains)} chains, and --symmetry copies "
                "one; describe the unit alone"
            )
        self._check_apart(motif)
        self.request |= {"mode": "symmetric scaffold", "group": self._group.name}
        said = self._axis.describe() if self._axis else "pass through the origin of this file"
        self.notes = (*self.notes, (str(motif), f"the axes of {self._group.name} {said}"))

    def _placed(self, structure: Structure) -> Structure:
        """The structure in coordinates whose origin and axes are those of the group."""
        chains = {segment.chain for segment in self._plan.motifs}
        if self._group.name[0] == "C" and len(chains) == 1 and len(self._group) > 1:
            kept = structure.chain(next(iter(chains)))
            self._axis = cyclic_axis(kept, structure.chains, len(self._group))
        if self._axis is None:
            return structure
        moved = tuple(chain.transformed(*self._axis.motion) for chain in structure.chains)
        return replace(structure, chains=moved)

    def _check_apart(self, motif: Path) -> None:
        contig = self._resolve(0)
        unit = torch.from_numpy(contig.coords[contig.fixed, 1].astype(np.float64))
        copies = list(torch.einsum("gij,nj->gni", self._group.rotations, unit))
        if clashes(copies):
            raise InputError(
                f"{motif}: the kept residues and their copies under {self._group.name} overlap "
                f"(CA atoms below {CLASH:g} Å); the axes pass through the origin of the file's "
                "coordinates, those of C2, C3, ... along z: move the motif away from them, or "
                "give a file that holds all copies of its chain"
            )

    def _origins(self, contigs: Sequence[ResolvedContig]) -> Tensor:
        """The group's axes meet at the origin."""
        return torch.zeros(len(contigs), 3)

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches of like length, with noise about each unit's start."""
        for item in super().templates(indices):
            contigs = [self._resolve(i) for i in item.batch.cond["index"].tolist()]
            yield replace(item, offset=torch.stack([self._start(c) for c in contigs]))

    def _start(self, contig: ResolvedContig) -> Tensor:
        """Where the noise of a unit is centred, nm `[3]`.

        On the motif's side of the axes, as far from them as balls of the unit's size would touch,
        or as the motif if that is further: what is designed then lies outside, away from copies.
        """
        middle = NM * torch.from_numpy(contig.coords[contig.fixed, 1].mean(0)).double()
        outward = middle - self._group.fixed_space @ middle
        apart = float(outward.norm())
        if len(self._group) == 1 or apart < 1e-6:
            return middle.float()
        reach = touching(self._group, outward / apart, len(contig))
        return (middle + outward * max(reach / apart - 1.0, 0.0)).float()

    def denoiser(self, base: Denoiser) -> Denoiser:
        """The same network on all copies; nothing is centred."""
        net = SymmetricNetwork(base.net, self._group, contact=True)
        return Denoiser(net, backbone_path(free=True))

    def sizes(self, index: int) -> tuple[int, int]:
        """The unit, and the copies that the network sees."""
        length = len(self._resolve(index))
        return length, length * self._group.seen(length)

    def describe(self) -> str:
        """The group, and the resolved contigs of the unit."""
        return f"group {self._group.name}, {len(self._group)} copies\n{super().describe()}"

    def finish(self, design: Design) -> Design:
        """All copies, where the motif's file has them, motif residues with their own atoms."""
        unit = super().finish(design)
        whole = unit.copied(self._group.rotations.numpy(), assembly_numbering(self._group))
        if self._axis is None:
            return whole
        back = self._axis.inverse
        return replace(whole, chains=tuple(chain.transformed(*back) for chain in whole.chains))

    def facts(self, index: int) -> dict[str, Any]:
        """The contig, the motif's residues here and in the first copy, and the symmetry."""
        contig = self._resolve(index)
        facts = super().facts(index)
        first = assembly_numbering(self._group)[0]
        written = contig.output_numbering()[0][0]
        names = [name.removeprefix(written) for name in facts["motif_to"].split()]
        facts["motif_to"] = " ".join(f"{first}{name}" for name in names)
        return {**facts, "symmetry": self._group.name}

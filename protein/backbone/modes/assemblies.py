"""Symmetric assemblies: the unit is sampled, the network sees its copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, final

import torch
from torch import Tensor

from protein.backbone.data import NM
from protein.backbone.designs import Design
from protein.backbone.domain import backbone_path
from protein.backbone.modes.base import Item, Mode
from protein.backbone.point_groups import PointGroup
from protein.backbone.request import GenerationRequest, design_name, templates
from protein.backbone.symmetry import (
    SymmetricNetwork,
    assembly_numbering,
    fit_copies,
    to_contact,
    touching,
)
from sciddiff.denoiser import Denoiser


@final
class Assemblies(Mode):
    """Symmetric assemblies.

    The copies' distance from the axes is free: the unit starts where balls of its size would
    touch, and at every step it is moved until its copies touch and none overlap
    (`SymmetricNetwork`).

    Args:
        group: the point group, such as C3.
        lengths: shortest and longest unit, residues.
        fold: one of `FOLDS`, or "any".
        seed: seed of the lengths.
        n: number of assemblies.
    """

    def __init__(self, group: str, lengths: tuple[int, int], fold: str, seed: int, n: int) -> None:
        self._group = PointGroup.parse(group)
        self._request = GenerationRequest(lengths, n, fold, seed)
        self.request = {
            "mode": "symmetric",
            "group": self._group.name,
            "length": f"{lengths[0]}-{lengths[1]}",
            "fold": fold,
        }

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches of units of like length."""
        pairs = self._group.seen(self._request.lengths[1]) ** 2
        for batch in templates(self._request, indices, pairs):
            listed = [self._start(self._request.length(i)) for i in batch.cond["index"].tolist()]
            yield Item(batch, offset=torch.stack(listed))

    def _start(self, length: int) -> Tensor:
        """Where the noise of a unit is centred, nm `[3]`: copies as balls would touch there."""
        direction = self._group.roomiest
        return direction.float() * touching(self._group, direction, length)

    def denoiser(self, base: Denoiser) -> Denoiser:
        """The same network on all copies; the unit's centre of mass is free."""
        net = SymmetricNetwork(base.net, self._group, contact=True)
        return Denoiser(net, backbone_path(free=True))

    def sizes(self, index: int) -> tuple[int, int]:
        """The unit, and the copies that the network sees."""
        length = self._request.length(index)
        return length, length * self._group.seen(length)

    def describe(self) -> str:
        """Copies and lengths."""
        r = self._request
        copies = len(self._group.rotations)
        lines = [f"{design_name(i)}  {copies} x {r.length(i)} residues" for i in range(r.n)]
        return f"group {self._group.name}, {copies} copies\n" + "\n".join(lines)

    def finish(self, design: Design) -> Design:
        """Write all copies, one chain each, in contact again after relaxation."""
        if len(self._group) > 1:
            ca = NM * torch.from_numpy(design.chains[0].ca)[None]
            shift = to_contact(self._group, ca)[:, None]
            placed = fit_copies(self._group, ca + shift)
            atoms = NM * torch.from_numpy(design.coords).reshape(1, -1, 3)
            moved = placed(atoms + shift).reshape(-1, 4, 3).numpy() / NM
            design = design.moved(moved)
        return design.copied(self._group.rotations.numpy(), assembly_numbering(self._group))

    def facts(self, index: int) -> dict[str, Any]:
        """The symmetry."""
        return {"symmetry": self._group.name}

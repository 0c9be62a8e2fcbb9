"""Binders: a new chain at chosen residues of a target that stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from protein.backbone.contact import TOUCH, outermost_contact
from protein.backbone.contig_motif import motif_rows
from protein.backbone.data import NM, backbone_batch
from protein.backbone.designs import Design, Numbering
from protein.backbone.domain import backbone_path
from protein.backbone.interface_fit import (
    FIT_AT_A_CALL,
    FIT_AT_END,
    NATIVE,
    Placement,
    contacts_of,
    fitted,
    interface_energy,
)
from protein.backbone.modes.base import Item, Mode
from protein.backbone.modes.variants import running_index
from protein.backbone.network import ROTATIONS, TRANSLATIONS
from protein.backbone.request import GenerationRequest, design_name, grouped
from protein.structures.contig_syntax import parse_contig
from protein.structures.distances import distances
from protein.structures.filters import expected_radius
from protein.structures.pdb_records import chain_letters
from protein.structures.secondary import FOLDS
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.state import Batch, State

_BALL = (5.0 / 3.0) ** 0.5  # radius of a ball over its radius of gyration
_NEIGHBOURHOOD = 15.0  # Å around the hotspots, whose middle says which side is outside
_APART = 0.65  # nm between the nearest CA atoms beyond which the binder is drawn to its target
_BESIDE = 0.4  # nm that the binder's middle may lie beside the line through the hotspots


@final
class Binders(Mode):
    """Binders of a target.

    The network sees the part of the target around the hotspots, held in place. The binder's noise
    starts outside the target at the hotspots, and at every step the binder is moved as a whole so
    that it stays over them, touches the target and does not overlap it (`BinderNetwork`).

    Args:
        target: file of the target; all its protein chains are the target.
        hotspots: residues to bind at, as ``A37,A40-42``.
        crop: the network sees target residues whose CA is within this distance of a hotspot's, Å.
        lengths: shortest and longest binder, residues.
        fold: one of `FOLDS`, or "any".
        seed: seed of the lengths.
        n: number of binders.
        model: which model of the file, from 0.
    """

    def __init__(
        self,
        target: Path,
        hotspots: str,
        crop: float,
        lengths: tuple[int, int],
        fold: str,
        seed: int,
        n: int,
        model: int = 0,
    ) -> None:
        from protein.structures.read import read_structure

        if not 4.0 <= crop <= 1000.0:
            raise InputError(f"target crop {crop:g}: must be at least 4 Å; 12 is the default")
        structure = read_structure(target, model, side_chains=True)
        self._chains = structure.chains
        self._request = GenerationRequest(lengths, n, fold, seed)
        coords = np.concatenate([chain.coords for chain in self._chains])
        self._hotspots = motif_rows(parse_contig(hotspots), structure)
        self._labels = [label for chain in self._chains for label in chain.labels]
        ca = coords[:, 1].astype(np.float64)
        near = np.linalg.norm(ca[:, None] - ca[self._hotspots][None], axis=-1).min(1)
        self._crop = np.flatnonzero(near <= crop)
        self._origin = ca[self._hotspots].mean(0)
        self._outward = _outward(ca, self._origin, target)
        self._coords = (coords - self._origin).astype(np.float32)
        self._name = next(
            letter
            for letter in chain_letters(["**"] * 62)
            if letter not in {chain.chain_id for chain in self._chains}
        )
        self.inputs = (target,)
        self.notes = tuple((str(target), note) for note in structure.notes)
        self.request = {
            "mode": "binder",
            "hotspots": hotspots,
            "target_crop": crop,
            "length": f"{lengths[0]}-{lengths[1]}",
            "fold": fold,
        }
        if model:
            self.request["structure_model"] = model

    def templates(self, indices: Iterable[int]) -> Iterator[Item]:
        """Batches of like length: the binder's residues, then the target's that are seen."""
        sized = sorted((self._request.length(i) + len(self._crop), i) for i in indices)
        for group in grouped(sized):
            chosen = [index for _, index in group]
            yield Item(
                self._batch(chosen),
                tuple(self._numbering(self._request.length(index)) for index in chosen),
                offset=torch.stack([self._start(self._request.length(i)) for i in chosen]),
            )

    def _batch(self, indices: list[int]) -> Batch:
        seen, lengths = len(self._crop), [self._request.length(i) for i in indices]
        shape = (len(indices), max(lengths) + seen)
        coords = np.zeros((*shape, 4, 3), dtype=np.float32)
        fixed, number, chain = np.zeros(shape, bool), np.zeros(shape, int), np.zeros(shape, int)
        of_chain = np.repeat(np.arange(len(self._chains)), [len(c) for c in self._chains])
        running = running_index(self._chains)[self._crop]
        for row, length in enumerate(lengths):
            held = slice(length, length + seen)
            coords[row, held], fixed[row, held] = self._coords[self._crop], True
            number[row, :length] = np.arange(length)
            number[row, held], chain[row, held] = running + length + 200, 1 + of_chain[self._crop]
        batch = backbone_batch(
            torch.from_numpy(coords),
            [length + seen for length in lengths],
            torch.tensor([FOLDS.index(self._request.fold_of(i)) for i in indices]),
            torch.from_numpy(fixed),
            tuple(design_name(index) for index in indices),
        )
        # Not centred on the crop: the origin is at the hotspots, for target and noise alike.
        places = NM * torch.from_numpy(coords[:, :, 1]) * torch.from_numpy(fixed)[..., None]
        return replace(batch, x={**batch.x, TRANSLATIONS: places}).with_cond(
            index=torch.tensor(indices),
            residue_index=torch.from_numpy(number),
            chain_index=torch.from_numpy(chain),
        )

    def _start(self, length: int) -> Tensor:
        """Where the binder's noise is centred, nm `[3]`."""
        return (
            torch.from_numpy(self._outward).float() * _BALL * NM * float(expected_radius(length))
        )

    def _numbering(self, length: int) -> Numbering:
        seen = len(self._crop)
        fixed = np.zeros(length + seen, dtype=bool)
        fixed[length:] = True
        ids = (self._name,) * length + ("",) * seen
        return Numbering(ids, tuple(range(1, length + seen + 1)), "A" * (length + seen), fixed)

    def denoiser(self, base: Denoiser) -> Denoiser:
        """The same network with the binder kept in contact; its centre of mass is free."""
        net = BinderNetwork(base.net, *self._place())
        return Denoiser(net, backbone_path(free=True))

    def _place(self) -> tuple[Tensor, Tensor, Tensor]:
        """CA positions of the target, nm, the way out of it, and its hotspots' rows."""
        ca = torch.from_numpy(NM * self._coords[:, 1])
        outward = torch.from_numpy(self._outward).float()
        return ca, outward, torch.as_tensor(list(self._hotspots))

    def sizes(self, index: int) -> tuple[int, int]:
        """The binder, and the binder with what is seen of the target."""
        length = self._request.length(index)
        return length, length + len(self._crop)

    def describe(self) -> str:
        """The target, what is seen of it, and the lengths."""
        r = self._request
        spots = ", ".join(self._labels[i] for i in self._hotspots)
        head = (
            f"binders, chain {self._name}, at {spots}; the network sees {len(self._crop)} of "
            f"{len(self._coords)} residues of the target"
        )
        return "\n".join(
            [head, *(f"{design_name(i)}  {r.length(i)} residues" for i in range(r.n))]
        )

    def finish(self, design: Design) -> Design:
        """Put the binder where the target is, and the whole target beside it.

        Relaxation may have moved the binder's residues, so that it is brought into contact again.
        """
        binder = design.chains[0]
        ca = NM * torch.from_numpy(binder.ca)[None]
        free = torch.ones(ca.shape[:2], dtype=torch.bool)
        target, outward, hotspots = self._place()
        shift = to_target(ca, free, target, outward)[:, None]
        placed = fit_to_target(ca + shift, free, target, hotspots, FIT_AT_END)
        atoms = NM * torch.from_numpy(binder.coords).reshape(1, -1, 3)
        coords = placed(atoms + shift).reshape(-1, 4, 3).numpy() / NM
        moved = replace(binder, coords=coords + np.float32(self._origin))
        alone = replace(design, chains=(moved,), fixed=np.zeros(len(moved), dtype=bool))
        return alone.joined(self._chains)

    def facts(self, index: int) -> dict[str, Any]:
        """Which chain is the binder, and where it should bind."""
        return {
            "binder": self._name,
            "hotspots": " ".join(self._labels[i] for i in self._hotspots),
        }


@final
class BinderNetwork(nn.Module):
    """A backbone network whose binder stays over the hotspots, in contact, without overlap.

    The network's prediction of the binder is moved as a whole: back towards the line through the
    hotspots if its middle is too far beside it, out if it overlaps the target, in if it is apart.
    Then it is turned and moved until it meets the target over an area (`interface_fit`).

    Args:
        net: a backbone network, `net(x_t, t, batch) -> State`.
        target: CA positions of the whole target, nm `[M, 3]`, the hotspots around the origin.
        outward: direction from the target to the outside, `[3]`.
        hotspots: rows of the target that the binder should meet.
    """

    target: Tensor
    outward: Tensor
    hotspots: Tensor

    def __init__(
        self, net: nn.Module, target: Tensor, outward: Tensor, hotspots: Tensor
    ) -> None:
        super().__init__()
        self.net = net
        device = next(net.parameters()).device
        self.register_buffer("target", target.to(device), persistent=False)
        self.register_buffer("outward", outward.to(device), persistent=False)
        self.register_buffer("hotspots", hotspots.to(device), persistent=False)

    def forward(
        self, x_t: State, t: Tensor, batch: Batch, until: Tensor | None = None
    ) -> State:
        """The prediction, its free rows in contact with the target; see the network."""
        out = self.net(x_t, t, batch) if until is None else self.net(x_t, t, batch, until=until)
        layout = batch.layouts[TRANSLATIONS]
        positions = out[TRANSLATIONS]
        free = torch.ones(positions.shape[:2], dtype=torch.bool, device=positions.device)
        free = free if layout.mask is None else layout.mask
        free = free if layout.fixed is None else free & ~layout.fixed
        target, outward = self.target.to(positions), self.outward.to(positions)
        near = positions + to_target(positions, free, target, outward)[:, None]
        placed = fit_to_target(near, free, target, self.hotspots, FIT_AT_A_CALL)
        turned = torch.matmul(placed.turn[:, None], out[ROTATIONS])
        return {
            **out,
            TRANSLATIONS: torch.where(free[..., None], placed(near), positions),
            ROTATIONS: torch.where(free[..., None, None], turned, out[ROTATIONS]),
        }


def to_target(positions: Tensor, free: Tensor, target: Tensor, outward: Tensor) -> Tensor:
    """How a binder has to move as a whole to stay over the hotspots and touch the target `[B, 3]`.

    Args:
        positions: CA positions, nm `[B, N, 3]`, the hotspots around the origin.
        free: those of the binder `[B, N]`.
        target: CA positions of the target, nm `[M, 3]`.
        outward: direction from the target to the outside `[3]`.
    """
    weight = free.to(positions)[..., None]
    middle = (positions * weight).sum(1) / weight.sum(1).clamp_min(1.0)
    beside = middle - (middle @ outward)[:, None] * outward
    length = beside.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    shift = -beside * (1.0 - _BESIDE / length).clamp_min(0.0)
    a = (positions + shift[:, None])[:, :, None] - target
    real = free[:, :, None].expand(a.shape[:-1])
    nearest = torch.where(real, a.norm(dim=-1), float("inf")).flatten(1).amin(1)
    out = outermost_contact(a.flatten(1, 2), outward.expand(1, 1, 3), TOUCH, real.flatten(1))
    moves = (nearest < TOUCH) | (nearest > _APART)
    return shift + torch.where(moves, out, 0.0)[:, None] * outward


def fit_to_target(
    positions: Tensor, free: Tensor, target: Tensor, hotspots: Tensor, rounds: int
) -> Placement:
    """How a binder turns and moves as a whole to meet its target over an area, at the hotspots.

    Beside the energy of the interface, every hotspot wants one contact.

    Args:
        positions: CA positions, nm `[B, N, 3]`.
        free: those of the binder `[B, N]`.
        target: CA positions of the target, nm `[M, 3]`.
        hotspots: its rows that the binder should meet.
        rounds: see `protein.backbone.interface_fit.fitted`.
    """
    pairs = free[..., None].expand(*free.shape, len(target))
    wanted = NATIVE * free.sum(1).clamp_min(1).to(positions)

    def energy(x: Tensor) -> Tensor:
        gaps = distances(x, target.expand(len(x), -1, -1))
        met = contacts_of(gaps, pairs)[:, :, hotspots].sum(1)
        missed = (1.0 - met).clamp_min(0.0).square().mean(1)
        return interface_energy(gaps, pairs, wanted) + missed

    return fitted(positions, free, energy, rounds)


def _outward(ca: np.ndarray, origin: np.ndarray, target: Path) -> np.ndarray:
    """Unit vector from the target's inside to its outside at the hotspots `[3]`.

    Raises:
        InputError: the hotspots surround the target, so that no side of it is theirs.
    """
    around = ca[np.linalg.norm(ca - origin, axis=-1) <= _NEIGHBOURHOOD]
    for inside in (around, ca):
        direction = origin - inside.mean(0) if len(inside) else np.zeros(3)
        length = float(np.linalg.norm(direction))
        if length > 1.0:
            return direction / length
    raise InputError(
        f"{target}: its hotspots lie all around it or in its middle; choose residues of one side "
        "of the surface"
    )

"""Several complexes side by side, as the network reads them, and graphs between their atoms.

A batch holds G complexes and B poses of them; ``complex [B]`` is the complex of each pose.
Pocket atoms are padded to M, ligand atoms to N. Neighbours come from dense distances: a pose has
tens of atoms and a pocket hundreds, where sorting cells would cost more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.complexes.complex import LigandGraph, Pocket
from protein.docking.poses.pose import LigandBatch

Motions = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Turns `[S, 3, 3]` and twists `[S, T]` of S symmetries, see ``symmetry.motions``."""

_TREE = ("torsion_mask", "bonds", "moved", "fragment", "parent", "quads", "atom_mask")
_INSIDE = 6.0


@dataclass(frozen=True, eq=False)
class Systems:
    """G complexes.

    Attributes:
        ligands: trees of the ligands, L = G; their reference conformers are not used.
        ligand_features: `[G, N, 8]`, uint8.
        pairs: columns of pairs of ligand atoms `[G, N, N, 3]`, uint8.
        pocket_coords: `[G, M, 3]`, Å from the pocket's center.
        pocket_features: `[G, M, 3]`, uint8.
        pocket_mask: real pocket atoms `[G, M]`, bool.
        backbone: pockets without side chains `[G]`, bool.
        turns: turns of the root under the ligand's symmetries `[G, S, 3, 3]`; see ``symmetry``.
        twists: twists of the torsions under them `[G, S, T]`, radians.
        images: which of the S exist `[G, S]`, bool; the first, the identity, always does.
    """

    ligands: LigandBatch
    ligand_features: Tensor
    pairs: Tensor
    pocket_coords: Tensor
    pocket_features: Tensor
    pocket_mask: Tensor
    backbone: Tensor
    turns: Tensor
    twists: Tensor
    images: Tensor

    @classmethod
    def pack(
        cls,
        ligands: Sequence[LigandGraph],
        pockets: Sequence[Pocket],
        motions: Sequence[Motions] | None = None,
    ) -> "Systems":
        """Pad complexes to one size.

        Args:
            ligands: G molecules.
            pockets: their pockets, centred on the origin.
            motions: what symmetries do to each ligand (``symmetry.motions``); the identity alone
                where nothing is learned.
        """
        count, atoms = len(ligands), max(map(len, ligands))
        most = max(map(len, pockets))
        features = np.zeros((count, atoms, ligands[0].features.shape[1]), np.uint8)
        pairs = np.zeros((count, atoms, atoms, 3), np.uint8)
        coords = np.zeros((count, most, 3), np.float32)
        columns = np.zeros((count, most, 3), np.uint8)
        mask = np.zeros((count, most), bool)
        for i, (ligand, pocket) in enumerate(zip(ligands, pockets, strict=True)):
            n, m = len(ligand), len(pocket)
            features[i, :n], pairs[i, :n, :n] = ligand.features, ligand.pairs()
            coords[i, :m], columns[i, :m], mask[i, :m] = pocket.coords, pocket.features, True
        blank = [np.zeros((len(ligand), 3)) for ligand in ligands]
        batch = LigandBatch.pack([ligand.tree for ligand in ligands], blank)
        found = motions or [_identity(ligand) for ligand in ligands]
        turns, twists, images = _images(found, batch.torsion_mask.shape[1])
        return cls(
            ligands=batch,
            ligand_features=torch.from_numpy(features),
            pairs=torch.from_numpy(pairs),
            pocket_coords=torch.from_numpy(coords),
            pocket_features=torch.from_numpy(columns),
            pocket_mask=torch.from_numpy(mask),
            backbone=torch.tensor([pocket.backbone for pocket in pockets]),
            turns=turns,
            twists=twists,
            images=images,
        )

    def __len__(self) -> int:
        """Number of complexes G."""
        return len(self.ligands)

    def to(self, device: torch.device | str) -> "Systems":
        """The complexes on another device."""
        here, there = self.pocket_coords.device, torch.device(device)
        if here.type == there.type and there.index in (None, here.index):
            return self
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def posed(self, which: Tensor, reference: Tensor) -> LigandBatch:
        """One ligand per pose, L = B.

        Args:
            which: complex of each pose `[B]`.
            reference: its conformer `[B, N, 3]`, Å, centred.
        """
        chosen = {name: getattr(self.ligands, name)[which] for name in _TREE}
        chosen["moved"] = chosen["moved"].to(reference)
        return replace(self.ligands, reference=reference, **chosen)

    @cached_property
    def _slots(self) -> Tensor:
        """Row of each pocket atom among the real ones `[G, M]`, 0 where padded."""
        flat = self.pocket_mask.flatten().cumsum(0) - 1
        return flat.clamp(min=0).view_as(self.pocket_mask)

    def pocket_graph(self, neighbours: int) -> tuple[Tensor, Tensor, Tensor]:
        """Nearest pocket atoms of every pocket atom.

        Args:
            neighbours: number of neighbours of each atom.

        Returns:
            Positions `[ΣM, 3]` of the real atoms, and source and target `[E]` among them.
        """
        mask = self.pocket_mask
        far = ~(mask[:, :, None] & mask[:, None])
        far = far | torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        apart = _squares(self.pocket_coords, self.pocket_coords).masked_fill(far, torch.inf)
        nearest, found = apart.topk(min(neighbours, mask.shape[1]), dim=-1, largest=False)
        keep = nearest < _INSIDE**2
        source = self._slots[:, None].expand(-1, mask.shape[1], -1).gather(-1, found)
        target = self._slots.unsqueeze(-1).expand_as(source)
        return self.pocket_coords[mask], source[keep], target[keep]

    def cross_graph(
        self, which: Tensor, atom_mask: Tensor, coords: Tensor, neighbours: int, reach: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Nearest pocket atoms of every ligand atom.

        Args:
            which: complex of each pose `[B]`.
            atom_mask: real ligand atoms `[B, N]`.
            coords: ligand atoms `[B, N, 3]`, Å.
            neighbours: number of neighbours of each atom.
            reach: cut-off distance, Å.

        Returns:
            Source (row among real pocket atoms), target (row among real ligand atoms) and the way
            from target to source, `[E]`, `[E]`, `[E, 3]`.
        """
        pocket = self.pocket_coords[which]
        with torch.no_grad():
            apart = _squares(coords, pocket)
            apart = apart.masked_fill(~self.pocket_mask[which].unsqueeze(1), torch.inf)
            k = min(neighbours, apart.shape[-1])
            nearest, found = apart.topk(k, dim=-1, largest=False, sorted=False)
            keep = (nearest < reach**2) & atom_mask.unsqueeze(-1)
        pose, atom, rank = keep.nonzero(as_tuple=True)
        column = found[pose, atom, rank]
        offset = pocket[pose, column] - coords[pose, atom]
        return self._slots[which[pose], column], _rows(atom_mask)[pose, atom], offset

    def inside_graph(
        self, which: Tensor, atom_mask: Tensor, coords: Tensor, neighbours: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bonded and near ligand atoms of every ligand atom.

        Args:
            which: complex of each pose `[B]`.
            atom_mask: real ligand atoms `[B, N]`.
            coords: `[B, N, 3]`, Å.
            neighbours: number of neighbours of each atom; bonded ones come first.

        Returns:
            Source, target `[E]` among real ligand atoms, the way `[E, 3]` from target to source,
            and the columns of the pairs `[E, 3]`.
        """
        with torch.no_grad():
            apart = _squares(coords, coords)
            bonded = self.pairs[..., 1][which] == 1
            apart = torch.where(bonded, apart - 1e4, apart)
            far = ~(atom_mask[:, :, None] & atom_mask[:, None])
            far = far | torch.eye(far.shape[1], dtype=torch.bool, device=far.device)
            apart = apart.masked_fill(far, torch.inf)
            k = min(neighbours, apart.shape[-1])
            nearest, found = apart.topk(k, dim=-1, largest=False, sorted=False)
            keep = nearest < _INSIDE**2
        pose, atom, rank = keep.nonzero(as_tuple=True)
        other = found[pose, atom, rank]
        rows = _rows(atom_mask)
        offset = coords[pose, other] - coords[pose, atom]
        columns = self.pairs[which[pose], atom, other]
        return rows[pose, other], rows[pose, atom], offset, columns


def _identity(ligand: LigandGraph) -> Motions:
    return np.eye(3, dtype=np.float32)[None], np.zeros((1, len(ligand.tree)), np.float32)


def _images(motions: Sequence[Motions], torsions: int) -> tuple[Tensor, Tensor, Tensor]:
    most = max(len(turns) for turns, _ in motions)
    turns = np.tile(np.eye(3, dtype=np.float32), (len(motions), most, 1, 1))
    twists = np.zeros((len(motions), most, torsions), np.float32)
    images = np.zeros((len(motions), most), bool)
    for i, (turn, twist) in enumerate(motions):
        turns[i, : len(turn)], images[i, : len(turn)] = turn, True
        twists[i, : len(twist), : twist.shape[1]] = twist
    return torch.from_numpy(turns), torch.from_numpy(twists), torch.from_numpy(images)


def _rows(mask: Tensor) -> Tensor:
    """Row of each padded entry among the real ones, in the shape of the mask."""
    return (mask.flatten().cumsum(0) - 1).view_as(mask)


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances `[B, N, M]` of `[B, N, 3]` and `[B, M, 3]`."""
    a, b = a.detach(), b.detach()
    products = torch.bmm(a, b.transpose(1, 2))
    lengths = a.square().sum(-1).unsqueeze(-1) + b.square().sum(-1).unsqueeze(1)
    return lengths - 2.0 * products

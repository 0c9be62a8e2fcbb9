"""Energy between ligands and receptor from grids with trilinear interpolation.

A grid holds the energy of one atom of each type with the whole receptor at every point. It is made
once for a receptor and box; a pose then needs eight values for each atom. The grids of several
receptors lie in one flat tensor, so that the ligands of a batch may have different receptors.

Outside the box an atom has the energy of the nearest face plus a wall, which is 10 kcal/mol/Å²
times the squared distance. With 0.375 Å between points the energy of a pose differs from that over
all pairs by some tenths of a kcal/mol, so that final poses are scored over all pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.energy.constants import WALL
from protein.docking.energy.terms import (
    CUTOFF,
    VINA,
    VinaWeights,
    soft_cap,
    soft_cap_slope,
    type_table,
)
from protein.docking.poses.pose import Movable
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from sciddiff.errors import InputError

_BINS = 64
# Points of one block along each axis; a block looks at the atoms within reach of its sphere.
_BLOCK = 8
_LARGEST = 40_000_000


@dataclass(frozen=True, eq=False)
class Grid:
    """Energies of one receptor in one box.

    Attributes:
        values: `[X, Y, Z, C]`, kcal/mol, for C atom types.
        origin: position of the first point `[3]`, Å.
        spacing: Å between points.
        types: atom type of each channel, length C.
    """

    values: Tensor
    origin: Tensor
    spacing: float
    types: tuple[int, ...]


def make_grid(
    receptor: Receptor,
    box: Box,
    types: Sequence[int] | NDArray[np.int64],
    spacing: float = 0.375,
    weights: VinaWeights = VINA,
) -> Grid:
    """Tabulate the energies of a receptor in a box, on the processor.

    Args:
        receptor: the protein, or its part near the box: other atoms only cost time.
        box: where ligand atoms may be.
        types: atom types wanted; the channels are the distinct ones, in rising order.
        spacing: Å between points.
        weights: weights of the terms.

    Raises:
        InputError: the grid would be too large.
    """
    points, wanted = _points(box, spacing), np.unique(np.asarray(types)).tolist()
    if not fits(box, len(wanted), spacing):
        raise InputError(
            f"box: a grid of {' x '.join(map(str, points))} points is too large; use a smaller "
            "box or a wider spacing"
        )
    present = np.unique(receptor.types).tolist()
    table = type_table(weights, _BINS, present, wanted, middle=True)
    width = table.shape[-1]
    rows = table.transpose(1, 2).reshape(-1, len(wanted)).contiguous()
    atoms = torch.as_tensor(receptor.coords, dtype=torch.float32)
    kinds = torch.as_tensor(np.searchsorted(present, receptor.types)) * width
    origin = torch.as_tensor(
        np.asarray(box.center) - (np.asarray(points) - 1) * spacing / 2, dtype=torch.float32
    )
    values = torch.zeros(*points, len(wanted))
    for start in np.ndindex(*(-(-n // _BLOCK) for n in points)):
        low = [s * _BLOCK for s in start]
        high = [min(a + _BLOCK, n) for a, n in zip(low, points, strict=True)]
        axes = [torch.arange(a, b) * spacing for a, b in zip(low, high, strict=True)]
        block = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) + origin
        summed = _block_energy(block.flatten(0, 2), atoms, kinds, rows, width)
        corner = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        values[corner] = summed.view(*block.shape[:3], -1)
    return Grid(_unbiased(values), origin, spacing, tuple(wanted))


def fits(box: Box, channels: int, spacing: float = 0.375) -> bool:
    """Whether a grid with this number of channels is small enough.

    Args:
        box: where ligand atoms may be.
        channels: atom types.
        spacing: Å between points.
    """
    return int(np.prod(_points(box, spacing))) * channels <= _LARGEST


def _points(box: Box, spacing: float) -> list[int]:
    return [max(3, int(np.ceil(edge / spacing)) + 1) for edge in box.size]


def _unbiased(values: Tensor) -> Tensor:
    """Point values whose linear interpolation is right on average.

    Between the points of a convex function the interpolant is too high, by h² f''/12 on average
    along each axis; a twelfth of the second difference is taken off.
    """
    out = values.clone()
    for axis in range(3):
        inner = values.narrow(axis, 1, values.shape[axis] - 2)
        before, after = (values.narrow(axis, k, values.shape[axis] - 2) for k in (0, 2))
        out.narrow(axis, 1, values.shape[axis] - 2).sub_((before + after - 2 * inner) / 12)
    return out


def _block_energy(
    points: Tensor, atoms: Tensor, kinds: Tensor, rows: Tensor, width: int
) -> Tensor:
    """Energies `[n_points, C]` of a small block from the atoms in its reach."""
    centre = points.mean(0)
    reach = CUTOFF + (points - centre).norm(dim=-1).max()
    near = (atoms - centre).norm(dim=-1) < reach
    if not near.any():
        return points.new_zeros(len(points), rows.shape[1])
    # Relative to the centre the squares are small and float32 keeps their digits.
    square = torch.cdist(points - centre, atoms[near] - centre).square_()
    place = (square * _BINS).clamp_(max=width - 1).long() + kinds[near]
    return torch.nn.functional.embedding_bag(place, rows, mode="sum")


@dataclass(frozen=True, eq=False)
class GridSet(Movable):
    """Grids for the atoms of L ligands.

    Attributes:
        values: all grids, flat.
        base: first value of a ligand's grid `[L]`, int64.
        shape: X, Y, Z, C of a ligand's grid `[L, 4]`, int64.
        origin: `[L, 3]`, Å.
        spacing: `[L]`, Å.
        channel: channel of each atom `[L, N]`, int64.
        real: 1 for an atom, 0 where padded `[L, N]`, float.
    """

    values: Tensor
    base: Tensor
    shape: Tensor
    origin: Tensor
    spacing: Tensor
    channel: Tensor
    real: Tensor

    @classmethod
    def pack(cls, grids: Sequence[Grid], which: Sequence[int], types: Tensor) -> "GridSet":
        """Join the grids of several receptors.

        Args:
            grids: the receptors'.
            which: grid of each ligand, length L.
            types: atom types `[L, N]`, -1 where padded.

        Raises:
            InputError: a grid lacks a type that its ligand has.
        """
        starts = np.cumsum([0, *(g.values.numel() for g in grids)])
        channel = torch.zeros_like(types)
        for i, grid in enumerate(grids[w] for w in which):
            place = torch.full((64,), -1, dtype=torch.int64)
            place[torch.tensor(grid.types)] = torch.arange(len(grid.types))
            channel[i] = place[types[i].clamp(min=0)]
            if (channel[i][types[i] >= 0] < 0).any():
                raise InputError("grid: an atom type of the ligand is missing; make it for all")
        return cls(
            torch.cat([g.values.flatten() for g in grids]),
            torch.tensor([int(starts[w]) for w in which]),
            torch.tensor([list(grids[w].values.shape) for w in which]),
            torch.stack([grids[w].origin for w in which]),
            torch.tensor([grids[w].spacing for w in which]),
            channel.clamp(min=0),
            (types >= 0).float(),
        )

    def evaluate(self, coords: Tensor, cap: float = float("inf")) -> tuple[Tensor, Tensor]:
        """Energy of each atom and its gradient.

        Args:
            coords: `[L, P, N, 3]`, Å.
            cap: soft core, kcal/mol per atom.

        Returns:
            Energy `[L, P, N]`, kcal/mol, and gradient `[L, P, N, 3]`, kcal/mol/Å.
        """
        spacing = self.spacing[:, None, None, None]
        scaled = (coords - self.origin[:, None, None]) / spacing
        last = (self.shape[:, None, None, :3] - 1).to(coords.dtype)
        inside = torch.minimum(scaled.clamp(min=0.0), last)
        low = torch.minimum(inside.long(), (self.shape[:, None, None, :3] - 2).clamp(min=0))
        f = inside - low
        corners = self._corners(low)
        # Along z, y, x in turn; differences give the gradient on the way.
        fx, fy, fz = f.unsqueeze(-2).unbind(-1)
        along_z = corners[..., 1::2] - corners[..., 0::2]
        z = corners[..., 0::2] + fz * along_z
        along_y = z[..., 1::2] - z[..., 0::2]
        y = z[..., 0::2] + fy * along_y
        along_x = y[..., 1] - y[..., 0]
        fx, fy = fx.squeeze(-1), fy.squeeze(-1)
        energy = y[..., 0] + fx * along_x
        by_y = along_y[..., 0] + fx * (along_y[..., 1] - along_y[..., 0])
        slope_z = along_z[..., 0::2] + fy.unsqueeze(-1) * (along_z[..., 1::2] - along_z[..., 0::2])
        by_z = slope_z[..., 0] + fx * (slope_z[..., 1] - slope_z[..., 0])
        gradient = torch.stack([along_x, by_y, by_z], dim=-1) / spacing
        real = self.real.unsqueeze(1)
        beyond = (scaled - inside) * spacing
        gradient = gradient * (beyond == 0) * soft_cap_slope(energy, cap).unsqueeze(-1)
        gradient = (gradient + 2 * WALL * beyond) * real.unsqueeze(-1)
        return (soft_cap(energy, cap) + WALL * beyond.square().sum(-1)) * real, gradient

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """A tuple ``grid`` of `protein.docking.energy.kernels`."""
        tensors = (
            self.values, self.base, self.shape, self.origin.double(), self.spacing.double(),
            self.channel, (self.real > 0).sum(-1),
        )  # fmt: skip
        return tuple(tensor.numpy() for tensor in tensors)

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor]:
        """Steps to the next value along x, y, z `[L, 3]`, and to the corners `[L, 8]`."""
        _, ny, nz, channels = self.shape.unbind(-1)
        strides = torch.stack([ny * nz * channels, nz * channels, channels], dim=-1)
        number = torch.arange(8, device=strides.device)
        bits = torch.stack([number // 4, number // 2 % 2, number % 2], dim=-1)
        return strides, (bits * strides.unsqueeze(1)).sum(-1)

    def _corners(self, low: Tensor) -> Tensor:
        """Values at the eight corners of the cell of each atom `[L, P, N, 8]`, z fastest."""
        strides, offsets = self._steps
        first = (low * strides[:, None, None]).sum(-1)
        first = first + (self.base[:, None] + self.channel).unsqueeze(1)
        return self.values.take(first.unsqueeze(-1) + offsets[:, None, None])

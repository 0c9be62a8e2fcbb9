"""Point groups: the rotations that make the copies of a symmetric assembly.

``C_n`` turns about z; ``D_n`` has a twofold axis on x besides; ``T``, ``O`` and ``I`` have twofold
or fourfold axes on x, y and z. The identity comes first.
"""

from __future__ import annotations

import math
import re
import string
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from typing import final

import torch
from torch import Tensor

from protein.structures.spheres import spread_points
from sciddiff.errors import InputError
from sciddiff.state import Layout

__all__ = ["CHAIN_IDS", "PointGroup", "SEEN", "images_of"]

CHAIN_IDS = string.ascii_uppercase + string.ascii_lowercase + string.digits
"""Names of the chains of an assembly, which bound the number of copies."""

SEEN = 512
"""Residues of an assembly that the network looks at."""

_GOLDEN = (1.0 + math.sqrt(5.0)) / 2.0


@final
@dataclass(frozen=True, eq=False)
class PointGroup:
    """A finite group of rotations.

    Attributes:
        name: as crystallographers write it: C3, D2, T, O, I.
        rotations: its elements, the identity first, float64 `[n, 3, 3]`.
    """

    name: str
    rotations: Tensor

    @staticmethod
    def parse(text: str) -> PointGroup:
        """The group of that name.

        Raises:
            InputError: not the name of a group, or more copies than there are chain identifiers.
        """
        name = text.strip().upper()
        if name in _POLYHEDRAL:
            return PointGroup(name, _POLYHEDRAL[name]())
        match = re.fullmatch(r"([CD])(\d{1,4})", name)
        if match is None or int(match[2]) < (1 if match[1] == "C" else 2):
            raise InputError(
                f"symmetry {text!r}: not a point group; use C2, C3, ..., D2, D3, ..., T, O or I"
            )
        n, most = int(match[2]), len(CHAIN_IDS)
        if n * (2 if match[1] == "D" else 1) > most:
            raise InputError(
                f"symmetry {text!r}: too many copies; C{most} and D{most // 2} are the largest"
            )
        turns = _about_z(n)
        rotations = turns if match[1] == "C" else torch.cat([turns, turns @ _about_x()])
        return PointGroup(f"{match[1]}{n}", rotations)

    def __len__(self) -> int:
        """Number of copies."""
        return self.rotations.shape[0]

    @cached_property
    def fixed_space(self) -> Tensor:
        """Projector on what no element moves: the axis of C_n, nothing of the others `[3, 3]`.

        The mean over a group of its matrices is that projector.
        """
        return self.rotations.mean(0)

    @cached_property
    def roomiest(self) -> Tensor:
        """Direction in which a unit is furthest from its copies, `[3]`, of unit length.

        Of 20,000 directions spread over the sphere, the one whose nearest image is
        furthest. Units there make the most compact assembly.
        """
        if len(self) == 1:
            return torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        points = spread_points(20_000)
        images = torch.einsum("gij,kj->gki", self.rotations[1:], points)
        return points[(images - points).norm(dim=-1).amin(0).argmax()]

    def seen(self, length: int) -> int:
        """How many copies of a unit of that many residues the network looks at."""
        return min(len(self), max(2, SEEN // max(length, 1)))

    def replicate(self, positions: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """All copies of a unit.

        Args:
            positions: the unit's origins `[B, N, 3]`.
            rotations: the unit's frames `[B, N, 3, 3]`.

        Returns:
            Origins `[B, n N, 3]` and frames `[B, n N, 3, 3]`.
        """
        return images_of(self.rotations[None].to(positions), positions, rotations)

    def centre(self, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """The unit moved so that its assembly's centre of mass is the origin.

        Where the unit lies beside the axes decides the shape of the assembly, and stays.

        Args:
            positions: the unit's origins `[B, N, 3]`.
            mask: real residues `[B, N]`.
        """
        mean = Layout(positions.shape[0], mask=mask).mean(positions)
        return positions - torch.matmul(mean, self.fixed_space.to(positions))


def images_of(elements: Tensor, positions: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Copies by `elements [B or 1, k, 3, 3]`, end to end: `[B, k N, 3]` and `[B, k N, 3, 3]`."""
    turns = elements[:, :, None]
    moved = torch.matmul(turns, positions[:, None, ..., None])[..., 0]
    turned = torch.matmul(turns.to(rotations), rotations[:, None])
    return moved.flatten(1, 2), turned.flatten(1, 2)


def _about_z(n: int) -> Tensor:
    """The n turns about z `[n, 3, 3]`, multiples of a right angle without rounding."""
    rows = []
    for k in range(n):
        angle = 2.0 * math.pi * k / n
        cosine, sine = math.cos(angle), math.sin(angle)
        if 4 * k % n == 0:
            cosine, sine = float(round(cosine)), float(round(sine))
        rows.append([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return torch.tensor(rows, dtype=torch.float64)


def _about_x() -> Tensor:
    """Half a turn about x."""
    return torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


def _octahedral() -> Tensor:
    """The 24 signed permutations of the axes with determinant 1, those of the cube."""
    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = torch.zeros(3, 3, dtype=torch.float64)
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, column] = sign
            if torch.linalg.det(matrix) > 0:
                found.append(matrix)
    return torch.stack(found)


def _tetrahedral() -> Tensor:
    """The 12 elements of the cube's group with an even number of minus signs."""
    cube = _octahedral()
    return cube[cube.sum(-1).prod(-1) > 0]


def _icosahedral() -> Tensor:
    """The 60 rotations of the icosahedron: the five turns about (0, 1, phi) times T's twelve."""
    h, a, b = 0.5, _GOLDEN / 2.0, (_GOLDEN - 1.0) / 2.0
    fifth = torch.tensor([[b, -a, h], [a, h, b], [-h, b, a]], dtype=torch.float64)
    turns = [torch.eye(3, dtype=torch.float64)]
    for _ in range(4):
        turns.append(fifth @ turns[-1])
    return (torch.stack(turns)[:, None] @ _tetrahedral()).flatten(0, 1)


_POLYHEDRAL = {"T": _tetrahedral, "O": _octahedral, "I": _icosahedral}

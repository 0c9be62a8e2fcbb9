"""The axis about which a file's own chains are copies of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from protein.structures.chain import Backbone
from protein.structures.superposition import kabsch

_ALIKE = 1.5  # Å RMSD of the CA atoms of two chains that count as copies
_TURN, _SLIDE = 5.0, 1.5  # degrees and Å by which a motion may miss a turn of the group
_SHARED = 0.5  # of the residues of a chain that its copy must have


@final
@dataclass(frozen=True, eq=False)
class Axis:
    """A line in space, with the motion that puts it on z.

    Attributes:
        direction: unit vector `[3]`.
        point: of the line, the nearest to the middle of the first chain, Å `[3]`.
        chains: identifiers of the chains that lie about it.
        deviation: Å RMSD by which turned copies miss each other.
    """

    direction: NDArray[np.float64]
    point: NDArray[np.float64]
    chains: tuple[str, ...]
    deviation: float

    @property
    def motion(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """R and s of x -> R x + s, which puts the axis on z and `point` at the origin."""
        z = self.direction
        x = np.cross(z, np.eye(3)[int(np.abs(z).argmin())])
        x /= np.linalg.norm(x)
        turn = np.stack([x, np.cross(z, x), z]).astype(np.float64)
        return turn, -turn @ self.point

    @property
    def inverse(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """R and s of the motion back."""
        turn, _ = self.motion
        return turn.T, self.point

    def describe(self) -> str:
        """What was found, as the end of a sentence."""
        names = ", ".join(self.chains)
        return f"are those of chains {names} (which miss it by {self.deviation:.1f} Å)"


def cyclic_axis(chain: Backbone, chains: Sequence[Backbone], order: int) -> Axis | None:
    """The axis of a cyclic group that maps a chain on other chains of its file.

    Residues are paired by number and insertion code. For every copy the rigid motion from the
    chain is found (Kabsch); a group of order n needs n - 1 copies, each a turn by a multiple of
    360/n degrees about one line, without a shift along it.

    Args:
        chain: the chain.
        chains: all chains of the file.
        order: n of C_n.

    Returns:
        The axis, or None if the file does not hold the copies.
    """
    turns = []
    for other in chains:
        if other is not chain and other.chain_id != chain.chain_id:
            found = _motion(chain, other)
            if found is not None:
                turns.append((other.chain_id, *found))
    multiples: dict[int, tuple[str, NDArray[np.float64], NDArray[np.float64], float]] = {}
    centre = chain.ca.mean(0).astype(np.float64)
    for name, rotation, shift, rmsd in turns:
        direction, angle = _direction(rotation)
        k = angle * order / 360.0
        slide = abs(float(direction @ (rotation @ centre + shift - centre)))
        if abs(k - round(k)) * 360.0 / order <= _TURN and slide <= _SLIDE and round(k) % order:
            # A turn by more than half about a line is one by less about the opposite line.
            multiples.setdefault(round(k), (name, rotation, shift, rmsd))
    primitive = multiples.get(1) or multiples.get(order - 1)
    if primitive is None or len(turns) < order - 1:
        return None
    name, rotation, shift, rmsd = primitive
    direction, _ = _direction(rotation)
    # The nearest point of the axis: (1 - R) p = s has no part along the axis.
    flat = np.eye(3) - np.outer(direction, direction)
    point = np.linalg.lstsq(np.eye(3) - rotation, flat @ shift, rcond=None)[0]
    point = flat @ point + direction * (direction @ centre)
    names = (chain.chain_id, *(turn[0] for turn in turns))
    return Axis(direction, point, names, max(turn[3] for turn in turns))


def _motion(
    chain: Backbone, other: Backbone
) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
    """R, s and RMSD of the motion that maps a chain on its copy; None if it is no copy."""
    rows = {
        pair: i
        for i, pair in enumerate(zip(other.residue_numbers, other.insertion_codes, strict=True))
    }
    keys = list(zip(chain.residue_numbers, chain.insertion_codes, strict=True))
    here = [i for i, key in enumerate(keys) if key in rows]
    if len(here) < max(4, math.ceil(_SHARED * len(chain))):
        return None
    a = chain.ca[here].astype(np.float64)
    b = other.ca[[rows[keys[i]] for i in here]].astype(np.float64)
    rotation = kabsch(torch.from_numpy(a - a.mean(0)), torch.from_numpy(b - b.mean(0))).numpy()
    shift = b.mean(0) - rotation @ a.mean(0)
    rmsd = float(np.sqrt(((a @ rotation.T + shift - b) ** 2).sum(-1).mean()))
    return (rotation, shift, rmsd) if rmsd <= _ALIKE else None


def _direction(rotation: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Axis and angle in degrees, 0 to 180, of a rotation."""
    skew = 0.5 * np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    cosine = float(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))
    angle = math.degrees(math.atan2(float(np.linalg.norm(skew)), cosine))
    # The eigenvector of eigenvalue 1, which is exact at half turns too.
    values, vectors = np.linalg.eigh(0.5 * (rotation + rotation.T))
    direction = vectors[:, int(values.argmax())]
    if direction @ skew < 0.0:
        direction = -direction
    return direction, angle

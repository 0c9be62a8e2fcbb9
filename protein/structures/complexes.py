"""Two chains for training: crops of bound complexes, and single domains cut in two.

Bound complexes are few (`PairArchive`), so they are cropped anew every time around a contact drawn
at random. Domains are many: cut at a loop, their halves are two chains that pack as chains do
(`cut`). Either way the network learns what "another chain" is, which one chain cannot teach.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError, reading

CHAIN_JUMP = 200
"""Added to the residue index from chain to chain: no two chains look bonded or adjacent."""

CONTACT = 8.0
"""CA atoms of two chains closer than this (Å) are in contact."""

LEAST_CONTACTS = 8
"""Pairs in contact below which two pieces are not taken for neighbours."""

SHORTEST = 20
"""Residues of the shortest chain of a complex."""

_NEEDED = ("coords", "coord_scale", "offsets", "id", "partner", "segment")
_TRIES = 8


@final
@dataclass(frozen=True, eq=False)
class TwoChains:
    """A complex to train on.

    Attributes:
        coords: N, CA, C, O of both chains, end to end, `[L, 4, 3]`, Å.
        chain: 0 or 1 for every residue `[L]`.
        rows: which residue of the source each one is `[L]`.
    """

    coords: NDArray[np.float32]
    chain: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def residue_index(self) -> NDArray[np.int64]:
        """Residue index of every residue, with a jump between the chains `[L]`."""
        return np.arange(len(self.chain)) + CHAIN_JUMP * self.chain


@final
class PairArchive:
    """Bound complexes of two partners, read from an ``.npz``.

    ``coords`` int16 `[ΣL, 4, 3]` times ``coord_scale`` (Å) holds the residues of complex i at
    ``offsets[i]:offsets[i+1]``; ``partner`` `[ΣL]` is 0 or 1, and ``segment`` `[ΣL]` has a new
    number at every chain break and change of partner.

    Args:
        path: The archive.

    Raises:
        InputError: The file is absent, damaged, or lacks an array.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = Path(path)
        if not file.is_file():
            raise InputError(f"{file}: no such file; data.pairs names an archive of complexes")
        with reading(file, "an archive of complexes"), np.load(file, allow_pickle=False) as data:
            missing = [name for name in _NEEDED if name not in data.files]
            if missing:
                raise InputError(
                    f"{file}: lacks {', '.join(missing)}; it is no archive of complexes, "
                    "give another as data.pairs"
                )
            arrays = {name: data[name] for name in _NEEDED}
            self._sequence = data["sequence"] if "sequence" in data.files else None
        self._coords, self._offsets = arrays["coords"], arrays["offsets"]
        self._scale = np.float32(arrays["coord_scale"])
        self._partner, self._segment = arrays["partner"], arrays["segment"]
        self.ids = [str(name) for name in arrays["id"]]
        self._path = file

    def __len__(self) -> int:
        """Number of complexes."""
        return len(self.ids)

    @property
    def sequenced(self) -> bool:
        """Whether the archive holds sequences."""
        return self._sequence is not None

    def sequence(self, index: int) -> str:
        """One-letter amino acids of a complex, both partners end to end, length L.

        Raises:
            InputError: The archive holds no sequences.
        """
        if self._sequence is None:
            raise InputError(
                f"{self._path}: lacks sequence; add it, or leave data.pairs out"
            )
        value = self._sequence[index]
        return value.decode("ascii") if isinstance(value, bytes) else str(value)

    def whole(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both partners of a complex, N, CA, C, O `[L, 4, 3]` each, Å."""
        rows = slice(int(self._offsets[index]), int(self._offsets[index + 1]))
        coords = self._coords[rows].astype(np.float32) * self._scale
        partner = self._partner[rows]
        return coords[partner == 0], coords[partner == 1]

    def crop(self, index: int, longest: int, rng: np.random.Generator) -> TwoChains | None:
        """One unbroken piece of either partner, about a contact drawn at random.

        Args:
            index: which complex.
            longest: most residues of both pieces together.
            rng: draws the contact, the sizes and the places of the pieces.

        Returns:
            The pieces; None where none of a few draws has enough contacts.
        """
        rows = slice(int(self._offsets[index]), int(self._offsets[index + 1]))
        coords = self._coords[rows].astype(np.float32) * self._scale
        partner, segment = self._partner[rows], self._segment[rows]
        first, second = np.flatnonzero(partner == 0), np.flatnonzero(partner == 1)
        touching = np.argwhere(_near(coords[first, 1], coords[second, 1]))
        if not len(touching):
            return None
        for _ in range(_TRIES):
            a, b = touching[rng.integers(len(touching))]
            size = int(rng.integers(SHORTEST, longest - SHORTEST + 1))
            one = _piece(segment, int(first[a]), size, rng)
            two = _piece(segment, int(second[b]), longest - len(one), rng)
            if min(len(one), len(two)) < SHORTEST:
                continue
            if _near(coords[one, 1], coords[two, 1]).sum() >= LEAST_CONTACTS:
                chosen = np.concatenate([one, two])
                chain = np.repeat([0, 1], [len(one), len(two)])
                return TwoChains(coords[chosen], chain, chosen)
        return None


def cut(
    coords: NDArray[np.float32], ss3: str, rng: np.random.Generator
) -> TwoChains | None:
    """A domain cut at a loop into two chains that touch.

    Up to four residues of the loop are left out on either side of the cut, since the ends of two
    chains need not lie next to each other.

    Args:
        coords: N, CA, C, O of one chain `[L, 4, 3]`, Å.
        ss3: its secondary structure: h, e or c for every residue.
        rng: draws the cut.

    Returns:
        The two chains, in random order; None where no cut leaves two that touch.
    """
    length = len(coords)
    loops = [i for i in range(SHORTEST, length - SHORTEST + 1) if ss3[i - 1 : i + 1] == "cc"]
    for at in rng.permutation(np.asarray(loops, dtype=int))[:_TRIES].tolist():
        left, right = (int(n) for n in rng.integers(0, 5, 2))
        stop, start = at, at
        while stop > SHORTEST and at - stop < left and ss3[stop - 1] == "c":
            stop -= 1
        while start < length - SHORTEST and start - at < right and ss3[start] == "c":
            start += 1
        # Contacts of the loop itself do not make two chains neighbours.
        near = _near(coords[: max(at - 4, 0), 1], coords[at + 4 :, 1])
        if near.sum() >= LEAST_CONTACTS:
            pieces = [np.arange(stop), np.arange(start, length)]
            if rng.random() < 0.5:
                pieces.reverse()
            rows, chain = np.concatenate(pieces), np.repeat([0, 1], [len(p) for p in pieces])
            return TwoChains(coords[rows], chain, rows)
    return None


def _piece(
    segment: NDArray[np.integer], at: int, size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of at most `size` residues of one unbroken segment, with residue `at` among them."""
    rows = np.flatnonzero(segment == segment[at])
    size = min(size, len(rows))
    place = at - int(rows[0])
    low, high = max(0, place - size + 1), min(place, len(rows) - size)
    start = int(rng.integers(low, high + 1))
    return rows[start : start + size]


def _near(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points of `a [m, 3]` lie within `CONTACT` of which of `b [n, 3]`: `[m, n]`."""
    apart = a[:, None] - b[None]
    return np.einsum("mnk,mnk->mn", apart, apart) < CONTACT**2

"""Novelty: the largest TM-score of a design to any chain of a training set.

Ten thousand alignments a design would take minutes, so an index answers first, with two
descriptors. The first is the CA distance map on 16 points equally spaced along the chain, of
whole chains and of windows of 64, 96 and 128 residues, since a small design often resembles a
part of a larger protein. The second counts residue contacts by secondary structure, separation
along the chain, relative direction and handedness; it asks how many of the design's contacts a
chain has too. The best by each, half and half, are aligned; the maximum is a lower bound:
against brute force over 1,200 chains it was exact for close relatives and up to 0.08 low where
the nearest chain was only distantly alike (TM 0.5 to 0.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics.secondary import ca_secondary_structure
from protein.backbone.metrics.tm import Pair, Progress, ca_of, tm_scores
from sciddiff.errors import InputError
from sciddiff.files import open_arrays

GRID = 16
CANDIDATES = 32
"""Chains of the training set aligned with each design."""

_WINDOWS = (64, 96, 128)
_STRIDE = 0.25  # of a window
_EXCESS = 0.5  # exponent that keeps large chains from containing everything
_SOFT = 12.0  # Å: distances saturate as d/(d + 12), so that far pairs weigh little
_REACH = 10.0  # Å: contacts of the second descriptor
_SEPARATIONS = np.array([5, 8, 16, 32, 64])
_DIRECTIONS = np.array([-0.4, 0.4])
_ARRAYS = ("names", "lengths", "ca", "shapes", "owners", "contacts")


def shape_descriptor(ca: NDArray[np.float64]) -> NDArray[np.float32]:
    """Saturated CA distance map on 16 points of the chain, and log length `[121]`.

    Args:
        ca: CA positions `[L, 3]`, Å.
    """
    return _window_descriptors(ca, np.zeros(1, dtype=np.int64), len(ca))[0]


def shape_windows(ca: NDArray[np.float64]) -> NDArray[np.float32]:
    """Shape descriptors of the chain and of its windows `[windows, 121]`.

    Args:
        ca: CA positions `[L, 3]`, Å.
    """
    found = [shape_descriptor(ca)[None]]
    for size in _WINDOWS:
        if len(ca) >= 1.15 * size:
            count = int(np.ceil((len(ca) - size) / (_STRIDE * size))) + 1
            starts = np.linspace(0, len(ca) - size, count).astype(np.int64)
            found.append(_window_descriptors(ca, starts, size))
    return np.concatenate(found)


def _window_descriptors(
    ca: NDArray[np.float64], starts: NDArray[np.int64], size: int
) -> NDArray[np.float32]:
    """Descriptors of the windows of one size that begin at `starts` `[w, 121]`."""
    at = np.linspace(0, size - 1, GRID)
    low = np.minimum(at.astype(int), size - 2)
    first = starts[:, None] + low
    part = (at - low)[None, :, None]
    points = ca[first] * (1 - part) + ca[first + 1] * part
    i, j = np.triu_indices(GRID, 1)
    gap = np.linalg.norm(points[:, i] - points[:, j], axis=-1)
    length = np.full((len(starts), 1), np.log(size))
    return np.concatenate((gap / (gap + _SOFT), length), axis=1).astype(np.float32)


def contact_descriptor(ca: NDArray[np.float64]) -> NDArray[np.float32]:
    """Square roots of contact counts by kind, separation, direction and handedness `[270]`.

    Args:
        ca: CA positions `[L, 3]`, Å.
    """
    states = ca_secondary_structure(ca)
    tangent = np.zeros_like(ca)
    tangent[1:-1] = ca[2:] - ca[:-2]
    tangent /= np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-9)
    i, j = np.triu_indices(len(ca), int(_SEPARATIONS[0]))
    line = ca[j] - ca[i]
    near = (line**2).sum(-1) < _REACH**2
    i, j, line = i[near], j[near], line[near]
    cosine = (tangent[i] * tangent[j]).sum(-1)
    hand = (np.cross(tangent[i], tangent[j]) * line).sum(-1) > 0
    separation = np.searchsorted(_SEPARATIONS, j - i, side="right") - 1
    cell = states[i] * 3 + states[j]
    cell = cell * len(_SEPARATIONS) + separation
    cell = cell * 3 + np.searchsorted(_DIRECTIONS, cosine)
    cell = cell * 2 + hand
    counts = np.bincount(cell, minlength=9 * len(_SEPARATIONS) * 6)
    return np.sqrt(counts).astype(np.float32)


@dataclass(frozen=True, eq=False)
class FoldLibrary:
    """CA traces of a training set with the index that finds the nearest of them.

    Attributes:
        names: one per chain.
        chains: CA positions `[L, 3]`, float32, Å.
        shapes: shape descriptors of chains and windows `[m, 121]`.
        owners: the chain of each of them `[m]`.
        contacts: contact descriptors `[n, 270]`.
    """

    names: tuple[str, ...]
    chains: tuple[NDArray[np.float32], ...]
    shapes: NDArray[np.float32] = field(repr=False)
    owners: NDArray[np.int64] = field(repr=False)
    contacts: NDArray[np.float32] = field(repr=False)

    @classmethod
    def build(
        cls,
        chains: Iterable[tuple[str, NDArray[np.floating]]],
        progress: Progress | None = None,
    ) -> FoldLibrary:
        """Index chains given as (name, `[L, 4, 3]` or CA `[L, 3]`); about 1 ms each.

        Raises:
            InputError: there is no chain of at least five residues.
        """
        names: list[str] = []
        traces: list[NDArray[np.float32]] = []
        shapes, contacts = [], []
        for name, coords in chains:
            ca = ca_of(np.asarray(coords))
            if len(ca) < 5:
                continue
            names.append(str(name))
            traces.append(ca.astype(np.float32))
            shapes.append(shape_windows(ca))
            contacts.append(contact_descriptor(ca))
            if progress is not None and len(names) % 100 == 0:
                progress("indexing the training set", len(names), 0)
        if not names:
            raise InputError("training set: holds no chain of five residues or more; give another")
        owners = np.repeat(np.arange(len(shapes)), [len(one) for one in shapes])
        return cls(tuple(names), tuple(traces), np.concatenate(shapes), owners, np.stack(contacts))

    def __len__(self) -> int:
        """Number of chains."""
        return len(self.names)

    def candidates(
        self, coords: NDArray[np.floating], count: int = CANDIDATES
    ) -> NDArray[np.int64]:
        """Chains most worth aligning with a design, at most `count` `[<= count]`.

        Args:
            coords: `[L, 4, 3]` or CA `[L, 3]`, Å.
            count: how many; half come from each descriptor.
        """
        ca = ca_of(np.asarray(coords))
        gap = np.linalg.norm(self.shapes - shape_descriptor(ca), axis=1)
        nearest = np.full(len(self), np.inf)
        np.minimum.at(nearest, self.owners, gap)
        wanted = contact_descriptor(ca)
        shared = np.minimum(self.contacts, wanted).sum(axis=1)
        shared /= np.maximum(self.contacts.sum(axis=1), 1.0) ** _EXCESS
        orders = [np.argsort(key, kind="stable") for key in (nearest, -shared)]
        # Alternate between the two rankings, skipping what is there already.
        mixed = np.stack(orders, axis=1).ravel()
        first = np.unique(mixed, return_index=True)[1]
        return mixed[np.sort(first)][: min(count, len(self))].astype(np.int64)

    def save(self, path: Path) -> None:
        """Write the library to a NumPy archive."""
        lengths = np.array([len(chain) for chain in self.chains])
        np.savez_compressed(
            path,
            names=np.array(self.names),
            lengths=lengths,
            ca=np.concatenate(self.chains),
            shapes=self.shapes,
            owners=self.owners,
            contacts=self.contacts,
        )

    @classmethod
    def load(cls, path: Path) -> FoldLibrary:
        """Read what `save` wrote.

        Raises:
            InputError: the file is not such an archive.
        """
        with open_arrays(path, "build it again") as data:
            parts = {key: data[key] for key in _ARRAYS}
        chains = np.split(parts["ca"], np.cumsum(parts["lengths"])[:-1])
        names = tuple(str(name) for name in parts["names"])
        return cls(names, tuple(chains), parts["shapes"], parts["owners"], parts["contacts"])


def novelty(
    designs: Sequence[NDArray[np.floating]],
    library: FoldLibrary,
    candidates: int = CANDIDATES,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], list[str]]:
    """Largest TM-score of each design to the library, and the chain that reaches it.

    Args:
        designs: `[L, 4, 3]` each, Å.
        library: the training set.
        candidates: chains aligned with each design after the index has chosen.
        workers: processes.
        progress: told of the work done.

    Returns:
        Largest similarity `[n]` and the names of the nearest chains.
    """
    traces = [ca_of(np.asarray(design)) for design in designs]
    chosen = [library.candidates(ca, candidates) for ca in traces]
    pairs: list[Pair] = [
        (ca, library.chains[k].astype(np.float64))
        for ca, hits in zip(traces, chosen, strict=True)
        for k in hits
    ]
    scores = tm_scores(pairs, workers, progress, "designs against the training set")
    split = np.split(scores, np.cumsum([len(hits) for hits in chosen])[:-1])
    nearest = [
        library.names[hits[int(np.argmax(part))]] for part, hits in zip(split, chosen, strict=True)
    ]
    return np.array([part.max() for part in split]), nearest

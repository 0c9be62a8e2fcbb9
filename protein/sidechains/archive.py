"""Side chain archives: a data set of full-atom structures in one ``.npz``.

======================== ====================== ==================================================
array                    shape, type            meaning
======================== ====================== ==================================================
``atoms``                int16 [ΣL, 14, 3]      N, CA, C, O and the side chain, centred; times
                                                ``scale`` (Å); the smallest number: no atom
``scale``                float32 []             size of one integer step, 0.01 Å
``chain, index``         int32 [ΣL]             number of the chain; place along it
``around``               int16 [ΣM, 3]          atoms of ligands and the like, as ``atoms``
``around_elements``      uint8 [ΣM]             their elements
``offsets``              int64 [n + 1]          residues of structure i, as in a chain archive
``around_offsets``       int64 [n + 1]          its atoms around
``id, source, sequence`` [n]                    name; file; amino acids of all chains end to end
``cluster``              int32 [n]              structures with chains of one cluster at about 30 %
``split``                str [n]                ``train``, ``val`` or ``test``; by cluster
======================== ====================== ==================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.sequence.alphabet import tokens
from protein.sidechains.templates import Template
from protein.structures.archive import COORD_SCALE, SPLITS
from sciddiff.errors import InputError, reading
from sciddiff.files import open_arrays, replacing

__all__ = ["SideChainArchive", "write_side_chains"]

_AGAIN = "copy or prepare it again"
_ABSENT = np.iinfo(np.int16).min
_ARRAYS = (
    "atoms", "scale", "chain", "index", "around", "around_elements", "offsets", "around_offsets",
    "id", "source", "sequence", "cluster", "split",
)  # fmt: skip


@final
class SideChainArchive:
    """The structures of one split of an archive.

    Args:
        path: the archive.
        split: ``train``, ``val`` or ``test``.

    Raises:
        InputError: absent, damaged, another kind of archive, or nothing in this split.
    """

    def __init__(self, path: str | os.PathLike[str], split: str) -> None:
        file = Path(path)
        if not file.is_file():
            raise InputError(f"{file}: no such archive; make one with `sciddiff prepare pack`")
        if split not in SPLITS:
            raise InputError(f"split {split!r}: unknown; choose from {', '.join(SPLITS)}")
        with open_arrays(file, _AGAIN) as data, reading(file, "a side chain archive", _AGAIN):
            missing = [name for name in _ARRAYS if name not in data]
            if missing:
                raise InputError(
                    f"{file}: lacks {', '.join(missing)}; it is no archive of side chains, make "
                    "one with `sciddiff prepare pack`"
                )
            self._data = {name: data[name] for name in _ARRAYS}
        self._rows = np.flatnonzero(self._data["split"] == split)
        if not len(self._rows):
            raise InputError(f"{file}: has no structure of split {split}; prepare more structures")

    def __len__(self) -> int:
        """Number of structures."""
        return len(self._rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Residues of each structure `[n]`."""
        return np.diff(self._data["offsets"])[self._rows]

    @property
    def clusters(self) -> NDArray[np.int32]:
        """Cluster of each structure `[n]`."""
        return self._data["cluster"][self._rows]

    def __getitem__(self, item: int) -> Template:
        """A structure of the split."""
        d, row = self._data, self._rows[item]
        here = slice(d["offsets"][row], d["offsets"][row + 1])
        around = slice(d["around_offsets"][row], d["around_offsets"][row + 1])
        found, unknown = tokens(d["sequence"][row].decode("ascii"))
        return Template(
            _unpacked(d["atoms"][here], d["scale"]),
            found,
            unknown,
            d["chain"][here].astype(np.int64),
            d["index"][here].astype(np.int64),
            _unpacked(d["around"][around], d["scale"]),
            d["around_elements"][around].astype(np.int64),
            str(d["id"][row]),
        )


def write_side_chains(
    path: Path, templates: Sequence[Template], columns: Mapping[str, NDArray]
) -> None:
    """Write an archive; the file appears only when complete.

    Args:
        path: target ``.npz``.
        templates: the structures, at most 327 Å from their centre.
        columns: ``id, source, sequence, cluster, split`` `[n]` each.
    """
    packed = [_packed(one) for one in templates]
    with replacing(path) as out:
        np.savez_compressed(
            out,
            scale=np.float32(COORD_SCALE),
            atoms=np.concatenate([atoms for atoms, _ in packed]),
            around=np.concatenate([around for _, around in packed]),
            chain=np.concatenate([one.chain for one in templates]).astype(np.int32),
            index=np.concatenate([one.index for one in templates]).astype(np.int32),
            around_elements=np.concatenate([one.around_elements for one in templates]).astype(
                np.uint8
            ),
            offsets=_offsets([len(one) for one in templates]),
            around_offsets=_offsets([len(one.around) for one in templates]),
            **columns,  # pyright: ignore[reportArgumentType]
        )


def fits(template: Template) -> bool:
    """Whether a structure is small enough for the integers of an archive."""
    return all(
        np.abs(np.nan_to_num(part)).max(initial=0.0) < -_ABSENT * COORD_SCALE - 1.0
        for part in _centred(template)
    )


def _centred(template: Template) -> tuple[NDArray, NDArray]:
    centre = template.atoms[:, 1].mean(0)
    return template.atoms - centre, template.around - centre


def _packed(template: Template) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    atoms, around = (part / COORD_SCALE for part in _centred(template))
    steps = np.where(np.isfinite(atoms), np.rint(np.nan_to_num(atoms)), _ABSENT)
    return steps.astype(np.int16), np.rint(around).astype(np.int16)


def _unpacked(packed: NDArray[np.int16], scale: NDArray) -> NDArray[np.float32]:
    values = packed.astype(np.float32) * np.float32(scale)
    return np.where(packed == _ABSENT, np.float32(np.nan), values)


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)

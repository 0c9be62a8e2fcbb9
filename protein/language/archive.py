"""Sequence archives: a data set of protein sequences in one ``.npz``.

======================== ============ =====================================================
array                    shape, type  meaning
======================== ============ =====================================================
``sequence, id``         [n]          amino acids, one letter each; name
``cluster_c40, _c30``    int32 [n]    sequence clusters at about 40 % and 30 % identity
``split``                str [n]      ``train``, ``val`` or ``test``; by cluster
``ss3``                  bytes [n]    secondary structure h/e/c, where it is known
======================== ============ =====================================================

A chain archive (`protein.structures.archive`) has these columns beside its coordinates, so that a
language model can be trained on it as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from protein.structures.archive import SPLITS
from sciddiff.errors import InputError, reading
from sciddiff.files import open_arrays, replacing

_AGAIN = "copy or prepare it again"


@final
@dataclass(frozen=True)
class SequenceArchive:
    """Some sequences with their names and clusters.

    Attributes:
        ids: names.
        sequences: one-letter amino acids.
        clusters: cluster of each at about 30 % identity `[n]`.
        ss3: secondary structure of each, h, e or c; empty where it is unknown.
    """

    ids: list[str]
    sequences: list[str]
    clusters: NDArray[np.int32]
    ss3: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def open(path: str | os.PathLike[str], split: str, shortest: int = 1) -> SequenceArchive:
        """The sequences of one split that are long enough.

        Args:
            path: archive of sequences or of chains.
            split: ``train``, ``val`` or ``test``.
            shortest: residues.

        Raises:
            InputError: absent, damaged, without a column, or nothing is left.
        """
        file = Path(path)
        if not file.exists():
            raise InputError(f"{file}: no such archive; make one with sciddiff prepare sequence")
        if split not in SPLITS:
            raise InputError(f"split: {split!r} is unknown; choose one of {', '.join(SPLITS)}")
        with open_arrays(file, _AGAIN) as data, reading(file, "a sequence archive", _AGAIN):
            for name in ("sequence", "id", "split", "cluster_c30"):
                if name not in data:
                    raise InputError(f"{file}: has no column {name}; {_AGAIN}")
            text = [_text(s) for s in data["sequence"].tolist()]
            keep = [
                i
                for i, part in enumerate(data["split"].tolist())
                if _text(part) == split and len(text[i]) >= shortest
            ]
            ids = [_text(name) for name in data["id"].tolist()]
            ss3 = [_text(s) for s in data["ss3"].tolist()] if "ss3" in data else []
            clusters = np.asarray(data["cluster_c30"], dtype=np.int32)
        if not keep:
            raise InputError(f"{file}: no sequence of split {split} has {shortest} residues")
        return SequenceArchive(
            [ids[i] for i in keep],
            [text[i] for i in keep],
            clusters[keep],
            [ss3[i] if ss3 else "" for i in keep],
        )


def write_sequences(
    path: Path,
    ids: list[str],
    sequences: list[str],
    clusters: tuple[NDArray[np.int32], NDArray[np.int32]],
    splits: NDArray[np.str_],
) -> None:
    """Write an archive of sequences; the file appears only when complete.

    Args:
        path: target ``.npz``.
        ids: names.
        sequences: one-letter amino acids.
        clusters: at about 40 % and 30 % identity, `[n]` each.
        splits: split of each `[n]`.
    """
    with replacing(path) as out:
        np.savez_compressed(
            out,
            sequence=np.asarray([s.encode() for s in sequences]),
            id=np.asarray(ids),
            cluster_c40=clusters[0],
            cluster_c30=clusters[1],
            split=splits,
        )


def _text(value: object) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)

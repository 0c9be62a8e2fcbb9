"""Chain archives: a data set of backbones in one ``.npz``.

======================== ====================== ==================================================
array                    shape, type            meaning
======================== ====================== ==================================================
``coords``               int16 [ΣL, 4, 3]       N, CA, C, O; times ``coord_scale`` (Å); centred
``coord_scale``          float32 []             size of one integer step, 0.01 Å
``offsets``              int64 [n + 1]          chain i is ``coords[offsets[i]:offsets[i+1]]``
``length, id, source``   [n]                    residues; name; where it came from
``sequence, ss3``        bytes [n]              amino acids; secondary structure h/e/c
``cluster_c40, _c30``    int32 [n]              sequence clusters at about 40 % and 30 % identity
``built_o``              uint8 [n]              1 where an O was rebuilt from N, CA, C
``split``                str [n]                ``train``, ``val`` or ``test``; by cluster
======================== ====================== ==================================================

``coords`` is stored without compression by ``write_archive`` and is then memory-mapped, so that
an archive larger than memory can be trained on; a compressed one is read on first use.
"""

import os
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.structures.chain import Backbone
from sciddiff.errors import InputError, reading
from sciddiff.files import open_arrays, replacing

COORD_SCALE = 0.01
"""Å of one integer step; natives are deposited to 0.001 Å and known to about 0.1 Å."""

SPLITS: tuple[str, ...] = ("train", "val", "test")

_REQUIRED = ("coord_scale", "offsets", "length", "id", "sequence", "ss3", "split")
_AGAIN = "copy or prepare it again"


@final
class ChainArchive:
    """Read-only view of an archive, or of some of its chains; shared memory, cheap to subset.

    ``archive[i]`` gives coordinates; the columns (``lengths``, ``ids``, ``sequences``, ``ss3``,
    ``splits``, ``column(name)``) follow the order of the view.
    """

    def __init__(
        self, path: Path, columns: Mapping[str, NDArray], rows: NDArray[np.int64]
    ) -> None:
        """Use ``ChainArchive.open``."""
        self._path = path
        self._columns = columns
        self._rows = rows
        self._scale = float(columns["coord_scale"])
        self._coords: NDArray[np.int16] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "ChainArchive":
        """Open an archive; coordinates are not read yet.

        Raises:
            InputError: absent, not an archive, damaged, or without a required array.
        """
        file = Path(path)
        if not file.is_file():
            raise InputError(f"{file}: no such file; make one with `sciddiff prepare backbone`")
        with open_arrays(file, _AGAIN) as data:
            missing = [k for k in (*_REQUIRED, "coords") if k not in data]
            if missing:
                raise InputError(
                    f"{file}: lacks {', '.join(missing)}; it is not a chain archive, "
                    "make one with `sciddiff prepare backbone`"
                )
            columns = {k: data[k] for k in data if k != "coords"}
            count = len(columns["length"])
            steps = np.diff(columns["offsets"])
            if len(steps) != count or np.any(steps != columns["length"]):
                raise InputError(f"{file}: offsets and length disagree; prepare the archive again")
        return cls(file, columns, np.arange(count, dtype=np.int64))

    def __len__(self) -> int:
        """Number of chains in the view."""
        return len(self._rows)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Coordinates of chain ``index`` of the view `[L, 4, 3]`, float32, Å, centred."""
        row = self._rows[index]
        start, stop = self._columns["offsets"][row], self._columns["offsets"][row + 1]
        part = np.asarray(self._packed()[start:stop])
        return part.astype(np.float32) * np.float32(self._scale)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Coordinates of every chain in turn."""
        return (self[i] for i in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mapped coordinates out: each worker process maps them itself."""
        return {**self.__dict__, "_coords": None}

    @property
    def path(self) -> Path:
        """File behind the view."""
        return self._path

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row in the file of each chain of the view `[n]`."""
        return self._rows

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Residues of each chain `[n]`."""
        return self.column("length").astype(np.int64)

    @property
    def ids(self) -> list[str]:
        """Name of each chain, length n."""
        return [str(name) for name in self.column("id")]

    @property
    def sequences(self) -> list[str]:
        """One-letter amino acids of each chain, length n."""
        return [_text(value) for value in self.column("sequence")]

    @property
    def ss3(self) -> list[str]:
        """Secondary structure (h, e, c) of each chain, length n."""
        return [_text(value) for value in self.column("ss3")]

    @property
    def splits(self) -> NDArray[np.str_]:
        """Split of each chain `[n]`: train, val or test."""
        return self.column("split")

    def cluster(self, identity: int = 30) -> NDArray[np.int32]:
        """Sequence cluster of each chain `[n]`.

        Args:
            identity: 30 or 40, per cent.
        """
        return self.column(f"cluster_c{identity}")

    def column(self, name: str) -> NDArray:
        """Any per-chain array, in the order of the view `[n, ...]`.

        Raises:
            InputError: the archive has no such column.
        """
        if name in ("coords", "offsets", "coord_scale") or name not in self._columns:
            have = sorted(set(self._columns) - {"coords", "offsets", "coord_scale"})
            raise InputError(f"{self._path}: no column {name!r}; it has {', '.join(have)}")
        return self._columns[name][self._rows]

    def backbone(self, index: int) -> Backbone:
        """Chain ``index`` of the view with its sequence, numbered from 1."""
        row = self._rows[index]
        sequence, name = _text(self._columns["sequence"][row]), str(self._columns["id"][row])
        return Backbone.from_coords(self[index], sequence, name=name)

    def take(self, index: Iterable[int] | NDArray[Any]) -> "ChainArchive":
        """View of chosen chains.

        Args:
            index: positions in this view, or a boolean mask `[n]`.
        """
        chosen = index if isinstance(index, np.ndarray) else np.asarray(list(index), np.int64)
        view = ChainArchive(self._path, self._columns, self._rows[chosen])
        view._coords = self._coords
        return view

    def subset(
        self,
        split: str | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
    ) -> "ChainArchive":
        """View of the chains of one split and of a range of lengths (inclusive).

        Raises:
            InputError: an unknown split, or nothing left.
        """
        keep = np.ones(len(self), dtype=bool)
        if split is not None:
            if split not in SPLITS:
                raise InputError(f"split {split!r}: unknown; choose from {', '.join(SPLITS)}")
            keep &= self.splits == split
        if min_length is not None:
            keep &= self.lengths >= min_length
        if max_length is not None:
            keep &= self.lengths <= max_length
        if not keep.any():
            raise InputError(
                f"{self._path}: no chain with split={split}, min_length={min_length}, "
                f"max_length={max_length}; it holds {len(self)} of {self._length_range()} residues"
            )
        return self.take(keep)

    def _length_range(self) -> str:
        lengths = self.lengths
        return f"{lengths.min()}-{lengths.max()}" if len(lengths) else "0"

    def _packed(self) -> NDArray[np.int16]:
        if self._coords is None:
            with reading(self._path, "a .npz archive", _AGAIN):
                self._coords = _open_coords(self._path)
        return self._coords


def write_archive(
    path: str | os.PathLike[str],
    coords: Iterable[NDArray[np.floating]],
    columns: Mapping[str, NDArray],
) -> None:
    """Write an archive, one chain in memory at a time; the file appears only when complete.

    Args:
        path: target ``.npz``.
        coords: N, CA, C, O of each chain `[L_i, 4, 3]`, Å; centred here.
        columns: per-chain arrays `[n]`: ``length, id, sequence, ss3, split`` and any others.

    Raises:
        InputError: columns missing or of different lengths, a chain that does not fit ``length``,
            or one wider than int16 can hold (±327 Å).
    """
    target = Path(path)
    lengths = np.asarray(columns.get("length", ()), dtype=np.int32)
    arrays = {"coord_scale": np.float32(COORD_SCALE), "length": lengths, **columns}
    arrays["offsets"] = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    missing = [k for k in _REQUIRED if k not in arrays]
    uneven = [k for k, v in columns.items() if len(v) != len(lengths)]
    if missing or uneven:
        raise InputError(f"{target}: columns missing {missing} or of uneven length {uneven}")
    with replacing(target) as raw, zipfile.ZipFile(raw, "w") as archive:
        _write_coords(archive, coords, lengths, target)
        for key, value in arrays.items():
            # A fixed date makes equal contents equal bytes.
            member = zipfile.ZipInfo(f"{key}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as out:
                np.lib.format.write_array(out, np.asanyarray(value), allow_pickle=False)


def _write_coords(
    archive: zipfile.ZipFile,
    coords: Iterable[NDArray[np.floating]],
    lengths: NDArray[np.int32],
    target: Path,
) -> None:
    """Stream the int16 coordinates into an uncompressed member."""
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype("<i2")),
        "fortran_order": False,
        "shape": (int(lengths.sum(dtype=np.int64)), 4, 3),
    }
    member = zipfile.ZipInfo("coords.npy", date_time=(1980, 1, 1, 0, 0, 0))
    count = 0
    with archive.open(member, "w", force_zip64=True) as out:
        np.lib.format.write_array_header_1_0(out, header)
        for count, chain in enumerate(coords, start=1):  # noqa: B007 - the last value is used
            if count > len(lengths) or chain.shape != (lengths[count - 1], 4, 3):
                raise InputError(f"{target}: chain {count} of {chain.shape} does not fit length")
            steps = np.rint((chain - chain.mean(axis=(0, 1))) / COORD_SCALE)
            if not np.isfinite(steps).all() or np.abs(steps).max() > np.iinfo(np.int16).max:
                raise InputError(f"{target}: chain {count} is wider than 327 Å or not finite")
            out.write(steps.astype("<i2").tobytes())
    if count != len(lengths):
        raise InputError(f"{target}: {count} chains for {len(lengths)} rows")


def _open_coords(path: Path) -> NDArray[np.int16]:
    """Map the coordinates when they are stored plainly, else decompress them."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("coords.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        with open_arrays(path, _AGAIN) as data:
            return data["coords"]
    # The map goes past the checksum that the archive holds of them, so it is compared once.
    with zipfile.ZipFile(path) as archive, archive.open(info) as member:
        while member.read(2**20):
            pass
    with open(path, "rb") as raw:
        # The local header's name and extra fields may differ in size from the directory's.
        raw.seek(info.header_offset + 26)
        name_size, extra_size = struct.unpack("<HH", raw.read(4))
        raw.seek(name_size + extra_size, os.SEEK_CUR)
        version = np.lib.format.read_magic(raw)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(raw)
        order = "F" if fortran else "C"
        return np.memmap(path, dtype=dtype, mode="r", offset=raw.tell(), shape=shape, order=order)


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)

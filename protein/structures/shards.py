"""One structure file to training chains, and the cache that lets a killed run go on.

A shard holds all that one file gave: kept chains, and a row for everything dropped. It is named
by the file's place and content and by the filter settings, so a changed file or a changed bound is
worked out anew, and a folder may move. Shards appear whole or not at all.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.structures.chain import Backbone
from protein.structures.filters import FilterSettings, judge, pieces
from protein.structures.parse import STRUCTURE_SUFFIXES
from protein.structures.read import read_structure
from sciddiff.cli.fingerprint import content
from sciddiff.errors import InputError
from sciddiff.files import replacing

_log = logging.getLogger(__name__)
# Raised when a change of this module changes what a file gives.
_FORMAT = 1


@dataclass(frozen=True)
class KeptChain:
    """One row of the archive to be.

    Attributes:
        id: ``1abc_A`` or, for a stretch between breaks, ``1abc_A/12-93``.
        source: path of the file below the folder.
        length: residues.
        sequence: one-letter amino acids.
        ss3: h, e, c.
        built_o: whether an O was rebuilt.
        is_piece: whether it is part of a longer chain.
        resolution: Å or None.
    """

    id: str
    source: str
    length: int
    sequence: str
    ss3: str
    built_o: bool
    is_piece: bool
    resolution: float | None


@dataclass(frozen=True)
class DroppedRow:
    """One row of the table of what was dropped.

    Attributes:
        file: path below the folder.
        chain: chain or piece; empty for the whole file.
        residues: how many; None when unknown.
        reason: one of a fixed set of words.
        detail: the number and the bound, or the error.
    """

    file: str
    chain: str
    residues: int | None
    reason: str
    detail: str


@dataclass(frozen=True)
class FileResult:
    """What one file gave; ``coords[i]`` belongs to ``kept[i]``; ``counts`` as the reader's."""

    kept: list[KeptChain] = field(default_factory=list)
    dropped: list[DroppedRow] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    coords: list[NDArray[np.float32]] = field(default_factory=list)


def process_file(file: Path, relative: str, settings: FilterSettings) -> FileResult:
    """Read and filter one file; whatever is wrong with it becomes a row, never an exception.

    Args:
        file: the structure file.
        relative: its path below the folder, for names and tables.
        settings: bounds.
    """
    try:
        return _chains_of(file, relative, settings)
    except InputError as error:
        detail = str(error).removeprefix(f"{file}: ")
        return FileResult(dropped=[DroppedRow(relative, "", None, "unreadable", detail)])
    except (MemoryError, RecursionError, ArithmeticError, LookupError, ValueError) as error:
        # One odd file must not cost a night's work, but it must not vanish silently either.
        _log.warning("%s: %s", file, error, exc_info=True)
        detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return FileResult(dropped=[DroppedRow(relative, "", None, "failed", detail)])


def _chains_of(file: Path, relative: str, settings: FilterSettings) -> FileResult:
    structure = read_structure(file, settings.model)
    result = FileResult(counts=dict(structure.counts))
    resolution, bound = structure.resolution, settings.max_resolution
    if bound is not None and resolution is not None and resolution > bound:
        residues = sum(len(chain) for chain in structure.chains)
        detail = f"{resolution:g} > {bound:g} Å"
        result.dropped.append(DroppedRow(relative, "", residues, "resolution", detail))
        return result
    seen: dict[str, str] = {}
    for chain in structure.chains:
        parts = pieces(chain)
        if len(parts) > 1 and not settings.split_breaks:
            detail = f"{len(parts) - 1} breaks"
            row = DroppedRow(relative, chain.chain_id, len(chain), "chain breaks", detail)
            result.dropped.append(row)
            continue
        for part in parts:
            _keep_or_drop(part, len(parts) > 1, relative, resolution, settings, seen, result)
    return result


def _keep_or_drop(
    part: Backbone,
    is_piece: bool,
    relative: str,
    resolution: float | None,
    settings: FilterSettings,
    seen: dict[str, str],
    result: FileResult,
) -> None:
    """Judge one piece and add it to ``result`` and ``seen``."""
    label = part.chain_id
    if is_piece:
        ends = [part.labels[i].removeprefix(part.chain_id) for i in (0, -1)]
        label = f"{part.chain_id}/{ends[0]}-{ends[1]}"
    verdict, ss3 = judge(part, settings)
    if verdict is not None:
        row = DroppedRow(relative, label, len(part), verdict.reason, verdict.detail)
        result.dropped.append(row)
        return
    first = seen.setdefault(part.sequence, label)
    if first != label and not settings.keep_copies:
        row = DroppedRow(relative, label, len(part), "copy", f"same sequence as {first}")
        result.dropped.append(row)
        return
    result.coords.append(part.coords)
    result.kept.append(
        KeptChain(
            id=f"{_stem(relative)}_{label}",
            source=relative,
            length=len(part),
            sequence=part.sequence,
            ss3=ss3,
            built_o=bool(part.built_o.any()),
            is_piece=is_piece,
            resolution=resolution,
        )
    )


def _stem(relative: str) -> str:
    """``sub/1abc.pdb.gz`` to ``sub.1abc``."""
    lower = relative.lower()
    suffix = max((s for s in STRUCTURE_SUFFIXES if lower.endswith(s)), key=len, default="")
    return relative[: len(relative) - len(suffix)].replace("/", ".")


@final
class ShardStore:
    """Folder of shards, one per structure file."""

    def __init__(self, folder: Path, settings: FilterSettings) -> None:
        """Use ``folder``, made if need be."""
        self._folder = folder
        self._digest = json.dumps({"format": _FORMAT, **asdict(settings)}, sort_keys=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be made ({error.strerror}); choose another output"
            ) from error

    def path(self, file: Path, relative: str) -> Path:
        """Where the shard of a file is or would be."""
        try:
            stamp = content(file)
        except InputError:
            stamp = "absent"  # a dangling link; reading it will say so
        key = hashlib.sha256(f"{relative}|{stamp}|{self._digest}".encode()).hexdigest()
        return self._folder / f"{key[:32]}.npz"

    def save(self, shard: Path, result: FileResult) -> None:
        """Write a shard.

        Raises:
            InputError: the disk is full or not writable.
        """
        table = {
            "kept": [asdict(row) for row in result.kept],
            "dropped": [asdict(row) for row in result.dropped],
            "counts": result.counts,
        }
        coords = np.concatenate(result.coords) if result.coords else np.zeros((0, 4, 3), "f4")
        with replacing(shard) as out:
            np.savez(out, table=np.asarray(json.dumps(table)), coords=coords)

    def load(self, shard: Path) -> FileResult | None:
        """Table of a shard, without coordinates; None when absent or damaged."""
        try:
            with np.load(shard, allow_pickle=False) as data:
                table: dict[str, Any] = json.loads(str(data["table"]))
            return FileResult(
                kept=[KeptChain(**row) for row in table["kept"]],
                dropped=[DroppedRow(**row) for row in table["dropped"]],
                counts=table["counts"],
            )
        except Exception:  # however it is damaged, it is made again
            return None

    def coords(self, shard: Path, lengths: list[int]) -> list[NDArray[np.float32]]:
        """Coordinates of a shard's chains, each `[L, 4, 3]`, Å."""
        with np.load(shard, allow_pickle=False) as data:
            return np.split(data["coords"], np.cumsum(lengths)[:-1])

    def remove(self) -> None:
        """Delete the shards, and the folder if nothing else is in it."""
        if not self._folder.is_dir():
            return
        for pattern in ("*.npz", ".*.npz.*"):
            for file in self._folder.glob(pattern):
                file.unlink(missing_ok=True)
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

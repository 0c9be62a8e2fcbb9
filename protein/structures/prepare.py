"""A folder of structure files to a training set, one file in memory at a time.

Every file leaves a shard in ``OUT.parts/``; a run that was killed finds them and goes on, and
its result is the same, byte for byte, as that of an undisturbed run. Then sequences are
clustered, clusters split, and the archive, the table of what was dropped and a summary written.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protein.structures.archive import SPLITS, write_archive
from protein.structures.clustering import cluster_sequences
from protein.structures.filters import FilterSettings
from protein.structures.parse import STRUCTURE_SUFFIXES
from protein.structures.shards import DroppedRow, FileResult, KeptChain, ShardStore, process_file
from protein.structures.splits import split_by_cluster
from protein.structures.workers import map_in_processes
from sciddiff.cli.campaign import made_before, record_made
from sciddiff.cli.fingerprint import Inputs
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.names import cell

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class PrepareSettings:
    """How to make a training set.

    Attributes:
        filters: bounds a chain must keep.
        val: share of chains for validation.
        test: share of chains for testing.
        seed: of the split.
        clusterer: ``auto``, ``builtin`` or ``mmseqs``.
        jobs: processes that read files.
        keep_parts: leave the shards in place, to add files later without reading all again.
        overwrite: replace an archive that is there.
    """

    filters: FilterSettings = field(default_factory=FilterSettings)
    val: float = 0.05
    test: float = 0.05
    seed: int = 0
    clusterer: str = "auto"
    jobs: int = 1
    keep_parts: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class PrepareReport:
    """What came of it.

    Attributes:
        files: structure files found.
        resumed: of these, how many an earlier run had done.
        chains: kept.
        residues: kept.
        clusters: sequence clusters at about 40 % and 30 % identity.
        splits: chains in each split.
        dropped: count of each reason.
        read: what the reader mapped, rebuilt or ignored, counted.
        clusterer: tool used, empty when nothing was left to cluster.
        archive: the file written; None when no chain survived.
        dropped_table: the table of what was dropped.
    """

    files: int
    resumed: int
    chains: int
    residues: int
    clusters: tuple[int, int]
    splits: dict[str, int]
    dropped: dict[str, int]
    read: dict[str, int]
    clusterer: str
    archive: str | None
    dropped_table: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def find_structures(folder: Path) -> list[Path]:
    """Structure files below a folder, by suffix, sorted by path; hidden ones are left out.

    Raises:
        InputError: no such folder, or no structure file in it.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder of .pdb or .cif files")
    found = [
        file
        for file in folder.rglob("*")
        if file.name.lower().endswith(STRUCTURE_SUFFIXES)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not file.is_dir()
    ]
    if not found:
        wanted = ", ".join(suffix for suffix in STRUCTURE_SUFFIXES if "gz" not in suffix)
        raise InputError(f"{folder}: no structure file ({wanted}, also .gz); check the path")
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def prepare_backbones(
    folder: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    on_progress: OnProgress | None = None,
) -> PrepareReport:
    """Turn a folder of structures into a chain archive.

    Writes ``out``, beside it ``.dropped.csv`` and ``.json``, and while at work ``out.parts/``.

    Args:
        folder: structures, at any depth; or one file.
        out: archive, ``.npz``.
        settings: bounds, splits, jobs.
        on_progress: told of every file and clustered sequence.

    Raises:
        InputError: no structures, an output that is there already or cannot be written.
    """
    settings = settings or PrepareSettings()
    if out.suffix != ".npz":
        raise InputError(f"{out}: name the archive with the suffix .npz")
    split_by_cluster(np.zeros(0, dtype=np.int32), settings.val, settings.test, settings.seed)
    files = find_structures(folder)
    root = folder.parent if folder.is_file() else folder
    parts, record = out.with_name(out.name + ".parts"), out.with_suffix(".json")
    begun = any(parts.glob("*.npz"))
    # An archive with parts and without a record is of a run that ended between the two.
    if out.exists() and not settings.overwrite and (record.exists() or not begun):
        made = _made_of(settings, root, files)
        found = made_before(out, record, *made)
        if begun and not found.get("keeps_parts", True):  # its run had no time to remove them
            ShardStore(parts, settings.filters).remove()
        return PrepareReport(**{f.name: found[f.name] for f in fields(PrepareReport)})
    store = ShardStore(parts, settings.filters)
    shards: list[Path] = []
    kept: list[list[KeptChain]] = []
    dropped: list[DroppedRow] = []
    counts: Counter[str] = Counter()
    resumed = 0
    for done, (shard, result, cached) in enumerate(_results(files, root, store, settings), 1):
        shards.append(shard)
        kept.append(result.kept)
        dropped.extend(result.dropped)
        counts.update(result.counts)
        resumed += cached
        if on_progress is not None:
            on_progress("reading structures", done, len(files))
    table = out.with_suffix(".dropped.csv")
    _write_dropped(table, dropped)
    report = PrepareReport(
        files=len(files),
        resumed=resumed,
        chains=0,
        residues=0,
        clusters=(0, 0),
        splits=dict.fromkeys(SPLITS, 0),
        dropped=dict(Counter(row.reason for row in dropped).most_common()),
        read=dict(counts),
        clusterer="",
        archive=None,
        dropped_table=str(table),
    )
    if any(kept):
        report = _write(out, store, shards, kept, settings, report, on_progress)
        request, inputs = _made_of(settings, root, files)
        told = {**report.as_dict(), "keeps_parts": settings.keep_parts}
        record_made(record, request, inputs, told)
    if not settings.keep_parts:
        store.remove()
    return report


def _results(
    files: Sequence[Path], root: Path, store: ShardStore, settings: PrepareSettings
) -> Iterator[tuple[Path, FileResult, bool]]:
    """Shard, table and whether it was there already, file by file in order."""
    names = [file.relative_to(root).as_posix() for file in files]
    shards = [store.path(file, name) for file, name in zip(files, names, strict=True)]
    cached = [store.load(shard) for shard in shards]
    tasks = [
        (file, name, shard, store, settings.filters)
        for file, name, shard, old in zip(files, names, shards, cached, strict=True)
        if old is None
    ]
    jobs = settings.jobs
    chunk = max(1, min(16, len(tasks) // (4 * jobs)))
    fresh = map_in_processes(_work, tasks, jobs, chunk) if jobs > 1 else map(_work, tasks)
    for shard, old in zip(shards, cached, strict=True):
        yield shard, next(fresh) if old is None else old, old is not None


def _work(task: tuple[Path, str, Path, ShardStore, FilterSettings]) -> FileResult:
    """Read one file and save its shard; returns the table alone."""
    file, name, shard, store, filters = task
    result = process_file(file, name, filters)
    store.save(shard, result)
    return replace(result, coords=[])


def _write(
    out: Path,
    store: ShardStore,
    shards: Sequence[Path],
    kept: Sequence[list[KeptChain]],
    settings: PrepareSettings,
    report: PrepareReport,
    on_progress: OnProgress | None,
) -> PrepareReport:
    """Cluster, split and write archive and summary."""
    rows = [row for part in kept for row in part]

    def tell(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress("clustering sequences", done, total)

    sequences = [row.sequence for row in rows]
    fine, coarse, tool = cluster_sequences(sequences, settings.clusterer, tell)
    split = split_by_cluster(coarse, settings.val, settings.test, settings.seed)
    coords = (
        chain
        for shard, part in zip(shards, kept, strict=True)
        if part
        for chain in store.coords(shard, [row.length for row in part])
    )
    write_archive(out, coords, _columns(rows, fine, coarse, split))
    report = replace(
        report,
        chains=len(rows),
        residues=sum(row.length for row in rows),
        clusters=(len(np.unique(fine)), len(np.unique(coarse))),
        splits={name: int((split == name).sum()) for name in SPLITS},
        clusterer=tool,
        archive=str(out),
    )
    return report


def _made_of(
    settings: PrepareSettings, root: Path, files: Sequence[Path]
) -> tuple[dict[str, Any], Inputs]:
    """What decides an archive: the settings that do, and the content of the files."""
    request = asdict(settings)
    for name in ("jobs", "keep_parts", "overwrite"):
        del request[name]
    return request, Inputs().add_files("structures", root, files)


def _columns(
    rows: Sequence[KeptChain],
    fine: NDArray[np.int32],
    coarse: NDArray[np.int32],
    split: NDArray[np.str_],
) -> dict[str, NDArray]:
    """Per-chain arrays of the archive."""
    missing = float("nan")
    resolution = [missing if row.resolution is None else row.resolution for row in rows]
    return {
        "length": np.asarray([row.length for row in rows], dtype=np.int32),
        "id": np.asarray(_unique([row.id for row in rows])),
        "source": np.asarray([row.source for row in rows]),
        "sequence": np.asarray([row.sequence.encode() for row in rows]),
        "ss3": np.asarray([row.ss3.encode() for row in rows]),
        "cluster_c40": fine,
        "cluster_c30": coarse,
        "built_o": np.asarray([row.built_o for row in rows], dtype=np.uint8),
        "is_domain_piece": np.asarray([row.is_piece for row in rows], dtype=np.uint8),
        "resolution": np.asarray(resolution, dtype=np.float32),
        "split": split,
    }


def _unique(names: Sequence[str]) -> list[str]:
    """Append ``~2``, ``~3`` … to repeated names (``1abc.pdb`` beside ``1abc.cif``)."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}~{seen[name]}")
    return unique


def _write_dropped(path: Path, rows: Sequence[DroppedRow]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "chain", "residues", "reason", "detail"))
    for row in rows:
        residues = "" if row.residues is None else row.residues
        cells = (row.file, row.chain, residues, row.reason, row.detail)
        writer.writerow([cell(value) for value in cells])
    with replacing(path) as out:
        out.write(text.getvalue().encode("utf-8"))

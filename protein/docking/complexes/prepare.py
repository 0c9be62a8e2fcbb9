"""From a folder of complexes to a training set, one complex at a time.

Every source leaves a shard in ``OUT.parts/``, which lets an interrupted run continue. Then pockets
are grouped by the sequence clusters of their chains, and ligands by their scaffolds. Complexes
that share either, directly or through others, are never on different sides of a split. If the
folder has train, val and test folders, these decide.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from protein.docking.complexes.archive import write_archive
from protein.docking.complexes.sources import (
    Dropped,
    Item,
    Reading,
    ReadSettings,
    Source,
    find_sources,
    read_source,
)
from protein.structures.clustering import cluster_sequences, joined_by_labels
from protein.structures.splits import split_by_cluster
from protein.structures.workers import map_in_processes
from sciddiff.cli.campaign import made_before, record_made
from sciddiff.cli.fingerprint import Inputs, content, digest
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.names import Names, cell

OnProgress = Callable[[str, int, int], None]
"""Called with the name of a task, how much of it is done, and how much there is."""

# Raised when a change of what is read changes what a source gives.
_FORMAT = 1


@dataclass(frozen=True)
class DockPrepareSettings:
    """How to make a training set.

    Attributes:
        read: bounds of a complex.
        val: share of complexes for validation, if the folder names no split.
        test: share of complexes for testing.
        seed: seed of the split.
        jobs: number of processes that read.
        keep_parts: whether to keep the shards.
        overwrite: whether to replace an archive that exists.
    """

    read: ReadSettings = field(default_factory=ReadSettings)
    val: float = 0.05
    test: float = 0.05
    seed: int = 0
    jobs: int = 1
    keep_parts: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class DockPrepareReport:
    """Outcome of a preparation.

    Attributes:
        sources: number of sources found.
        resumed: number of them that an earlier run had read.
        complexes: number of complexes kept.
        groups: number of groups of relatives, which share a pocket cluster or a scaffold.
        splits: complexes in each split.
        dropped: how often each reason occurred.
        archive: the file written; None if no complex was kept.
        dropped_table: the table of what was dropped.
    """

    sources: int
    resumed: int
    complexes: int
    groups: int
    splits: dict[str, int]
    dropped: dict[str, int]
    archive: str | None
    dropped_table: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def prepare_docking(
    folder: Path,
    out: Path,
    settings: DockPrepareSettings | None = None,
    components: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
) -> DockPrepareReport:
    """Turn a folder of complexes into a dock archive.

    Writes ``out``, with ``.dropped.csv`` and ``.json`` beside it, and ``out.parts/`` meanwhile.

    Args:
        folder: folder that holds complexes, at any depth.
        out: archive to write, ``.npz``.
        settings: bounds, splits and number of processes.
        components: SMILES of ligand residues, for reading plain structure files as well.
        on_progress: called for every source.

    Raises:
        InputError: there are no complexes, or the output exists already or cannot be written.
    """
    settings = settings or DockPrepareSettings()
    if out.suffix != ".npz":
        raise InputError(f"{out}: name the archive with the suffix .npz")
    split_by_cluster(np.zeros(0, dtype=np.int32), settings.val, settings.test, settings.seed)
    sources = find_sources(folder, structures=bool(components))
    parts, record = out.with_name(out.name + ".parts"), out.with_suffix(".json")
    begun = any(parts.glob("*.npz"))
    # An archive with parts and without a record is of a run that ended between the two.
    if out.exists() and not settings.overwrite and (record.exists() or not begun):
        made = _made_of(settings, components or {}, folder, sources)
        found = made_before(out, record, *made)
        if begun and not found.get("keeps_parts", True):  # its run had no time to remove them
            _Shards(parts, settings.read, components or {}).remove()
        return DockPrepareReport(**{f.name: found[f.name] for f in fields(DockPrepareReport)})
    store = _Shards(parts, settings.read, components or {})
    items: list[Item] = []
    dropped: list[Dropped] = []
    resumed = 0
    for done, (reading, cached) in enumerate(_readings(sources, store, settings.jobs), 1):
        items += reading.items
        dropped += reading.dropped
        resumed += cached
        if on_progress is not None:
            on_progress("reading complexes", done, len(sources))
    table = out.with_suffix(".dropped.csv")
    _write_dropped(table, dropped)
    splits: NDArray[np.str_] = np.zeros(0, dtype="<U5")
    groups: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    if items:
        clusters = pocket_clusters([item.sequences for item in items])
        groups = relatives(clusters, [str(item.info["scaffold"]) for item in items])
        splits = _splits(items, groups, settings)
        write_archive(out, [item.arrays for item in items], _columns(items, clusters, splits))
    report = DockPrepareReport(
        sources=len(sources),
        resumed=resumed,
        complexes=len(items),
        groups=len(np.unique(groups)),
        splits={name: int((splits == name).sum()) for name in ("train", "val", "test")},
        dropped=dict(Counter(row.reason for row in dropped).most_common()),
        archive=str(out) if items else None,
        dropped_table=str(table),
    )
    if items:
        request, inputs = _made_of(settings, components or {}, folder, sources)
        told = {**report.as_dict(), "keeps_parts": settings.keep_parts}
        record_made(record, request, inputs, told)
    if not settings.keep_parts:
        store.remove()
    return report


def _made_of(
    settings: DockPrepareSettings,
    components: Mapping[str, str],
    folder: Path,
    sources: Sequence[Source],
) -> tuple[dict[str, Any], Inputs]:
    """What decides an archive: the settings that do, and the content of the files."""
    request = {**asdict(settings), "components": digest(sorted(components.items()))}
    for name in ("jobs", "keep_parts", "overwrite"):
        del request[name]
    files = [file for source in sources for file in source.files]
    return request, Inputs().add_files("complexes", folder, files)


def pocket_clusters(chains: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Cluster of each complex `[n]`: complexes with a chain of one 40 % cluster at the pocket.

    Chains are joined through complexes they line together (single linkage).

    Args:
        chains: sequences that line the pocket of each complex.
    """
    flat = [sequence for group in chains for sequence in group]
    fine = cluster_sequences(flat)[0] if flat else np.zeros(0, dtype=np.int32)
    labels, start = [], 0
    for i, group in enumerate(chains):
        # A pocket without a chain long enough to compare is a cluster of its own.
        labels.append([int(c) for c in fine[start : start + len(group)]] or [-1 - i])
        start += len(group)
    return joined_by_labels(labels)


def relatives(clusters: NDArray[np.int64], scaffolds: Sequence[str]) -> NDArray[np.int64]:
    """Groups of complexes that share a cluster or a scaffold, directly or through others `[n]`."""
    return joined_by_labels(
        [[("p", int(c)), ("s", s)] for c, s in zip(clusters, scaffolds, strict=True)]
    )


def _splits(
    items: Sequence[Item], groups: NDArray[np.int64], settings: DockPrepareSettings
) -> NDArray[np.str_]:
    given = np.asarray([str(item.info["split"]) for item in items], dtype="<U5")
    if (given != "").all():
        return given
    drawn = split_by_cluster(groups, settings.val, settings.test, settings.seed)
    return np.where(given != "", given, drawn)


def _columns(
    items: Sequence[Item], clusters: NDArray[np.int64], splits: NDArray[np.str_]
) -> dict[str, NDArray]:
    names = Names()
    ids = [names.unique(item.id, f"complex_{k}") for k, item in enumerate(items, 1)]
    return {
        "id": np.asarray(ids),
        "split": splits,
        "cluster": clusters.astype(np.int32),
        "smiles": np.asarray([str(item.info["smiles"]) for item in items]),
        "source": np.asarray([str(item.info["source"]) for item in items]),
        "rmsd": np.asarray([item.info["rmsd"] for item in items], dtype=np.float32),
    }


def _readings(
    sources: Sequence[Source], store: "_Shards", jobs: int
) -> Iterator[tuple[Reading, bool]]:
    """What each source gave, in order, and whether it was there already."""
    cached = [store.load(source) for source in sources]
    tasks = [(s, store) for s, old in zip(sources, cached, strict=True) if old is None]
    fresh = map_in_processes(_work, tasks, jobs, 4) if jobs > 1 else map(_work, tasks)
    for old in cached:
        yield next(fresh) if old is None else old, old is not None


def _work(task: "tuple[Source, _Shards]") -> Reading:
    source, store = task
    reading = read_source(source, store.settings, store.components)
    store.save(source, reading)
    return reading


def _write_dropped(path: Path, rows: Sequence[Dropped]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("complex", "file", "reason", "detail"))
    for row in rows:
        cells = (row.id, row.file, row.reason, row.detail)
        writer.writerow([cell(value) for value in cells])
    with replacing(path) as out:
        out.write(text.getvalue().encode("utf-8"))


@final
class _Shards:
    """Folder of shards, one per source; they appear whole or not at all."""

    def __init__(
        self, folder: Path, settings: ReadSettings, components: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self.settings = settings
        self.components = dict(components)
        self._digest = json.dumps(
            {"format": _FORMAT, **asdict(settings), "components": self.components},
            sort_keys=True,
        )

    def _path(self, source: Source) -> Path:
        stamps = [source.id, source.split]
        for file in source.files:
            stamps.append(content(file))
        key = hashlib.sha256("|".join([*stamps, self._digest]).encode()).hexdigest()
        return self._folder / f"{key[:32]}.npz"

    def save(self, source: Source, reading: Reading) -> None:
        """Write a shard.

        Raises:
            InputError: the disk is full or not writable.
        """
        table = {
            "items": [{"id": item.id, "info": item.info} for item in reading.items],
            "dropped": [asdict(row) for row in reading.dropped],
        }
        arrays = {
            f"{i}/{name}": values
            for i, item in enumerate(reading.items)
            for name, values in item.arrays.items()
        }
        with replacing(self._path(source)) as out:
            np.savez(out, table=np.asarray(json.dumps(table)), **arrays)  # type: ignore[arg-type]

    def load(self, source: Source) -> Reading | None:
        """What a shard holds; None when absent or damaged."""
        try:
            with np.load(self._path(source), allow_pickle=False) as data:
                table = json.loads(str(data["table"]))
                items = []
                for i, row in enumerate(table["items"]):
                    prefix = f"{i}/"
                    arrays = {
                        name.removeprefix(prefix): data[name]
                        for name in data.files
                        if name.startswith(prefix)
                    }
                    items.append(Item(row["id"], arrays, row["info"]))
            return Reading(items, [Dropped(**row) for row in table["dropped"]])
        except Exception:  # however it is damaged, it is made again
            return None

    def remove(self) -> None:
        """Delete the shards, and the folder if nothing else is in it."""
        if not self._folder.is_dir():
            return
        for pattern in ("*.npz", ".*.npz.*"):
            for file in self._folder.glob(pattern):
                file.unlink(missing_ok=True)
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

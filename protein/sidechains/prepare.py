"""A folder of full-atom structures to a training set of side chains.

Every file leaves a shard in ``OUT.parts/``, named by its content, so that a run that was killed
goes on where it stopped. Structures that share a chain of one cluster, directly or through others,
are never on both sides of a split.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from protein.sequence.alphabet import letters
from protein.sidechains.archive import fits, write_side_chains
from protein.sidechains.templates import Template, template_of
from protein.structures.archive import SPLITS
from protein.structures.clustering import cluster_sequences, joined_by_labels
from protein.structures.prepare import find_structures
from protein.structures.read import read_structure
from protein.structures.splits import split_by_cluster
from protein.structures.workers import map_in_processes
from sciddiff.cli.campaign import made_before, record_made
from sciddiff.cli.fingerprint import Inputs, content
from sciddiff.errors import InputError
from sciddiff.files import replacing
from sciddiff.names import Names

__all__ = ["PackPrepareReport", "PackPrepareSettings", "prepare_side_chains"]

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

# Raised when a change of what is read changes what a file gives.
_FORMAT = 1


@dataclass(frozen=True)
class PackPrepareSettings:
    """Which structures are kept, and how they are split.

    Attributes:
        min_length: fewest residues of all chains.
        max_length: most.
        max_resolution: Å; structures that state none pass.
        min_complete: smallest share of residues that have all atoms.
        val: share for validation.
        test: share for testing.
        seed: of the split.
        clusterer: ``auto``, ``builtin`` or ``mmseqs``.
        jobs: processes that read.
        overwrite: replace an archive that is there.
    """

    min_length: int = 30
    max_length: int = 3000
    max_resolution: float = 3.0
    min_complete: float = 0.7
    val: float = 0.05
    test: float = 0.05
    seed: int = 0
    clusterer: str = "auto"
    jobs: int = 1
    overwrite: bool = False


@dataclass(frozen=True)
class PackPrepareReport:
    """What came of it.

    Attributes:
        files: structure files found.
        resumed: of these, how many an earlier run had read.
        structures: kept.
        residues: kept.
        complete: of these, how many have all atoms.
        clusters: groups of relatives.
        splits: structures in each split.
        dropped: file and reason of each that was left out.
        clusterer: the tool that clustered.
        archive: the file written.
    """

    files: int
    resumed: int
    structures: int
    residues: int
    complete: int
    clusters: int
    splits: dict[str, int]
    dropped: dict[str, str]
    clusterer: str
    archive: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def prepare_side_chains(
    folder: Path,
    out: Path,
    settings: PackPrepareSettings | None = None,
    on_progress: OnProgress | None = None,
) -> PackPrepareReport:
    """Turn a folder of structures into a side chain archive, with its record ``.json`` beside it.

    Args:
        folder: structures, at any depth; or one file.
        out: archive, ``.npz``.
        settings: bounds, splits, jobs.
        on_progress: told of every file and clustered sequence.

    Raises:
        InputError: no structures, none left, or an output that is there already.
    """
    settings = settings or PackPrepareSettings()
    if out.suffix != ".npz":
        raise InputError(f"{out}: name the archive with the suffix .npz")
    split_by_cluster(np.zeros(0, dtype=np.int32), settings.val, settings.test, settings.seed)
    files = find_structures(folder)
    root = folder.parent if folder.is_file() else folder
    request = {k: v for k, v in asdict(settings).items() if k not in ("jobs", "overwrite")}
    inputs = Inputs().add_files("structures", root, files)
    record, parts = out.with_suffix(".json"), out.with_name(out.name + ".parts")
    if out.exists() and not settings.overwrite:
        found = made_before(out, record, request, inputs)
        return PackPrepareReport(**{f.name: found[f.name] for f in fields(PackPrepareReport)})
    parts.mkdir(parents=True, exist_ok=True)
    tell = on_progress or (lambda what, done, total: None)
    kept: list[Template] = []
    sources: list[str] = []
    dropped: dict[str, str] = {}
    resumed = 0
    for done, (name, found, again) in enumerate(_read_all(files, root, parts, settings), 1):
        if isinstance(found, str):
            dropped[name] = found
        else:
            kept.append(found)
            sources.append(name)
        resumed += again
        tell("reading structures", done, len(files))
    if not kept:
        reasons = ", ".join(f"{n} {why}" for why, n in Counter(dropped.values()).most_common(3))
        raise InputError(f"{folder}: no structure is left ({reasons}); loosen the bounds")
    report = _write(out, kept, sources, settings, tell)
    report = PackPrepareReport(
        files=len(files), resumed=resumed, dropped=dropped, archive=str(out), **report
    )
    record_made(record, request, inputs, report.as_dict())
    _remove(parts)
    return report


def _write(
    out: Path,
    kept: Sequence[Template],
    sources: Sequence[str],
    settings: PackPrepareSettings,
    tell: OnProgress,
) -> dict[str, Any]:
    """Cluster, split and write the archive; the figures of the report."""
    chains = [_sequences(one) for one in kept]
    flat = [text for group in chains for text in group]
    coarse, tool = cluster_sequences(
        flat, settings.clusterer, lambda done, total: tell("clustering sequences", done, total)
    )[1:]
    ends = np.cumsum([len(group) for group in chains])
    groups = joined_by_labels([part.tolist() for part in np.split(coarse, ends[:-1])])
    split = split_by_cluster(groups, settings.val, settings.test, settings.seed)
    names = Names()
    columns = {
        "id": np.asarray([names.unique(one.name, f"structure_{k}") for k, one in enumerate(kept)]),
        "source": np.asarray(sources),
        "sequence": np.asarray([_letters(one).encode() for one in kept]),
        "cluster": groups.astype(np.int32),
        "split": split,
    }
    write_side_chains(out, kept, columns)
    return {
        "structures": len(kept),
        "residues": sum(map(len, kept)),
        "complete": int(sum(one.complete.sum() for one in kept)),
        "clusters": len(np.unique(groups)),
        "splits": {name: int((split == name).sum()) for name in SPLITS},
        "clusterer": tool,
    }


def _letters(template: Template) -> str:
    return letters(np.where(template.unknown, 20, template.tokens))


def _sequences(template: Template) -> list[str]:
    """One-letter amino acids of each chain."""
    text, chain = _letters(template), template.chain
    cuts = [0, *(np.flatnonzero(np.diff(chain)) + 1).tolist(), len(text)]
    return [text[start:stop] for start, stop in zip(cuts[:-1], cuts[1:], strict=True)]


_Task = tuple[Path, str, Path, PackPrepareSettings]


def _read_all(
    files: Sequence[Path], root: Path, parts: Path, settings: PackPrepareSettings
) -> Iterator[tuple[str, Template | str, bool]]:
    """Name below the folder, what a file gave or why it is left out, and whether it was read
    before, file by file.
    """
    names = [file.relative_to(root).as_posix() for file in files]
    shards = [
        parts / f"{hashlib.sha256(f'{_FORMAT}|{name}|{content(file)}'.encode()).hexdigest()}.npz"
        for file, name in zip(files, names, strict=True)
    ]
    there = [shard.exists() for shard in shards]
    tasks: list[_Task] = [
        (file, name, shard, settings)
        for file, name, shard, done in zip(files, names, shards, there, strict=True)
        if not done
    ]
    jobs = settings.jobs
    fresh = map_in_processes(_read, tasks, jobs, 4) if jobs > 1 else map(_read, tasks)
    for name, shard, done in zip(names, shards, there, strict=True):
        found = _load(shard) if done else next(fresh)
        yield name, _judged(found, settings), done


def _read(task: _Task) -> tuple[Template | str, float | None]:
    """Read one file and save its shard: the structure with its resolution, or what is wrong."""
    file, name, shard, _ = task
    try:
        structure = read_structure(file, side_chains=True)
        found = template_of(structure, name=Path(name).name.split(".")[0])
        resolution = structure.resolution
    except InputError as error:
        found, resolution = str(error).removeprefix(f"{file}: "), None
    with replacing(shard) as out:
        if isinstance(found, str):
            np.savez(out, error=np.asarray(found))
        else:
            value = np.nan if resolution is None else resolution
            np.savez(out, resolution=np.float64(value), **vars(found))
    return found, resolution


def _load(shard: Path) -> tuple[Template | str, float | None]:
    with np.load(shard, allow_pickle=False) as data:
        if "error" in data:
            return str(data["error"]), None
        arrays = {f.name: data[f.name] for f in fields(Template)}
        arrays["name"] = str(arrays["name"])
        resolution = float(data["resolution"])
        return Template(**arrays), None if np.isnan(resolution) else resolution


def _judged(
    found: tuple[Template | str, float | None], settings: PackPrepareSettings
) -> Template | str:
    """The structure, or why it is left out."""
    template, resolution = found
    if isinstance(template, str):
        return f"unreadable: {template}"
    if not settings.min_length <= len(template) <= settings.max_length:
        return "of another length"
    if resolution is not None and resolution > settings.max_resolution:
        return "of lower resolution"
    if template.complete.mean() < settings.min_complete:
        return "with too few complete side chains"
    return template if fits(template) else "too large for an archive"


def _remove(parts: Path) -> None:
    for file in parts.glob("*.npz"):
        file.unlink(missing_ok=True)
    if not any(parts.iterdir()):
        parts.rmdir()

"""A library docked into a folder, part by part, by any number of processes.

Part i holds the 16 ligands of the input from number ``16 * i`` on. For every batch of ligands the
poses are written first and then the rows. A ligand without a row is docked again, to the same
files; ``sciddiff.cli.parts`` decides by which process. A row holds the digest of its ligand, so
that ligands may be appended to the input but not changed. ``results.csv`` collects the rows of all
parts, one for every input.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

from protein.docking.campaign.output import (
    BEST,
    RESULTS,
    Row,
    by_affinity,
    failed_row,
    write_best,
    write_docked,
    write_pdbqt,
    write_results,
)
from protein.docking.campaign.verdicts import verdicts
from protein.docking.molecules.files import LigandRecord, LigandRow, ligand_records
from protein.docking.molecules.ligand import Ligand, LigandSettings
from protein.docking.molecules.sources import LigandSource, sources_of
from protein.docking.pipeline.docker import Docker
from protein.docking.pipeline.result import Result
from sciddiff.cli.campaign import Campaign
from sciddiff.cli.parts import Parts, do_all, world
from sciddiff.errors import InputError, MissingExtra
from sciddiff.files import replacing

_log = logging.getLogger(__name__)

OnLigand = Callable[[int, int], None]
"""Called with how many ligands were docked, and how many failed, since the last call."""

_ROWS = "rows"
_AHEAD = 64  # parts that other processes may be ahead


@dataclass(frozen=True)
class CampaignSettings:
    """Which files are written, and in which portions.

    Attributes:
        batch: number of ligands docked together.
        checked: number of poses of each ligand that PoseBusters checks.
        complexes: whether the first pose is also written with its receptor.
        part: ligands whose rows are recorded together; the same for all runs of a folder.
        hydrogens: whether poses are written with their hydrogens.
        pdbqt: whether poses are written as PDBQT, too.
    """

    batch: int = 8
    checked: int = 0
    complexes: bool = True
    part: int = 16
    hydrogens: bool = False
    pdbqt: bool = False


def dock_library(
    source: LigandSource,
    docker: Docker,
    campaign: Campaign,
    receptor_file: Path,
    settings: CampaignSettings = CampaignSettings(),
    limits: LigandSettings | None = None,
    on_ligand: OnLigand | None = None,
) -> list[Row]:
    """Dock every ligand of a source that has not been docked yet, in this process.

    Args:
        source: file of ligands, folder, or SMILES, or several of these.
        docker: the prepared receptor.
        campaign: the folder and its record.
        receptor_file: structure file that PoseBusters reads.
        settings: size of the portions, and which files are written.
        limits: limits on the size of a ligand; the usual ones by default.
        on_ligand: called as ligands are done.

    Returns:
        One row per input, in order.

    Raises:
        InputError: the source cannot be read.
    """
    parts = LibraryParts(
        source, lambda: docker, campaign.directory, receptor_file, settings, limits
    )
    return dock_parts(lambda: parts, campaign, on_ligand=on_ligand)


def dock_parts(
    make: Callable[[], "LibraryParts"],
    campaign: Campaign,
    workers: int = 1,
    on_ligand: OnLigand | None = None,
    command: str = "",
) -> list[Row]:
    """Dock the remaining ligands, here or in several processes, and write the table.

    Args:
        make: makes the library in each process; it must be picklable for several workers.
        campaign: the folder and its record.
        workers: number of processes to start; under torchrun or SLURM theirs are used.
        on_ligand: called in the first process as ligands are done.
        command: the command line, for the record.

    Returns:
        One row per input, in order; none in processes after the first.

    Raises:
        InputError: the source cannot be read, a process ended early, or a ligand that was docked
            before has changed.
    """
    parts, place = make(), world()
    total, before = parts.check()
    started = time.perf_counter()
    watch = None if on_ligand is None else RowWatcher(parts, on_ligand)
    if place.size > 1 or (workers > 1 and before < total):
        from sciddiff.cli.predict import spread

        with _watching(watch if place.size == 1 else None):
            spread(make, workers, watch if place.size > 1 else None)
    else:
        do_all(parts, watch)
    if place.rank > 0:
        return []
    rows = [row for part, _ in enumerate(parts.items()) for row in parts.read_rows(part)]
    ordered = by_affinity(rows)
    if before < len(rows) or not (campaign.directory / BEST).exists():
        write_best(campaign.directory, ordered)
    write_results(campaign.directory / RESULTS, [row.as_dict() for row in ordered])
    campaign.ran(len(rows) - before, time.perf_counter() - started, command)
    return rows


class LibraryParts(Parts):
    """A library of ligands, divided into parts.

    Args:
        source: file of ligands, folder, or SMILES, or several of these.
        make: prepares the receptor; called once, when the first ligand is docked.
        directory: folder to write to.
        receptor_file: structure file that PoseBusters reads.
        settings: size of the portions, and which files are written.
        limits: limits on the size of a ligand; the usual ones by default.
    """

    def __init__(
        self,
        source: LigandSource,
        make: Callable[[], Docker],
        directory: Path,
        receptor_file: Path,
        settings: CampaignSettings = CampaignSettings(),
        limits: LigandSettings | None = None,
    ) -> None:
        self.source, self.directory, self.settings = source, directory, settings
        self._named = ", ".join(map(str, sources_of(source)))
        self.receptor_file, self.limits = receptor_file, limits or LigandSettings()
        self.docker = cache(make)
        self._whole: set[int] = set()

    @property
    def begun(self) -> bool:
        """Whether any ligand has been docked or is being docked."""
        return any((self.directory / _ROWS).glob("[0-9]*.json")) or self.taken

    def items(self) -> Iterator[list[LigandRecord]]:
        """Records of the ligands of each part."""
        records = ligand_records(self.source)
        while group := list(islice(records, self.settings.part)):
            yield group

    def record(self, part: int) -> Path:
        """File of the rows of a part."""
        return self.directory / _ROWS / f"{part:06d}.json"

    def finished(self, part: int, item: Sequence[LigandRecord]) -> bool:
        """Whether every ligand of a part has its row."""
        if part not in self._whole and len(self._saved(part)) >= len(item):
            self._whole.add(part)
        return part in self._whole

    def check(self) -> tuple[int, int]:
        """Check that the ligands docked so far are still those of the source.

        Returns:
            The number of ligands, and how many of them are docked.

        Raises:
            InputError: a ligand has changed since it was docked, or is missing.
        """
        total = docked = part = 0
        for part, item in enumerate(self.items(), 1):
            saved = self._saved(part - 1)
            known = len(saved)
            for record in item:
                _, made_of = saved.pop(record.index, (None, record.digest))
                if made_of != record.digest:
                    raise InputError(
                        f"{self._named}: ligand {record.index + 1} ({record.name}) is not the one "
                        f"that was docked into {self.directory}; choose another -o, or restore it"
                    )
            total, docked = total + len(item), docked + known
            if saved:
                self._gone(total)
        if self.record(part).exists():
            self._gone(total)
        return total, docked

    def _gone(self, total: int) -> None:
        raise InputError(
            f"{self._named}: has {total} ligands, fewer than were docked into {self.directory}; "
            "choose another -o, or restore the missing ones"
        )

    def read_rows(self, part: int) -> list[Row]:
        """Rows of a part, in order."""
        return [row for _, (row, _) in sorted(self._saved(part).items())]

    def _saved(self, part: int) -> dict[int, tuple[Row, str]]:
        """Row and digest of every ligand of a part that is docked, by its index."""
        file = self.record(part)
        if not file.exists():
            return {}
        try:
            saved = [dict(row) for row in json.loads(file.read_text(encoding="utf-8"))]
            of = [str(row.pop("digest")) for row in saved]
            rows = [Row(**row) for row in saved]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{file}: is damaged; remove it and run the same command again"
            ) from error
        return {row.index - 1: (row, made_of) for row, made_of in zip(rows, of, strict=True)}

    def do(self, part: int, item: Sequence[LigandRecord]) -> None:
        """Dock the ligands of a part that have no row, and record their rows batch by batch."""
        done = self._saved(part)
        missing = {record.index: record for record in item if record.index not in done}
        for rows in self._docked(list(missing.values())):
            done |= {row.index - 1: (row, missing[row.index - 1].digest) for row in rows}
            made = [{**row.as_dict(), "digest": of} for _, (row, of) in sorted(done.items())]
            with replacing(self.record(part)) as out:
                out.write(json.dumps(made).encode())

    def _docked(self, records: Sequence[LigandRecord]) -> Iterator[list[Row]]:
        """Rows of the ligands that cannot be docked, and then the rows of each batch."""
        group = [record.read(self.limits) for record in records]
        refused = [r for r in group if r.ligand is None]
        if refused:
            rows = [failed_row(r.index, r.name, r.error, r.title) for r in refused]
            yield [replace(row, parent=r.parent) for row, r in zip(rows, refused, strict=True)]
        # Padding is least when neighbours are of one size.
        todo = [(r, r.ligand) for r in group if r.ligand is not None]
        todo.sort(key=lambda pair: (len(pair[1]), pair[0].index))
        for start in range(0, len(todo), self.settings.batch):
            rows, ligands = zip(*todo[start : start + self.settings.batch], strict=True)
            results = self.docker().dock(ligands, [r.index for r in rows])
            yield [self._written(*one) for one in zip(rows, ligands, results, strict=True)]

    def _written(self, row: LigandRow, ligand: Ligand, result: Result) -> Row:
        """Write the files of a ligand and return its row; an error becomes its row."""
        s, judged, ligand = self.settings, [], result.molecule(ligand)
        try:
            receptor = self.docker().receptor
            with suppress(MissingExtra):  # where PoseBusters is not installed there are none
                judged = verdicts(ligand, result, receptor, self.receptor_file, s.checked)
            made = write_docked(
                self.directory, row.index, row.name, ligand, receptor, result,
                judged, s.complexes, row.title, s.hydrogens,
            )  # fmt: skip
            if s.pdbqt and result.docked is not None and made.file:
                write_pdbqt((self.directory / made.file).with_suffix(".pdbqt"), ligand, result)
            notes = [note for note in (row.note, made.note) if note]
            return replace(made, parent=row.parent, note="; ".join(notes))
        except (InputError, MissingExtra, OSError):
            raise  # the disk or the installation, which the next ligand would meet too
        except Exception as error:  # noqa: BLE001 - one odd molecule must not cost the others
            _log.warning("%s: %s", row.name, error, exc_info=True)
            reason = f"{row.name}: {str(error)[:300]}"
            return replace(failed_row(row.index, row.name, reason, row.title), parent=row.parent)


class RowWatcher:
    """Reports progress from the rows that exist, whichever process wrote them.

    Args:
        parts: the library.
        on_ligand: called with the number of new rows, and of those that failed.
    """

    def __init__(self, parts: LibraryParts, on_ligand: OnLigand) -> None:
        self.parts, self.on_ligand = parts, on_ligand
        self._first = 0
        self._seen: dict[int, tuple[int, int]] = {}

    def __call__(self, part: int) -> None:
        """Look for new rows.

        Args:
            part: part that this process has reached; other processes are close to it.
        """
        for number in range(self._first, part + _AHEAD):
            if self.parts.record(number).exists():
                rows = self.parts.read_rows(number)
                failed = sum(row.status == "failed" for row in rows)
                before = self._seen.get(number, (0, 0))
                self._seen[number] = len(rows), failed
                if len(rows) > before[0]:
                    self.on_ligand(len(rows) - before[0], failed - before[1])
        while self._seen.get(self._first, (0, 0))[0] >= self.parts.settings.part:
            del self._seen[self._first]
            self._first += 1

    def look(self) -> None:
        """Look for the rows of other processes."""
        first = -1
        while first != self._first:
            first = self._first
            self(first)


@contextmanager
def _watching(watcher: RowWatcher | None) -> Iterator[None]:
    """Report progress every second while other processes work."""
    if watcher is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            watcher.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        watcher.look()

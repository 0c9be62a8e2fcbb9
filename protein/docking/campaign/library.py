"""A library docked into a folder, part by part, by any number of processes.

Part i holds the ligands ``i * 16`` and following of the input. Its poses are written first, then
its rows, whole; what has no rows is done again, to the same files (``sciddiff.cli.parts`` says who
does which). ``results.csv`` is made of the rows of all parts, one for every input.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path

from protein.docking.campaign.output import (
    RESULTS,
    Row,
    docked_row,
    failed_row,
    write_complex,
    write_results,
    write_sdf,
)
from protein.docking.molecules.files import LigandRecord, LigandRow, ligand_records
from protein.docking.molecules.ligand import Ligand, LigandSettings
from protein.docking.pipeline.docker import Docker, Result
from protein.docking.poses.metrics import Verdict, bust, pdb_file
from protein.structures.atomic import replacing
from sciddiff.cli.campaign import Campaign
from sciddiff.cli.parts import Parts, do_all, world
from sciddiff.errors import InputError, MissingExtra

_log = logging.getLogger(__name__)

OnLigand = Callable[[int, int], None]
"""Told how many ligands were done, and how many of these failed, since the last call."""

_ROWS = "rows"
_AHEAD = 64  # parts that other processes may be ahead


@dataclass(frozen=True)
class CampaignSettings:
    """What is written, and in which portions.

    Attributes:
        batch: ligands docked together.
        checked: poses of each ligand that PoseBusters judges.
        complexes: write the first pose with its receptor.
        part: ligands whose rows are recorded together; the same for all runs of a folder.
    """

    batch: int = 8
    checked: int = 0
    complexes: bool = True
    part: int = 16


def dock_library(
    source: str,
    docker: Docker,
    campaign: Campaign,
    receptor_file: Path,
    settings: CampaignSettings = CampaignSettings(),
    limits: LigandSettings | None = None,
    on_ligand: OnLigand | None = None,
) -> list[Row]:
    """Dock every ligand of a source that is not done yet, in this process.

    Args:
        source: file of ligands, or a SMILES.
        docker: the receptor, made ready.
        campaign: the folder and its record.
        receptor_file: for PoseBusters.
        settings: portions and files.
        limits: what a ligand may be; the usual ones by default.
        on_ligand: told of progress.

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
) -> list[Row]:
    """Dock what is not done yet, here or in several processes, and write the table.

    Args:
        make: makes the library in each process; must survive pickling for several workers.
        campaign: the folder and its record.
        workers: processes to start; under torchrun or SLURM those that are there share the work.
        on_ligand: told of progress in the first process.

    Returns:
        One row per input, in order; none in processes after the first.

    Raises:
        InputError: the source cannot be read, or a process was ended.
    """
    parts, place = make(), world()
    before = parts.finished
    started = time.perf_counter()
    told = None if on_ligand is None else Teller(parts, on_ligand)
    if place.size > 1 or workers > 1:
        from sciddiff.cli.predict import spread

        with _watching(told if place.size == 1 else None):
            spread(make, workers, told if place.size > 1 else None)
    else:
        do_all(parts, told)
    if place.rank > 0:
        return []
    rows: list[Row] = []
    for part in count():
        if not parts.record(part).exists():
            break
        rows += parts.read_rows(part)
    write_results(campaign.directory / RESULTS, [row.as_dict() for row in rows])
    made = sum(i // parts.settings.part not in before for i in range(len(rows)))
    campaign.ran(made, time.perf_counter() - started)
    return rows


class LibraryParts(Parts):
    """A library in portions of ligands.

    Args:
        source: file of ligands, or a SMILES.
        make: makes the receptor ready; called when the first ligand is docked.
        directory: to write to.
        receptor_file: for PoseBusters.
        settings: portions and files.
        limits: what a ligand may be; the usual ones by default.
    """

    def __init__(
        self,
        source: str,
        make: Callable[[], Docker],
        directory: Path,
        receptor_file: Path,
        settings: CampaignSettings = CampaignSettings(),
        limits: LigandSettings | None = None,
    ) -> None:
        self.source, self.directory, self.settings = source, directory, settings
        self.receptor_file, self.limits = receptor_file, limits or LigandSettings()
        self._make = make

    @cached_property
    def docker(self) -> Docker:
        """The receptor, made ready."""
        return self._make()

    @property
    def finished(self) -> set[int]:
        """Numbers of the parts that are finished."""
        return {int(file.stem) for file in (self.directory / _ROWS).glob("[0-9]*.json")}

    def items(self) -> Iterator[list[LigandRecord]]:
        """Ligands of each part, as text."""
        records = ligand_records(self.source)
        while group := list(islice(records, self.settings.part)):
            yield group

    def record(self, part: int) -> Path:
        """Rows of a part."""
        return self.directory / _ROWS / f"{part:06d}.json"

    def read_rows(self, part: int) -> list[Row]:
        """Rows of a finished part."""
        file = self.record(part)
        try:
            return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{file}: is damaged; remove it and run the same command again"
            ) from error

    def do(self, part: int, item: Sequence[LigandRecord]) -> None:
        """Dock a part, ligands of like size together, and write everything."""
        group = [record.read(self.limits) for record in item]
        rows = {r.index: failed_row(r.index, r.name, r.error) for r in group if r.ligand is None}
        # Padding is least when neighbours are of one size.
        todo = sorted(
            (r for r in group if r.ligand is not None),
            key=lambda r: (len(r.ligand or ()), r.index),
        )
        for start in range(0, len(todo), self.settings.batch):
            chosen = todo[start : start + self.settings.batch]
            ligands = [r.ligand for r in chosen if r.ligand is not None]
            results = self.docker.dock(ligands, [r.index for r in chosen])
            for row, result in zip(chosen, results, strict=True):
                rows[row.index] = self._written(row, result)
        made = [rows[r.index].as_dict() for r in group]
        with replacing(self.record(part)) as out:
            out.write(json.dumps(made).encode())

    def _written(self, row: LigandRow, result: Result) -> Row:
        """The row of a ligand, its files written; whatever is wrong with it becomes the row."""
        try:
            return self._write(row, result)
        except (InputError, MissingExtra, OSError):
            raise  # the disk or the installation, which the next ligand would meet too
        except Exception as error:  # noqa: BLE001 - one odd molecule must not cost the others
            _log.warning("%s: %s", row.name, error, exc_info=True)
            return failed_row(row.index, row.name, f"{row.name}: {str(error)[:300]}")

    def _write(self, row: LigandRow, result: Result) -> Row:
        ligand, docked = row.ligand, result.docked
        if docked is None or ligand is None or len(docked.coords) == 0:
            return failed_row(row.index, row.name, result.error or "no pose was found")
        verdicts = self._verdicts(ligand, result)
        file = self.directory / "poses" / f"{file_name(row.index, row.name)}.sdf"
        write_sdf(file, row.name, ligand, result, verdicts)
        if self.settings.complexes:
            whole = file.with_name(f"{file.stem}_complex.pdb")
            write_complex(whole, self.docker.receptor, ligand, docked.coords[0])
        first = verdicts[0] if verdicts else None
        where = file.relative_to(self.directory).as_posix()
        return docked_row(row.index, row.name, ligand, result, where, first)

    def _verdicts(self, ligand: Ligand, result: Result) -> list[Verdict]:
        if not self.settings.checked or result.docked is None:
            return []
        try:
            with pdb_file(self.receptor_file) as judged:
                return bust(ligand, result.docked.coords[: self.settings.checked], judged)
        except MissingExtra:
            return []


class Teller:
    """Tells of progress from the rows that are there, whoever wrote them.

    Args:
        parts: the library.
        on_ligand: is told.
    """

    def __init__(self, parts: LibraryParts, on_ligand: OnLigand) -> None:
        self.parts, self.on_ligand = parts, on_ligand
        self._first = 0
        self._seen: set[int] = set()

    def __call__(self, part: int) -> None:
        """Look for rows not told of yet.

        Args:
            part: that this process has come to; others are not far from it.
        """
        for number in range(self._first, part + _AHEAD):
            if number not in self._seen and self.parts.record(number).exists():
                self._seen.add(number)
                rows = self.parts.read_rows(number)
                self.on_ligand(len(rows), sum(row.status == "failed" for row in rows))
        while self._first in self._seen:
            self._seen.discard(self._first)
            self._first += 1

    def look(self) -> None:
        """Look for the rows of other processes."""
        first = -1
        while first != self._first:
            first = self._first
            self(first)


@contextmanager
def _watching(teller: Teller | None) -> Iterator[None]:
    """Tell of progress every second while other processes work."""
    if teller is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            teller.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        teller.look()


def file_name(index: int, name: str) -> str:
    """Stem of a ligand's files: its name where that is one, and its number where it is not.

    Args:
        index: place in the input, from 0.
        name: unique name.
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("._")[:80]
    # Unlike names may come out alike ("a/b" and "a_b", or "A" and "a" on some disks).
    return kept if kept == name and kept == kept.lower() else f"{kept or 'ligand'}_{index + 1}"

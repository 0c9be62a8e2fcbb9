"""A library docked into a folder, part by part, so that a killed run goes on where it stopped.

Part i holds the ligands ``i * size`` and following of the input. Its poses and its rows are
written first, then the part is recorded; what is not recorded is done again, to the same files.
``results.csv`` is made of the rows of all parts, one for every input.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from protein.docking.library import Docker, Result
from protein.docking.ligand import LigandSettings
from protein.docking.ligand_files import LigandRow, read_ligands
from protein.docking.metrics import Verdict, bust
from protein.docking.output import (
    RESULTS,
    Row,
    docked_row,
    failed_row,
    write_complex,
    write_results,
    write_sdf,
)
from protein.structures.atomic import replacing
from sciddiff.cli.campaign import Campaign
from sciddiff.errors import MissingExtra

OnLigand = Callable[[int, int], None]
"""Told how many ligands were done, and how many of these failed, since the last call."""

_ROWS = "rows"
_PART = 16


@dataclass(frozen=True)
class CampaignSettings:
    """What is written, and in which portions.

    Attributes:
        batch: ligands docked together.
        checked: poses of each ligand that PoseBusters judges.
        complexes: write the first pose with its receptor.
    """

    batch: int = 8
    checked: int = 0
    complexes: bool = True


def dock_library(
    source: str,
    docker: Docker,
    campaign: Campaign,
    receptor_file: Path,
    settings: CampaignSettings = CampaignSettings(),
    limits: LigandSettings | None = None,
    on_ligand: OnLigand | None = None,
) -> list[Row]:
    """Dock every ligand of a source that is not done yet.

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
    writer = _Writer(docker, campaign.directory, receptor_file, settings)
    rows: list[Row] = []
    for part, group in enumerate(_parts(read_ligands(source, limits or LigandSettings()))):
        if campaign.finished(part):
            rows += writer.read_rows(part)
        else:
            started = time.perf_counter()
            made = writer.dock(part, group)
            campaign.finish(part, [writer.rows_file(part)])
            campaign.ran(len(made), time.perf_counter() - started)
            rows += made
        if on_ligand is not None:
            failed = sum(row.status == "failed" for row in rows[-len(group) :])
            on_ligand(len(group), failed)
    write_results(campaign.directory / RESULTS, [row.as_dict() for row in rows])
    return rows


def _parts(rows: Iterator[LigandRow]) -> Iterator[list[LigandRow]]:
    while group := list(islice(rows, _PART)):
        yield group


class _Writer:
    """Docks parts and writes their files."""

    def __init__(
        self, docker: Docker, directory: Path, receptor_file: Path, settings: CampaignSettings
    ) -> None:
        self.docker, self.directory, self.settings = docker, directory, settings
        self.receptor_file = receptor_file
        self._poses = directory / "poses"
        self._poses.mkdir(exist_ok=True)

    def rows_file(self, part: int) -> Path:
        """Rows of a part."""
        return self.directory / _ROWS / f"{part:06d}.json"

    def read_rows(self, part: int) -> list[Row]:
        """Rows of a finished part."""
        return [Row(**row) for row in json.loads(self.rows_file(part).read_text())]

    def dock(self, part: int, group: Sequence[LigandRow]) -> list[Row]:
        """Dock a part, ligands of like size together, and write everything."""
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
                rows[row.index] = self._write(row, result)
        made = [rows[r.index] for r in group]
        with replacing(self.rows_file(part)) as out:
            out.write(json.dumps([row.as_dict() for row in made]).encode())
        return made

    def _write(self, row: LigandRow, result: Result) -> Row:
        ligand, docked = row.ligand, result.docked
        if docked is None or ligand is None or len(docked.coords) == 0:
            return failed_row(row.index, row.name, result.error or "no pose was found")
        stem = file_name(row.index, row.name)
        verdicts: list[Verdict] = []
        if self.settings.checked:
            try:
                verdicts = bust(
                    ligand, docked.coords[: self.settings.checked], self.receptor_file
                )
            except MissingExtra:
                verdicts = []
        file = self._poses / f"{stem}.sdf"
        write_sdf(file, row.name, ligand, result, verdicts)
        if self.settings.complexes:
            receptor = self.docker.receptor
            write_complex(self._poses / f"{stem}_complex.pdb", receptor, ligand, docked.coords[0])
        first = verdicts[0] if verdicts else None
        where = file.relative_to(self.directory).as_posix()
        return docked_row(row.index, row.name, ligand, result, where, first)


def file_name(index: int, name: str) -> str:
    """Stem of a ligand's files: its name where that is one, and its number where it is not.

    Args:
        index: place in the input, from 0.
        name: unique name.
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("._")[:80]
    # Unlike names may come out alike ("a/b" and "a_b", or "A" and "a" on some disks).
    return kept if kept == name and kept == kept.lower() else f"{kept or 'ligand'}_{index + 1}"

"""Redocking of a set of complexes: every ligand into its own receptor, around its crystal place.

Complexes are found as for training (``protein.docking.complexes.sources``). The crystal ligand
gives only the molecule and the box; docking starts from fresh conformers. Each complex is one part
of the campaign, so that an interrupted run continues where it stopped. The random draws of a
complex depend only on the seed and on its name, not on the other complexes in the folder.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protein.docking.campaign.output import (
    RESULTS,
    Row,
    failed_row,
    write_docked,
    write_results,
)
from protein.docking.campaign.verdicts import verdicts
from protein.docking.complexes.sources import (
    Source,
    find_sources,
    first_readable,
    unique_names,
)
from protein.docking.pipeline.docker import Docker
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.search.draws import number_of
from sciddiff.cli.campaign import Campaign
from sciddiff.cli.fingerprint import Inputs, digest
from sciddiff.cli.parts import Parts, do_all
from sciddiff.errors import InputError, MissingExtra
from sciddiff.files import replacing
from sciddiff.names import stem_of

_log = logging.getLogger(__name__)

MakeDocker: TypeAlias = Callable[[Receptor, Box, NDArray[np.float64]], Docker]
"""Prepares a receptor for its ligand, whose crystal coordinates `[N, 3]` come last."""

_ROWS = "rows"
# A residue of the receptor most of whose atoms are this close to the ligand's is the ligand, Å.
_SAME_PLACE = 0.5


@dataclass(frozen=True)
class DatasetSettings:
    """Where to search, and what to write.

    Attributes:
        margin: margin of the box around the crystal ligand on each side, Å.
        keep: names of further HETATM groups of the receptors that are kept.
        checked: number of poses of each complex that PoseBusters checks.
        complexes: whether the first pose is also written with its receptor.
    """

    margin: float = 4.0
    keep: frozenset[str] = frozenset()
    checked: int = 0
    complexes: bool = True


@dataclass(frozen=True)
class Dataset:
    """The complexes of a folder.

    Attributes:
        folder: folder that was searched.
        sources: files of each complex.
        names: unique names, in the same order.
    """

    folder: Path
    sources: tuple[Source, ...]
    names: tuple[str, ...]

    @classmethod
    def find(cls, folder: Path) -> "Dataset":
        """Find the complexes below a folder.

        Raises:
            InputError: the folder does not exist, or holds no complex.
        """
        sources = tuple(find_sources(folder))
        return cls(folder, sources, tuple(unique_names(folder, sources)))

    def digests(self) -> list[str]:
        """SHA-256 of the files of each complex."""
        return [
            digest([Inputs().add("", file).entries[""]["sha256"] for file in source.files])
            for source in self.sources
        ]


def dock_dataset(
    dataset: Dataset,
    make: MakeDocker,
    campaign: Campaign,
    settings: DatasetSettings = DatasetSettings(),
    on_complex: Callable[[int, int], None] | None = None,
    command: str = "",
) -> list[Row]:
    """Dock every complex that has not been docked yet.

    Args:
        dataset: the complexes to dock.
        make: prepares a receptor for docking.
        campaign: the folder and its record.
        settings: size of the box, and which files are written.
        on_complex: called with how many were docked, and how many failed, since the last call.
        command: the command line, for the record.

    Returns:
        One row for each complex, in order.

    Raises:
        InputError: a complex has changed since it was docked.
    """
    parts = DatasetParts(dataset, make, campaign.directory, settings)
    parts.check()
    started = time.perf_counter()

    def on_part(part: int) -> None:
        if on_complex is not None:
            on_complex(1, int(parts.row(part).status == "failed"))

    do_all(parts, on_part)
    campaign.ran(parts.made, time.perf_counter() - started, command)
    rows = [parts.row(part) for part in range(len(dataset.names))]
    write_results(campaign.directory / RESULTS, [row.as_dict() for row in rows])
    return rows


class DatasetParts(Parts):
    """The complexes of a folder, each a part, known by its name and the content of its files.

    Args:
        dataset: the complexes to dock.
        make: prepares a receptor for docking.
        directory: folder to write to.
        settings: size of the box, and which files are written.
    """

    def __init__(
        self, dataset: Dataset, make: MakeDocker, directory: Path, settings: DatasetSettings
    ) -> None:
        self.directory, self._dataset = directory, dataset
        self._writer = _Writer(make, directory, settings)
        self._digests = dataset.digests()
        self.made = 0

    @property
    def begun(self) -> bool:
        """Whether any complex has been docked or is being docked."""
        return any((self.directory / _ROWS).glob("*.json")) or self.taken

    def items(self) -> Iterator[tuple[str, Source]]:
        """Name and files of each complex."""
        yield from zip(self._dataset.names, self._dataset.sources, strict=True)

    def record(self, part: int) -> Path:
        """File of the row of a complex, by its name, so that others may be added to the folder."""
        return self.directory / _ROWS / f"{stem_of(self._dataset.names[part])}.json"

    def finished(self, part: int, item: tuple[str, Source]) -> bool:
        """Whether a complex has its row."""
        return self.record(part).exists()

    def do(self, part: int, item: tuple[str, Source]) -> None:
        """Dock a complex and write its row."""
        row = self._writer.dock(part, *item)
        with replacing(self.record(part)) as out:
            made = {**row.as_dict(), "digest": self._digests[part]}
            out.write(json.dumps(made).encode())
        self.made += 1

    def row(self, part: int) -> Row:
        """The row of a complex that was docked."""
        row, _ = self._saved(part)
        return replace(row, index=part + 1)

    def check(self) -> None:
        """Check that the complexes docked so far are still those of the folder.

        Raises:
            InputError: a complex has changed since it was docked, or is missing.
        """
        there = {self.record(part).name for part in range(len(self._dataset.names))}
        for file in sorted((self.directory / _ROWS).glob("*.json")):
            if file.name not in there:
                raise InputError(
                    f"{self._dataset.folder}: complex {file.stem} was docked into "
                    f"{self.directory} and is gone; choose another -o, or restore it"
                )
        for part, (name, _) in enumerate(self.items()):
            if self.record(part).exists() and self._saved(part)[1] != self._digests[part]:
                raise InputError(
                    f"{self._dataset.folder}: complex {name} is not the one that was docked into "
                    f"{self.directory}; choose another -o, or restore it"
                )

    def _saved(self, part: int) -> tuple[Row, str]:
        file = self.record(part)
        try:
            found = dict(json.loads(file.read_text(encoding="utf-8")))
            return Row(**{k: v for k, v in found.items() if k != "digest"}), str(found["digest"])
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{file}: is damaged; remove it and run the same command again"
            ) from error


def without_ligand(receptor: Receptor, coords: NDArray[np.floating]) -> Receptor:
    """The receptor without the residue that is the ligand itself (a cofactor, or one kept).

    Args:
        receptor: the receptor as it was read.
        coords: coordinates of the crystal ligand `[N, 3]`, Å.
    """
    from scipy.spatial import KDTree

    close = np.asarray(KDTree(coords).query(receptor.coords)[0]) < _SAME_PLACE
    if not close.any():
        return receptor
    names = np.asarray(receptor.residues)
    own = [name for name in np.unique(names[close]) if close[names == name].mean() > 0.5]
    return receptor.select(~np.isin(names, own))


class _Writer:
    """Docks complexes and writes their files."""

    def __init__(self, make: MakeDocker, directory: Path, settings: DatasetSettings) -> None:
        self.make, self.directory, self.settings = make, directory, settings

    def dock(self, part: int, name: str, source: Source) -> Row:
        """Dock one complex; an error becomes its row."""
        try:
            return self._dock(part, name, source)
        except MissingExtra:
            raise
        except InputError as error:
            return failed_row(part, name, str(error))
        except Exception as error:  # noqa: BLE001 - one odd complex must not cost the others
            _log.warning("%s: %s", name, error, exc_info=True)
            return failed_row(part, name, f"{type(error).__name__}: {str(error)[:200]}")

    def _dock(self, part: int, name: str, source: Source) -> Row:
        if source.backbone:
            raise InputError(f"{source.receptor}: has no side chains; give the whole protein")
        ligand = first_readable(source.ligands)
        crystal = ligand.require_coords()
        receptor = without_ligand(read_receptor(source.receptor, self.settings.keep), crystal)
        docker = self.make(receptor, box_around(crystal, self.settings.margin), crystal)
        (result,) = docker.dock([ligand], [number_of(name)])
        judged = verdicts(ligand, result, receptor, source.receptor, self.settings.checked)
        return write_docked(
            self.directory, part, name, ligand, receptor, result, judged, self.settings.complexes
        )

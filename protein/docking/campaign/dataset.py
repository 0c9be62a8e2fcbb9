"""Redocking of a set of complexes: every ligand into its own receptor, around its crystal place.

Complexes are found as for training (``protein.docking.complexes.sources``). The crystal ligand
gives the molecule and the box, nothing else: docking starts from fresh
conformers. Each complex is one part of the campaign, so that a killed run goes on where it
stopped; what is drawn for a complex depends on the seed and its name alone, not on the others in
the folder.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protein.docking.campaign.library import file_name
from protein.docking.campaign.output import (
    RESULTS,
    Row,
    docked_row,
    failed_row,
    write_complex,
    write_results,
    write_sdf,
)
from protein.docking.complexes.sources import (
    Source,
    find_sources,
    first_readable,
    unique_names,
)
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.docker import Docker, Result
from protein.docking.poses.metrics import Verdict, bust, pdb_file
from protein.docking.receptors.box import Box, box_around
from protein.docking.receptors.receptor import Receptor, read_receptor
from protein.docking.search.draws import number_of
from protein.structures.atomic import replacing
from sciddiff.cli.campaign import Campaign
from sciddiff.errors import InputError, MissingExtra

_log = logging.getLogger(__name__)

MakeDocker: TypeAlias = Callable[[Receptor, Box], Docker]
"""Makes a receptor ready for its ligand."""

_ROWS = "rows"
# A residue of the receptor most of whose atoms are this close to the ligand's is the ligand, Å.
_SAME_PLACE = 0.5


@dataclass(frozen=True)
class DatasetSettings:
    """Where to search, and what to write.

    Attributes:
        margin: of the box around the crystal ligand, Å on each side.
        keep: names of further HETATM groups of the receptors to keep.
        checked: poses of each complex that PoseBusters judges.
        complexes: write the first pose with its receptor.
    """

    margin: float = 4.0
    keep: frozenset[str] = frozenset()
    checked: int = 0
    complexes: bool = True


@dataclass(frozen=True)
class Dataset:
    """The complexes of a folder.

    Attributes:
        folder: that was searched.
        sources: files of each complex.
        names: unique, in the same order.
    """

    folder: Path
    sources: tuple[Source, ...]
    names: tuple[str, ...]

    @classmethod
    def find(cls, folder: Path) -> "Dataset":
        """Complexes below a folder.

        Raises:
            InputError: no such folder, or nothing in it.
        """
        sources = tuple(find_sources(folder))
        return cls(folder, sources, tuple(unique_names(folder, sources)))

    def request(self) -> dict[str, str | int]:
        """What names the set in the record of a campaign."""
        listed = "\n".join(self.names).encode()
        return {
            "dataset": str(self.folder),
            "complexes": len(self.names),
            "names": hashlib.sha256(listed).hexdigest()[:16],
        }


def dock_dataset(
    dataset: Dataset,
    make: MakeDocker,
    campaign: Campaign,
    settings: DatasetSettings = DatasetSettings(),
    on_complex: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Dock every complex that is not done yet.

    Args:
        dataset: what to dock.
        make: makes a receptor ready.
        campaign: the folder and its record.
        settings: box and files.
        on_complex: told how many were done, and how many of them failed, since the last call.

    Returns:
        One row for each complex, in order.
    """
    writer = _Writer(make, campaign.directory, settings)
    rows: list[Row] = []
    for part, (name, source) in enumerate(zip(dataset.names, dataset.sources, strict=True)):
        file = campaign.directory / _ROWS / f"{part:06d}.json"
        if campaign.finished(part):
            rows.append(Row(**json.loads(file.read_text(encoding="utf-8"))))
        else:
            started = time.perf_counter()
            rows.append(writer.dock(part, name, source))
            with replacing(file) as out:
                out.write(json.dumps(rows[-1].as_dict()).encode())
            campaign.finish(part, [file])
            campaign.ran(1, time.perf_counter() - started)
        if on_complex is not None:
            on_complex(1, int(rows[-1].status == "failed"))
    write_results(campaign.directory / RESULTS, [row.as_dict() for row in rows])
    return rows


def without_ligand(receptor: Receptor, coords: NDArray[np.floating]) -> Receptor:
    """The receptor without the residue that is the ligand itself (a cofactor, or one kept).

    Args:
        receptor: as read.
        coords: of the crystal ligand `[N, 3]`, Å.
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
        """Dock one complex; whatever is wrong with it becomes a row."""
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
        docker = self.make(receptor, box_around(crystal, self.settings.margin))
        (result,) = docker.dock([ligand], [number_of(name)])
        if result.docked is None or len(result.docked.coords) == 0:
            return failed_row(part, name, result.error or "no pose was found")
        return self._write(part, name, ligand, receptor, result, source.receptor)

    def _write(
        self,
        part: int,
        name: str,
        ligand: Ligand,
        receptor: Receptor,
        result: Result,
        receptor_file: Path,
    ) -> Row:
        # Names differ even on disks that do not tell A from a, so a plain one can stay.
        plain = all(c.isalnum() or c in "-_" for c in name)
        stem = name if plain else file_name(part, name)
        coords = np.zeros((0, 0, 3)) if result.docked is None else result.docked.coords
        verdicts: Sequence[Verdict] = ()
        if self.settings.checked:
            with pdb_file(receptor_file) as judged:
                verdicts = bust(ligand, coords[: self.settings.checked], judged)
        file = self.directory / "poses" / f"{stem}.sdf"
        write_sdf(file, name, ligand, result, verdicts)
        if self.settings.complexes:
            write_complex(file.with_name(f"{stem}_complex.pdb"), receptor, ligand, coords[0])
        first = verdicts[0] if verdicts else None
        where = file.relative_to(self.directory).as_posix()
        return docked_row(part, name, ligand, result, where, first)

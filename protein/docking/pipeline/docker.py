"""One receptor made ready, and ligands docked into it: what every verb and benchmark runs.

A ligand's way is short. Fresh conformers become entries of one padded batch, with one energy for
each box; chains of the search, and draws of the network if there is one, give poses in every box;
the best distinct ones of all boxes are ranked together, and those to report are chosen.

Several ligands are docked at once. What comes out for a ligand depends on the seed and its number
alone, not on those it is packed with, and a ligand that fails takes no other with it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.confidence.ranker import Ranker
from protein.docking.energy.grid import Grid, fits, make_grid
from protein.docking.energy.vina import VinaEnergy
from protein.docking.molecules.conformers import fresh_conformers, stereoisomer
from protein.docking.molecules.ligand import Ligand
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.metrics import symmetric_rmsd
from protein.docking.poses.pose import LigandBatch, map_tensors
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.docking.search.draws import draw_indices
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.monte_carlo import Found, SearchSettings, finish, join, search
from protein.docking.search.ranking import JUDGED, Docked, ranked
from sciddiff.errors import InputError
from sciddiff.streams import Streams, seed_of

if TYPE_CHECKING:
    from sciddiff.denoiser import Denoiser

_log = logging.getLogger(__name__)

APART = 1.75
"""Least RMSD between reported poses, Å, while others are left: close ones are right or wrong
together."""


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one ligand.

    Attributes:
        docked: ranked poses; None when it failed.
        error: the reason then, one sentence.
        strain: intramolecular energy above that of the best fresh conformer of the same
            stereoisomer `[K]`, kcal/mol.
        seconds: its share of the time of its batch.
        sites: numbers from 1 of the boxes the poses are in `[K]`; empty where one box was given.
        isomers: SMILES of the stereoisomer that each pose is; empty where the input leaves no
            centre open.
        notes: what a user should know of the poses, a sentence each.
    """

    docked: Docked | None
    error: str = ""
    strain: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0
    sites: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    isomers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Docker:
    """A receptor made ready for ligands: its atoms near the boxes, and their grids.

    Args:
        receptor: the protein.
        box: where to search: one place, or several.
        settings: how; the usual ones by default.
        denoiser: of a trained network; None: search alone.
        ranker: orders poses by confidence; None: by energy.
        device: where energies are computed; the denoiser and the ranker keep theirs.

    Raises:
        InputError: no receptor atom is in a box, or there is neither network nor search.
    """

    def __init__(
        self,
        receptor: Receptor,
        box: Box | Sequence[Box],
        settings: DockSettings | None = None,
        denoiser: Denoiser | None = None,
        ranker: Ranker | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.receptor, self.ranker = receptor, ranker
        self.settings = settings = settings or DockSettings()
        self.device = torch.device(device)
        self.boxes = (box,) if isinstance(box, Box) else tuple(box)
        if not self.boxes:
            raise InputError("box: none was given; give at least one")
        self.denoiser = denoiser if settings.propose.samples > 0 else None
        if self.denoiser is None and settings.search is None:
            raise InputError("effort none: needs a model and samples; choose another effort")
        self._places = [_Place(receptor, box, self.device) for box in self.boxes]

    def dock(self, ligands: Sequence[Ligand], numbers: Sequence[int]) -> list[Result]:
        """Dock some ligands together; one by one if that fails.

        Args:
            ligands: the molecules.
            numbers: their numbers in the library, which their draws depend on.
        """
        started = time.perf_counter()
        results: dict[int, Result] = {}
        conformers: dict[int, NDArray[np.float64]] = {}
        for i, (ligand, number) in enumerate(zip(ligands, numbers, strict=True)):
            try:
                conformers[i] = self._conformers(ligand, number)
            except InputError as error:
                results[i] = Result(None, str(error))
        found = self._together(
            [ligands[i] for i in conformers],
            list(conformers.values()),
            [numbers[i] for i in conformers],
        )
        share = (time.perf_counter() - started) / max(1, len(found))
        timed = (replace(result, seconds=share) for result in found)
        results |= dict(zip(conformers, timed, strict=True))
        return [results[i] for i in range(len(ligands))]

    def _conformers(self, ligand: Ligand, number: int) -> NDArray[np.float64]:
        """As many conformers as are wanted `[C, N, 3]`, some of them repeated if fewer exist."""
        wanted, seed = self.settings.conformers, self.settings.seed
        made = fresh_conformers(ligand, wanted, seed_of(seed, "conformers", number, bits=31))
        return made[np.arange(wanted) % len(made)]

    def _together(
        self,
        ligands: Sequence[Ligand],
        conformers: Sequence[NDArray[np.float64]],
        numbers: Sequence[int],
    ) -> list[Result]:
        if not ligands:
            return []
        try:
            return self._dock(ligands, conformers, numbers)
        except Exception as error:  # whatever one molecule does, the others are docked
            if len(ligands) > 1:
                _log.info("batch of %d failed (%s); one by one", len(ligands), error)
                each = zip(ligands, conformers, numbers, strict=True)
                return [self._together([ligand], [c], [n])[0] for ligand, c, n in each]
            if not isinstance(error, InputError):
                _log.warning("%s: %s", ligands[0].name, error, exc_info=True)
            return [Result(None, f"{ligands[0].name}: {' '.join(str(error).split())[:300]}")]

    def _dock(
        self,
        ligands: Sequence[Ligand],
        conformers: Sequence[NDArray[np.float64]],
        numbers: Sequence[int],
    ) -> list[Result]:
        each = self.settings.conformers
        entries = [ligand for ligand in ligands for _ in range(each)]
        trees = [ligand.tree for ligand in entries]
        batch = LigandBatch.pack(trees, [x for c in conformers for x in c]).to(self.device)
        parts: list[Found] = []
        for place in self._places:
            energy = place.energy(entries)
            if self.settings.search is not None:
                parts.append(self._searched(place.box, batch, energy, numbers))
            if self.denoiser is not None:
                parts.append(self._drawn(place.box, batch, energy, ligands, conformers, numbers))
        found = join(parts)
        with torch.no_grad():
            relaxed = energy.pairs.evaluate(batch.reference.unsqueeze(1))[0][:, 0]
        relaxed = relaxed.view(-1, each).double().cpu().numpy()
        results = []
        for i, ligand in enumerate(ligands):
            mine = map_tensors(lambda x, i=i: x[i * each : (i + 1) * each], found)
            docked = ranked(ligand, mine, max(self.settings.poses, JUDGED), _DISTINCT)
            docked = chosen(ligand, self.receptor, docked, self.ranker, self.settings.poses)
            results.append(self._result(ligand, docked, conformers[i], relaxed[i]))
        return results

    def _result(
        self,
        ligand: Ligand,
        docked: Docked,
        conformers: NDArray[np.float64],
        relaxed: NDArray[np.float64],
    ) -> Result:
        """Poses with their strain, which counts from the best conformer of their stereoisomer."""
        notes = [*_too_large(conformers, self.boxes)]
        least, isomers = np.full(len(docked.coords), relaxed.min()), ()
        if ligand.open_stereo:
            isomers = tuple(stereoisomer(ligand, x) for x in docked.coords)
            own = np.asarray([stereoisomer(ligand, x) for x in conformers])
            least = np.asarray([relaxed[own == name].min(initial=np.inf) for name in isomers])
            least[~np.isfinite(least)] = relaxed.min()
            notes.append(
                f"{ligand.open_stereo} of its stereocentres and double bonds are not specified; "
                f"its poses are of {len(set(isomers))} stereoisomers, and each says of which"
            )
        strain = docked.intramolecular - least
        return Result(
            docked, "", strain, sites=self._sites(docked), isomers=isomers, notes=tuple(notes)
        )

    def _searched(
        self, box: Box, batch: LigandBatch, energy: VinaEnergy, numbers: Sequence[int]
    ) -> Found:
        """Poses that the search finds in a box."""
        each, effort = self.settings.conformers, self.settings.search or SearchSettings()
        effort = replace(effort, chains=-(-self._share(effort.chains) // each))
        draws = Streams(self.settings.seed, draw_indices(numbers, [each] * len(numbers)))
        draws = draws.to(self.device).purpose("search")
        return search(batch, energy, [box] * len(batch), draws, effort)

    def _drawn(
        self,
        box: Box,
        batch: LigandBatch,
        energy: VinaEnergy,
        ligands: Sequence[Ligand],
        conformers: Sequence[NDArray[np.float64]],
        numbers: Sequence[int],
    ) -> Found:
        """Poses that the network draws in a box, at the minima below them or as they are."""
        from protein.docking.diffusion.propose import propose
        from protein.docking.diffusion.templates import Site

        assert self.denoiser is not None  # noqa: S101 - the caller asks
        s, effort = self.settings, self.settings.search or SearchSettings()
        sites = [Site(ligand, np.asarray(box.center)) for ligand in ligands]
        settings = replace(s.propose, samples=self._share(s.propose.samples))
        pose = propose(
            self.denoiser, sites, self.receptor, conformers, energy, settings, s.seed, numbers
        )
        if not s.minimize:
            return finish(batch, energy, pose, replace(effort, final=1))
        soft = minimize(batch, energy, pose, MinimizeSettings(30, 2.0))
        return finish(batch, energy, soft.pose, effort)

    def _share(self, whole: int) -> int:
        """Chains or draws of one box: all boxes together get at most twice those of one."""
        return min(whole, -(-2 * whole // len(self.boxes)))

    def _sites(self, docked: Docked) -> NDArray[np.int64]:
        """Number from 1 of the box whose middle is nearest to each pose; empty for one box."""
        if len(self.boxes) == 1:
            return np.zeros(0, dtype=np.int64)
        middles = np.asarray([box.center for box in self.boxes])
        away = docked.coords.mean(axis=1)[:, None] - middles
        return np.linalg.norm(away, axis=-1).argmin(axis=1) + 1


class _Place:
    """One box, the receptor atoms near it, and their grid."""

    def __init__(self, receptor: Receptor, box: Box, device: torch.device) -> None:
        self.box, self.near, self._device = box, receptor.near(box), device
        self._grid: Grid | None = None

    def energy(self, entries: Sequence[Ligand]) -> VinaEnergy:
        """Energy of some ligands in the box, on a grid that has a channel for all their types."""
        types = {int(t) for ligand in entries for t in ligand.types}
        known = set() if self._grid is None else set(self._grid.types)
        if self._grid is None or not types <= known:
            # Types met before stay, as others will need them, unless the grid grows too large.
            every = types | known if fits(self.box, len(types | known)) else types
            self._grid = make_grid(self.near, self.box, sorted(every))
        return VinaEnergy.build(entries, [self.near], grids=[self._grid]).to(self._device)


_DISTINCT = SearchSettings().distinct


def _too_large(conformers: NDArray[np.float64], boxes: Sequence[Box]) -> Iterator[str]:
    """A note, if no conformer `[C, N, 3]` fits into any box along its own axes."""
    centred = conformers - conformers.mean(axis=1, keepdims=True)
    axes = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1]
    extents = np.sort(np.ptp(centred @ axes, axis=1), axis=-1)
    edges = np.sort([box.size for box in boxes], axis=-1)
    if (extents[:, None] > edges).any(-1).all():
        needed, given = (" x ".join(f"{x:.0f}" for x in sizes) for sizes in
                         (extents[extents[:, -1].argmin()], edges[-1]))  # fmt: skip
        yield f"the ligand ({needed} Å) is larger than the box ({given} Å); give a larger box"


def chosen(
    ligand: Ligand, receptor: Receptor, docked: Docked, ranker: Ranker | None, poses: int
) -> Docked:
    """The poses to report, the best first, that differ from each other where there is a choice.

    Args:
        ligand: the molecule.
        receptor: the protein, or its part near the poses.
        docked: poses by energy; more than are wanted, since each is judged beside the others.
        ranker: orders them by confidence; None: by energy.
        poses: to keep.
    """
    order = np.arange(len(docked.coords))
    if ranker is not None:
        confidence = ranker.judge(ligand, docked.coords, receptor, docked.energies)
        order = np.argsort(-confidence, kind="stable")
        docked = replace(docked, confidence=confidence)
    kept: list[int] = []
    near: list[int] = []
    for i in order.tolist():
        if len(kept) == poses:
            break
        others = docked.coords[kept]
        if not kept or symmetric_rmsd(ligand, others, docked.coords[i]).min() >= APART:
            kept.append(i)
        else:
            near.append(i)
    some = {*kept, *near[: poses - len(kept)]}
    return docked.taken([i for i in order.tolist() if i in some])

"""Docking of many ligands into one receptor, packed into batches.

Search and network see several ligands at once: conformers of all of them are entries of one
padded batch. What comes out for a ligand depends on the seed and its number alone, not on those it
is packed with. A ligand that fails takes nobody with it.

With several boxes each ligand is docked into each, from the same conformers; the poses of all
boxes are ranked together, and each belongs to the box whose middle is nearest.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.confidence.ranker import Ranker
from protein.docking.diffusion.propose import ProposeSettings, propose
from protein.docking.diffusion.templates import Site
from protein.docking.energy.grid import Grid, make_grid
from protein.docking.energy.vina import Score, VinaEnergy
from protein.docking.molecules.atom_types import ligand_types
from protein.docking.molecules.ligand import Ligand, fresh_conformers
from protein.docking.pipeline.dock import DockSettings, chosen
from protein.docking.poses.pose import LigandBatch, Pose
from protein.docking.receptors.box import Box
from protein.docking.receptors.receptor import Receptor
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.monte_carlo import Found, SearchSettings, finish, search
from protein.docking.search.ranking import JUDGED, Docked, ranked
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.streams import Streams

_log = logging.getLogger(__name__)

EFFORTS: dict[str, SearchSettings | None] = {
    "none": None,
    "fast": SearchSettings(chains=128, rounds=16),
    "normal": SearchSettings(),
    "thorough": SearchSettings(chains=1024, rounds=80),
}
"""Effort of the search beside the proposals of the network; ``none``: proposals alone."""


@dataclass(frozen=True)
class LibrarySettings:
    """How ligands are docked.

    Attributes:
        poses: reported per ligand.
        conformers: reference conformers per ligand.
        effort: key of ``EFFORTS``.
        propose: draws of the network, if there is one.
        seed: of every draw.
        minimize: bring proposals to the nearest minimum of the energy.
    """

    poses: int = 9
    conformers: int = 4
    effort: str = "normal"
    propose: ProposeSettings = field(default_factory=ProposeSettings)
    seed: int = 0
    minimize: bool = True

    def __post_init__(self) -> None:
        if self.effort not in EFFORTS:
            raise InputError(f"effort {self.effort!r}: unknown; use {', '.join(EFFORTS)}")
        if self.poses < 1 or self.conformers < 1:
            raise InputError("poses and conformers: give at least 1")


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one ligand.

    Attributes:
        docked: ranked poses; None when it failed.
        error: the reason then, one sentence.
        strain: intramolecular energy above that of the best fresh conformer `[K]`, kcal/mol.
        seconds: its share of the time of its batch.
        sites: numbers from 1 of the boxes the poses are in `[K]`; empty where one box was given.
    """

    docked: Docked | None
    error: str = ""
    strain: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0
    sites: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


class Docker:
    """A receptor made ready for ligands: its atoms near the boxes, and their grids.

    Args:
        receptor: the protein.
        box: where to search: one place, or several.
        settings: how.
        denoiser: of a trained network; None: search alone.
        ranker: orders poses by confidence; None: by energy.

    Raises:
        InputError: no receptor atom is in a box, or there is neither network nor search.
    """

    def __init__(
        self,
        receptor: Receptor,
        box: Box | Sequence[Box],
        settings: LibrarySettings = LibrarySettings(),
        denoiser: Denoiser | None = None,
        ranker: Ranker | None = None,
    ) -> None:
        self.receptor, self.settings, self.denoiser = receptor, settings, denoiser
        self.ranker = ranker
        self.boxes = (box,) if isinstance(box, Box) else tuple(box)
        if not self.boxes:
            raise InputError("box: none was given; give at least one")
        self._places = [_Place(receptor, box) for box in self.boxes]
        proposes = denoiser is not None and settings.propose.samples > 0
        if not proposes and EFFORTS[settings.effort] is None:
            raise InputError("effort none: needs a model and samples; choose another effort")

    def dock(self, ligands: Sequence[Ligand], numbers: Sequence[int]) -> list[Result]:
        """Dock some ligands together; one by one if that fails.

        Args:
            ligands: the molecules.
            numbers: their numbers in the library, which their draws depend on.
        """
        started = time.perf_counter()
        conformers: list[NDArray[np.float64]] = []
        results: list[Result | None] = []
        for ligand, number in zip(ligands, numbers, strict=True):
            try:
                conformers.append(self._conformers(ligand, number))
                results.append(None)
            except InputError as error:
                results.append(Result(None, str(error)))
        good = [i for i, result in enumerate(results) if result is None]
        if good:
            chosen = [ligands[i] for i in good]
            found = self._together(chosen, conformers, [numbers[i] for i in good])
            share = (time.perf_counter() - started) / len(good)
            for i, result in zip(good, found, strict=True):
                results[i] = replace(result, seconds=share)
        return [result for result in results if result is not None]

    def _together(
        self,
        ligands: Sequence[Ligand],
        conformers: Sequence[NDArray[np.float64]],
        numbers: Sequence[int],
    ) -> list[Result]:
        try:
            return self._dock(ligands, conformers, numbers)
        except Exception as error:  # whatever one molecule does, the others are docked
            if len(ligands) > 1:
                _log.info("batch of %d failed (%s); one by one", len(ligands), error)
                return [
                    self._together([ligand], [c], [n])[0]
                    for ligand, c, n in zip(ligands, conformers, numbers, strict=True)
                ]
            if not isinstance(error, InputError):
                _log.warning("%s: %s", ligands[0].name, error, exc_info=True)
            return [Result(None, f"{ligands[0].name}: {' '.join(str(error).split())[:300]}")]

    def _dock(
        self,
        ligands: Sequence[Ligand],
        conformers: Sequence[NDArray[np.float64]],
        numbers: Sequence[int],
    ) -> list[Result]:
        s = self.settings
        rows = [i for i, c in enumerate(conformers) for _ in c]
        flat = [x for c in conformers for x in c]
        entries = [ligands[i] for i in rows]
        batch = LigandBatch.pack([ligand.tree for ligand in entries], flat)
        counts = [len(c) for c in conformers]
        parts: list[Found] = []
        for place in self._places:
            grid = place.grid_for(ligands)
            energy = VinaEnergy.build(entries, [place.near], grids=[grid])
            parts += self._found(place.box, ligands, conformers, numbers, batch, energy)
        found = _joined(parts)
        results, start = [], 0
        with torch.no_grad():
            relaxed = energy.pairs.evaluate(batch.reference.unsqueeze(1))[0][:, 0].double()
        for ligand, count in zip(ligands, counts, strict=True):
            mine = _entries(found, start, start + count)
            docked = ranked(ligand, mine, max(s.poses, JUDGED), DockSettings().search.distinct)
            docked = chosen(ligand, self.receptor, docked, self.ranker, s.poses)
            least = float(relaxed[start : start + count].min())
            strain, sites = docked.intramolecular - least, self._sites(docked)
            results.append(Result(docked, strain=strain, sites=sites))
            start += count
        return results

    def _found(
        self,
        box: Box,
        ligands: Sequence[Ligand],
        conformers: Sequence[NDArray[np.float64]],
        numbers: Sequence[int],
        batch: LigandBatch,
        energy: VinaEnergy,
    ) -> list[Found]:
        """Poses in one of the boxes, by search and network."""
        s, effort = self.settings, EFFORTS[self.settings.effort]
        counts = [len(c) for c in conformers]
        # A conformer's stream must not depend on how many conformers its neighbours have.
        streams = [n * 64 + k for n, c in zip(numbers, counts, strict=True) for k in range(c)]
        parts = []
        if effort is not None:
            chains = -(-self._share(effort.chains) // max(counts))
            generator = Streams(s.seed, torch.tensor(streams))
            boxes = [box] * len(batch)
            parts.append(search(batch, energy, boxes, generator, replace(effort, chains=chains)))
        if self.denoiser is not None and s.propose.samples > 0:
            center = np.asarray(box.center)
            sites = [Site(ligand, center) for ligand in ligands]
            draws = replace(s.propose, samples=self._share(s.propose.samples))
            pose = propose(
                self.denoiser, sites, self.receptor, conformers, energy, draws, s.seed, numbers
            )
            parts.append(self._settled(batch, energy, pose))
        return parts

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

    def _settled(self, batch: LigandBatch, energy: VinaEnergy, pose: Pose) -> Found:
        """Proposals at the minima below them, or scored as they are."""
        effort = EFFORTS[self.settings.effort] or SearchSettings()
        if not self.settings.minimize:
            return finish(batch, energy, pose, replace(effort, final=1))
        soft = minimize(batch, energy, pose, MinimizeSettings(30, 2.0))
        return finish(batch, energy, soft.pose, effort)

    def _conformers(self, ligand: Ligand, number: int) -> NDArray[np.float64]:
        # Seeds from 1 on: with 0 every conformer of the embedding would be the same.
        seed = 1 + (self.settings.seed * 1_000_003 + number) % (2**30)
        found = fresh_conformers(ligand, self.settings.conformers, seed)
        missing = self.settings.conformers - len(found)
        return np.concatenate([found, found[np.arange(missing) % len(found)]])


class _Place:
    """One box, the atoms near it, and its grid."""

    def __init__(self, receptor: Receptor, box: Box) -> None:
        self.box, self.near = box, receptor.near(box)
        self._grid: Grid | None = None
        self._types: frozenset[int] = frozenset()

    def grid_for(self, ligands: Sequence[Ligand]) -> Grid:
        """The receptor's grid, with a channel for every type met so far."""
        types = frozenset(int(t) for ligand in ligands for t in ligand_types(ligand.mol))
        if self._grid is None or not types <= self._types:
            self._types = self._types | types
            self._grid = make_grid(self.near, self.box, sorted(self._types))
        return self._grid


def _joined(parts: Sequence[Found]) -> Found:
    """Poses of several sources side by side."""
    if len(parts) == 1:
        return parts[0]
    score = Score(
        *(
            torch.cat([getattr(p.score, name) for p in parts], dim=1)
            for name in ("affinity", "interaction", "intramolecular", "terms")
        )
    )
    pose = Pose(*(torch.cat(group, dim=1) for group in zip(*(p.pose for p in parts), strict=True)))
    return Found(
        pose,
        torch.cat([p.coords for p in parts], dim=1),
        torch.cat([p.energy for p in parts], dim=1),
        score,
    )


def _entries(found: Found, start: int, stop: int) -> Found:
    """Some of the L entries."""
    score = found.score
    names = ("affinity", "interaction", "intramolecular", "terms")
    return Found(
        Pose(*(x[start:stop] for x in found.pose)),
        found.coords[start:stop],
        found.energy[start:stop],
        Score(*(getattr(score, name)[start:stop] for name in names)),
    )

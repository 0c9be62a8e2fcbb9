"""Docking of ligands into a prepared receptor, which every command and benchmark uses.

A ligand goes through these steps. Its fresh conformers become entries of one padded batch, with
one energy for each box. The search, and the network if there is one, give poses in every box. The
best distinct poses of all boxes are ranked together, and those to report are chosen.

Several ligands are docked at once. The result for a ligand depends only on the seed and on its
number, not on the ligands that it is packed with, and a ligand that fails affects no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from protein.docking.confidence.pose_set import pose_set
from protein.docking.confidence.ranker import Ranker
from protein.docking.energy.side_chains import SideField
from protein.docking.energy.vina import SearchSpace, VinaEnergy
from protein.docking.energy.waters import PricedWaters
from protein.docking.molecules.adduct import adducts
from protein.docking.molecules.common_core import CommonCore, common_core, core_conformers
from protein.docking.molecules.conformers import fresh_conformers, stereoisomer
from protein.docking.molecules.ligand import Ligand
from protein.docking.molecules.states import has_open_stereo
from protein.docking.pipeline.result import Result
from protein.docking.pipeline.settings import DockSettings
from protein.docking.poses.pose import LigandBatch, map_tensors
from protein.docking.poses.tether import Tether
from protein.docking.receptors.box import Box
from protein.docking.receptors.covalent import CovalentSite
from protein.docking.receptors.receptor import Receptor
from protein.docking.receptors.side_chains import SideChains
from protein.docking.search.draws import draw_indices
from protein.docking.search.held_core import HeldCores
from protein.docking.search.minimize import MinimizeSettings, minimize
from protein.docking.search.monte_carlo import Found, SearchSettings, finish, join, search
from protein.docking.search.ranking import JUDGED, Docked, diverse, ranked, within
from sciddiff.errors import InputError
from sciddiff.streams import Streams, seed_of

if TYPE_CHECKING:
    from sciddiff.denoiser import Denoiser

_log = logging.getLogger(__name__)

# Bonds of rings do not turn: a macrocycle has so many times the conformers, each with the chains
# that a conformer of another ligand has.
_RING_SHAPES = 3

_DISTINCT = SearchSettings().distinct


class Docker:
    """A receptor prepared for docking: its atoms near the boxes, and their grids.

    Args:
        receptor: the protein.
        box: box to search, or several boxes.
        settings: how to dock; the usual settings by default.
        denoiser: denoiser with a trained network; None for the search alone.
        ranker: orders poses by confidence; None to order them by energy.
        device: where energies are computed; the denoiser and the ranker keep theirs.
        sides: flexible side chains of the receptor; None for a rigid one.
        template: a ligand in its place, near which what others share with it stays; None for none.
        covalent: the side chain that ligands are bonded to, with further flexible ones in place of
            ``sides``; None for none.

    Raises:
        InputError: no receptor atom is in a box, there is neither network nor search, or flexible
            side chains are out of reach or to be docked to by a network, or what is bonded to one
            is to be ranked by confidence or held to a template.
    """

    def __init__(
        self,
        receptor: Receptor,
        box: Box | Sequence[Box],
        settings: DockSettings | None = None,
        denoiser: Denoiser | None = None,
        ranker: Ranker | None = None,
        device: torch.device | str = "cpu",
        sides: SideChains | None = None,
        template: Ligand | None = None,
        covalent: CovalentSite | None = None,
    ) -> None:
        sides = sides if covalent is None else covalent.sides
        self.receptor, self.ranker, self.sides = receptor, ranker, sides
        self.template, self.covalent = template, covalent
        self.settings = settings = settings or DockSettings()
        self.device = torch.device(device)
        self.boxes = (box,) if isinstance(box, Box) else tuple(box)
        if not self.boxes:
            raise InputError("box: there is none; give at least one")
        # Effort of the search, per conformer, and draws of the network, in one box: all boxes
        # together get at most twice the chains and draws that a single one gets.
        boxes, samples = len(self.boxes), settings.propose.samples
        self.draws = replace(settings.propose, samples=min(samples, -(-2 * samples // boxes)))
        self.denoiser = denoiser if samples > 0 else None
        self.effort = settings.search
        if self.effort is not None:
            chains = min(self.effort.chains, -(-2 * self.effort.chains // boxes))
            self.effort = replace(self.effort, chains=-(-chains // settings.conformers))
        if covalent is not None:
            covalent.check(self.boxes)
            if ranker is not None or template is not None:
                raise InputError(
                    "covalent: poses are ordered by energy, and keep to no template; leave the "
                    "ranker and the template out"
                )
        if template is not None and (self.denoiser is not None or self.effort is None):
            raise InputError("template: the search keeps to it, a network does not; leave one out")
        if self.effort is None and self.denoiser is None:
            raise InputError("effort none: it needs a model and samples; choose another effort")
        field = None
        if sides is not None:
            if self.denoiser is not None:
                raise InputError(
                    "flexible side chains: a network takes the receptor as rigid; leave the "
                    "model out"
                )
            if settings.water_price is not None:
                raise InputError(
                    "flexible side chains: waters cannot be displaced beside them; leave one out"
                )
            sides.check(self.boxes)
            field = SideField.make(receptor, sides, settings.weights)
        self.waters = None
        if settings.water_price is not None:
            near = PricedWaters.of(receptor, self.boxes, settings.water_price, settings.weights)
            self.waters = near.to(self.device)
        self._spaces = [
            SearchSpace(receptor, box, self.device, settings.weights, field, self.waters)
            for box in self.boxes
        ]

    def dock(self, ligands: Sequence[Ligand], numbers: Sequence[int]) -> list[Result]:
        """Dock some ligands together, or one by one if that fails.

        Args:
            ligands: the molecules.
            numbers: their numbers in the library, which decide their random draws.
        """
        if self.covalent is not None:
            each = zip(ligands, numbers, strict=True)
            return [self._bonded(self.covalent, *one) for one in each]
        kinds = {ligand.macrocycle for ligand in ligands}
        if len(kinds) > 1:  # all ligands of a batch have as many conformers
            rows = [[i for i, x in enumerate(ligands) if x.macrocycle == kind] for kind in kinds]
            parts = [self.dock([ligands[i] for i in r], [numbers[i] for i in r]) for r in rows]
            order = [i for group in rows for i in group]
            joined = dict(zip(order, [x for part in parts for x in part], strict=True))
            return [joined[i] for i in range(len(ligands))]
        started = time.perf_counter()
        try:
            results = self.dock_together(ligands, numbers)
        except Exception as error:  # whatever one molecule does, the others are docked
            if len(ligands) > 1:
                _log.info("batch of %d failed (%s); one by one", len(ligands), error)
                each = zip(ligands, numbers, strict=True)
                return [self.dock([ligand], [number])[0] for ligand, number in each]
            if not isinstance(error, InputError):
                _log.warning("%s: %s", ligands[0].name, error, exc_info=True)
            return [Result(None, f"{ligands[0].name}: {' '.join(str(error).split())[:300]}")]
        docked = sum(result.docked is not None for result in results)
        share = (time.perf_counter() - started) / max(1, docked)
        return [r if r.docked is None else replace(r, seconds=share) for r in results]

    def _bonded(self, site: CovalentSite, ligand: Ligand, number: int) -> Result:
        """Dock a ligand with each of its warheads, and keep that of least energy."""
        started = time.perf_counter()
        try:
            tethers = [Tether.make(x, site) for x in adducts(ligand, site.warheads, site.residue)]
            found = [self.dock_together([x.adduct.ligand], [number], [x])[0] for x in tethers]
        except InputError as error:
            return Result(None, str(error))
        except Exception as error:  # whatever one molecule does, the others are docked
            _log.warning("%s: %s", ligand.name, error, exc_info=True)
            return Result(None, f"{ligand.name}: {' '.join(str(error).split())[:300]}")
        energies = [np.inf if x.docked is None else x.docked.energy.min() for x in found]
        best = int(np.argmin(energies))
        bond = tethers[best].bond
        others = [
            f"{x.adduct.warhead.name} at atom {x.adduct.given + 1} ({energy:.1f} kcal/mol)"
            for i, (x, energy) in enumerate(zip(tethers, energies, strict=True)) if i != best
        ]
        notes = [f"bonded to {bond.residue}:{bond.atom} by its {bond.warhead}"]
        if others:
            notes.append(f"of {len(found)} ways to bind the best; also tried: {', '.join(others)}")
        kept = replace(found[best], bond=bond, notes=(*notes, *found[best].notes))
        return kept if kept.docked is None else replace(
            kept, seconds=time.perf_counter() - started
        )

    def dock_together(
        self, ligands: Sequence[Ligand], numbers: Sequence[int], tethers: Sequence[Tether] = ()
    ) -> list[Result]:
        """Dock some ligands as one batch.

        Args:
            ligands: the molecules, all of them macrocycles or none.
            numbers: their numbers in the library.
            tethers: their bonds to a side chain, if they have one.

        Returns:
            One result per ligand; if a ligand has no conformer, its result says why.
        """
        each, seed = self.settings.conformers, self.settings.seed
        if ligands[0].macrocycle:
            each *= _RING_SHAPES
        results: dict[int, Result] = {}
        shapes: dict[int, NDArray[np.float64]] = {}
        cores: dict[int, CommonCore] = {}
        for i, (ligand, number) in enumerate(zip(ligands, numbers, strict=True)):
            try:
                start = seed_of(seed, "conformers", number, bits=31)
                if tethers:
                    made = tethers[i].conformers(each, start)
                elif self.template is None:
                    made = fresh_conformers(ligand, each, start)
                else:
                    cores[i] = common_core(ligand, self.template)
                    made = core_conformers(ligand, cores[i], each, start)
                shapes[i] = made[np.arange(each) % len(made)]  # repeated, if there are fewer
            except InputError as error:
                results[i] = Result(None, str(error))
        if not shapes:
            return list(results.values())
        entries = [ligands[i] for i in shapes for _ in range(each)]
        bonds = [tethers[i] for i in shapes for _ in range(each)] if tethers else []
        trees = [x.tree for x in bonds] or [ligand.tree for ligand in entries]
        conformers = [x for made in shapes.values() for x in made]
        batch = LigandBatch.pack(trees, conformers, sides=self.sides, bonded=bool(bonds))
        batch = batch.to(self.device)
        held, parts = self._held(batch, entries, [cores[i] for i in shapes if i in cores]), []
        for space in self._spaces:
            energy = space.energy(entries, [x.pairs for x in bonds])
            if self.effort is not None:
                indices = draw_indices([numbers[i] for i in shapes], [each] * len(shapes))
                draws = Streams(seed, indices.to(self.device)).purpose("search")
                boxes = [space.box] * len(entries)
                parts.append(search(batch, energy, boxes, draws, self.effort, held))
            if self.denoiser is not None:
                parts.append(self._drawn(space.box, batch, energy, ligands, shapes, numbers))
        found = join(parts)
        with torch.no_grad():
            relaxed = energy.pairs.evaluate(batch.reference.unsqueeze(1))[0][:, 0]
        relaxed = relaxed.view(-1, each).double().cpu().numpy()
        for row, i in enumerate(shapes):
            mine = map_tensors(lambda x, row=row: x[row * each : (row + 1) * each], found)
            most = max(self.settings.poses, JUDGED)
            moving = None if self.sides is None else self.sides.moving
            docked = ranked(ligands[i], mine, most, _DISTINCT, moving)
            docked = within(docked, self.settings.energy_range)
            if held is not None and not len(docked.coords):
                limit = self.settings.template_rmsd
                error = f"no pose has its common part within {limit:g} Å of the template"
                results[i] = Result(None, f"{ligands[i].name}: {error}")
                continue
            if self.waters is not None:
                gone = self.waters.displaced(ligands[i], docked.coords)
                docked = replace(docked, displaced=gone)
            if self.ranker is not None:
                poses = pose_set(ligands[i], self._receptors(docked), docked)
                docked = replace(docked, confidence=self.ranker.probabilities(poses))
            docked = diverse(ligands[i], docked, self.settings.poses, self.settings.min_rmsd)
            results[i] = self._result(ligands[i], docked, shapes[i], relaxed[row])
        return [results[i] for i in range(len(ligands))]

    def _held(
        self, batch: LigandBatch, entries: Sequence[Ligand], cores: Sequence[CommonCore]
    ) -> HeldCores | None:
        """The cores of all entries, each conformer with its own way; None without a template."""
        if self.template is None:
            return None
        each, limit = len(entries) // len(cores), self.settings.template_rmsd
        every = [core for core in cores for _ in range(each)]
        ways = [k for _ in cores for k in range(each)]
        return HeldCores.make(entries, every, ways, batch.torsion_mask.shape[1], limit)

    def _receptors(self, docked: Docked) -> list[Receptor]:
        """The receptor of all poses, or one for each if side chains are flexible."""
        if docked.displaced is not None and self.waters is not None:
            found = Result(docked, waters=self.waters.labels)
            return [found.receptor(self.receptor, k) for k in range(len(docked.coords))]
        if self.sides is None or docked.side_coords is None:
            return [self.receptor]
        placed = [self.sides.placed(self.receptor, coords) for coords in docked.side_coords]
        return placed or [self.receptor]

    def _drawn(
        self,
        box: Box,
        batch: LigandBatch,
        energy: VinaEnergy,
        ligands: Sequence[Ligand],
        shapes: Mapping[int, NDArray[np.float64]],
        numbers: Sequence[int],
    ) -> Found:
        """Poses that the network draws in a box, minimised unless the settings say otherwise."""
        from protein.docking.diffusion.propose import propose
        from protein.docking.diffusion.templates import Site

        assert self.denoiser is not None  # noqa: S101 - the caller asks
        effort = self.settings.search or SearchSettings()
        pose = propose(
            self.denoiser,
            [Site(ligands[i], np.asarray(box.center)) for i in shapes],
            self.receptor,
            list(shapes.values()),
            energy,
            self.draws,
            self.settings.seed,
            [numbers[i] for i in shapes],
        )
        if not self.settings.minimize:
            return finish(batch, energy, pose, replace(effort, final=1))
        soft = minimize(batch, energy, pose, MinimizeSettings(30, 2.0))
        return finish(batch, energy, soft.pose, effort)

    def _result(
        self,
        ligand: Ligand,
        docked: Docked,
        conformers: NDArray[np.float64],
        relaxed: NDArray[np.float64],
    ) -> Result:
        """Add the strain of the poses, relative to the best conformer of their stereoisomer."""
        notes = [*_too_large(conformers, self.boxes)]
        least, isomers = np.full(len(docked.coords), relaxed.min()), ()
        if ligand.open_stereo:
            isomers = tuple(stereoisomer(ligand, x) for x in docked.coords)
            own = np.asarray([stereoisomer(ligand, x) for x in conformers])
            least = np.asarray([relaxed[own == name].min(initial=np.inf) for name in isomers])
            least[~np.isfinite(least)] = relaxed.min()
        if ligand.open_stereo and has_open_stereo(ligand.mol):
            notes.append(
                f"{ligand.open_stereo} of its stereocentres and double bonds are not specified; "
                f"its poses show {len(set(isomers))} stereoisomers, and each pose names its own"
            )
        sites = np.zeros(0, dtype=np.int64)
        if len(self.boxes) > 1:
            middles = np.asarray([box.center for box in self.boxes])
            away = docked.coords.mean(axis=1)[:, None] - middles
            sites = np.linalg.norm(away, axis=-1).argmin(axis=1) + 1
        strain = docked.intramolecular - least
        waters = () if self.waters is None else self.waters.labels
        return Result(docked, "", strain, 0.0, sites, isomers, tuple(notes), self.sides, waters)


def _too_large(conformers: NDArray[np.float64], boxes: Sequence[Box]) -> Iterator[str]:
    """A note if no conformer `[C, N, 3]` fits into any box along its own axes."""
    centred = conformers - conformers.mean(axis=1, keepdims=True)
    axes = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)[1]
    extents = np.sort(np.ptp(centred @ axes, axis=1), axis=-1)
    edges = np.sort([box.size for box in boxes], axis=-1)
    if (extents[:, None] > edges).any(-1).all():
        needed, given = (" x ".join(f"{x:.0f}" for x in sizes) for sizes in
                         (extents[extents[:, -1].argmin()], edges[-1]))  # fmt: skip
        yield f"the ligand ({needed} Å) is larger than the box ({given} Å); give a larger box"

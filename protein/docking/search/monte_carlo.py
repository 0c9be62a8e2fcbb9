r"""Global search by energy alone: random starts, then annealed Monte Carlo with minimisation.

Each ligand has P chains. A round changes one thing in each chain, as AutoDock Vina does (the place
by up to 2 Å, the orientation by about as much at the rim of the molecule, or one torsion to any
angle), minimises, and accepts by Metropolis at the temperature of the round. The soft core and the
temperature fall over the first half of the rounds, so that chains pass through atoms early and
settle late. Every few rounds the poorest chains are replaced by copies of the best distinct
poses. The best distinct poses of all rounds are kept in an archive, minimised to the end, and
ranked by interaction plus intramolecular energy over all pairs.

Draws come from one stream per ligand, so that a ligand's result does not depend on its batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from protein.docking.energy.vina import SCORE_CAP, Score, VinaEnergy
from protein.docking.poses.pose import LigandBatch, Pose, T, map_tensors, retract
from protein.docking.receptors.box import Box
from protein.docking.search.held_core import HeldCores
from protein.docking.search.minimize import MinimizeSettings, Minimum, choose, minimize
from sciddiff import streams
from sciddiff.manifolds import so3
from sciddiff.streams import Generator


@dataclass(frozen=True)
class SearchSettings:
    """Effort of the search.

    Attributes:
        chains: number of chains for each ligand.
        rounds: number of rounds of mutation and minimisation.
        evaluations: evaluations of the energy per round and chain.
        screened: number of random poses per chain, of which the best ones start the chains.
        temperature: final temperature of acceptance, kcal/mol.
        hot: temperature of the first round, kcal/mol.
        soft: soft core of the first round, kcal/mol.
        hard: soft core of the second half, kcal/mol.
        renewal: rounds between replacements of poor chains.
        renewed: share of the chains that is replaced.
        distinct: RMSD above which two poses are distinct, Å.
        archive: number of distinct poses kept.
        final: evaluations of the energy in the last minimisation.
    """

    chains: int = 512
    rounds: int = 60
    evaluations: int = 16
    screened: int = 8
    temperature: float = 0.6
    hot: float = 2.0
    soft: float = 2.0
    hard: float = 20.0
    renewal: int = 5
    renewed: float = 0.25
    distinct: float = 1.0
    archive: int = 32
    final: int = 80


class Found(NamedTuple):
    """Distinct poses of L ligands, best first, K each.

    Attributes:
        pose: `[L, K, ...]`.
        coords: `[L, K, N, 3]`, Å.
        energy: ``Score.total``, by which they are ranked `[L, K]`, kcal/mol; infinite if fewer
            were found.
        score: scores of the poses.
    """

    pose: Pose
    coords: Tensor
    energy: Tensor
    score: Score


def search(
    batch: LigandBatch,
    energy: VinaEnergy,
    boxes: Sequence[Box],
    generator: Generator,
    settings: SearchSettings = SearchSettings(),
    held: HeldCores | None = None,
) -> Found:
    """Search for the best poses of some ligands.

    Args:
        batch: L ligands.
        energy: energy of these ligands; it is slow without grids.
        boxes: box of each ligand, length L.
        generator: one stream per ligand.
        settings: effort of the search.
        held: cores that stay near their places; None for none.
    """
    # Most random poses overlap the receptor. One evaluation tells the best of them, so that no
    # chain spends its first rounds on getting out.
    pose = random_poses(batch, boxes, settings.chains * settings.screened, generator)
    if held is not None:
        pose = held.start(batch, pose, generator)
    if batch.anchored is not None:
        # Half of the chains begin with the side chains of the file, which often need not move.
        pose.torsions[:, ::2].masked_fill_(batch.rotamers.unsqueeze(1), 0.0)
    screened = minimize(batch, energy, pose, MinimizeSettings(1, settings.soft))
    best = screened.energy.topk(settings.chains, largest=False).indices
    run = MinimizeSettings(2 * settings.evaluations, settings.soft)
    state = _kept(minimize(batch, energy, _pick(pose, best), run), held)
    archive = map_tensors(lambda x: x[:, :0], state)
    cap = settings.soft
    for r in range(settings.rounds):
        old_cap, (cap, temperature) = cap, _schedule(settings, r)
        # Energies are compared under one soft core: those of the last round are made anew.
        if cap != old_cap:
            again = state._replace(energy=energy.evaluate(state.coords, cap)[0])
            state = _kept(again, held)
        run = MinimizeSettings(settings.evaluations, cap)
        trial = _kept(minimize(batch, energy, mutate(batch, state.pose, generator), run), held)
        # Metropolis: accept with probability exp(-(E_new - E_old) / T), hence always if lower.
        chance = torch.log(streams.uniform(state.energy, generator))
        state = choose((state.energy - trial.energy) / temperature > chance, trial, state)
        if (r + 1) % settings.renewal == 0 or r + 1 == settings.rounds:
            # The archive compares poses of all rounds, and therefore always under the hard core.
            final = state._replace(energy=energy.evaluate(state.coords, settings.hard)[0])
            final = _kept(final, held)
            archive = distinct(batch, join([archive, final]), settings.archive, settings.distinct)
            state = _kept(_renewed(state, archive, settings, energy, cap), held)
    return finish(batch, energy, archive.pose, settings, held)


def join(parts: Sequence[T]) -> T:
    """Join poses of several sources.

    Args:
        parts: named tuples of tensors `[L, P, ...]`, of the same L ligands.
    """
    return map_tensors(lambda *x: torch.cat(x, dim=1), *parts)


def random_poses(
    batch: LigandBatch, boxes: Sequence[Box], poses: int, generator: Generator
) -> Pose:
    """Poses with centre uniform in the box, uniform orientation and torsions.

    Args:
        batch: L ligands.
        boxes: one per ligand.
        poses: number of poses of each ligand, P.
        generator: one stream per ligand.
    """
    like = batch.reference.new_zeros(len(batch), poses, 3)
    low = torch.as_tensor(np.stack([b.low for b in boxes])).to(like).unsqueeze(1)
    size = torch.as_tensor(np.stack([b.size for b in boxes])).to(like).unsqueeze(1)
    place = low + size * streams.uniform(like, generator)
    rotation = so3.SO3().uniform(like.new_zeros(len(batch), poses, 3, 3), generator)
    return Pose(place, rotation, _torsions(batch, poses, generator))


def mutate(batch: LigandBatch, pose: Pose, generator: Generator) -> Pose:
    """Change the place, the orientation, or one torsion of each pose, with equal chances.

    Args:
        batch: L ligands.
        pose: `[L, P, ...]`.
        generator: one stream per ligand.
    """
    size, poses, _ = pose.translation.shape
    count = batch.torsion_mask.sum(-1)[:, None]
    # Everything is drawn for every pose, though most of it is not used: with a fixed number of
    # draws in each round, the numbers that a pose gets depend on no other pose.
    # A ligand that is bonded to the receptor has no place and orientation to change.
    whole = 2 * batch.loose.any(-1).long()[:, None]
    drawn = streams.uniform(pose.translation[..., 0], generator) * (whole + count)
    chosen = drawn.long() + 2 - whole
    shift = 2.0 * _in_ball(pose.translation, generator)
    # Turned by 2 Å / the radius of gyration, an atom at the rim moves by about 2 Å.
    atoms = batch.atom_mask.sum(-1).to(shift.dtype)
    square = batch.free.double().square().sum((-1, -2)).to(shift.dtype)
    gyration = (square / atoms).sqrt().clamp(min=1.0)
    turn = 2.0 * _in_ball(pose.translation, generator) / gyration[:, None, None]
    angles = _torsions(batch, poses, generator)
    places = torch.arange(angles.shape[-1], device=angles.device)
    hit = chosen.unsqueeze(-1) == places + 2
    step = torch.cat(
        [
            shift * (chosen == 0).unsqueeze(-1),
            turn * (chosen == 1).unsqueeze(-1),
            torch.where(hit, angles - pose.torsions, torch.zeros_like(angles)),
        ],
        dim=-1,
    )
    # In double precision, rounded to single: the last bit of single precision depends on the size
    # of the batch, and a search amplifies it.
    moved = retract(map_tensors(Tensor.double, pose), step.double())
    return map_tensors(lambda x: x.to(step.dtype), moved)


def finish(
    batch: LigandBatch,
    energy: VinaEnergy,
    pose: Pose,
    settings: SearchSettings = SearchSettings(),
    held: HeldCores | None = None,
) -> Found:
    """Minimise poses without a soft core, drop duplicates, and rank the rest over all pairs.

    Args:
        batch: L ligands.
        energy: energy of these ligands.
        pose: poses from any source `[L, P, ...]`.
        settings: evaluations of the last minimisation, poses kept.
        held: cores that are near their places in all poses that are found; None for none.
    """
    last = minimize(batch, energy, pose, MinimizeSettings(settings.final, SCORE_CAP))
    score = energy.score(last.coords)
    last = _kept(last._replace(energy=score.total), held)
    kept = distinct(batch, last, min(settings.archive, last.energy.shape[1]), settings.distinct)
    return Found(kept.pose, kept.coords, kept.energy, energy.score(kept.coords))


def distinct(batch: LigandBatch, state: Minimum, most: int, rmsd: float) -> Minimum:
    """The lowest poses that differ by an RMSD; energies are infinite if there are too few.

    Args:
        batch: L ligands.
        state: poses.
        most: number of poses wanted.
        rmsd: least RMSD of two poses over heavy atoms as they are numbered, Å.
    """
    order = state.energy.argsort(dim=-1)[:, : 8 * most]
    state = _pick(state, order)
    weight = batch.atom_mask.to(state.coords.dtype)
    flat = (state.coords * weight[:, None, :, None]).flatten(2)
    # Relative to their mean the coordinates are small and float32 distances exact enough.
    flat = flat - flat.mean(1, keepdim=True)
    near = torch.cdist(flat, flat) < rmsd * weight.sum(-1)[:, None, None].sqrt()
    # Greedy, best first: a pose is taken, and all that are near it are out of the running.
    free = torch.isfinite(state.energy)
    picks = []
    for _ in range(min(most, free.shape[1])):
        first = torch.where(free, state.energy, inf).argmin(-1)
        picks.append((first, free.any(-1)))
        free = free & ~near[torch.arange(len(first), device=first.device), first]
    kept = _pick(state, torch.stack([first for first, _ in picks], dim=-1))
    real = torch.stack([there for _, there in picks], dim=-1)
    return kept._replace(energy=torch.where(real, kept.energy, inf))


def _kept(state: Minimum, held: HeldCores | None) -> Minimum:
    """Poses whose core is too far from its places have an infinite energy."""
    if held is None:
        return state
    return state._replace(energy=state.energy.masked_fill(held.refused(state.coords), inf))


def _renewed(
    state: Minimum, archive: Minimum, settings: SearchSettings, energy: VinaEnergy, cap: float
) -> Minimum:
    """The poorest chains replaced by the best of the archive, one copy each."""
    count = min(int(settings.renewed * settings.chains), archive.energy.shape[1])
    best = archive._replace(energy=energy.evaluate(archive.coords, cap)[0])
    best = map_tensors(lambda x: x[:, :count], best)
    order = state.energy.argsort(dim=-1)
    return join([_pick(state, order[:, : order.shape[1] - count]), best])


def _schedule(settings: SearchSettings, r: int) -> tuple[float, float]:
    """Soft core and temperature of a round: geometric over the first half, then constant."""
    done = min(1.0, 2 * r / max(1, settings.rounds))
    cap = settings.soft * (settings.hard / settings.soft) ** done
    return cap, settings.hot * (settings.temperature / settings.hot) ** done


def _torsions(batch: LigandBatch, poses: int, generator: Generator) -> Tensor:
    """Uniform angles `[L, P, T]`; padding of T changes no ligand's draws."""
    size, turns = batch.torsion_mask.shape
    draws = streams.uniform(batch.reference.new_zeros(size, turns, poses), generator)
    angles = (2 * draws - 1) * torch.pi
    return angles.transpose(1, 2) * batch.torsion_mask.unsqueeze(1)


def _in_ball(like: Tensor, generator: Generator) -> Tensor:
    """Uniform points of the unit ball in the shape of ``like`` `[L, P, 3]`."""
    drawn = streams.normal(like, generator).double()
    length = streams.uniform(like[..., :1], generator).double() ** (1 / 3)
    return (torch.nn.functional.normalize(drawn, dim=-1) * length).to(like.dtype)


def _pick(poses: T, index: Tensor) -> T:
    """Poses ``index [L, K]`` of each ligand."""
    rows = torch.arange(len(index), device=index.device)[:, None]
    return map_tensors(lambda x: x[rows, index], poses)

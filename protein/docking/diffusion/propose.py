"""Poses from the flow network, drawn by the shared core, with the physics as guidance.

The gradient of the energy of the predicted pose acts on all three leaves, with a weight that rises
towards the end. On rotation and torsions it is divided by the squares of typical levers, so that
it moves atoms by about as much through each leaf, and it is bounded. The poses are meant to be
minimised (``search.finish``), which decides the last half ångström.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.diffusion.leaves import ROTATION, TORSIONS, TRANSLATION, padded_pose
from protein.docking.diffusion.network import DockNetwork
from protein.docking.diffusion.settings import ProposeSettings
from protein.docking.diffusion.templates import Site, posed_ligands, site_batch
from protein.docking.energy.vina import VinaEnergy
from protein.docking.poses.pose import LigandBatch, Pose, coordinates, map_tensors
from protein.docking.receptors.receptor import Receptor
from protein.docking.search.draws import draw_indices
from sciddiff.denoiser import Denoiser
from sciddiff.errors import InputError
from sciddiff.grids import uniform
from sciddiff.guidance import DenoiserLike, Energy
from sciddiff.samplers import Ancestral, FlowMap
from sciddiff.sampling import sample
from sciddiff.state import Batch, State

# Squared levers by which a turn moves atoms, Å² per radian², and the longest pull of one step.
_LEVERS = {TRANSLATION: 1.0, ROTATION: 9.0, TORSIONS: 4.0}
_LONGEST = 4.0
_SOFT = 2.0


def find_proposer(name: str | None, device: torch.device) -> Denoiser | None:
    """Find a flow network by its name.

    Args:
        name: name of shipped weights, or a model folder; None for no network.
        device: device that holds it.

    Raises:
        InputError: there is no such model, or it is of another kind.
    """
    from protein.pretrained import find_model

    if name is None:
        return None
    denoiser = find_model(name, device).denoiser
    if not isinstance(denoiser.net, DockNetwork):
        raise InputError(f"--model {name}: is not a docking network; train one: sciddiff train")
    return denoiser


def propose(
    denoiser: Denoiser,
    sites: Sequence[Site],
    receptor: Receptor,
    conformers: Sequence[NDArray[np.floating]],
    energy: VinaEnergy | None,
    settings: ProposeSettings,
    seed: int,
    numbers: Sequence[int],
) -> Pose:
    """Draw poses of some ligands in one receptor.

    Args:
        denoiser: denoiser with a trained ``DockNetwork``.
        sites: G ligands and the centers of their pockets.
        receptor: the protein.
        conformers: `[K_g, N_g, 3]` for each, Å.
        energy: energy of the L = ΣK conformers in this order; None for no guidance.
        settings: how many poses are drawn, and how.
        seed: seed of the noise.
        numbers: one number per ligand; with the seed it decides what is drawn for it.

    Returns:
        Poses `[L, P, ...]` in the frame of the receptor, P of every conformer.
    """
    each = -(-settings.samples // max(1, min(len(c) for c in conformers)))
    copies = [np.repeat(c, each, axis=0) for c in conformers]
    batch = site_batch(sites, [receptor], copies)
    net = denoiser.net
    device = next(net.parameters()).device
    batch = batch.to(device)
    jumps = isinstance(net, DockNetwork) and net.span is not None
    if isinstance(net, DockNetwork):  # read each pocket once, not at every step
        with torch.no_grad():
            systems = batch.cond["systems"].to(device)
            batch = batch.with_cond(systems=systems, encoded=net.encode(systems))
    centers = torch.as_tensor(np.stack([site.center for site in sites]), dtype=torch.float32)
    centers = centers.to(device)[batch.cond["complex"]]
    guided: DenoiserLike = denoiser
    if energy is not None and settings.guidance > 0:
        pull = _Pull(energy, centers, each)
        # Rises with time: early predictions lie in walls, where the energy tells nothing.
        guided = Energy(
            pull, weight=settings.guidance, variance=lambda t: 0.1 * t**2, interval=(0.4, 1.0)
        )(denoiser)
    result = sample(
        guided,
        batch,
        FlowMap() if jumps else Ancestral(eta=settings.noise),
        uniform(settings.steps),
        seed,
        indices=draw_indices(numbers, [len(c) for c in copies]),
        prior_scale={TRANSLATION: settings.temperature},
    )
    pose = padded_pose(result.x, posed_ligands(batch))
    pose = pose._replace(translation=pose.translation + centers.unsqueeze(1))
    home = "cpu" if energy is None else energy.types.device
    return map_tensors(lambda x: x.squeeze(1).unflatten(0, (-1, each)).to(home), pose)


@dataclass(frozen=True, eq=False)
class _Pull:
    """Energy of predicted poses `[B]`, with scaled and bounded gradients.

    Attributes:
        energy: energy of L conformers.
        centers: centers of the pockets `[B, 3]`, Å.
        each: number of poses of each conformer.
    """

    energy: VinaEnergy
    centers: Tensor
    each: int

    def __call__(self, data: State, batch: Batch) -> Tensor:
        ligands = posed_ligands(batch)
        index = {name: batch.layouts[name].index for name in data}
        tamed = {
            name: _tame(x, _LEVERS[name], index[name], batch.size) for name, x in data.items()
        }
        coords = _coordinates(ligands, tamed) + self.centers.unsqueeze(1)
        return self.energy(coords.unflatten(0, (-1, self.each)), _SOFT).flatten()


def _coordinates(ligands: LigandBatch, x: State) -> Tensor:
    return coordinates(ligands, padded_pose(x, ligands)).squeeze(1)


def _tame(x: Tensor, lever: float, index: Tensor | None, size: int) -> Tensor:
    """``x``, whose gradient is divided by a squared lever and bounded per sample."""
    return _Tamed.apply(x, lever, index, size)


class _Tamed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, lever: float, index: Tensor | None, size: int) -> Tensor:
        ctx.lever, ctx.index, ctx.size = lever, index, size
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        gradient = grads[0] / ctx.lever
        squares = gradient.square().flatten(1).sum(1) if gradient.ndim > 1 else gradient.square()
        if ctx.index is not None:
            squares = squares.new_zeros(ctx.size).index_add(0, ctx.index, squares)
        longest = _LONGEST / ctx.lever**0.5
        shrink = (longest / squares.sqrt().clamp(min=1e-9)).clamp(max=1.0)
        if ctx.index is not None:
            shrink = shrink[ctx.index]
        return gradient * shrink.view(-1, *(1,) * (gradient.ndim - 1)), None, None, None

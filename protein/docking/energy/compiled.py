"""Where compiled loops take the place of tensors: on the processor, with grids, Numba installed.

`minimize`, `evaluate` and `interaction` do what their namesakes in
`protein.docking.search.minimize`,
`protein.docking.energy.vina` and `protein.docking.energy.pairwise` do with tensors, to rounding,
several times faster; these call here where `ready` says so. Poses are shared out among as many
threads as torch uses, and do not depend on how. The first use on a machine compiles for some
seconds; the code is kept for later processes.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.docking.energy.terms import VinaWeights, type_pairs
from protein.docking.poses.pose import LigandBatch, Pose

if TYPE_CHECKING:
    from protein.docking.energy.grid import GridSet
    from protein.docking.energy.intramolecular import IntraPairs

SWITCH = "SCIDDIFF_COMPILED"
"""Environment variable: 0 turns compiled loops off."""


def ready(*tensors: Tensor) -> bool:
    """Whether compiled loops apply to float32 tensors on the processor.

    Args:
        tensors: what would be worked on.
    """
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    return plain and _installed() and os.environ.get(SWITCH, "1") != "0"


def minimize(
    batch: LigandBatch, grids: "GridSet", pairs: "IntraPairs", pose: Pose, evaluations: int,
    cap: float, limits: Tensor,
) -> tuple[Pose, Tensor, Tensor]:  # fmt: skip
    """Minimise poses, as ``protein.docking.search.minimize`` does.

    Args:
        batch: L ligands.
        grids: of their receptors.
        pairs: within them.
        pose: starts `[L, P, ...]`.
        evaluations: of the energy, per pose.
        cap: soft core, kcal/mol.
        limits: largest change of each coordinate in a step `[6 + T]`.

    Returns:
        Poses, coordinates `[L, P, N, 3]`, energies `[L, P]`.
    """
    from protein.docking.energy import kernels

    at, turn, twist = (x.detach().contiguous().clone() for x in pose)
    size, poses, _ = at.shape
    x = at.new_zeros(size, poses, batch.reference.shape[1], 3)
    value = at.new_zeros(size, poses)
    out = [t.numpy() for t in (at, turn, twist, x, value)]
    given = (
        evaluations, float(cap), batch.arrays, grids.arrays, pairs.arrays, batch.metric.numpy(),
        limits.double().numpy(),
    )  # fmt: skip
    _share(size * poses, lambda begin, end: kernels.minimize(begin, end, *given, *out))
    return Pose(at, turn, twist), x, value


def evaluate(
    grids: "GridSet", pairs: "IntraPairs", coords: Tensor, cap: float
) -> tuple[Tensor, Tensor]:
    """Energy `[L, P]` and gradient `[L, P, N, 3]` of coordinates from grids and pairs.

    Args:
        grids: of the receptors.
        pairs: within the ligands.
        coords: `[L, P, N, 3]`, Å.
        cap: soft core, kcal/mol.
    """
    from protein.docking.energy import kernels

    size, poses, _, _ = coords.shape
    energy, gradient = coords.new_zeros(size, poses), torch.zeros_like(coords)
    given = (
        coords.detach().contiguous().numpy(), grids.atoms, float(cap), grids.arrays, pairs.arrays,
    )  # fmt: skip
    out = (energy.numpy(), gradient.numpy())
    _share(size * poses, lambda begin, end: kernels.evaluate(begin, end, *given, *out))
    return energy, gradient


def interaction(
    coords: Tensor, types: Tensor, receptor_coords: Tensor, receptor_types: Tensor,
    weights: VinaWeights, cap: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Terms `[L, P, 5]` and energies of atoms `[L, P, N]` over all pairs.

    Args:
        coords: `[L, P, N, 3]`, Å.
        types: `[L, N]`, -1 where padded, at the end.
        receptor_coords: `[L or 1, M, 3]`, Å.
        receptor_types: `[L or 1, M]`, -1 where padded.
        weights: of the terms.
        cap: soft core, kcal/mol per atom.
    """
    from protein.docking.energy import leaf_kernels

    size, poses, atoms, _ = coords.shape
    terms, energy = coords.new_zeros(size, poses, 5), coords.new_zeros(size, poses, atoms)
    given = (
        coords.detach().contiguous().numpy(), types.numpy(), (types >= 0).sum(-1).numpy(),
        receptor_coords.contiguous().numpy(), receptor_types.contiguous().numpy(),
        len(receptor_coords) == 1, *_type_pairs(), weights.pair().double().numpy(), float(cap),
    )  # fmt: skip
    out = (terms.numpy(), energy.numpy())
    _share(size * poses, lambda begin, end: leaf_kernels.interaction(begin, end, *given, *out))
    return terms, energy


@lru_cache(maxsize=1)
def _installed() -> bool:
    if find_spec("numba") is None:
        return False
    from numba.core import config

    return not bool(getattr(config, "DISABLE_JIT", False))


@lru_cache(maxsize=1)
def _type_pairs() -> tuple[NDArray[Any], ...]:
    radii, hydrophobic, hbond = type_pairs()
    return radii.double().numpy(), hydrophobic.numpy(), hbond.numpy()


def _share(count: int, work: Callable[[int, int], None]) -> None:
    """Run ``work(begin, end)`` over all numbers, in threads that compiled loops do not block."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count)
        return
    # Several portions a thread, as some poses take longer.
    edges = np.linspace(0, count, 4 * threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1].tolist(), edges[1:].tolist()))

"""Where compiled loops take the place of tensors: on the processor, with grids, Numba installed.

Loops do what the functions that run them do with tensors, to rounding, and several times faster.
`search.minimize`, `energy.vina` and `energy.pairwise` ask `ready` whether a loop applies and hand
arrays to `run`. Arrays are views of the tensors, without a copy; those of ligands, grids and pairs
are made once and serve every later call. Poses are shared out among as many threads as torch uses,
and do not depend on how. The first use on a machine compiles for some seconds; the code is kept
for later processes.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

SWITCH = "SCIDDIFF_COMPILED"
"""Environment variable: 0 turns compiled loops off."""

# The minimiser's constants, shared by its loop and its tensors; single precision where tensors
# hold them, so that both work with the same numbers.
ARMIJO = 1e-4
"""Part of the expected decrease that a step must bring (Nocedal and Wright 2006, eq. 3.4)."""

SHIFT, TURN, TWIST = (float(np.float32(x)) for x in (1.0, 0.6, 0.8))
"""Largest change in one step: Å of the centre, radians of the whole, radians of a torsion."""

FIRST = 0.1
"""Root-mean-square displacement of the first step, Å."""

SMALLEST = 1e-3
"""Part of a step below which its direction is given up."""


def ready(*tensors: Tensor) -> bool:
    """Whether compiled loops apply, which they do to float32 tensors on the processor.

    Args:
        tensors: what would be worked on.
    """
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    return plain and _installed() and os.environ.get(SWITCH, "1") != "0"


def run(loop: str, count: int, *arguments: Any) -> None:
    """Run a compiled loop over poses, in threads, since compiled loops do not block each other.

    Args:
        loop: ``minimize``, ``evaluate`` or ``interaction``.
        count: number of poses; the loop is called as ``loop(begin, end, *arguments)``.
        arguments: arrays and numbers.
    """
    from protein.docking.energy import kernels, leaf_kernels

    work = getattr(leaf_kernels if loop == "interaction" else kernels, loop)
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count, *arguments)
        return
    # Several portions a thread, as some poses take longer.
    edges = np.linspace(0, count, 4 * threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda begin, end: work(begin, end, *arguments), edges, edges[1:]))


@lru_cache(maxsize=1)
def _installed() -> bool:
    if find_spec("numba") is None:
        return False
    from numba.core import config

    return not bool(getattr(config, "DISABLE_JIT", False))

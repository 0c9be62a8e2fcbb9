"""Where compiled loops take the place of tensors: on the processor, with grids, Numba installed.

Loops do what the functions that run them do with tensors, to rounding, and several times faster.
`search.minimize`, `energy.vina` and `energy.pairwise` ask `ready` whether a loop applies and hand
arrays to `run`. Arrays are views of the tensors, without a copy; those of ligands, grids and pairs
are made once and serve every later call. Poses are shared out among as many threads as torch uses,
and do not depend on how. The first use on a machine compiles for some seconds, beside a command
that begins it early (`protein.docking.energy.ahead`); the code is kept for later processes.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protein.docking.energy import ahead
from protein.docking.energy.ahead import SWITCH


def ready(*tensors: Tensor) -> bool:
    """Whether compiled loops apply, which they do to float32 tensors on the processor.

    Args:
        tensors: what would be worked on.
    """
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    return plain and _installed() and os.environ.get(SWITCH, "1") != "0"


def minimize(count: int, *arguments: Any) -> None:
    """Run the loop `minimize`.

    Args:
        count: number of poses.
        arguments: those after its room.
    """
    atoms, dofs = arguments[-2].shape[2], arguments[-3].shape[2] + 6
    fragments = dofs - 5
    room = [
        (atoms, 3), (atoms, 3), (fragments, 3, 3), (fragments, 3), (fragments, 10), (dofs, dofs),
        (3, 3), (3, 3), (3,), (3,), *[(dofs,)] * 8,
    ]  # fmt: skip
    run("minimize", count, *arguments, room=room)


def run(loop: str, count: int, *arguments: Any, room: Sequence[tuple[int, ...]] = ()) -> None:
    """Run a compiled loop over poses, in threads, since compiled loops do not block each other.

    Args:
        loop: ``minimize``, ``evaluate`` or ``interaction``.
        count: number of poses; the loop is called as ``loop(begin, end, *arguments)``.
        arguments: arrays and numbers.
        room: shapes of arrays of zeros, in double precision, that the loop works in. Each call has
            its own, as a tuple before the other arguments.
    """
    from protein.docking.energy import kernels, leaf_kernels

    work = getattr(leaf_kernels if loop == "interaction" else kernels, loop)
    ahead.wait(work)

    def portion(begin: int, end: int) -> None:
        own = (tuple(np.zeros(shape) for shape in room),) if room else ()
        work(begin, end, *own, *arguments)

    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        portion(0, count)
        return
    # Several portions a thread, as some poses take longer.
    edges = np.linspace(0, count, 4 * threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(portion, edges, edges[1:]))


@lru_cache(maxsize=1)
def _installed() -> bool:
    if find_spec("numba") is None:
        return False
    from numba.core import config

    return not bool(getattr(config, "DISABLE_JIT", False))

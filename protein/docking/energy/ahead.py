"""Compile loops in a process of their own, while a command imports and reads what it needs.

Where no code is kept yet, `begin` starts this module as a process that compiles the loops for the
arrays that docking hands to them, without importing torch, in the order in which docking needs
them. `protein.docking.energy.compiled` waits for the code of a loop before it runs it, and reads
that, while the others are still compiled. Whatever goes wrong beside costs only that a loop
compiles itself; results are those of the same code either way.
"""

import gc
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SWITCH = "SCIDDIFF_COMPILED"
"""Environment variable: 0 turns compiled loops off."""

_LOOK = 0.02
"""Seconds between two looks for the code of a loop."""

_beside: list[subprocess.Popen[bytes]] = []


def begin() -> None:
    """Begin to compile the loops of docking beside this process, unless they have been."""
    if _beside or os.environ.get(SWITCH, "1") == "0" or find_spec("numba") is None:
        return
    if all(_is_kept(loop) for loop, _ in loops()):
        return
    words = [sys.executable, "-m", __name__]
    silent = subprocess.DEVNULL
    _beside.append(subprocess.Popen(words, stdin=silent, stdout=silent, stderr=silent))


def wait(loop: Any = None) -> None:
    """Wait until what was begun has ended, or the code of one loop is kept.

    Args:
        loop: the loop; None for all of them.
    """
    while _beside:
        if loop is None or _beside[-1].poll() is not None:
            _beside.pop().wait()
        elif _is_kept(loop):
            return
        else:
            time.sleep(_LOOK)


def loops() -> list[tuple[Any, tuple[Any, ...]]]:
    """Every loop that Python calls, with the types of its arguments in docking."""
    from numba import types

    from protein.docking.energy import kernels, leaf_kernels

    def arrays(kind: Any, *dimensions: int) -> list[Any]:
        return [types.Array(kind, n, "C") for n in dimensions]

    long, single, double = types.int64, types.float32, types.float64
    ligand = types.Tuple(
        [*arrays(double, 3, 3, 3), *arrays(long, 3, 2, 2, 1, 1), *arrays(double, 2),
         *arrays(long, 1, 1)]
    )  # fmt: skip
    grid = types.Tuple(
        [*arrays(single, 1), *arrays(long, 1, 2), *arrays(double, 2, 1), *arrays(long, 2, 1)]
    )
    pairs = types.Tuple([*arrays(long, 2, 2, 2, 1), *arrays(single, 1)])
    room = types.Tuple(arrays(double, 2, 2, 3, 2, 2, 2, 2, 2, *[1] * 10))
    return [
        (kernels.minimize, (long, long, room, long, double, ligand, grid, grid, pairs,
                            *arrays(single, 3, 4, 3, 4, 2))),
        (kernels.evaluate, (long, long, types.UniTuple(arrays(double, 2)[0], 2), double, grid,
                            grid, pairs, *arrays(single, 4, 2, 4))),
        (leaf_kernels.interaction, (long, long, double, *arrays(single, 4), *arrays(long, 2, 1),
                                    *arrays(single, 3), *arrays(long, 2), *arrays(double, 2),
                                    *arrays(types.boolean, 2, 2), *arrays(double, 1),
                                    *arrays(single, 3, 3))),
    ]  # fmt: skip


def _is_kept(loop: Any) -> bool:
    """Whether a folder holds code of a loop that is newer than its source; cheap, and no proof."""
    folder = getattr(getattr(loop, "stats", None), "cache_path", None)
    if folder is None:  # there is nowhere to keep it, and nothing to compile for
        return True
    code = loop.py_func.__code__
    source = Path(code.co_filename)
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    # Numba writes the index of a loop first, and then its code at once.
    name = f"{source.stem}.{loop.py_func.__qualname__}-{code.co_firstlineno}.{python}*.nbc"
    newest = max((file.stat().st_mtime for file in Path(folder).glob(name)), default=0.0)
    return newest >= source.stat().st_mtime


def main() -> None:
    """Compile every loop; the code is kept where this process finds a folder for it."""
    gc.disable()  # the compiler makes many small objects and few cycles, and this process ends
    for loop, types in loops():
        loop.compile(types)


if __name__ == "__main__":
    main()

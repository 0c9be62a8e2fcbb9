"""Compiled loops that call no other: energies over all pairs.

`protein.docking.energy.kernels` says more about compiled loops; `compile_loop` compiles them all.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, sqrt
from typing import Any

import numba
import numpy as np

from protein.docking.energy.constants import CUTOFF2


def compile_inner(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - Numba's own kind of function
    """Compile a loop that only other loops call, as a part of their code."""
    # As one mapping, since Numba's declared types do not know the last two.
    options: dict[str, Any] = {
        "nogil": True, "error_model": "numpy",
        "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
    }  # fmt: skip
    return numba.njit(**options)(function)


def compile_loop(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - Numba's own kind of function
    """Compile a loop, and keep its code for later processes where there is a folder for it."""
    # No relaxed arithmetic: what the compiler inlines differs between a first compilation and one
    # from its cache, and with fused products results would differ with it.
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder to keep compiled code in: compile in every process
        return numba.njit(nogil=True, error_model="numpy")(function)


@compile_inner
def take(
    at: Any, turn: Any, twist: Any, turns: int, to_at: Any, to_turn: Any, to_twist: Any
) -> None:
    """Copy a pose, with so many torsions."""
    for i in range(3):
        to_at[i] = at[i]
        for j in range(3):
            to_turn[i, j] = turn[i, j]
    for t in range(turns):
        to_twist[t] = twist[t]


@compile_inner
def copy(x: Any, n: int, to: Any) -> None:
    """Copy n points."""
    for k in range(n):
        to[k, 0], to[k, 1], to[k, 2] = x[k, 0], x[k, 1], x[k, 2]


@compile_loop
def interaction(
    begin: int, end: int, cap: float, x: Any, types: Any, atoms: Any, receptor: Any, kinds: Any,
    radii: Any, hydrophobic: Any, hbond: Any, weights: Any, terms: Any, energy: Any,
) -> None:  # fmt: skip
    """The five terms and the energy of each atom over all pairs, for some poses.

    The terms are those of Trott and Olson, J. Comput. Chem. 31 (2010) 455, as functions of the
    distance d between the surfaces of two atoms.
    """
    # Poses, then ligand atoms, then receptor atoms: the innermost loop runs through the receptor
    # as it lies in memory, and the five sums of an atom stay in registers. They are weighted and
    # softened once per ligand atom, because the soft core applies to its energy with the whole
    # receptor.
    poses = x.shape[1]
    for index in range(begin, end):
        m, p = index // poses, index % poses
        r = m if len(receptor) > 1 else 0
        t0 = t1 = t2 = t3 = t4 = 0.0
        for k in range(atoms[m]):
            mine = types[m, k]
            x0, x1, x2 = float(x[m, p, k, 0]), float(x[m, p, k, 1]), float(x[m, p, k, 2])
            a0 = a1 = a2 = a3 = a4 = 0.0
            for j in range(receptor.shape[1]):
                d0 = x0 - receptor[r, j, 0]
                d1 = x1 - receptor[r, j, 1]
                d2 = x2 - receptor[r, j, 2]
                square = d0 * d0 + d1 * d1 + d2 * d2
                other = kinds[r, j]
                if square >= CUTOFF2 or other < 0:
                    continue
                d = sqrt(square) - radii[mine, other]
                a0 += exp(-4.0 * d * d)  # first Gaussian: exp(-(d / 0.5)^2)
                a1 += exp(-0.25 * (d - 3.0) * (d - 3.0))  # second: exp(-((d - 3) / 2)^2)
                if d < 0.0:  # repulsion
                    a2 += d * d
                # These fall linearly: from 1 at 0.5 Å to 0 at 1.5, and from 1 at -0.7 to 0 at 0.
                if hydrophobic[mine, other]:
                    a3 += min(max(1.5 - d, 0.0), 1.0)
                if hbond[mine, other]:
                    a4 += min(max(d / -0.7, 0.0), 1.0)
            e = (weights[0] * a0 + weights[1] * a1 + weights[2] * a2 + weights[3] * a3
                 + weights[4] * a4)  # fmt: skip
            if e > 0.0 and cap < np.inf:
                e *= cap / (cap + e)
            energy[m, p, k] = e
            t0, t1, t2, t3, t4 = t0 + a0, t1 + a1, t2 + a2, t3 + a3, t4 + a4
        terms[m, p, 0], terms[m, p, 1], terms[m, p, 2] = t0, t1, t2
        terms[m, p, 3], terms[m, p, 4] = t3, t4

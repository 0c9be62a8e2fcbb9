"""Loops over poses, compiled for the processor by Numba: what the tensors do, one pose at a time.

`minimize` does what `protein.docking.search.minimize` does, `field` what grids and pairs give
together, and `interaction` what `protein.docking.energy.pairwise` does, with the same formulas and
limits. The tensor forms are the reference that these are tested against, and they serve other
devices and autograd. An evaluation costs microseconds here, padding costs nothing, and no pose
depends on those beside it. Arithmetic is in double precision.

Import only where Numba is installed; `protein.docking.energy.compiled` decides. Loops that call
others share their file because Numba looks at the file of a function alone to tell whether its
kept code is stale; those that call no other are in `protein.docking.energy.leaf_kernels`.
"""

from __future__ import annotations

from math import cos, sin, sqrt
from typing import Any

import numpy as np

from protein.docking.energy.grid import WALL
from protein.docking.energy.intramolecular import BINS
from protein.docking.energy.leaf_kernels import CUTOFF2, compile_loop

_WALL = WALL
_BINS = float(BINS)
_ARMIJO = 1e-4
_FIRST = 0.1
_SMALLEST = 1e-3


@compile_loop
def place(
    translation: Any, rotation: Any, torsions: Any, reference: Any, start: Any, axis: Any,
    fragment: Any, parent: Any, n: int, turns: int, motion: Any, shift: Any, x: Any,
) -> None:  # fmt: skip
    """Coordinates `x [N, 3]` of one pose; `motion [T + 1, 3, 3]` and `shift` are room to work."""
    for f in range(1, turns + 1):
        a0, a1, a2 = axis[f - 1, 0], axis[f - 1, 1], axis[f - 1, 2]
        s, c = sin(torsions[f - 1]), cos(torsions[f - 1])
        d = 1.0 - c
        m00, m01, m02 = c + d * a0 * a0, d * a0 * a1 - s * a2, d * a0 * a2 + s * a1
        m10, m11, m12 = d * a0 * a1 + s * a2, c + d * a1 * a1, d * a1 * a2 - s * a0
        m20, m21, m22 = d * a0 * a2 - s * a1, d * a1 * a2 + s * a0, c + d * a2 * a2
        b0, b1, b2 = start[f - 1, 0], start[f - 1, 1], start[f - 1, 2]
        h0 = b0 - m00 * b0 - m01 * b1 - m02 * b2
        h1 = b1 - m10 * b0 - m11 * b1 - m12 * b2
        h2 = b2 - m20 * b0 - m21 * b1 - m22 * b2
        p = parent[f]
        if p == 0:
            motion[f, 0, 0], motion[f, 0, 1], motion[f, 0, 2] = m00, m01, m02
            motion[f, 1, 0], motion[f, 1, 1], motion[f, 1, 2] = m10, m11, m12
            motion[f, 2, 0], motion[f, 2, 1], motion[f, 2, 2] = m20, m21, m22
            shift[f, 0], shift[f, 1], shift[f, 2] = h0, h1, h2
            continue
        for i in range(3):
            u, v, w = motion[p, i, 0], motion[p, i, 1], motion[p, i, 2]
            motion[f, i, 0] = u * m00 + v * m10 + w * m20
            motion[f, i, 1] = u * m01 + v * m11 + w * m21
            motion[f, i, 2] = u * m02 + v * m12 + w * m22
            shift[f, i] = u * h0 + v * h1 + w * h2 + shift[p, i]
    c0 = c1 = c2 = 0.0
    for k in range(n):
        f = fragment[k]
        y0, y1, y2 = reference[k, 0], reference[k, 1], reference[k, 2]
        if f > 0:
            z0 = motion[f, 0, 0] * y0 + motion[f, 0, 1] * y1 + motion[f, 0, 2] * y2 + shift[f, 0]
            z1 = motion[f, 1, 0] * y0 + motion[f, 1, 1] * y1 + motion[f, 1, 2] * y2 + shift[f, 1]
            z2 = motion[f, 2, 0] * y0 + motion[f, 2, 1] * y1 + motion[f, 2, 2] * y2 + shift[f, 2]
            y0, y1, y2 = z0, z1, z2
        x[k, 0], x[k, 1], x[k, 2] = y0, y1, y2
        c0 += y0
        c1 += y1
        c2 += y2
    c0, c1, c2 = c0 / n, c1 / n, c2 / n
    for k in range(n):
        y0, y1, y2 = x[k, 0] - c0, x[k, 1] - c1, x[k, 2] - c2
        for i in range(3):
            x[k, i] = (
                rotation[i, 0] * y0 + rotation[i, 1] * y1 + rotation[i, 2] * y2 + translation[i]
            )


@compile_loop
def field(
    x: Any, n: int, values: Any, base: int, shape: Any, origin: Any, spacing: float, channel: Any,
    first: Any, second: Any, row: Any, pairs: int, table: Any, cap: float, g: Any,
) -> float:  # fmt: skip
    """Energy of coordinates `x [N, 3]` from a grid and the pairs; its gradient to `g [N, 3]`."""
    total = 0.0
    nx, ny, nz, channels = shape[0], shape[1], shape[2], shape[3]
    sy, sx = nz * channels, ny * nz * channels
    for k in range(n):
        u0 = (x[k, 0] - origin[0]) / spacing
        u1 = (x[k, 1] - origin[1]) / spacing
        u2 = (x[k, 2] - origin[2]) / spacing
        i0 = min(max(u0, 0.0), nx - 1.0)
        i1 = min(max(u1, 0.0), ny - 1.0)
        i2 = min(max(u2, 0.0), nz - 1.0)
        l0, l1, l2 = min(int(i0), nx - 2), min(int(i1), ny - 2), min(int(i2), nz - 2)
        f0, f1, f2 = i0 - l0, i1 - l1, i2 - l2
        at = base + l0 * sx + l1 * sy + l2 * channels + channel[k]
        v000, v001 = float(values[at]), float(values[at + channels])
        v010, v011 = float(values[at + sy]), float(values[at + sy + channels])
        at += sx
        v100, v101 = float(values[at]), float(values[at + channels])
        v110, v111 = float(values[at + sy]), float(values[at + sy + channels])
        z00, z01 = v000 + f2 * (v001 - v000), v010 + f2 * (v011 - v010)
        z10, z11 = v100 + f2 * (v101 - v100), v110 + f2 * (v111 - v110)
        y0, y1 = z00 + f1 * (z01 - z00), z10 + f1 * (z11 - z10)
        e = y0 + f0 * (y1 - y0)
        d0 = (y1 - y0) / spacing
        d1 = ((z01 - z00) + f0 * ((z11 - z10) - (z01 - z00))) / spacing
        low = (v001 - v000) + f1 * ((v011 - v010) - (v001 - v000))
        high = (v101 - v100) + f1 * ((v111 - v110) - (v101 - v100))
        d2 = (low + f0 * (high - low)) / spacing
        if e > 0.0 and cap < np.inf:
            bend = cap / (cap + e)
            e *= bend
            bend *= bend
            d0, d1, d2 = d0 * bend, d1 * bend, d2 * bend
        o0, o1, o2 = (u0 - i0) * spacing, (u1 - i1) * spacing, (u2 - i2) * spacing
        if o0 != 0.0:
            d0 = 2.0 * _WALL * o0
        if o1 != 0.0:
            d1 = 2.0 * _WALL * o1
        if o2 != 0.0:
            d2 = 2.0 * _WALL * o2
        total += e + _WALL * (o0 * o0 + o1 * o1 + o2 * o2)
        g[k, 0], g[k, 1], g[k, 2] = d0, d1, d2
    for k in range(pairs):
        a, b = first[k], second[k]
        d0, d1, d2 = x[a, 0] - x[b, 0], x[a, 1] - x[b, 1], x[a, 2] - x[b, 2]
        square = d0 * d0 + d1 * d1 + d2 * d2
        if square >= CUTOFF2:
            continue
        scaled = square * _BINS
        low_bin = int(scaled)
        at = row[k] + low_bin
        left = float(table[at])
        rise = float(table[at + 1]) - left
        e = left + rise * (scaled - low_bin)
        force = 2.0 * _BINS * rise
        if e > 0.0 and cap < np.inf:
            bend = cap / (cap + e)
            e *= bend
            force *= bend * bend
        total += e
        d0, d1, d2 = d0 * force, d1 * force, d2 * force
        g[a, 0] += d0
        g[a, 1] += d1
        g[a, 2] += d2
        g[b, 0] -= d0
        g[b, 1] -= d1
        g[b, 2] -= d2
    return total


@compile_loop
def pull(
    x: Any, g: Any, translation: Any, rotation: Any, n: int, turns: int, bonds: Any,
    fragment: Any, parent: Any, sums: Any, out: Any,
) -> None:  # fmt: skip
    """Gradient by coordinates to the tangent space, `out [6 + T]`; `sums [T + 1, 10]`: room."""
    sums[: turns + 1] = 0.0
    for k in range(n):
        f = fragment[k]
        r0, r1, r2 = x[k, 0] - translation[0], x[k, 1] - translation[1], x[k, 2] - translation[2]
        g0, g1, g2 = g[k, 0], g[k, 1], g[k, 2]
        sums[f, 0] += r1 * g2 - r2 * g1
        sums[f, 1] += r2 * g0 - r0 * g2
        sums[f, 2] += r0 * g1 - r1 * g0
        sums[f, 3] += g0
        sums[f, 4] += g1
        sums[f, 5] += g2
        sums[f, 6] += r0
        sums[f, 7] += r1
        sums[f, 8] += r2
        sums[f, 9] += 1.0
    # Parents come before children: from the last on, every branch is complete when it is added.
    for f in range(turns, 0, -1):
        for i in range(10):
            sums[parent[f], i] += sums[f, i]
    t0, t1, t2 = sums[0, 3], sums[0, 4], sums[0, 5]
    out[0], out[1], out[2] = t0, t1, t2
    for i in range(3):
        out[3 + i] = (
            rotation[0, i] * sums[0, 0] + rotation[1, i] * sums[0, 1] + rotation[2, i] * sums[0, 2]
        )
    for f in range(1, turns + 1):
        a, b = bonds[f - 1, 0], bonds[f - 1, 1]
        s0, s1, s2 = x[a, 0] - translation[0], x[a, 1] - translation[1], x[a, 2] - translation[2]
        a0, a1, a2 = x[b, 0] - x[a, 0], x[b, 1] - x[a, 1], x[b, 2] - x[a, 2]
        length = sqrt(a0 * a0 + a1 * a1 + a2 * a2)
        size = sums[f, 9]
        o0 = (sums[f, 6] - size * s0) / n
        o1 = (sums[f, 7] - size * s1) / n
        o2 = (sums[f, 8] - size * s2) / n
        w0 = sums[f, 0] - (s1 * sums[f, 5] - s2 * sums[f, 4]) - (o1 * t2 - o2 * t1)
        w1 = sums[f, 1] - (s2 * sums[f, 3] - s0 * sums[f, 5]) - (o2 * t0 - o0 * t2)
        w2 = sums[f, 2] - (s0 * sums[f, 4] - s1 * sums[f, 3]) - (o0 * t1 - o1 * t0)
        out[5 + f] = (a0 * w0 + a1 * w1 + a2 * w2) / max(length, 1e-6)


@compile_loop
def move(
    translation: Any, rotation: Any, torsions: Any, step: Any, turns: int,
    new_translation: Any, new_rotation: Any, new_torsions: Any,
) -> None:  # fmt: skip
    """The retraction: translation + v, R Exp(w), torsions + u."""
    v0, v1, v2 = step[3], step[4], step[5]
    square = v0 * v0 + v1 * v1 + v2 * v2
    angle = sqrt(square)
    a = 1.0 - square / 6.0 if angle < 1e-4 else sin(angle) / angle
    b = 0.5 - square / 24.0 if angle < 1e-4 else (1.0 - cos(angle)) / square
    m00, m01, m02 = 1 - b * (v1 * v1 + v2 * v2), b * v0 * v1 - a * v2, b * v0 * v2 + a * v1
    m10, m11, m12 = b * v0 * v1 + a * v2, 1 - b * (v0 * v0 + v2 * v2), b * v1 * v2 - a * v0
    m20, m21, m22 = b * v0 * v2 - a * v1, b * v1 * v2 + a * v0, 1 - b * (v0 * v0 + v1 * v1)
    for i in range(3):
        u, v, w = rotation[i, 0], rotation[i, 1], rotation[i, 2]
        new_rotation[i, 0] = u * m00 + v * m10 + w * m20
        new_rotation[i, 1] = u * m01 + v * m11 + w * m21
        new_rotation[i, 2] = u * m02 + v * m12 + w * m22
        new_translation[i] = translation[i] + step[i]
    for t in range(turns):
        new_torsions[t] = torsions[t] + step[6 + t]


@compile_loop
def restart(metric: Any, gradient: Any, size: int, inverse: Any) -> None:
    """First inverse Hessian: a short step down the gradient of the metric."""
    square = 0.0
    for i in range(size):
        square += gradient[i] * gradient[i] / metric[i]
    scale = min(_FIRST / sqrt(max(square, 1e-12)), 0.1)
    for i in range(size):
        for j in range(size):
            inverse[i, j] = 0.0
        inverse[i, i] = scale / metric[i]


@compile_loop
def downhill(inverse: Any, gradient: Any, size: int, limits: Any, out: Any) -> float:
    """The next direction, `-H g` shortened to the limits; returns its product with `g` before."""
    product, excess = 0.0, 1.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total -= inverse[i, j] * gradient[j]
        out[i] = total
        product += total * gradient[i]
        excess = max(excess, abs(total) / limits[i])
    for i in range(size):
        out[i] /= excess
    return product


@compile_loop
def update(
    inverse: Any, metric: Any, step: Any, change: Any, size: int, fresh: bool, hy: Any
) -> None:
    """BFGS update of the inverse Hessian, where the curvature is positive."""
    curvature = steps = changes = 0.0
    for i in range(size):
        curvature += step[i] * change[i]
        steps += step[i] * step[i]
        changes += change[i] * change[i]
    if not (curvature > 1e-4 * sqrt(steps * changes) and curvature > 1e-10):
        return
    if fresh:
        # After the first step the scale of the metric is known (Nocedal and Wright, eq. 6.20).
        scale = 0.0
        for i in range(size):
            scale += change[i] * change[i] / metric[i]
        scale = curvature / max(scale, 1e-12)
        for i in range(size):
            for j in range(size):
                inverse[i, j] = 0.0
            inverse[i, i] = scale / metric[i]
    product = 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += inverse[i, j] * change[j]
        hy[i] = total
        product += change[i] * total
    factor = (1.0 + product / curvature) / curvature
    for i in range(size):
        for j in range(size):
            inverse[i, j] += (
                factor * step[i] * step[j] - (step[i] * hy[j] + hy[i] * step[j]) / curvature
            )


@compile_loop
def minimize(
    begin: int, end: int, evaluations: int, cap: float,
    ligand: Any, grid: Any, pairs: Any, metric: Any, limits: Any,
    translation: Any, rotation: Any, torsions: Any, coords: Any, energy: Any,
) -> None:  # fmt: skip
    """Minimise the poses `begin` to `end` of all ligands together, numbered ligand by ligand.

    Poses are read from and written to `translation [L, P, 3]`, `rotation [L, P, 3, 3]` and
    `torsions [L, P, T]`; coordinates and energy are written.
    """
    reference, start, axis, bonds, fragment, parent, atoms, turns_of = ligand
    values, base, shape, origin, spacing, channel = grid
    first, second, row, count, table = pairs
    poses = translation.shape[1]
    most, dofs = reference.shape[1], torsions.shape[2] + 6
    x, g = np.empty((most, 3)), np.empty((most, 3))
    motion, shift = np.empty((dofs - 5, 3, 3)), np.empty((dofs - 5, 3))
    sums, inverse = np.empty((dofs - 5, 10)), np.empty((dofs, dofs))
    at, turn, twist = np.empty(3), np.empty((3, 3)), np.empty(dofs)
    new_at, new_turn, new_twist = np.empty(3), np.empty((3, 3)), np.empty(dofs)
    slope_now, slope_new = np.empty(dofs), np.empty(dofs)
    direction, step, change, hy = np.empty(dofs), np.empty(dofs), np.empty(dofs), np.empty(dofs)
    for index in range(begin, end):
        m, p = index // poses, index % poses
        n, turns = atoms[m], turns_of[m]
        size = turns + 6
        at[:], turn[:], twist[:turns] = translation[m, p], rotation[m, p], torsions[m, p, :turns]
        place(at, turn, twist, reference[m], start[m], axis[m], fragment[m], parent[m], n, turns,
              motion, shift, x)  # fmt: skip
        now = field(x, n, values, base[m], shape[m], origin[m], spacing[m], channel[m], first[m],
                    second[m], row[m], count[m], table, cap, g)  # fmt: skip
        pull(x, g, at, turn, n, turns, bonds[m], fragment[m], parent[m], sums, slope_now)
        coords[m, p, :n] = x[:n]
        restart(metric[m], slope_now, size, inverse)
        downhill(inverse, slope_now, size, limits, direction)
        alpha, fresh, stuck = 1.0, True, False
        for _ in range(evaluations - 1):
            slope = 0.0
            for i in range(size):
                step[i] = alpha * direction[i]
                slope += slope_now[i] * step[i]
            move(at, turn, twist, step, turns, new_at, new_turn, new_twist)
            place(new_at, new_turn, new_twist, reference[m], start[m], axis[m], fragment[m],
                  parent[m], n, turns, motion, shift, x)  # fmt: skip
            trial = field(x, n, values, base[m], shape[m], origin[m], spacing[m], channel[m],
                          first[m], second[m], row[m], count[m], table, cap, g)  # fmt: skip  # noqa: E501
            lost = False
            if trial <= now + _ARMIJO * slope:
                pull(x, g, new_at, new_turn, n, turns, bonds[m], fragment[m], parent[m], sums,
                     slope_new)  # fmt: skip
                for i in range(size):
                    change[i] = slope_new[i] - slope_now[i]
                    slope_now[i] = slope_new[i]
                update(inverse, metric[m], step, change, size, fresh, hy)
                now, alpha, fresh, stuck = trial, 1.0, False, False
                at[:], turn[:], twist[:turns] = new_at, new_turn, new_twist[:turns]
                coords[m, p, :n] = x[:n]
                lost = downhill(inverse, slope_now, size, limits, direction) >= 0.0
            else:
                curve = max(trial - now - slope, 1e-12)
                alpha *= min(max(-0.5 * slope / curve, 0.1), 0.5)
                lost = alpha < _SMALLEST
            if lost:
                if stuck:
                    break  # neither direction from here goes down: all that follows would repeat
                restart(metric[m], slope_now, size, inverse)
                downhill(inverse, slope_now, size, limits, direction)
                alpha, fresh, stuck = 1.0, True, True
        translation[m, p], rotation[m, p], torsions[m, p, :turns] = at, turn, twist[:turns]
        coords[m, p, n:] = at
        energy[m, p] = now


@compile_loop
def evaluate(
    begin: int, end: int, coords: Any, atoms: Any, cap: float, grid: Any, pairs: Any,
    energy: Any, gradient: Any,
) -> None:  # fmt: skip
    """Energy `[L, P]` and gradient of coordinates `[L, P, N, 3]`, for some poses."""
    values, base, shape, origin, spacing, channel = grid
    first, second, row, count, table = pairs
    poses, most = coords.shape[1], coords.shape[2]
    x, g = np.empty((most, 3)), np.empty((most, 3))
    for index in range(begin, end):
        m, p = index // poses, index % poses
        x[: atoms[m]] = coords[m, p, : atoms[m]]
        energy[m, p] = field(
            x, atoms[m], values, base[m], shape[m], origin[m], spacing[m], channel[m], first[m],
            second[m], row[m], count[m], table, cap, g,
        )  # fmt: skip
        gradient[m, p, : atoms[m]] = g[: atoms[m]]

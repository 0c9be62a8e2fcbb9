"""Loops over poses, compiled for the processor by Numba: what the tensors do, one pose at a time.

`minimize` does what `protein.docking.search.minimize` does, and `field` what the grids and the
pairs give together, with the same formulas; these loops are tested against the tensors. No pose
depends on those beside it. Arithmetic is in double precision, poses in single. The loops get
arrays of all ligands as tuples, and the number m of a ligand:

- ``ligand``: reference conformers `[L, N, 3]`, first atom and direction of each rotatable bond
  `[L, T, 3]`, bonds `[L, T, 2]`, fragment of each atom `[L, N]`, parent of each fragment
  `[L, T + 1]`, numbers of its atoms and of all torsions `[L]`, metric `[L, 6 + T]`, numbers of all
  atoms and of its torsions `[L]`; those of flexible side chains follow, and a ligand that is
  bonded to one counts as these;
- ``grid``: values of all grids, first value, shape, origin and spacing of each ligand's grid,
  channel of each atom `[L, N]`, numbers of atoms `[L]`;
- ``side``: the same for the atoms of flexible side chains that move, which follow the ligand's;
- ``pairs``: both atoms and the row of the table of each pair `[L, K]`, numbers of pairs `[L]`, and
  the table. A further tuple ``room`` has arrays to work in.

A first run mostly compiles: for an allocation, or an assignment to a slice, far more than a loop.
Import only where Numba is installed. Loops that call others share their file, but for copies in
`leaf_kernels`: Numba looks at the file of a function alone to tell if its kept code is stale.
"""

from __future__ import annotations

from math import cos, sin, sqrt
from typing import Any

import numpy as np

from protein.docking.energy import constants
from protein.docking.energy.leaf_kernels import compile_inner, compile_loop, copy, take

_BINS, _CUTOFF2, _WALL = float(constants.BINS), constants.CUTOFF2, constants.WALL
_STEP = constants.SHIFT, constants.TURN, constants.TWIST


@compile_inner
def place(
    ligand: Any, m: int, at: Any, turn: Any, twist: Any, motion: Any, shift: Any, x: Any
) -> None:
    """Coordinates `x [N, 3]` of one pose; `motion [T + 1, 3, 3]` and `shift` are room to work."""
    reference, start, axis, _, fragment, parent, atoms, torsions, _, whole, _ = ligand
    n = atoms[m]
    # Parents come before children in the tree, so that one pass composes every motion
    # y -> M y + h with that of its parent, which is final by then.
    for f in range(1, torsions[m] + 1):
        # Rodrigues' formula, M = cos t I + sin t [a] + (1 - cos t) a a^T, about the axis a.
        a0, a1, a2 = axis[m, f - 1, 0], axis[m, f - 1, 1], axis[m, f - 1, 2]
        s, c = sin(twist[f - 1]), cos(twist[f - 1])
        d = 1.0 - c
        m00, m01, m02 = c + d * a0 * a0, d * a0 * a1 - s * a2, d * a0 * a2 + s * a1
        m10, m11, m12 = d * a0 * a1 + s * a2, c + d * a1 * a1, d * a1 * a2 - s * a0
        m20, m21, m22 = d * a0 * a2 - s * a1, d * a1 * a2 + s * a0, c + d * a2 * a2
        # The first atom b of the bond rests: h = b - M b.
        b0, b1, b2 = start[m, f - 1, 0], start[m, f - 1, 1], start[m, f - 1, 2]
        h0 = b0 - m00 * b0 - m01 * b1 - m02 * b2
        h1 = b1 - m10 * b0 - m11 * b1 - m12 * b2
        h2 = b2 - m20 * b0 - m21 * b1 - m22 * b2
        p = parent[m, f]
        if p == 0:  # the root rests, and there is nothing to compose with
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
    # Every atom moves with its fragment; then x = R (y - mean y) + t, as in `poses.pose`.
    c0 = c1 = c2 = 0.0
    # Side chains hang on the backbone: neither the mean nor R and t know of them.
    for k in range(whole[m]):
        f = fragment[m, k]
        y0, y1, y2 = reference[m, k, 0], reference[m, k, 1], reference[m, k, 2]
        if f > 0:
            z0 = motion[f, 0, 0] * y0 + motion[f, 0, 1] * y1 + motion[f, 0, 2] * y2 + shift[f, 0]
            z1 = motion[f, 1, 0] * y0 + motion[f, 1, 1] * y1 + motion[f, 1, 2] * y2 + shift[f, 1]
            z2 = motion[f, 2, 0] * y0 + motion[f, 2, 1] * y1 + motion[f, 2, 2] * y2 + shift[f, 2]
            y0, y1, y2 = z0, z1, z2
        x[k, 0], x[k, 1], x[k, 2] = y0, y1, y2
        if k < n:
            c0, c1, c2 = c0 + y0, c1 + y1, c2 + y2
    c0, c1, c2 = c0 / max(n, 1), c1 / max(n, 1), c2 / max(n, 1)
    for k in range(n):
        y0, y1, y2 = x[k, 0] - c0, x[k, 1] - c1, x[k, 2] - c2
        for i in range(3):
            x[k, i] = turn[i, 0] * y0 + turn[i, 1] * y1 + turn[i, 2] * y2 + at[i]


@compile_inner
def on_grid(grid: Any, m: int, first: int, cap: float, x: Any, g: Any) -> float:
    """Energy of the atoms of `x [N, 3]` from the first on; their gradient to `g [N, 3]`.

    A positive energy e is bent to e cap / (cap + e), of slope (cap / (cap + e))^2: the soft core.
    """
    values, base, shape, origin, space, channel, atoms = grid
    total, spacing = 0.0, space[m]
    nx, ny, nz, channels = shape[m, 0], shape[m, 1], shape[m, 2], shape[m, 3]
    sy, sx = nz * channels, ny * nz * channels
    # The eight values of an atom lie in four places of memory, neighbours along z together.
    for k in range(first, first + atoms[m]):
        # u: place in units of the grid; i: the nearest place inside; l, f: its cell, and where.
        u0 = (x[k, 0] - origin[m, 0]) / spacing
        u1 = (x[k, 1] - origin[m, 1]) / spacing
        u2 = (x[k, 2] - origin[m, 2]) / spacing
        i0 = min(max(u0, 0.0), nx - 1.0)
        i1 = min(max(u1, 0.0), ny - 1.0)
        i2 = min(max(u2, 0.0), nz - 1.0)
        l0, l1, l2 = min(int(i0), nx - 2), min(int(i1), ny - 2), min(int(i2), nz - 2)
        f0, f1, f2 = i0 - l0, i1 - l1, i2 - l2
        at = base[m] + l0 * sx + l1 * sy + l2 * channels + channel[m, k - first]
        v000, v001 = float(values[at]), float(values[at + channels])
        v010, v011 = float(values[at + sy]), float(values[at + sy + channels])
        at += sx
        v100, v101 = float(values[at]), float(values[at + channels])
        v110, v111 = float(values[at + sy]), float(values[at + sy + channels])
        # Trilinear interpolation along z, y and x in turn; the differences on the way are the
        # derivatives, which are constant along their own axis within a cell.
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
            e, bend = e * bend, bend * bend
            d0, d1, d2 = d0 * bend, d1 * bend, d2 * bend
        # Outside the box the energy is that of the nearest face, plus a harmonic wall.
        o0, o1, o2 = (u0 - i0) * spacing, (u1 - i1) * spacing, (u2 - i2) * spacing
        d0 = 2.0 * _WALL * o0 if o0 != 0.0 else d0
        d1 = 2.0 * _WALL * o1 if o1 != 0.0 else d1
        d2 = 2.0 * _WALL * o2 if o2 != 0.0 else d2
        total += e + _WALL * (o0 * o0 + o1 * o1 + o2 * o2)
        g[k, 0], g[k, 1], g[k, 2] = d0, d1, d2
    return total


@compile_inner
def field(grid: Any, side: Any, pairs: Any, m: int, cap: float, x: Any, g: Any) -> float:
    """Energy of coordinates `x [N, 3]` from the grids and the pairs; gradient to `g [N, 3]`."""
    first, second, row, count, table = pairs
    # Atoms before pairs: their gradients are set here. Those of the atoms of side chains that
    # rest, which come last and which nothing reads, are only added to.
    total = on_grid(grid, m, np.int64(0), cap, x, g) + on_grid(side, m, grid[6][m], cap, x, g)
    # The table of the five terms is linear in r^2 between its points: no root or exponential is
    # taken, and dE/dx_a = 2 (dE/dr^2) (x_a - x_b) is exactly the gradient of the energy above.
    for k in range(count[m]):
        a, b = first[m, k], second[m, k]
        d0, d1, d2 = x[a, 0] - x[b, 0], x[a, 1] - x[b, 1], x[a, 2] - x[b, 2]
        square = d0 * d0 + d1 * d1 + d2 * d2
        if square >= _CUTOFF2:
            continue
        scaled = square * _BINS
        low_bin = int(scaled)
        at = row[m, k] + low_bin
        left = float(table[at])
        rise = float(table[at + 1]) - left
        e = left + rise * (scaled - low_bin)
        force = 2.0 * _BINS * rise
        if e > 0.0 and cap < np.inf:
            bend = cap / (cap + e)
            e, force = e * bend, force * (bend * bend)
        total += e
        for i in range(3):  # opposite forces: pairs move neither the centre nor the whole
            pull = force * (x[a, i] - x[b, i])
            g[a, i] += pull
            g[b, i] -= pull
    return total


@compile_inner
def project(ligand: Any, m: int, x: Any, g: Any, at: Any, turn: Any, sums: Any, out: Any) -> None:
    """Gradient by coordinates to the tangent space, `out [6 + T]`; `sums [T + 1, 10]`: room.

    A rigid motion of a set of atoms feels their total torque r x g and force g alone. One pass
    over atoms sums both for each fragment, with the places r and the number of its atoms.
    """
    _, _, _, bonds, fragment, parent, atoms, torsions, _, whole, own = ligand
    n, turns = atoms[m], torsions[m]
    for f in range(turns + 1):
        for i in range(10):
            sums[f, i] = 0.0
    for k in range(whole[m]):
        f = fragment[m, k]
        if k >= n and f == 0:  # an atom of the backbone
            continue
        r0, r1, r2 = x[k, 0] - at[0], x[k, 1] - at[1], x[k, 2] - at[2]
        g0, g1, g2 = g[k, 0], g[k, 1], g[k, 2]
        sums[f, 0] += r1 * g2 - r2 * g1
        sums[f, 1] += r2 * g0 - r0 * g2
        sums[f, 2] += r0 * g1 - r1 * g0
        for i in range(3):
            sums[f, 3 + i] += g[k, i]
            sums[f, 6 + i] += x[k, i] - at[i]
        sums[f, 9] += 1.0
    # Parents come before children: from the last on, every branch is complete when it is added.
    for f in range(turns, 0, -1):
        if parent[m, f] > 0 or f <= own[m]:  # side chains are no part of the ligand
            for i in range(10):
                sums[parent[m, f], i] += sums[f, i]
    # Row 0 now holds the sums of the whole: its force, and its torque in the body's own frame.
    t0, t1, t2 = sums[0, 3], sums[0, 4], sums[0, 5]
    out[0], out[1], out[2] = t0, t1, t2
    for i in range(3):
        out[3 + i] = turn[0, i] * sums[0, 0] + turn[1, i] * sums[0, 1] + turn[2, i] * sums[0, 2]
    for f in range(1, turns + 1):
        # Torque of the branch about the axis from atom a to atom b of its bond ...
        a, b = bonds[m, f - 1, 0], bonds[m, f - 1, 1]
        s0, s1, s2 = x[a, 0] - at[0], x[a, 1] - at[1], x[a, 2] - at[2]
        a0, a1, a2 = x[b, 0] - x[a, 0], x[b, 1] - x[a, 1], x[b, 2] - x[a, 2]
        length = sqrt(a0 * a0 + a1 * a1 + a2 * a2)
        size = sums[f, 9]
        # ... less that of the shift back: the centre of all atoms is held, so that the whole
        # ligand moves by minus the mean displacement o of its atoms.
        o0 = (sums[f, 6] - size * s0) / n if f <= own[m] else 0.0
        o1 = (sums[f, 7] - size * s1) / n if f <= own[m] else 0.0
        o2 = (sums[f, 8] - size * s2) / n if f <= own[m] else 0.0
        w0 = sums[f, 0] - (s1 * sums[f, 5] - s2 * sums[f, 4]) - (o1 * t2 - o2 * t1)
        w1 = sums[f, 1] - (s2 * sums[f, 3] - s0 * sums[f, 5]) - (o2 * t0 - o0 * t2)
        w2 = sums[f, 2] - (s0 * sums[f, 4] - s1 * sums[f, 3]) - (o0 * t1 - o1 * t0)
        out[5 + f] = (a0 * w0 + a1 * w1 + a2 * w2) / max(length, 1e-6)


@compile_inner
def move(
    at: Any, turn: Any, twist: Any, step: Any, turns: int, new_at: Any, new_turn: Any,
    new_twist: Any,
) -> None:  # fmt: skip
    """The retraction: translation + v, R Exp(w), torsions + u."""
    v0, v1, v2 = step[3], step[4], step[5]
    square = v0 * v0 + v1 * v1 + v2 * v2
    angle = sqrt(square)
    # Exp(w) = I + a [w] + b [w]^2; below 1e-4 the quotients lose digits and their series do not.
    a = 1.0 - square / 6.0 if angle < 1e-4 else sin(angle) / angle
    b = 0.5 - square / 24.0 if angle < 1e-4 else (1.0 - cos(angle)) / square
    m00, m01, m02 = 1 - b * (v1 * v1 + v2 * v2), b * v0 * v1 - a * v2, b * v0 * v2 + a * v1
    m10, m11, m12 = b * v0 * v1 + a * v2, 1 - b * (v0 * v0 + v2 * v2), b * v1 * v2 - a * v0
    m20, m21, m22 = b * v0 * v2 - a * v1, b * v1 * v2 + a * v0, 1 - b * (v0 * v0 + v1 * v1)
    for i in range(3):
        u, v, w = turn[i, 0], turn[i, 1], turn[i, 2]
        new_turn[i, 0] = u * m00 + v * m10 + w * m20
        new_turn[i, 1] = u * m01 + v * m11 + w * m21
        new_turn[i, 2] = u * m02 + v * m12 + w * m22
        new_at[i] = at[i] + step[i]
    for t in range(turns):
        new_twist[t] = twist[t] + step[6 + t]


@compile_inner
def restart(metric: Any, gradient: Any, size: int, inverse: Any) -> None:
    """First inverse Hessian: a step of `FIRST` Å (rms) down the gradient of the metric."""
    square = 0.0
    for i in range(size):
        square += gradient[i] * gradient[i] / metric[i]
    scale = min(constants.FIRST / sqrt(max(square, 1e-12)), 0.1)
    for i in range(size):
        for j in range(size):
            inverse[i, j] = scale / metric[i] if i == j else 0.0


@compile_inner
def downhill(inverse: Any, gradient: Any, size: int, out: Any) -> float:
    """The next direction, `-H g` shortened to the limits; returns its product with `g` before."""
    product, excess = 0.0, 1.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total -= inverse[i, j] * gradient[j]
        out[i] = total
        product += total * gradient[i]
        excess = max(excess, abs(total) / _STEP[min(i // 3, 2)])
    for i in range(size):  # shortened as a whole, so that it stays a direction of descent
        out[i] /= excess
    return product


@compile_inner
def update(
    inverse: Any, metric: Any, step: Any, change: Any, size: int, fresh: bool, hy: Any
) -> None:
    """BFGS update of the inverse Hessian (Nocedal and Wright 2006, eq. 6.17).

    H is left as it is where the curvature s.y is not positive, so that it stays positive definite.
    """
    curvature = steps = changes = 0.0
    for i in range(size):
        curvature += step[i] * change[i]
        steps += step[i] * step[i]
        changes += change[i] * change[i]
    if not (curvature > 1e-4 * sqrt(steps * changes) and curvature > 1e-10):
        return
    if fresh:  # after the first step the scale of the metric is known (eq. 6.20)
        scale = 0.0
        for i in range(size):
            scale += change[i] * change[i] / metric[i]
        scale = curvature / max(scale, 1e-12)
        for i in range(size):
            for j in range(size):
                inverse[i, j] = scale / metric[i] if i == j else 0.0
    # H + (1 + y.Hy / s.y) s s^T / s.y - (s (Hy)^T + Hy s^T) / s.y, with y the change of g.
    product = 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += inverse[i, j] * change[j]
        hy[i] = total
        product += change[i] * total
    factor = (1.0 + product / curvature) / curvature
    for i in range(size):
        s, h = step[i], hy[i]
        for j in range(size):
            inverse[i, j] += factor * s * step[j] - (s * hy[j] + h * step[j]) / curvature


@compile_loop
def minimize(
    begin: int, end: int, room: Any, evaluations: int, cap: float, ligand: Any, grid: Any,
    side: Any, pairs: Any, translation: Any, rotation: Any, torsions: Any, coords: Any,
    energy: Any,
) -> None:  # fmt: skip
    """Minimise the poses `begin` to `end` of all ligands together, numbered ligand by ligand.

    Poses are read from and written to `translation [L, P, 3]`, `rotation [L, P, 3, 3]` and
    `torsions [L, P, T]`; coordinates and energy are written. Each is finished before the next.
    """
    metric, turns_of, atoms = ligand[8], ligand[7], ligand[9]
    poses, most = coords.shape[1], coords.shape[2]
    (x, g, motion, shift, sums, inverse, turn, new_turn, at, new_at, twist, new_twist,
     slope_now, slope_new, direction, step, change, hy) = room  # fmt: skip
    for index in range(begin, end):
        m, p = index // poses, index % poses
        n, turns, size = atoms[m], turns_of[m], turns_of[m] + 6
        pose = translation[m, p], rotation[m, p], torsions[m, p]
        take(*pose, turns, at, turn, twist)
        place(ligand, m, at, turn, twist, motion, shift, x)
        now = field(grid, side, pairs, m, cap, x, g)
        project(ligand, m, x, g, at, turn, sums, slope_now)
        copy(x, n, coords[m, p])
        restart(metric[m], slope_now, size, inverse)
        downhill(inverse, slope_now, size, direction)
        # From here on at, turn, twist, coords, now and slope_now belong to the best pose so far.
        alpha, fresh, stuck = 1.0, True, False
        for _ in range(evaluations - 1):
            slope = 0.0
            for i in range(size):
                step[i] = alpha * direction[i]
                slope += slope_now[i] * step[i]
            move(at, turn, twist, step, turns, new_at, new_turn, new_twist)
            place(ligand, m, new_at, new_turn, new_twist, motion, shift, x)
            trial = field(grid, side, pairs, m, cap, x, g)
            lost = False
            if trial <= now + constants.ARMIJO * slope:  # sufficient decrease (eq. 3.4): a step
                project(ligand, m, x, g, new_at, new_turn, sums, slope_new)
                for i in range(size):
                    change[i] = slope_new[i] - slope_now[i]
                    slope_now[i] = slope_new[i]
                update(inverse, metric[m], step, change, size, fresh, hy)
                now, alpha, fresh, stuck = trial, 1.0, False, False
                take(new_at, new_turn, new_twist, turns, at, turn, twist)
                copy(x, n, coords[m, p])
                lost = downhill(inverse, slope_now, size, direction) >= 0.0
            else:  # the minimum of the parabola through both energies and the slope (eq. 3.58)
                curve = max(trial - now - slope, 1e-12)
                alpha *= min(max(-0.5 * slope / curve, 0.1), 0.5)
                lost = alpha < constants.SMALLEST
            if lost:
                if stuck:
                    break  # neither direction from here goes down: all that follows would repeat
                restart(metric[m], slope_now, size, inverse)
                downhill(inverse, slope_now, size, direction)
                alpha, fresh, stuck = 1.0, True, True
        take(at, turn, twist, turns, *pose)
        for k in range(n, most):
            coords[m, p, k, 0], coords[m, p, k, 1], coords[m, p, k, 2] = at[0], at[1], at[2]
        energy[m, p] = now


@compile_loop
def evaluate(
    begin: int, end: int, room: Any, cap: float, grid: Any, side: Any, pairs: Any, coords: Any,
    energy: Any, gradient: Any,
) -> None:  # fmt: skip
    """Energy `[L, P]` and gradient of coordinates `[L, P, N, 3]`, for some poses."""
    (x, g), poses, most = room, coords.shape[1], coords.shape[2]
    for index in range(begin, end):
        m, p = index // poses, index % poses
        copy(coords[m, p], most, x)
        for k in range(most):
            g[k, 0] = g[k, 1] = g[k, 2] = 0.0
        energy[m, p] = field(grid, side, pairs, m, cap, x, g)
        copy(g, most, gradient[m, p])

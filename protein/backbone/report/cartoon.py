"""Ribbon drawing of a backbone as shaded polygons, ready for a flat picture.

The guide curve is a Catmull–Rom spline through CA atoms (averaged in strands, which zigzag);
its cross-section, an ellipse as wide as the secondary structure asks, is carried along with
the direction of the carbonyl as its broad axis (Carson & Bugg 1986). The tube is projected
along z, shaded, and its faces sorted from back to front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein.backbone.metrics.geometry import Array
from protein.backbone.metrics.secondary import HELIX, STRAND, segments

_PER_RESIDUE = 6
_AROUND = 10

# Half width and half thickness of coil, helix and strand, Å.
_WIDTH = np.array([0.32, 1.25, 1.05])
_THICKNESS = np.array([0.32, 0.28, 0.28])
_ARROW = 1.9
_LIGHT = np.array([-0.35, 0.55, 0.76])


@dataclass(frozen=True, eq=False)
class Faces:
    """Polygons from back to front.

    Attributes:
        corners: `[m, 4, 2]`, Å in the plane of the picture, centred.
        shade: brightness `[m]`, about 0.4 to 1.15.
        depth: 0 at the back to 1 in front `[m]`.
        state: secondary structure `[m]`.
        along: position along the chain, 0 to 1 `[m]`.
    """

    corners: Array
    shade: Array
    depth: Array
    state: NDArray[np.int64]
    along: Array


def cartoon_faces(
    coords: NDArray[np.floating],
    states: NDArray[np.integer],
    chain_lengths: Sequence[int] | None = None,
) -> Faces:
    """Ribbon of one design, turned so that its two longest axes lie in the picture.

    Args:
        coords: N, CA, C, O `[L, 4, 3]`, Å.
        states: coil 0, helix 1, strand 2 `[L]`.
        chain_lengths: residues of each chain; one chain by default.
    """
    turned = _facing(np.asarray(coords, dtype=np.float64))
    ends = np.cumsum(chain_lengths if chain_lengths is not None else [len(turned)])
    meshes = [
        _tube(turned[a:b], np.asarray(states)[a:b], a / len(turned), b / len(turned))
        for a, b in zip(np.r_[0, ends[:-1]], ends, strict=True)
        if b - a >= 4
    ]
    quads, state, along = (np.concatenate(parts) for parts in zip(*meshes, strict=True))
    normal = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    normal *= np.where(normal[:, 2:] < 0, -1.0, 1.0)
    light = _LIGHT / np.linalg.norm(_LIGHT)
    gloss = np.clip(normal @ light, 0, 1)
    shade = 0.52 + 0.48 * gloss + 0.22 * gloss**24
    height = quads[:, :, 2].mean(axis=1)
    order = np.argsort(height, kind="stable")
    flat = quads[..., :2].reshape(-1, 2)
    quads[..., :2] -= (flat.min(axis=0) + flat.max(axis=0)) / 2
    span = max(float(np.ptp(height)), 1e-9)
    depth = (height - height.min()) / span
    return Faces(quads[order, :, :2], shade[order], depth[order], state[order], along[order])


def _facing(coords: Array) -> Array:
    """Coordinates with the longest axis of the chain along x and the shortest along z."""
    ca = coords[:, 1]
    centred = coords - ca.mean(axis=0)
    axes = np.linalg.svd(ca - ca.mean(axis=0), full_matrices=False)[2]
    # A reflection would draw the mirror image.
    axes[2] *= np.sign(np.linalg.det(axes))
    return centred @ axes.T


def _tube(
    coords: Array, states: NDArray[np.integer], start: float, stop: float
) -> tuple[Array, NDArray[np.int64], Array]:
    """Faces of one chain: corners `[m, 4, 3]`, state and position along the chain."""
    guide, side = _guide(coords, states)
    width, thickness, state = _profile(states)
    at = np.linspace(0, len(coords) - 1, (len(coords) - 1) * _PER_RESIDUE + 1)
    curve, broad = _spline(guide, at), _spline(side, at)
    tangent = np.gradient(curve, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=-1, keepdims=True), 1e-9)
    broad -= (broad * tangent).sum(-1, keepdims=True) * tangent
    broad /= np.maximum(np.linalg.norm(broad, axis=-1, keepdims=True), 1e-9)
    flat = np.cross(tangent, broad)
    turn = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    rings = (
        curve[:, None]
        + (width[:, None] * np.cos(turn))[..., None] * broad[:, None]
        + (thickness[:, None] * np.sin(turn))[..., None] * flat[:, None]
    )
    after = np.roll(rings, -1, axis=1)
    quads = np.stack((rings[:-1], after[:-1], after[1:], rings[1:]), axis=2)
    position = start + (stop - start) * at[:-1] / max(len(coords) - 1, 1)
    return (
        quads.reshape(-1, 4, 3),
        np.repeat(state[:-1], _AROUND),
        np.repeat(position, _AROUND),
    )


def _guide(coords: Array, states: NDArray[np.integer]) -> tuple[Array, Array]:
    """Points the ribbon follows and its broad axis at each residue, `[L, 3]` both."""
    ca = coords[:, 1]
    guide = ca.copy()
    strand = np.asarray(states) == STRAND
    middle = (ca[:-2] + 2 * ca[1:-1] + ca[2:]) / 4
    guide[1:-1] = np.where(strand[1:-1, None], middle, guide[1:-1])
    side = coords[:, 3] - coords[:, 2]
    step = np.gradient(guide, axis=0)
    step /= np.maximum(np.linalg.norm(step, axis=-1, keepdims=True), 1e-9)
    side = side - (side * step).sum(-1, keepdims=True) * step
    # In a helix the carbonyl points along the axis, which is the broad direction of a ribbon.
    side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-9)
    for i in range(1, len(side)):
        if side[i] @ side[i - 1] < 0:
            side[i] = -side[i]
    smooth = side.copy()
    smooth[1:-1] = (side[:-2] + 2 * side[1:-1] + side[2:]) / 4
    return guide, smooth


def _profile(states: NDArray[np.integer]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Half width, half thickness and state at every point of the curve."""
    points = (len(states) - 1) * _PER_RESIDUE + 1
    index = np.minimum((np.arange(points) + _PER_RESIDUE // 2) // _PER_RESIDUE, len(states) - 1)
    state = np.asarray(states, dtype=np.int64)[index]
    width, thickness = _WIDTH[state], _THICKNESS[state]
    for kind, first, last in segments(state):
        if kind == STRAND:
            head = min(int(1.6 * _PER_RESIDUE), last - first)
            width[last - head : last] = np.linspace(_ARROW, 0.15, head)
        elif kind == HELIX:
            ramp = min(_PER_RESIDUE // 2, (last - first) // 2)
            rise = np.linspace(_WIDTH[0], _WIDTH[HELIX], ramp + 1)[:-1]
            width[first : first + ramp] = rise
            width[last - ramp : last] = rise[::-1]
    return width, thickness, state


def _spline(points: Array, at: Array) -> Array:
    """Catmull–Rom spline through points `[L, 3]` at real positions in 0…L−1."""
    padded = np.concatenate(
        (2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1])
    )
    i = np.minimum(at.astype(int), len(points) - 2)
    t = (at - i)[:, None]
    p0, p1, p2, p3 = (padded[i + k] for k in range(4))
    return 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )

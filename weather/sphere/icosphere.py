r"""A nearly uniform mesh of the sphere, and its ties to a latitude-longitude grid.

The icosahedron, every face split in four again and again: :math:`10 \cdot 4^r + 2` vertices at
refinement r, about :math:`63^\circ / 2^r` apart (Lam et al. 2023, arXiv 2212.12794, section 3.1).
A face, not a vertex, is centred on each pole, so that east and north are defined at every vertex
and a turn by a third about the axis is a symmetry.

A `Ties` joins two sets of points closer than a given angle. What an edge knows is what an observer
at the receiver sees: how far east and north the sender lies, and by how much the sender's own
east is turned against the receiver's once carried along the great circle, which is what vector
components need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError
from weather.sphere.grids import Array

__all__ = ["Icosphere", "Ties"]

_FINEST = 7


@final
@dataclass(frozen=True, eq=False)
class Icosphere:
    """A mesh of vertices and faces.

    Attributes:
        vertices: Points on the unit sphere, ``[V, 3]``.
        faces: Vertices of each face, anticlockwise seen from outside, int64 ``[F, 3]``.
    """

    vertices: Array
    faces: NDArray[np.int64]

    @classmethod
    def build(cls, refinement: int) -> Icosphere:
        """Build the mesh after ``refinement`` subdivisions of the icosahedron.

        Raises:
            InputError: The refinement is outside 0 to 7.
        """
        if not 0 <= refinement <= _FINEST:
            raise InputError(f"refinement: {refinement}; choose from 0 to {_FINEST}")
        mesh = _icosahedron()
        for _ in range(refinement):
            mesh = mesh._split()
        return mesh

    def _split(self) -> Icosphere:
        corners = np.stack([self.faces, np.roll(self.faces, -1, 1)], -1)
        pairs, where = np.unique(np.sort(corners, -1).reshape(-1, 2), axis=0, return_inverse=True)
        middle = self.vertices[pairs].sum(1)
        middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
        a, b, c = self.faces.T
        ab, bc, ca = where.reshape(-1, 3).T + len(self.vertices)
        faces = np.stack([[a, ab, ca], [b, bc, ab], [c, ca, bc], [ab, bc, ca]], 0)
        return Icosphere(
            np.concatenate([self.vertices, middle]), faces.transpose(2, 0, 1).reshape(-1, 3)
        )

    @property
    def edges(self) -> NDArray[np.int64]:
        """Pairs of neighbours, each once, ``[E, 2]``."""
        corners = np.stack([self.faces, np.roll(self.faces, -1, 1)], -1).reshape(-1, 2)
        return np.unique(np.sort(corners, -1), axis=0)

    @property
    def spacing(self) -> float:
        """Length of the longest edge in degrees."""
        ends = self.vertices[self.edges]
        chord = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1).max()
        return float(np.degrees(2.0 * np.arcsin(chord / 2.0)))

    @property
    def lat_lon(self) -> tuple[Array, Array]:
        """Latitudes and longitudes of the vertices in degrees, each ``[V]``."""
        x, y, z = self.vertices.T
        return np.degrees(np.arcsin(np.clip(z, -1.0, 1.0))), np.degrees(np.arctan2(y, x))

    def within_hops(self, hops: int) -> NDArray[np.bool_]:
        """Tell which vertices are at most so many edges apart, ``[V, V]``."""
        size = len(self.vertices)
        step = np.eye(size, dtype=np.float32)
        i, j = self.edges.T
        step[i, j] = step[j, i] = 1.0
        reach = np.eye(size, dtype=bool)
        for _ in range(hops):
            reach = (reach @ step) > 0
        return reach


def _icosahedron() -> Icosphere:
    golden = (1.0 + 5.0**0.5) / 2.0
    one, phi = (-1.0, 1.0), (-golden, golden)
    points = np.array(
        [(0.0, i, j) for i in one for j in phi]
        + [(i, j, 0.0) for i in one for j in phi]
        + [(j, 0.0, i) for i in one for j in phi]
    )
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    near = distance < 1.2
    faces = []
    for a in range(12):
        for b in range(a + 1, 12):
            for c in range(b + 1, 12):
                if near[a, b] and near[b, c] and near[c, a]:
                    outward = np.linalg.det(points[[a, b, c]]) > 0
                    faces.append((a, b, c) if outward else (a, c, b))
    # Turn the centre of the first face to the north pole, and one of its corners to longitude 0.
    top = points[list(faces[0])].sum(0)
    top /= np.linalg.norm(top)
    east = points[faces[0][0]] - (points[faces[0][0]] @ top) * top
    east /= np.linalg.norm(east)
    frame = np.stack([east, np.cross(top, east), top])
    return Icosphere(points @ frame.T, np.array(faces))


@final
@dataclass(frozen=True, eq=False)
class Ties:
    """Directed edges between points of the sphere, sorted by receiver.

    Attributes:
        sender: Position of the sender among its points, int64 ``[E]``.
        receiver: Position of the receiver among its points, int64 ``[E]``.
        features: East and north displacement and angle, in units of the largest angle allowed,
            then cosine and sine of the turn of the sender's east, ``[E, 5]``.
    """

    sender: NDArray[np.int64]
    receiver: NDArray[np.int64]
    features: Array

    @classmethod
    def within(
        cls, senders: tuple[Array, Array], receivers: tuple[Array, Array], angle: float
    ) -> Ties:
        """Join all points closer than an angle.

        Args:
            senders: Latitudes and longitudes in degrees, each ``[S]``.
            receivers: Latitudes and longitudes in degrees, each ``[R]``.
            angle: Degrees.

        Raises:
            InputError: A point has no partner.
        """
        from scipy.spatial import KDTree

        start, _, _ = _frames(*senders)
        end, _, _ = _frames(*receivers)
        chord = 2.0 * np.sin(np.radians(angle) / 2.0)
        lists = KDTree(start).query_ball_point(end, chord, return_sorted=True)
        sender = np.concatenate([np.asarray(near, dtype=np.int64) for near in lists])
        receiver = np.repeat(np.arange(len(end)), [len(near) for near in lists])
        alone = len(end) - len(np.unique(receiver)) + len(start) - len(np.unique(sender))
        if alone:
            raise InputError(f"angle: {alone} points have no partner within {angle:g} degrees")
        frames = (_frames(*senders), _frames(*receivers))
        return cls(sender, receiver, _features(frames, sender, receiver, np.radians(angle)))


def _frames(lat: Array, lon: Array) -> tuple[Array, Array, Array]:
    """Position, east and north of points in degrees, each ``[P, 3]``."""
    phi, lam = np.radians(lat), np.radians(lon)
    up = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)
    east = np.stack([-np.sin(lam), np.cos(lam), np.zeros_like(lam)], -1)
    return up, east, np.cross(up, east)


def _features(
    frames: tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]],
    sender: NDArray[np.int64],
    receiver: NDArray[np.int64],
    scale: float,
) -> Array:
    (p, p_east, _), (q, q_east, q_north) = frames
    p, p_east = p[sender], p_east[sender]
    q, q_east, q_north = q[receiver], q_east[receiver], q_north[receiver]
    east, north = (p * q_east).sum(-1), (p * q_north).sum(-1)
    sine = np.hypot(east, north)
    cosine = (p * q).sum(-1)
    angle = np.arctan2(sine, cosine)
    stretch = np.divide(angle, sine, out=np.ones_like(sine), where=sine > 1e-9)
    # Parallel transport from p to q along the great circle, of the sender's east.
    carried = p_east - ((p_east * q).sum(-1) / (1.0 + cosine))[:, None] * (p + q)
    turn = [(carried * q_east).sum(-1), (carried * q_north).sum(-1)]
    return np.stack([east * stretch / scale, north * stretch / scale, angle / scale, *turn], -1)

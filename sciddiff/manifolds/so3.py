r"""SO(3): rotations of space, as matrices, with body-frame rotation vectors as tangents.

The geodesic from :math:`R` with velocity :math:`v \in \mathbb{R}^3` (radians) is
:math:`R\,\mathrm{Exp}(v)`; the metric is the rotation angle, so that the distance of two rotations
is the angle in :math:`[0, \pi]` of :math:`R_1^\top R_2`.

Both maps go through unit quaternions :math:`q = (w, u)`, :math:`w = \cos(\theta/2)`, because
their entries lose no digits at any angle. The usual ``acos((trace - 1) / 2)`` loses half of them
at the identity and at :math:`\pi`, where its gradient is not finite either. Every removable
singularity is guarded on both sides of a ``where``, so that gradients are finite at 0 and at
:math:`\pi`.

Where no derivative is asked for, everything here goes the way of `sciddiff.manifolds.so3_short`,
which takes a third as many operations. A sampler works on a few hundred rotations at a time, for
which calling an operation costs more than its arithmetic, on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.manifolds import so3_short as short
from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.derivatives import differentiated

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

__all__ = [
    "SO3",
    "angle",
    "exp_map",
    "from_quaternion",
    "hat",
    "log_map",
    "orthonormalize",
    "to_quaternion",
    "vee",
]

# Taylor coefficients in s = theta^2, exact to 1e-16 for s < 1/4.
_SINE = (1 / 2, -1 / 48, 1 / 3840, -1 / 645120, 1 / 185794560, -1 / 81749606400)
_COSINE = (1.0, -1 / 8, 1 / 384, -1 / 46080, 1 / 10321920, -1 / 3715891200)
# atan(r) / r in r^2, exact to 1e-17 for r^2 < 2e-3.
_ARCTANGENT = (1.0, -1 / 3, 1 / 5, -1 / 7, 1 / 9, -1 / 11)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    result = torch.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result


def hat(v: Tensor) -> Tensor:
    """Skew matrix of the cross product, ``hat(v) @ x = v x x``.

    Args:
        v: Vectors, ``[..., 3]``.

    Returns:
        ``[..., 3, 3]``.
    """
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], dim=-1).unflatten(-1, (3, 3))


def vee(m: Tensor) -> Tensor:
    """Vector of the skew part of a matrix; the inverse of `hat`.

    Args:
        m: Matrices, ``[..., 3, 3]``.

    Returns:
        ``[..., 3]``.
    """
    lower = torch.stack([m[..., 2, 1], m[..., 0, 2], m[..., 1, 0]], dim=-1)
    upper = torch.stack([m[..., 1, 2], m[..., 2, 0], m[..., 0, 1]], dim=-1)
    return 0.5 * (lower - upper)


def _vector_to_quaternion(v: Tensor) -> tuple[Tensor, Tensor]:
    """Unit quaternion of ``Exp(v)``: ``w [..., 1]`` and ``u [..., 3]``."""
    square = (v * v).sum(-1, keepdim=True)
    small = square < 0.25
    theta = square.masked_fill(small, 1.0).sqrt()
    series = square.masked_fill(~small, 0.0)
    w = torch.where(small, _polynomial(_COSINE, series), torch.cos(0.5 * theta))
    sine = torch.where(small, _polynomial(_SINE, series), torch.sin(0.5 * theta) / theta)
    return w, sine * v


def exp_map(v: Tensor) -> Tensor:
    """Rotation matrix of a rotation vector (Rodrigues), at any angle.

    Args:
        v: Axis times angle in radians, ``[..., 3]``.

    Returns:
        ``[..., 3, 3]``; within 1e-6 rad in float32, gradients finite everywhere.
    """
    if not differentiated(v):
        turned = short.to_matrix(short.from_vector(short.components(v, 1)))
        return short.to_rows(turned, (*v.shape, 3))
    w, u = _vector_to_quaternion(v)
    return _quaternion_to_matrix(w, u, 2.0)


def _quaternion_to_matrix(w: Tensor, u: Tensor, scale: Tensor | float) -> Tensor:
    """``I + scale (w hat(u) + hat(u)^2)`` with ``w [..., 1]``, ``u [..., 3]``."""
    a, b, c = (scale * u).unbind(-1)
    x, y, z = u.unbind(-1)
    w = w.squeeze(-1)
    wx, wy, wz = w * a, w * b, w * c
    xx, yy, zz = x * a, y * b, z * c
    xy, xz, yz = x * b, x * c, y * c
    rows = [
        1 - (yy + zz), xy - wz, xz + wy,
        xy + wz, 1 - (xx + zz), yz - wx,
        xz - wy, yz + wx, 1 - (xx + yy),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def from_quaternion(q: Tensor) -> Tensor:
    """Rotation matrix of a quaternion of any length but zero.

    Args:
        q: ``[..., 4]``, real part first.

    Returns:
        ``[..., 3, 3]``.
    """
    if not differentiated(q):
        turned = short.to_matrix(short.unit(short.components(q, 1)))
        return short.to_rows(turned, (*q.shape[:-1], 3, 3))
    scale = 2.0 / (q * q).sum(-1, keepdim=True)
    return _quaternion_to_matrix(q[..., :1], q[..., 1:], scale)


def to_quaternion(r: Tensor) -> Tensor:
    """Unit quaternion of a rotation matrix, with non-negative real part.

    The matrix holds all products of two entries of ``q``: row ``k`` of a symmetric ``4 x 4``
    matrix is ``4 q_k q``. The row with the largest diagonal, normalised, is ``q`` with no
    cancellation (Shepperd 1978). Matrices slightly off the group give a rotation nearby.

    Args:
        r: ``[..., 3, 3]``.

    Returns:
        ``[..., 4]``, real part first.
    """
    if not differentiated(r):
        q = short.unit(short.of_matrix(short.components(r, 2)))
        return short.to_rows(q, (*r.shape[:-2], 4))
    a, b, c, d, e, f, g, h, i = r.flatten(-2).unbind(-1)
    wx, wy, wz = h - f, c - g, d - b
    xy, xz, yz = b + d, c + g, f + h
    ww, xx = 1 + a + e + i, 1 + a - e - i
    yy, zz = 1 - a + e - i, 1 - a - e + i
    rows = torch.stack(
        [ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz], dim=-1
    ).unflatten(-1, (4, 4))
    best = torch.stack([ww, xx, yy, zz], dim=-1).argmax(-1)
    row = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    row = torch.where(row[..., :1] < 0, -row, row)
    return row / (row * row).sum(-1, keepdim=True).sqrt()


def log_map(r: Tensor) -> Tensor:
    """Rotation vector of a rotation matrix, of length at most pi.

    At exactly pi, where an axis and its negative mean the same rotation, one of them is returned.

    Args:
        r: ``[..., 3, 3]``.

    Returns:
        Axis times angle in radians, ``[..., 3]``; within 1e-6 rad in float32, gradients finite.
    """
    if not differentiated(r):
        v = short.to_vector(short.of_matrix(short.components(r, 2)))
        return short.to_rows(v, r.shape[:-1])
    q = to_quaternion(r)
    w, u = q[..., :1], q[..., 1:]
    square = (u * u).sum(-1, keepdim=True)
    small = square < 1e-3
    sine = square.masked_fill(small, 1.0).sqrt()
    safe_w = w.masked_fill(~small, 1.0)
    series = _polynomial(_ARCTANGENT, (square / safe_w**2).masked_fill(~small, 0.0)) / safe_w
    return 2.0 * torch.where(small, series, torch.atan2(sine, w) / sine) * u


def angle(r: Tensor) -> Tensor:
    """Rotation angle in ``[0, pi]`` radians, ``[..., 3, 3] -> [...]``; gradient 0 at identity."""
    q = to_quaternion(r)
    square = (q[..., 1:] ** 2).sum(-1)
    zero = square == 0
    sine = square.masked_fill(zero, 1.0).sqrt()
    return (2.0 * torch.atan2(sine, q[..., 0])).masked_fill(zero, 0.0)


def orthonormalize(r: Tensor) -> Tensor:
    """Remove rounding errors from a rotation matrix, ``[..., 3, 3] -> [..., 3, 3]``.

    Goes through `to_quaternion`; exact on rotations, and near them to first order of the error.
    """
    if not differentiated(r):
        nearest = short.to_matrix(short.unit(short.of_matrix(short.components(r, 2))))
        return short.to_rows(nearest, r.shape)
    return from_quaternion(to_quaternion(r))


@final
class SO3(Manifold):
    """The rotation group with the angle metric.

    Points are matrices ``[..., 3, 3]``, tangents body-frame rotation vectors ``[..., 3]`` in
    radians: ``exp(R, v) = R Exp(v)``. The uniform law is the Haar measure.

    >>> quarter = SO3().exp(torch.eye(3), torch.tensor([0.0, 0.0, torch.pi / 2]))
    >>> (quarter @ torch.tensor([1.0, 0.0, 0.0])).round(decimals=4) + 0.0
    tensor([0., 1., 0.])
    >>> round(float(SO3().dist(torch.eye(3), quarter)), 4)
    1.5708
    """

    event_ndim: ClassVar[int] = 2
    tangent_ndim: ClassVar[int] = 1
    compact: ClassVar[bool] = True

    @property
    def tangent_dim(self) -> int:
        """Three."""
        return 3

    @property
    def slowest_eigenvalue(self) -> float:
        """Two: modes of order l, whose character is that of l, have ``l (l + 1)``."""
        return 2.0

    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """``x Exp(v)``: ``x [..., 3, 3]``, ``v [..., 3]`` -> ``[..., 3, 3]``."""
        return x @ exp_map(v)

    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """``Log(x^T y)``: two ``[..., 3, 3]`` -> ``[..., 3]``."""
        return log_map(x.transpose(-1, -2) @ y)

    def geodesic(self, x: Tensor, y: Tensor, fraction: Tensor | float) -> Tensor:
        """See `Manifold.geodesic`."""
        if _differentiated(x, y, fraction):
            return super().geodesic(x, y, fraction)
        between = x.transpose(-1, -2) @ y
        q = short.of_matrix(short.components(between, 2))
        moved = short.to_matrix(short.power(q, _per_rotation(fraction, between)))
        return x @ short.to_rows(moved, between.shape)

    def toward(self, x: Tensor, targets: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """See `Manifold.toward`; the logarithms of all targets are taken at once."""
        steps = self.log(x, torch.stack(list(targets))).unbind(0)
        terms = [weight * step for weight, step in zip(weights, steps, strict=True)]
        return self.exp(x, sum(terms[1:], terms[0]))

    def detour(
        self,
        x: Tensor,
        y: Tensor,
        stretch: Tensor | float,
        scale: Tensor | float,
        fraction: Tensor | float,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """See `Manifold.detour`."""
        if _differentiated(x, y, stretch, scale, fraction):
            return super().detour(x, y, stretch, scale, fraction, generator, layout)
        between = x.transpose(-1, -2) @ y
        far, size, part = (_per_rotation(value, between) for value in (stretch, scale, fraction))
        step = size * short.components(self.randn_tangent(x, generator, layout), 1)
        # In the frame of x the way out, the step and the way back are three rotations about it.
        beyond = short.power(short.of_matrix(short.components(between, 2)), far, self.reach)
        end = short.product(beyond, short.from_vector(step))
        return x @ short.to_rows(short.to_matrix(short.power(end, part)), between.shape)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Angle between two rotations in radians: two ``[..., 3, 3]`` -> ``[...]``."""
        return angle(x.transpose(-1, -2) @ y)

    def project(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Orthonormalise, ``[..., 3, 3] -> [..., 3, 3]``."""
        return orthonormalize(x)

    def project_tangent(self, x: Tensor, v: Tensor, layout: Layout | None = None) -> Tensor:
        """The identity: every ``[..., 3]`` is a body-frame tangent."""
        return v

    def uniform(
        self, like: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Haar-uniform rotations: a standard normal quaternion, normalised.

        Args:
            like: ``[..., 3, 3]``.
            generator: Random source.
            layout: How the rows are grouped in samples.
        """
        rows = like.new_empty((*like.shape[:-2], 4))
        return from_quaternion(streams.normal(rows, generator, layout))

    def randn_tangent(
        self, x: Tensor, generator: Generator | None = None, layout: Layout | None = None
    ) -> Tensor:
        """Standard normal rotation vectors, ``[..., 3]`` for ``x [..., 3, 3]``."""
        return streams.normal(x.new_empty(x.shape[:-1]), generator, layout)


def _differentiated(*values: Tensor | float) -> bool:
    return differentiated(*(value for value in values if isinstance(value, Tensor)))


def _per_rotation(value: Tensor | float, x: Tensor) -> Tensor | float:
    """A number for all rotations of ``x [..., 3, 3]``, or ``[n]`` of one each.

    Args:
        value: Broadcastable against ``[..., 1]``.
        x: Gives the number of rotations and the type.
    """
    if not isinstance(value, Tensor):
        return value
    return value.to(x.dtype).expand(*x.shape[:-2], 1).reshape(-1)

r"""Steps on SO(3) in NumPy: what `sciddiff.manifolds.so3` does, without gradients, in few calls.

Arrays are component-major, so that a call works on the same entry of all rotations at once:
matrices ``[3, 3, n]``, vectors ``[3, n]``. A quaternion is a pair of :math:`w = \cos(\theta/2)`,
``[n]``, and :math:`u` along the axis of length :math:`\sin(\theta/2)`, ``[3, n]``; its length does
not matter to `power`. With no gradient to keep finite, a removable singularity needs no series:
a length bounded below by a tiny number is enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sciddiff.manifolds.arrays import FloatArray

__all__ = [
    "detour",
    "exp",
    "geodesic",
    "log",
    "matrix",
    "of_quaternion",
    "orthonormalize",
    "power",
    "product",
    "quaternion",
    "relative",
    "rows",
    "to_components",
    "toward",
]

_TINY = 1e-30  # square of a length below which angle and sine are the same
_Quaternion = tuple[FloatArray, FloatArray]


def to_components(x: FloatArray, event_ndim: int) -> FloatArray:
    """Vectors ``[..., d]`` or matrices ``[..., 3, 3]`` as ``[*event, n]``, contiguous."""
    if event_ndim == 1:
        return x.reshape(-1, x.shape[-1]).T.copy()
    return x.reshape(-1, 9).T.copy().reshape(3, 3, -1)


def rows(x: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """The way back: ``[*event, n]`` to ``shape``, contiguous."""
    return x.reshape(-1, x.shape[-1]).T.copy().reshape(shape)


def relative(x: FloatArray, y: FloatArray) -> FloatArray:
    """``x^T y`` of matrices ``[3, 3, n]``."""
    # All 27 products in one call; `einsum` and `matmul` would go rotation by rotation.
    terms = x[:, :, None] * y[:, None]
    result = terms[0] + terms[1]
    result += terms[2]
    return result


def _matmul(x: FloatArray, y: FloatArray) -> FloatArray:
    """``x y`` of matrices ``[3, 3, n]``."""
    terms = x[:, :, None] * y[None]
    result = terms[:, 0] + terms[:, 1]
    result += terms[:, 2]
    return result


def _square(u: FloatArray) -> FloatArray:
    squares = u * u
    result = squares[0] + squares[1]
    result += squares[2]
    return result


def quaternion(m: FloatArray) -> _Quaternion:
    """A quaternion of a rotation matrix ``[3, 3, n]``, of length 2 to 4 and with ``w >= 0``.

    Shepperd's way, as in `sciddiff.manifolds.so3.to_quaternion`: of the four multiples
    ``4 q_k q`` that the matrix holds, the longest.
    """
    count = m.shape[-1]
    multiples = np.empty((4, 4, count), m.dtype)
    turned = m.swapaxes(0, 1)
    # The symmetric part of the matrix holds 2 (u_i u_j), the skew part 2 (w u_k).
    np.add(m, turned, out=multiples[1:, 1:])
    skew = multiples[0]
    np.subtract(m[2, 1], m[1, 2], out=skew[1])
    np.subtract(m[0, 2], m[2, 0], out=skew[2])
    np.subtract(m[1, 0], m[0, 1], out=skew[3])
    multiples[1:, 0] = skew[1:]
    diagonal = m.reshape(9, count)[::4]
    trace = diagonal[0] + diagonal[1] + diagonal[2]
    # The diagonal, 4 q_k^2: the largest is at least 1, so that its row has lost no digits.
    squares = multiples.reshape(16, count)[::5]
    squares[0] = 1.0 + trace
    np.add(diagonal + diagonal, 1.0 - trace, out=squares[1:])
    q = squares.argmax(0).choose(multiples)
    # q and -q are one rotation; with w >= 0 the arctangent below gives the shorter way round.
    q *= np.copysign(1.0, q[0])
    return q[0], q[1:]


def power(q: _Quaternion, fraction: FloatArray | float) -> _Quaternion:
    """The unit quaternion of ``fraction`` times the rotation of a quaternion of any length."""
    w, u = q
    sine = np.sqrt(np.maximum(_square(u), _TINY))
    # arctan2 takes sine and cosine of any common length, and keeps its digits at 0 and at pi,
    # where the inverse cosine loses half of them.
    half = np.arctan2(sine, w)
    half *= fraction
    return np.cos(half), u * (np.sin(half) / sine)


def _vector_quaternion(v: FloatArray) -> _Quaternion:
    """The unit quaternion of ``Exp(v)``, ``v [3, n]``."""
    angle = np.sqrt(np.maximum(_square(v), _TINY))
    half = 0.5 * angle
    return np.cos(half), v * (np.sin(half) / angle)


def _vector(q: _Quaternion) -> FloatArray:
    """The rotation vector ``[3, n]`` of a quaternion of any length with ``w >= 0``."""
    w, u = q
    sine = np.sqrt(np.maximum(_square(u), _TINY))
    angle = np.arctan2(sine, w)
    angle /= sine
    angle += angle
    return u * angle


def product(p: _Quaternion, q: _Quaternion) -> _Quaternion:
    """The quaternion of one rotation after the other, ``Exp(p) Exp(q)``, with ``w >= 0``."""
    (a, u), (b, v) = p, q
    terms = u[:, None] * v
    result = np.empty((4, u.shape[-1]), u.dtype)
    np.subtract(a * b, terms[0, 0] + terms[1, 1] + terms[2, 2], out=result[0])
    np.subtract(terms[1, 2], terms[2, 1], out=result[1])
    np.subtract(terms[2, 0], terms[0, 2], out=result[2])
    np.subtract(terms[0, 1], terms[1, 0], out=result[3])
    result[1:] += a * v
    result[1:] += b * u
    result *= np.copysign(1.0, result[0])
    return result[0], result[1:]


def matrix(q: _Quaternion) -> FloatArray:
    """The rotation matrix ``[3, 3, n]`` of a unit quaternion."""
    w, u = q
    twice = u + u
    # 2 u u^T first; then 1 - 2 |u|^2 on the diagonal and 2 w u off it, in place.
    result = u[:, None] * twice
    xx, xy, xz, _, yy, yz, _, _, zz = flat = result.reshape(9, -1)
    xw, yw, zw = twice * w
    diagonal = flat[::4]
    diagonal += 1.0 - (xx + yy + zz)
    np.add(xy, zw, out=flat[3])
    np.add(yz, xw, out=flat[7])
    np.subtract(xz, yw, out=flat[6])
    xy -= zw
    yz -= xw
    xz += yw
    return result


def orthonormalize(m: FloatArray) -> FloatArray:
    """Remove rounding errors from rotation matrices ``[3, 3, n]``."""
    return matrix(_unit(quaternion(m)))


def of_quaternion(q: FloatArray) -> FloatArray:
    """Rotation matrices ``[3, 3, n]`` of quaternions ``[4, n]`` of any length but zero."""
    return matrix(_unit((q[0], q[1:])))


def _unit(q: _Quaternion) -> _Quaternion:
    w, u = q
    scale = 1.0 / np.sqrt(w * w + _square(u))
    return w * scale, u * scale


def exp(x: FloatArray, v: FloatArray) -> FloatArray:
    """``x Exp(v)``: ``x [3, 3, n]``, ``v [3, n]``."""
    return _matmul(x, matrix(_vector_quaternion(v)))


def log(x: FloatArray, y: FloatArray) -> FloatArray:
    """``Log(x^T y)``, ``[3, n]``, of matrices ``[3, 3, n]``."""
    return _vector(quaternion(relative(x, y)))


def geodesic(x: FloatArray, y: FloatArray, fraction: FloatArray | float) -> FloatArray:
    """The rotation a ``fraction [n]`` of the way from ``x`` to ``y``, matrices ``[3, 3, n]``."""
    return _matmul(x, matrix(power(quaternion(relative(x, y)), fraction)))


def toward(x: FloatArray, targets: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """See `sciddiff.manifolds.base.Manifold.toward`; matrices ``[3, 3, n]``."""
    # One conversion for all targets: a call costs as much as the work on a few hundred rotations.
    between = np.concatenate([relative(x, y) for y in targets], axis=-1)
    v = _vector(quaternion(between)).reshape(3, len(targets), -1)
    steps = [weight * v[:, k] for k, weight in enumerate(weights)]
    return exp(x, sum(steps[1:], steps[0]))


def detour(
    x: FloatArray,
    y: FloatArray,
    stretch: FloatArray | float,
    limit: float,
    step: FloatArray,
    fraction: FloatArray | float,
) -> FloatArray:
    """See `sciddiff.manifolds.base.Manifold.detour`; ``step [3, n]`` is the random step."""
    # In the frame of x, where the way out, the step and the way back are three rotations about it.
    far = _stretched(quaternion(relative(x, y)), stretch, limit)
    moved = product(far, _vector_quaternion(step))
    return _matmul(x, matrix(power(moved, fraction)))


def _stretched(q: _Quaternion, stretch: FloatArray | float, limit: float) -> _Quaternion:
    """`power`, but of an angle of ``limit`` radians at most."""
    w, u = q
    sine = np.sqrt(np.maximum(_square(u), _TINY))
    half = np.minimum(np.arctan2(sine, w) * stretch, 0.5 * limit)
    return np.cos(half), u * (np.sin(half) / sine)

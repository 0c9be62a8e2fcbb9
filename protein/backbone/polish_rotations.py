"""Rotations with components first: matrices ``[3, 3, n]`` and rotation vectors ``[3, n]``.

Relaxation takes hundreds of small steps without automatic derivatives, in NumPy, where an
operation on a few hundred numbers costs a fifth of one on tensors.
"""

from __future__ import annotations

import numpy as np

from protein.backbone.polish_vectors import Array, squared_length

_TINY = 1e-30
"""Square of a length below which an angle and its sine are the same."""


def to_components(x: Array, event_ndim: int) -> Array:
    """Vectors ``[..., 3]`` or matrices ``[..., 3, 3]`` as ``[3, n]`` or ``[3, 3, n]``."""
    event = x.shape[x.ndim - event_ndim :]
    return x.reshape(-1, int(np.prod(event))).T.copy().reshape(*event, -1)


def to_rows(x: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `to_components`: ``[*event, n]`` to ``shape``, contiguous."""
    return x.reshape(-1, x.shape[-1]).T.copy().reshape(shape)


def turned(x: Array, v: Array) -> Array:
    """``x Exp(v)``: rotations ``[3, 3, n]`` followed by turns about their own axes ``[3, n]``.

    Through unit quaternions, which lose no digits at any angle.
    """
    angle = np.sqrt(np.maximum(squared_length(v), _TINY))
    half = 0.5 * angle
    turn = _matrix(np.cos(half), v * (np.sin(half) / angle))
    terms = x[:, :, None] * turn[None]
    result = terms[:, 0] + terms[:, 1]
    result += terms[:, 2]
    return result


def _matrix(w: Array, u: Array) -> Array:
    """Matrices ``[3, 3, n]`` of unit quaternions: real part ``w [n]``, vector ``u [3, n]``."""
    twice = u + u
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

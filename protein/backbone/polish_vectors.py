"""Vectors with components first: ``[3, n]`` for n of them, contiguous by component.

Small arrays cost what calling the operations costs, so sums over three components are written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

TINY = 1e-12
"""Added to squared lengths before a root or a quotient."""


def squared_length(v: Array) -> Array:
    """Squared lengths of vectors ``[3, n]``."""
    squares = v * v
    result = squares[0] + squares[1]
    result += squares[2]
    return result


def norm(v: Array) -> Array:
    """Lengths of vectors ``[3, n]``, and a finite slope at zero."""
    result = squared_length(v)
    result += TINY
    return np.sqrt(result, out=result)


def dot(u: Array, v: Array) -> Array:
    """Scalar products of vectors ``[3, n]``."""
    products = u * v
    result = products[0] + products[1]
    result += products[2]
    return result


def following(v: Array) -> Array:
    """Every residue's successor ``[3, n]``; the last has the first."""
    return np.concatenate([v[:, 1:], v[:, :1]], axis=1)


def previous(v: Array) -> Array:
    """Every residue's predecessor ``[3, n]``; the first has the last."""
    return np.concatenate([v[:, -1:], v[:, :-1]], axis=1)


def cross(u: Array, v: Array) -> Array:
    """Cross products of vectors ``[3, n]``."""
    products = u[:, None] * v
    result = np.empty(products.shape[1:])
    np.subtract(products[1, 2], products[2, 1], out=result[0])
    np.subtract(products[2, 0], products[0, 2], out=result[1])
    np.subtract(products[0, 1], products[1, 0], out=result[2])
    return result

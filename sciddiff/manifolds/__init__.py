"""Manifolds: where the leaves of a state live, and the heat kernels on them.

The heat kernels are modules of functions: `sciddiff.manifolds.igso3` for rotations,
`sciddiff.manifolds.wrapped_normal` for angles.
"""

from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.euclidean import Euclidean, ZeroCenterOfMass
from sciddiff.manifolds.so3 import SO3
from sciddiff.manifolds.sphere import Sphere
from sciddiff.manifolds.torus import Torus

__all__ = ["SO3", "Euclidean", "Manifold", "Sphere", "Torus", "ZeroCenterOfMass"]

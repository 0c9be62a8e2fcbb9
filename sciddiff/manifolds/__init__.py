"""Manifolds: where the leaves of a state live, and the heat kernels on them."""

from sciddiff.manifolds.base import Manifold
from sciddiff.manifolds.euclidean import Euclidean, ZeroCenterOfMass
from sciddiff.manifolds.so3 import SO3

__all__ = ["SO3", "Euclidean", "Manifold", "ZeroCenterOfMass"]

"""Paths of leaves that are scaled to unit variance."""

from __future__ import annotations

from collections.abc import Iterable

from sciddiff.paths.gaussian import GaussianPath
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Parametrization

__all__ = ["unit_path"]


def unit_path(leaves: Iterable[str], parametrization: Parametrization) -> ProductPath:
    """Straight Gaussian paths of leaves of unit variance, such as latents.

    Args:
        leaves: Their names.
        parametrization: What the network says of each.
    """
    return ProductPath(dict.fromkeys(leaves, GaussianPath(parametrization=parametrization)))

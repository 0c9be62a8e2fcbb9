"""Product of manifolds: points are dicts (or tuples) with one tensor per factor.

The square of a distance is the sum of the squares over the factors and over the rows of a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.manifolds.base import Manifold

if TYPE_CHECKING:
    from sciddiff.state import Layout
    from sciddiff.streams import Generator

    Layouts = Mapping[str, Layout] | Sequence[Layout] | None

__all__ = ["Product"]


@final
class Product:
    """A manifold per leaf; every map acts leaf by leaf.

    Points and tangents have the structure of ``factors``: a dict with the same keys, or a tuple of
    the same length. Layouts, where given, have that structure too.

    Args:
        factors: A mapping from leaf to manifold, or a sequence of manifolds.

    Raises:
        InputError: There is no factor.
    """

    def __init__(self, factors: Mapping[str, Manifold] | Sequence[Manifold]) -> None:
        self._named = isinstance(factors, Mapping)
        items = factors.items() if isinstance(factors, Mapping) else enumerate(factors)
        self._factors: dict[Hashable, Manifold] = dict(items)
        if not self._factors:
            raise InputError("factors: none given; a product needs at least one manifold")

    def __getitem__(self, key: str | int) -> Manifold:
        """The factor of one leaf."""
        return self._factors[key]

    def _map(self, function: Callable[..., Tensor], *points: Any, layouts: Any = None) -> Any:
        """``function(factor, *leaves, layout)`` for every factor, in the structure of a point."""
        results = {}
        for key, factor in self._factors.items():
            layout = None if layouts is None else layouts[key]
            results[key] = function(factor, *(point[key] for point in points), layout)
        return results if self._named else tuple(results.values())

    def exp(self, x: Any, v: Any) -> Any:
        """Walk along the geodesic of every leaf."""
        return self._map(lambda m, x, v, _: m.exp(x, v), x, v)

    def log(self, x: Any, y: Any) -> Any:
        """The shortest tangent of every leaf."""
        return self._map(lambda m, x, y, _: m.log(x, y), x, y)

    def project(self, x: Any, layouts: Layouts = None) -> Any:
        """Return every leaf to its manifold."""
        return self._map(lambda m, x, layout: m.project(x, layout), x, layouts=layouts)

    def project_tangent(self, x: Any, v: Any, layouts: Layouts = None) -> Any:
        """Project every leaf of ``v`` on the tangent space at ``x``."""
        return self._map(
            lambda m, x, v, layout: m.project_tangent(x, v, layout), x, v, layouts=layouts
        )

    def uniform(
        self, like: Any, generator: Generator | None = None, layouts: Layouts = None
    ) -> Any:
        """Draw every leaf from its uniform law.

        Raises:
            TypeError: A factor is not compact.
        """
        return self._map(
            lambda m, x, layout: m.uniform(x, generator, layout), like, layouts=layouts
        )

    def prior(self, like: Any, generator: Generator | None = None, layouts: Layouts = None) -> Any:
        """Draw every leaf from its manifold's own noise."""
        return self._map(lambda m, x, layout: m.prior(x, generator, layout), like, layouts=layouts)

    def randn_tangent(
        self, x: Any, generator: Generator | None = None, layouts: Layouts = None
    ) -> Any:
        """Standard normal tangents of every leaf."""
        return self._map(
            lambda m, x, layout: m.randn_tangent(x, generator, layout), x, layouts=layouts
        )

    def inner(self, u: Any, v: Any, layouts: Layouts = None) -> Tensor:
        """Sum over leaves and rows of the inner products, ``[B]``."""
        return self._total(self._map(lambda m, u, v, _: m.inner(u, v), u, v), layouts)

    def dist(self, x: Any, y: Any, layouts: Layouts = None) -> Tensor:
        """Length of the shortest way between two states, ``[B]``."""
        square = self._total(self._map(lambda m, x, y, _: m.dist(x, y) ** 2, x, y), layouts)
        zero = square == 0
        return square.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)

    def _total(self, values: Any, layouts: Any) -> Tensor:
        """Sum leaves ``[B, ...]`` (or ragged, by their layouts) to ``[B]``."""
        total: Tensor | None = None
        for key in self._factors:
            value: Tensor = values[key]
            if layouts is not None:
                value = layouts[key].sum_per_sample(value)
            else:
                value = value.flatten(1).sum(1) if value.ndim > 1 else value
            total = value if total is None else total + value
        assert total is not None  # there is a factor
        return total

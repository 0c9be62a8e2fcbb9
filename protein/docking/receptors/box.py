"""The search box: where the heavy atoms of a ligand may be."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciddiff.errors import InputError

_LARGEST = 126.0


@dataclass(frozen=True)
class Box:
    """A box along the axes.

    Attributes:
        center: x, y, z, Å.
        size: its edges, Å.
    """

    center: tuple[float, float, float]
    size: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Check that the box can be searched.

        Raises:
            InputError: an edge is not positive or too long, or a number is not finite.
        """
        if not np.isfinite([*self.center, *self.size]).all():
            raise InputError("box: centre and size must be finite numbers; check them")
        if min(self.size) <= 0 or max(self.size) > _LARGEST:
            raise InputError(
                f"box: its edges {self.size} must be between 0 and {_LARGEST:g} Å; give sizes in Å"
            )

    @classmethod
    def between(cls, low: NDArray[np.floating], high: NDArray[np.floating]) -> "Box":
        """The box of two corners.

        Args:
            low: lower corner `[3]`, Å.
            high: upper corner `[3]`, Å.

        Raises:
            InputError: an edge is not positive or too long.
        """
        x, y, z = ((low + high) / 2).tolist()
        a, b, c = (high - low).tolist()
        return cls((x, y, z), (a, b, c))

    @property
    def low(self) -> NDArray[np.float64]:
        """Lower corner `[3]`, Å."""
        return np.asarray(self.center) - np.asarray(self.size) / 2

    @property
    def high(self) -> NDArray[np.float64]:
        """Upper corner `[3]`, Å."""
        return np.asarray(self.center) + np.asarray(self.size) / 2

    def distance(self, coords: NDArray[np.floating]) -> NDArray[np.float64]:
        """Distance of points to the box, 0 inside `[...]`, Å.

        Args:
            coords: `[..., 3]`, Å.
        """
        outside = np.maximum(np.maximum(self.low - coords, coords - self.high), 0.0)
        return np.linalg.norm(outside, axis=-1)


def box_around(coords: NDArray[np.floating], padding: float = 4.0, least: float = 0.0) -> Box:
    """Box around a reference ligand: its extent plus a padding on every side.

    Args:
        coords: `[N, 3]`, Å.
        padding: Å on each of the six sides.
        least: smallest edge, Å.
    """
    low, high = coords.min(axis=0), coords.max(axis=0)
    size = np.maximum(high - low + 2 * padding, least)
    x, y, z = ((low + high) / 2).tolist()
    a, b, c = size.tolist()
    return Box((x, y, z), (a, b, c))

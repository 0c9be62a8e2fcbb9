r"""Statistics of states and tendencies, from moments of single times.

Each time leaves four numbers per channel: the area mean :math:`m_t` and variance :math:`v_t` of
the field, and those of its change over one step. Any set of times is then combined exactly,

.. math:: \mu = \langle m_t \rangle, \qquad \sigma^2 = \langle v_t + (m_t - \mu)^2 \rangle,

without reading a field twice (Chan, Golub & LeVeque 1983, Am. Stat. 37, 242). Area means weigh
rows by the quadrature of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOMENTS", "Statistics", "combine", "moments"]

MOMENTS = ("mean", "variance", "tendency_mean", "tendency_variance")
"""The numbers kept for each time and channel."""

Array = NDArray[np.float64]
ArrayOrTensor = TypeVar("ArrayOrTensor", bound=Any)


@final
@dataclass(frozen=True, eq=False)
class Statistics:
    """Scale of every channel.

    Attributes:
        channels: Names, C of them.
        mean: Mean over area and time `[C]` float64.
        std: Standard deviation about it `[C]`.
        tendency_std: Standard deviation of the change over one step `[C]`; NaN without steps.
    """

    channels: tuple[str, ...]
    mean: Array
    std: Array
    tendency_std: Array

    def standardise(self, fields: ArrayOrTensor) -> ArrayOrTensor:
        """``(x - mean) / std`` of fields in physical units, array or tensor `[..., C, H, W]`."""
        mean, std = self._like(self.mean, fields), self._like(self.scale, fields)
        return (fields - mean) / std

    def physical(self, fields: ArrayOrTensor) -> ArrayOrTensor:
        """Inverse of `standardise`, `[..., C, H, W]`."""
        return fields * self._like(self.scale, fields) + self._like(self.mean, fields)

    @property
    def scale(self) -> Array:
        """`std`, with 1 for channels that never change `[C]`."""
        return np.where(self.std > 0, self.std, 1.0)

    @property
    def residual_scale(self) -> Array:
        """`tendency_std` in units of `scale` `[C]`: what a unit residual adds to a state."""
        return np.where(self.tendency_std > 0, self.tendency_std, 1.0) / self.scale

    @staticmethod
    def _like(values: Array, fields: Any) -> Any:
        """Per-channel values that broadcast against `[..., C, H, W]`, of its kind and dtype."""
        column = values.reshape(-1, 1, 1)
        if isinstance(fields, np.ndarray):
            return column.astype(fields.dtype)
        import torch

        return torch.as_tensor(column, dtype=fields.dtype, device=fields.device)


def moments(
    fields: NDArray[np.float32], before: NDArray[np.float32] | None, weights: Array
) -> Array:
    """Moments of single times.

    Args:
        fields: `[T, C, H, W]`.
        before: The time before the first, `[C, H, W]`, or None where there is none.
        weights: Area of each row, mean 1, `[H]`.

    Returns:
        `[T, C, 4]`, as `MOMENTS`; tendencies of a time without predecessor are NaN.
    """
    x = fields.astype(np.float64)
    out = np.full((*x.shape[:2], len(MOMENTS)), np.nan)
    out[..., 0], out[..., 1] = _area(x, weights)
    if before is not None:
        x = np.concatenate([before[None].astype(np.float64), x])
    if len(x) > 1:
        mean, variance = _area(np.diff(x, axis=0), weights)
        out[-len(mean) :, :, 2], out[-len(mean) :, :, 3] = mean, variance
    return out


def combine(
    channels: tuple[str, ...], table: Array, use: NDArray[np.bool_], steps: NDArray[np.bool_]
) -> Statistics:
    """Statistics over a set of times.

    Args:
        channels: Names.
        table: Moments of all times `[T, C, 4]`.
        use: Times to take `[T]`.
        steps: Times whose change from their predecessor is one step `[T]`; such a change counts
            if both of its ends are taken.
    """
    both = use & steps & np.concatenate([[False], use[:-1]])
    mean, std = _pool(table[use, :, 0], table[use, :, 1])
    _, tendency = _pool(table[both, :, 2], table[both, :, 3])
    return Statistics(channels, mean, std, tendency)


def _area(x: Array, weights: Array) -> tuple[Array, Array]:
    w = (weights / weights.mean())[:, None]
    mean = (x * w).mean((-1, -2))
    return mean, (np.square(x - mean[..., None, None]) * w).mean((-1, -2))


def _pool(means: Array, variances: Array) -> tuple[Array, Array]:
    if not len(means):
        return np.full(means.shape[1], np.nan), np.full(means.shape[1], np.nan)
    mean = means.mean(0)
    return mean, np.sqrt((variances + np.square(means - mean)).mean(0))

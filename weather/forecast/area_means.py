"""What a forecast does to the area means of its channels: keep them, or lead them to the season.

A network that is scored day by day hardly feels its error of a global mean, which is small beside
the weather; over months such errors add up to a drift. Models of the climate mend their budgets at
every step for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sciddiff.errors import InputError
from weather.data.seasons import season_of
from weather.data.times import as_times, day_of_year
from weather.forecast.spec import ForecastSpec

__all__ = ["AreaMeans"]


@final
class AreaMeans:
    """A correction of the area means of every new state.

    Args:
        spec: The model's.
        conserve: Channels that keep the area mean of the state before.
        relax: Whether the departure of every area mean from its season fades as fast as in the
            training data (`weather.data.seasons`).
        device: Where states are.

    Raises:
        InputError: A channel is unknown, or the model knows no seasons.
    """

    def __init__(
        self, spec: ForecastSpec, conserve: Sequence[str], relax: bool, device: torch.device
    ) -> None:
        strange = next((name for name in conserve if name not in spec.names), None)
        if strange is not None:
            raise InputError(
                f"domain.conserve {strange}: not a channel of the model; use some of "
                f"{', '.join(spec.names)}"
            )
        if relax and not spec.seasons:
            raise InputError(
                "domain.relax: the model knows no seasons, its data do not cover a year; "
                "set it to false, or train on more"
            )
        area = np.array(spec.area.weights)  # mean 1
        self._area = torch.from_numpy(area).float()[:, None].to(device)
        self._conserved = [spec.names.index(name) for name in conserve]
        self._seasons = np.array(spec.seasons) if relax else None
        if self._seasons is not None:
            self._fading = torch.from_numpy(1.0 - self._seasons[:, 5]).float().to(device)

    def __call__(self, now: Tensor, state: Tensor, valid: Any) -> Tensor:
        """The new state with its area means corrected.

        Args:
            now: State before, physical, `[B, C, H, W]`.
            state: State after, `[B, C, H, W]`.
            valid: Its time: one for all, or B of them.
        """
        if self._conserved:
            state = state.clone()
            change = self._mean(now[:, self._conserved]) - self._mean(state[:, self._conserved])
            state[:, self._conserved] += change[..., None, None]
        if self._seasons is not None:
            times = valid if isinstance(valid, (list, tuple)) else [valid]
            season = season_of(self._seasons, day_of_year(as_times(times)))
            departure = self._mean(state) - torch.from_numpy(season).to(state)
            state = state - (self._fading * departure)[..., None, None]
        return state

    def _mean(self, fields: Tensor) -> Tensor:
        """Area means, `[B, C]`."""
        return (self._area * fields).mean((-1, -2))

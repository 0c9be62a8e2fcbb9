r"""The calibrated background: what a model's step is worth, as past forecasts have shown.

A calibration that was fitted to forecasts from known states says how the law of one step should
be moved about its mean m: :math:`x' = \alpha + \beta m + \tau\,(x - m) = c + \tau x`. Each member
has a law of its own, that of the step from its own states, and so m is the mean of the member's
own law and not that of the ensemble: the spread that the members bring along from the analysis
before is the filter's, and is not widened again in every cycle.

Observations :math:`y = H x' + e` of the calibrated state are observations of what the model draws,

.. math:: \frac{y - H c}{\tau} = H x + \frac{e}{\tau},

so that the draw given them, moved by the same map, is a draw of the calibrated law given y. That
is exact for any law of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from weather.calibration.members import Calibration
from weather.forecast.spec import ForecastSpec

__all__ = ["CalibratedPrior"]


@final
@dataclass(frozen=True, eq=False)
class CalibratedPrior:
    """The map from states that the model draws to calibrated ones.

    Attributes:
        shift: c of each member, physical, float64 ``[B, C, H, W]``.
        tau: Of each channel, float64 ``[C]``.
    """

    shift: Tensor
    tau: Tensor

    @classmethod
    def about(cls, mean: Tensor, calibration: Calibration, spec: ForecastSpec) -> CalibratedPrior:
        """Take the calibration of the first step about the means of the members' laws.

        Args:
            mean: Physical, ``[B, C, H, W]``.
            calibration: Its channels may be some of the model's.
            spec: The model's.
        """
        step = [round(3600 * spec.step_hours)]
        rows = np.array([
            [float(row[0]) for row in calibration.channels[name].at(step)]
            if name in calibration.channels else [0.0, 1.0, 1.0]
            for name in spec.names
        ])  # fmt: skip
        alpha, beta, tau = torch.from_numpy(rows).T.to(mean.device)
        column = (-1, 1, 1)
        shift = alpha.view(column) + (beta - tau).view(column) * mean.double()
        return cls(shift, tau)

    def __call__(self, state: Tensor) -> Tensor:
        """Return the calibrated state of one that the model drew, physical ``[B, C, H, W]``."""
        return (self.shift + self.tau.view(-1, 1, 1) * state.double()).to(state)

r"""Extremes of calibrated members: the index is that of the calibrated field.

A calibration moves every member about the mean of the ensemble,
:math:`x' = \alpha + \beta\,\bar x + \tau\,(x - \bar x)` (`weather.calibration.members`). The mean
of very many members is a fixed field, so that the calibrated law is an affine image of the
model's: at each step and point

.. math:: x' = s + \tau x, \qquad s = \alpha + (\beta - \tau)\,\bar x .

States are stepped as the model makes them, and what is measured of them is x'. It is a score like
any other, and so counting, cloning and steering stay unbiased for the law about the mean that is
used. That mean is of plain members: of all that are counted, or of the pilot ensemble, whose
error `error_of_mean` tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from weather.calibration.members import Calibration
from weather.extremes.index import IndexMeter
from weather.forecast.spec import ForecastSpec

__all__ = ["CalibratedPoints", "error_of_mean", "scores_of"]

_NEAR = 0.1


@final
@dataclass(frozen=True, eq=False)
class CalibratedPoints:
    """What a calibrated forecast shows at the points of an index.

    Attributes:
        shift: s after each step, float64 ``[T, P]``.
        tau: After each step, float64 ``[T]``.
        floor: The least value that the channel can have.
    """

    shift: Tensor
    tau: Tensor
    floor: float

    @classmethod
    def about(
        cls, mean: Tensor, calibration: Calibration, spec: ForecastSpec, meter: IndexMeter
    ) -> CalibratedPoints:
        """Take the calibration about a mean.

        Args:
            mean: Of plain members, after each step, ``[T, P]``.
            calibration: Has coefficients of the index's channel.
            spec: The model's.
            meter: Measures the index.
        """
        step = round(3600 * spec.step_hours)
        channel = spec.channels[meter.channel]
        rows = calibration.channels[channel.name].at([step * n for n in range(1, len(mean) + 1)])
        alpha, beta, tau = (torch.from_numpy(row) for row in rows)
        shift = alpha[:, None] + (beta - tau)[:, None] * mean.double()
        return cls(shift, tau, 0.0 if channel.positive else -torch.inf)

    def __call__(self, points: Tensor, number: int) -> Tensor:
        """Return calibrated values ``[B, P]`` of those after step `number`, from 1."""
        shift = self.shift[number - 1].to(points)
        return (shift + float(self.tau[number - 1]) * points).clamp(min=self.floor)


def scores_of(
    meter: IndexMeter, points: Tensor, calibrated: CalibratedPoints | None = None
) -> Tensor:
    """Scores of members after each step, float64 ``[T, M]``.

    Args:
        meter: Measures the index.
        points: Of the members, as the model made them, ``[T, M, P]``.
        calibrated: What is done to them.
    """
    so_far, rows = meter.begin(points.shape[1]), []
    for number, values in enumerate(points, start=1):
        shown = values if calibrated is None else calibrated(values, number)
        so_far = meter.add(so_far, shown, number)
        rows.append(meter.score(so_far, shown, number))
    return torch.stack(rows)


def error_of_mean(
    meter: IndexMeter, points: Tensor, calibration: Calibration, spec: ForecastSpec
) -> float:
    """Standard error that the mean of few members leaves in the scores of extreme ones.

    By the jackknife: each member in turn is left out of the mean, and the tenth of the members
    with the highest scores says how far scores move.

    Args:
        meter: Measures the index.
        points: Of M members, as the model made them, ``[T, M, P]``.
        calibration: What is done to them.
        spec: The model's.
    """
    size, mean = points.shape[1], points.mean(1)
    own = CalibratedPoints.about(mean, calibration, spec, meter)
    last = scores_of(meter, points, own)[-1]
    extreme = points[:, torch.argsort(last, descending=True)[: max(1, int(_NEAR * size))]]
    moved = []
    for member in range(size):
        others = mean + (mean - points[:, member]) / (size - 1)
        about = CalibratedPoints.about(others, calibration, spec, meter)
        moved.append(scores_of(meter, extreme, about)[-1].mean())
    return float(torch.stack(moved).var(correction=0) * (size - 1)) ** 0.5

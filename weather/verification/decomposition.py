r"""Reliability and resolution of the CRPS (Hersbach 2000).

Between the sorted members :math:`x_i` and :math:`x_{i+1}` the forecast probability of less is
:math:`p_i=i/M`. With :math:`\alpha_i` the mean length of that interval below the truth and
:math:`\beta_i` that above it, the mean CRPS of the ensemble as it is (not the fair one) is
:math:`\sum_i\alpha_ip_i^2+\beta_i(1-p_i)^2`. With :math:`g_i=\alpha_i+\beta_i` and the frequency
:math:`o_i=\beta_i/g_i` of a truth below the middle of the interval it has the parts

.. math:: \text{reliability}=\sum_ig_i(o_i-p_i)^2,\qquad \text{potential}=\sum_ig_io_i(1-o_i).

Outside the ensemble, :math:`o_0` is the frequency of truths below all members and
:math:`1-o_M` that of truths above all. The potential CRPS is what a calibrated ensemble of the
same resolution would reach. Resolution is what it gains over the climate: the uncertainty, which
is the CRPS of the baseline ``climatology``, minus the potential CRPS, so that

    CRPS = reliability - resolution + uncertainty.

Hersbach's own uncertainty is that of all truths pooled, which counts the differences between
places and seasons as skill (Hamill & Juras 2006).

References:
    Hersbach, *Decomposition of the continuous ranked probability score for ensemble prediction
    systems*, Wea. Forecasting 15 (2000), 559.
    Hamill & Juras, *Measuring forecast skill: is it real skill or is it the varying
    climatology?*, Q. J. R. Meteorol. Soc. 132 (2006), 2905.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["crps_bins", "crps_potential", "crps_reliability"]

Floats = NDArray[np.float64]


def crps_bins(ordered: NDArray[np.floating], truths: NDArray[np.floating], weights: Floats) -> (
    Floats
):
    """Mean lengths of the intervals between members below and above the truth.

    Args:
        ordered: Members in ascending order, `[P, M]`.
        truths: `[K, P]`, counted from the same origin.
        weights: Of the points in each region, each summing to 1, `[R, P]`.

    Returns:
        For the M + 1 intervals :math:`(\\alpha, \\beta, o)`, averaged over truths,
        `[R, M + 1, 3]`; the frequency o is given for the outermost two and 0 for the others.
    """
    width = np.diff(ordered, axis=-1)
    table = np.zeros((len(weights), ordered.shape[-1] + 1, 3))
    whole = weights @ width
    for truth in truths:
        below = np.clip(truth[:, None] - ordered[:, :-1], 0.0, width)
        alpha = weights @ below
        table[:, 1:-1, 0] += alpha
        table[:, 1:-1, 1] += whole - alpha
        under, over = ordered[:, 0] - truth, truth - ordered[:, -1]
        table[:, 0, 1] += weights @ np.maximum(under, 0.0)
        table[:, 0, 2] += weights @ (under > 0)
        table[:, -1, 0] += weights @ np.maximum(over, 0.0)
        table[:, -1, 2] += weights @ (over <= 0)
    return table / len(truths)


def crps_reliability(table: Floats) -> Floats:
    """What calibration would remove from the CRPS, `[...]`, of `crps_bins` `[..., M + 1, 3]`."""
    width, frequency, chance = _intervals(table)
    return (width * (frequency - chance) ** 2).sum(-1)


def crps_potential(table: Floats) -> Floats:
    """The CRPS that a calibrated ensemble would have, `[...]`, of `[..., M + 1, 3]`."""
    width, frequency, _ = _intervals(table)
    return (width * frequency * (1.0 - frequency)).sum(-1)


def _intervals(table: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean width g, frequency o and probability p of every interval, `[..., M + 1]`."""
    alpha, beta, outer = np.moveaxis(table, -1, 0)
    width = alpha + beta
    frequency = np.divide(beta, width, out=np.zeros_like(width), where=width > 0)
    frequency[..., 0], frequency[..., -1] = outer[..., 0], outer[..., -1]
    for end, part, share in (
        (0, beta[..., 0], outer[..., 0]),
        (-1, alpha[..., -1], 1.0 - outer[..., -1]),
    ):
        width[..., end] = np.divide(part, share, out=np.zeros_like(part), where=share > 0)
    return width, frequency, np.linspace(0.0, 1.0, width.shape[-1])

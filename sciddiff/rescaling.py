r"""Rescaling: sampling on another schedule than the one a network was trained on.

Paths of two schedules meet where their log-SNR is the same, up to a scale of the state; so a
velocity on the one gives that on the other (Lipman et al., *Flow Matching
Guide and Code*, 2024, section 4.6).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.schedules import Schedule

__all__ = ["Rescaled", "rescale"]


class Rescaled(NamedTuple):
    """Where a path under one schedule meets a path under another; each float64 ``[B]``.

    Attributes:
        time: Time on the trained schedule with the same log-SNR.
        scale: The state on the wanted schedule over the state on the trained one.
        time_rate: Derivative of ``time``.
        scale_rate: Derivative of ``scale``.
    """

    time: Tensor
    scale: Tensor
    time_rate: Tensor
    scale_rate: Tensor

    def velocity(self, x: Tensor, trained: Tensor) -> Tensor:
        r"""The velocity on the wanted schedule, for ``x [B]`` or a scalar time and any ``x``.

        .. math:: \bar u_r(x) = (\dot s_r/s_r)\,x + s_r \dot t_r\,u_{t_r}(x/s_r)

        Args:
            x: State on the wanted schedule.
            trained: The trained velocity at ``time`` and ``x / scale``.
        """
        return (self.scale_rate / self.scale) * x + self.scale * self.time_rate * trained


def rescale(trained: Schedule, wanted: Schedule, r: Tensor) -> Rescaled:
    r"""Change the schedule after training (scale--time transformation).

    With :math:`\rho = \alpha/\sigma`: :math:`t_r = \rho^{-1}(\bar\rho(r))` and
    :math:`s_r = \bar\sigma_r/\sigma_{t_r}`, so that :math:`\bar x_r = s_r\,x_{t_r}`. Derivatives
    follow from :math:`\lambda` being the same on both sides.

    Args:
        trained: Schedule the network was trained on.
        wanted: Schedule to sample on.
        r: Time on ``wanted``, strictly inside (0, 1), ``[B]``.

    Raises:
        InputError: Log-SNR values of ``wanted`` are outside those of ``trained``.
    """
    r = r.double()
    log_snr = wanted.log_snr(r)
    ends = trained.log_snr(torch.tensor([0.0, 1.0], dtype=r.dtype, device=r.device))
    if bool(((log_snr < ends[0] - 1e-9) | (log_snr > ends[1] + 1e-9)).any()):
        raise InputError(
            "rescale: the wanted schedule leaves the log-SNR range of the trained one; "
            "stay at times where both overlap"
        )
    time = trained.inverse(log_snr)
    here, there = trained.rates(time), wanted.rates(r)
    # d lambda/dt = D / (alpha sigma).
    slope_there = there.wronskian / (there.alpha * there.sigma)
    slope_here = here.wronskian / (here.alpha * here.sigma)
    time_rate = slope_there / slope_here
    scale = there.sigma / here.sigma
    growth = there.sigma_rate / there.sigma - here.sigma_rate / here.sigma * time_rate
    return Rescaled(time, scale, time_rate, scale * growth)

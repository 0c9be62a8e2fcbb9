r"""Schedules: how much data and how much noise a Gaussian path holds at time t.

.. math:: x_t = \alpha(t)\,x_1 + \sigma(t)\,x_0, \qquad t: 0 \text{ (noise)} \to 1 \text{ (data)}

:math:`\alpha` does not decrease, :math:`\sigma` does not increase, and their ratio grows strictly:
:math:`D = \dot\alpha\sigma - \alpha\dot\sigma > 0`. The log-SNR is
:math:`\lambda(t) = \log(\alpha/\sigma)`; `Schedule.inverse` returns the time from it, in double
precision.

A schedule of your own needs ``alpha`` and ``sigma`` alone: its rates come from forward-mode
automatic differentiation. Those here give rates in closed form (`ClosedForm`), from one piece of
code for tensors and for plain numbers: a sampler asks for one time a step, and `Schedule.at`
answers in a microsecond where a dozen tensor operations would take twenty.

Coefficients of a batch are a few numbers, so everything here is computed in float64 and the result
has that type; callers round once, when they meet the state.
"""

from sciddiff.schedules.base import ClosedForm, Coefficients, Schedule
from sciddiff.schedules.kappa import (
    CosineKappa,
    ExponentialKappa,
    Kappa,
    LinearKappa,
    PowerKappa,
)
from sciddiff.schedules.shapes import EDM, VE, VP, Cosine, Linear, Logarithmic, Polynomial

__all__ = [
    "EDM",
    "VE",
    "VP",
    "ClosedForm",
    "Coefficients",
    "Cosine",
    "CosineKappa",
    "ExponentialKappa",
    "Kappa",
    "Linear",
    "LinearKappa",
    "Logarithmic",
    "Polynomial",
    "PowerKappa",
    "Schedule",
]

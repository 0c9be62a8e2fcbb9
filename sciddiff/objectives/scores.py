r"""Proper scores of an ensemble: numbers least in expectation when members and truth share a law.

For members :math:`x_1 \dots x_K`, truth y and a distance d,

.. math::
    S = \frac{1}{2K(K-1)} \sum_{i \ne j}
        \bigl( d(x_i, y) + d(x_j, y) - (1-\epsilon)\, d(x_i, x_j) \bigr),
    \qquad \epsilon = \frac{1-\alpha}{K} .

:math:`\alpha = 1` is the fair score, whose expectation does not depend on K (Ferro, 2014);
:math:`\alpha = 0` the biased one, that of the empirical law of the members; between them lies the
almost fair score of Lang et al. (2024, AIFS-CRPS, eq. 4). The fair score does not see what one
member does as long as another sits on the truth, so a little of the biased one is kept in
training. In this form every summand is at least 0 (triangle inequality), and nothing large
cancels.

With d the absolute difference S is the continuous ranked probability score, one number per entry;
with the Euclidean distance of whole fields it is the energy score (Gneiting & Raftery, 2007).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sciddiff.errors import InputError

__all__ = ["Distance", "energy_score", "euclidean", "fair_crps"]

Distance = Callable[[Tensor, Tensor], Tensor]
"""Distances of the points of two tensors of one shape ``[n, B, ...]``, ``[n, B]`` or with more
dimensions that follow. Of negative type, or the score is not proper."""


def fair_crps(members: Tensor, truth: Tensor, alpha: float = 0.95, dim: int = 0) -> Tensor:
    """Almost fair CRPS of every entry, in the shape of ``truth``.

    Complex entries are points of the plane, scored by the energy score there.

    Args:
        members: Ensemble ``[K, ...]``, K >= 2.
        truth: What happened, ``[...]``.
        alpha: 1: fair, 0: biased; see the module.
        dim: Dimension of ``members`` that numbers them.

    Returns:
        Scores in float32, or float64 if the input is.

    Raises:
        InputError: Fewer than two members, shapes that do not fit, or alpha outside [0, 1].
    """
    return energy_score(members, truth, _absolute, alpha, dim)


def energy_score(
    members: Tensor,
    truth: Tensor,
    distance: Distance | None = None,
    alpha: float = 1.0,
    dim: int = 0,
) -> Tensor:
    """Almost fair score of whole points, by their distances.

    Args:
        members: Ensemble ``[K, B, ...]``, K >= 2.
        truth: What happened, ``[B, ...]``.
        distance: How far two points are from each other; None: `euclidean`.
        alpha: 1: fair, 0: biased; see the module.
        dim: Dimension of ``members`` that numbers them.

    Returns:
        Scores in the shape of the distances, ``[B]`` unless ``distance`` keeps more dimensions;
        float32, or float64 if the input is.

    Raises:
        InputError: Fewer than two members, shapes that do not fit, or alpha outside [0, 1].
    """
    members = members.movedim(dim, 0)
    count = len(members)
    if count < 2:
        raise InputError(f"members: {count} given; a spread needs two or more")
    if members.shape[1:] != truth.shape:
        raise InputError(
            f"members: each of shape {tuple(members.shape[1:])}; the truth has "
            f"{tuple(truth.shape)}: make them alike"
        )
    if not 0.0 <= alpha <= 1.0:
        raise InputError(f"alpha: {alpha} is not in [0, 1]; 1 is the fair score")
    apart = euclidean if distance is None else distance
    share = 1.0 - (1.0 - alpha) / count
    # Differences of short floats lose the digits that matter.
    with torch.autocast(members.device.type, enabled=False):
        members, truth = _long(members), _long(truth)
        error = apart(members, truth.expand_as(members))
        total = torch.zeros_like(error[0])
        for i in range(count - 1):
            later = members[i + 1 :]
            between = apart(members[i].expand_as(later), later)
            total = total + (error[i] + error[i + 1 :] - share * between).sum(0)
    return total / (count * (count - 1))


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance of the points of ``[n, B, ...]``, ``[n, B]``: over all that follows."""
    difference = (a - b).reshape(*a.shape[:2], -1)
    return torch.linalg.vector_norm(difference, dim=-1)


def _absolute(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs()


def _long(x: Tensor) -> Tensor:
    """At least single precision."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x

"""Weighted combinations of predictions, and the levels of a path at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths.base import Path
from sciddiff.paths.brownian import BrownianPath, BrownianPrediction
from sciddiff.paths.gaussian import GaussianPath
from sciddiff.paths.geodesic import GeodesicPath
from sciddiff.prediction import GaussianPrediction, Prediction, TangentPrediction
from sciddiff.state import State

__all__ = ["combine", "coordinates", "levels", "restated", "strength"]


def strength(weight: float, interval: tuple[float, float], t: Tensor, idle: float) -> Tensor:
    """``weight`` at times inside an interval, ``idle`` outside, ``[B]``.

    Args:
        weight: Inside.
        interval: First and last time, both included.
        t: Times, ``[B]``.
        idle: Outside: the value that changes nothing.
    """
    inside = (t >= interval[0]) & (t <= interval[1])
    return torch.where(inside, weight, idle).to(t.dtype)


def coordinates(prediction: Prediction) -> Tensor:
    """What adds up when predictions for one state are combined.

    Data on a flat leaf; on a manifold a tangent vector at the state: the displacement to the data
    (geodesic path) or the score (Brownian path).

    Raises:
        InputError: The kind of prediction is unknown.
    """
    if isinstance(prediction, GaussianPrediction):
        return prediction.data
    if isinstance(prediction, TangentPrediction):
        return prediction.displacement
    if isinstance(prediction, BrownianPrediction):
        return prediction.score
    raise _unknown(prediction)


def restated(prediction: Prediction, value: Tensor, x_t: Tensor) -> Prediction:
    """The prediction with other `coordinates`, and no memory of how they were computed.

    Args:
        prediction: Gives the time, the path's settings and the layout.
        value: Its new coordinates.
        x_t: The state it is about.
    """
    p = prediction
    if isinstance(p, GaussianPrediction):
        return GaussianPrediction(
            "data", value, x_t, p.t, p.schedule, p.noise_law, p.prior_scale, p.sigma_data, p.layout
        )
    if isinstance(p, TangentPrediction):
        return TangentPrediction(
            "displacement", value, x_t, p.t, p.manifold, p.kappa, p.layout
        )
    if isinstance(p, BrownianPrediction):
        return BrownianPrediction("score", value, x_t, p.t, p.path, p.layout)
    raise _unknown(p)


def combine(
    x_t: State, terms: Sequence[tuple[Tensor, Mapping[str, Prediction]]]
) -> dict[str, Prediction]:
    """The sum of predictions for one state.

    Args:
        x_t: The state all predictions are about.
        terms: Weights ``[B]``, of sum 1 for each sample, and predictions of every leaf.
    """
    result = {}
    last = terms[-1][1]
    for name, model in last.items():
        values = []
        for weight, predictions in terms:
            value = coordinates(predictions[name])
            values.append(model.spread(weight, value) * value)
        result[name] = restated(model, sum(values[1:], values[0]), x_t[name])
    return result


def levels(path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise level of a leaf at times ``t [B]``, float64 ``[B]`` each.

    Raises:
        InputError: The path has no such levels.
    """
    if isinstance(path, GeodesicPath):
        kappa = path.step_kappa(t)  # what the sampler follows
        return kappa, 1.0 - kappa
    if isinstance(path, GaussianPath | BrownianPath):
        return path.schedule.values(t)
    raise InputError(f"{type(path).__name__}: has no signal and noise level; cannot be shifted")


def _unknown(prediction: Prediction) -> InputError:
    return InputError(
        f"{type(prediction).__name__}: predictions of this kind cannot be combined; "
        "leave the leaf unguided"
    )

"""Weighted combinations of predictions, and the levels of a path at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths.base import Path
from sciddiff.paths.gaussian import GaussianPath
from sciddiff.paths.geodesic import GeodesicPath
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.state import Batch, Layout, State

__all__ = ["combine", "levels", "stated", "strength"]


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


def combine(
    path: ProductPath,
    x_t: State,
    batch: Batch,
    terms: Sequence[tuple[Tensor, Mapping[str, Prediction]]],
) -> dict[str, Prediction]:
    """The sum of predictions for one state with weights ``[B]`` of sum 1.

    Flat leaves add data; on manifolds the tangent vectors at ``x_t`` to the data are added.

    Args:
        path: One path per leaf.
        x_t: The state all predictions are about.
        batch: Gives the layouts.
        terms: Weights ``[B]`` and predictions of every leaf.
    """
    result = {}
    for name, one in path.paths.items():
        flat = isinstance(one, GaussianPath)
        total: Tensor | None = None
        for weight, predictions in terms:
            data = predictions[name].data
            value = data if flat else one.manifold.log(x_t[name], data)
            value = batch.layouts[name].spread(weight.to(value), value) * value
            total = value if total is None else total + value
        if total is None:
            raise InputError("combine: no predictions; give at least one")
        data = total if flat else one.manifold.exp(x_t[name], total)
        result[name] = terms[-1][1][name].with_data(data)
    return result


def stated(path: Path, x_t: Tensor, t: Tensor, data: Tensor, layout: Layout) -> Prediction:
    """The prediction of a path that says ``data`` about a state, whatever a network would say.

    Args:
        path: The path of the leaf.
        x_t: The state, ``[B, ...]`` or ragged ``[rows, ...]``.
        t: Times, ``[B]``.
        data: What is expected, in the shape of the leaf.
        layout: How the rows are grouped in samples.
    """
    return path.predict(x_t, x_t, t, layout).with_data(data)


def levels(path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise level of a leaf at times ``t [B]``, float64 ``[B]`` each.

    Raises:
        InputError: The path has no such levels.
    """
    if isinstance(path, GaussianPath):
        return path.schedule.values(t)
    if isinstance(path, GeodesicPath):
        kappa = path.kappa(t)
        return kappa, 1.0 - kappa
    raise InputError(f"{type(path).__name__}: has no signal and noise level; cannot be shifted")

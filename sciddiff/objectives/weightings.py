"""Weightings: how much each noise level counts in a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths.base import Path

__all__ = [
    "BoundWeighting", "ClippedVelocity", "EDMWeighting", "Flat", "Weighting", "weighting_of",
]  # fmt: skip


class Weighting(ABC):
    """Weight of a leaf's loss as a function of time."""

    @abstractmethod
    def __call__(self, t: Tensor, path: Path) -> Tensor:
        """Weights at times ``t [B]``, ``[B]``."""


@final
@dataclass(frozen=True)
class Flat(Weighting):
    """All times count alike."""

    def __call__(self, t: Tensor, path: Path) -> Tensor:
        return torch.ones_like(t)


@final
@dataclass(frozen=True)
class ClippedVelocity(Weighting):
    """``1 / (1 - min(t, limit))^2``: turns an error of the data into one of the velocity.

    For a linear path with a loss in data space; the limit keeps the weight near the data finite.

    Attributes:
        limit: Time from which the weight is constant.
    """

    limit: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 <= self.limit < 1.0:
            raise InputError(f"ClippedVelocity.limit: {self.limit} is not in [0, 1)")

    def __call__(self, t: Tensor, path: Path) -> Tensor:
        return (1.0 - t.clamp(max=self.limit)) ** -2


@final
@dataclass(frozen=True)
class EDMWeighting(Weighting):
    """``(s^2 + d^2) / (s d)^2`` with ``s = c sigma / alpha`` and d the data's deviation.

    For a loss in data space; it makes the effective weight on the output of an EDM-preconditioned
    network one (Karras et al., 2022, table 1). With a native loss and the ``"edm"``
    parametrization that is so already, and no weighting is needed. Times with alpha = 0 get the
    limit ``1 / d^2``; curved leaves and tokens get 1.

    Attributes:
        sigma_data: d.
    """

    sigma_data: float = 0.5

    def __call__(self, t: Tensor, path: Path) -> Tensor:
        levels = path.levels(t.double()) if path.flat else None
        if levels is None:
            return torch.ones_like(t)
        alpha, sigma = levels
        signal = alpha / (path.prior_scale * sigma)
        return (signal**2 + self.sigma_data**-2).to(t.dtype)


@final
@dataclass(frozen=True)
class BoundWeighting(Weighting):
    """The weight that makes the loss of tokens a term of the bound (`Path.bound_weight`)."""

    def __call__(self, t: Tensor, path: Path) -> Tensor:
        return path.bound_weight(t)


def weighting_of(weighting: Weighting | str) -> Weighting:
    """A weighting from its short name: ``"uniform"``, ``"edm"``, ``"velocity"``, ``"elbo"``."""
    if isinstance(weighting, Weighting):
        return weighting
    known = {
        "uniform": Flat, "edm": EDMWeighting, "velocity": ClippedVelocity, "elbo": BoundWeighting,
    }  # fmt: skip
    if weighting not in known:
        raise InputError(f"weighting: {weighting!r} is unknown; choose one of {', '.join(known)}")
    return known[weighting]()

"""Guidance: a denoiser in, a denoiser out.

A `Guidance` holds settings and is called with a denoiser; what it returns has a ``path``, is
called as a denoiser is, and can be guided again. So sampler, time grid and guidance stay
independent, and nothing downstream knows whether a denoiser is guided.

Guided predictions are stated as data: a shift of the predicted data on flat leaves, and on a
manifold a combination of tangent vectors *at the present state* ``x_t``, towards the data each
network predicts. All quantities of a Gaussian path are affine in the data, so that combining data
combines velocities, scores and noises alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.state import Batch, State

__all__ = ["DenoiserLike", "Guidance", "Guided", "evaluations", "networks"]


@runtime_checkable
class DenoiserLike(Protocol):
    """A `Denoiser`, or one under guidance."""

    @property
    def path(self) -> ProductPath:
        """One path per leaf."""
        ...

    def __call__(self, x_t: State, t: Tensor, batch: Batch) -> dict[str, Prediction]:
        """Predictions for a state at times ``t [B]``."""
        ...


class Guided(ABC):
    """A denoiser under guidance.

    Args:
        parts: The denoisers it asks, the guided one first.
    """

    def __init__(self, *parts: DenoiserLike) -> None:
        self.parts = parts

    @property
    def path(self) -> ProductPath:
        """The path of the guided denoiser."""
        return self.parts[0].path

    @abstractmethod
    def __call__(self, x_t: State, t: Tensor, batch: Batch) -> dict[str, Prediction]:
        """Guided predictions for a state at times ``t [B]``."""

    @abstractmethod
    def evaluations(self, t: Tensor) -> int:
        """Network evaluations that one call at times ``t [B]`` makes."""


class Guidance(ABC):
    """Settings of a guidance: ``guidance(denoiser)`` is the guided denoiser."""

    @abstractmethod
    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""


def evaluations(denoiser: DenoiserLike, t: Tensor) -> int:
    """Network evaluations that one call of a denoiser, guided or not, makes at ``t [B]``."""
    return denoiser.evaluations(t) if isinstance(denoiser, Guided) else 1


def networks(denoiser: DenoiserLike) -> Iterator[nn.Module]:
    """The modules behind a denoiser, guided or not."""
    if isinstance(denoiser, nn.Module):
        yield denoiser
    elif isinstance(denoiser, Guided):
        for part in denoiser.parts:
            yield from networks(part)

"""Guidance: a denoiser in, a denoiser out.

A `Guidance` holds settings and is called with a denoiser; what it returns has a ``path``, is
called as a denoiser is, and can be guided again. So sampler, time grid and guidance stay
independent, and nothing downstream knows whether a denoiser is guided.

Guided predictions are combinations of the `coordinates` of predictions: of data on flat leaves,
of tangent vectors *at the present state* ``x_t`` on curved ones. All quantities of a Gaussian path
are affine in the data, so that combining data combines velocities, scores and noises alike.

Times come as numbers where the caller has them, so that a guidance that acts at some times only
decides without asking the device. `ask` turns them into what a network expects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from sciddiff.denoiser import Denoiser
from sciddiff.leaf_times import Time, time_tensors
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Prediction
from sciddiff.state import Batch, State

__all__ = [
    "DenoiserLike", "Guidance", "Guided", "ask", "evaluation_mode", "evaluations", "networks",
]  # fmt: skip


@runtime_checkable
class DenoiserLike(Protocol):
    """A `Denoiser`, or one under guidance."""

    @property
    def path(self) -> ProductPath:
        """One path per leaf."""
        ...

    def __call__(
        self, x_t: State, t: Tensor | dict[str, Tensor], batch: Batch
    ) -> dict[str, Prediction]:
        """Predictions for a state at times ``t [B]``, or such times by leaf.

        One that learns or uses flow maps takes a further argument ``until``, a later time.
        """
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
    def __call__(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> dict[str, Prediction]:
        """Guided predictions for a state at a time; ``until``: see `ask`."""

    @abstractmethod
    def evaluations(self, t: Time) -> int:
        """Network evaluations that one call at a time makes."""


class Guidance(ABC):
    """Settings of a guidance: ``guidance(denoiser)`` is the guided denoiser."""

    @abstractmethod
    def __call__(self, denoiser: DenoiserLike) -> Guided:
        """Put a denoiser under this guidance."""


def ask(
    denoiser: DenoiserLike, x_t: State, t: Time, batch: Batch, until: Time | None = None
) -> dict[str, Prediction]:
    """Predictions of a denoiser, guided or not.

    Args:
        denoiser: The denoiser.
        x_t: The state.
        t: Its time: a number, ``[B]``, or either by leaf.
        batch: Conditions and layouts.
        until: The later time up to which a flow map predicts; None for other networks.
    """
    if isinstance(denoiser, Guided | Denoiser):
        return denoiser(x_t, t, batch, until)
    times = time_tensors(t, x_t, batch.size)
    if until is None:
        return denoiser(x_t, times, batch)
    return denoiser(x_t, times, batch, until=time_tensors(until, x_t, batch.size))  # pyright: ignore[reportCallIssue]


@contextmanager
def evaluation_mode(denoiser: DenoiserLike) -> Iterator[None]:
    """Evaluation mode for the modules behind a denoiser, restored afterwards."""
    training = [module for module in networks(denoiser) if module.training]
    modes = [(part, part.training) for module in training for part in module.modules()]
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def evaluations(denoiser: DenoiserLike, t: Time) -> int:
    """Network evaluations that one call of a denoiser, guided or not, makes at a time."""
    return denoiser.evaluations(t) if isinstance(denoiser, Guided) else 1


def networks(denoiser: DenoiserLike) -> Iterator[nn.Module]:
    """The modules behind a denoiser, guided or not."""
    if isinstance(denoiser, nn.Module):
        yield denoiser
    elif isinstance(denoiser, Guided):
        for part in denoiser.parts:
            yield from networks(part)

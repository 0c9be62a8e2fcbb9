"""Path: how one leaf of a state travels from noise (t = 0) to data (t = 1).

Every method takes the leaf's `Layout`, which says how its rows are grouped in samples; None means
a dense leaf without padding. Times are ``[B]``, one per sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor

from sciddiff.manifolds.base import Manifold
from sciddiff.prediction import Prediction
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["Path", "PathSample"]


@final
@dataclass(frozen=True, eq=False)
class PathSample:
    """A leaf on its way.

    Attributes:
        x_t: State at time t, ``[B, ...]`` or ragged ``[rows, ...]``.
        x0: Where it came from: noise, of the same shape.
        x1: Where it goes: data, of the same shape.
        t: Times, ``[B]``.
    """

    x_t: Tensor
    x0: Tensor
    x1: Tensor
    t: Tensor


class Path(ABC):
    """The probability path of one leaf."""

    manifold: Manifold

    @abstractmethod
    def prior(
        self, like: Tensor, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """Draw noise x0 in the shape, type and device of ``like``."""

    def first_state(self, noise: Tensor) -> Tensor:
        """The state at t = 0 made of noise of the prior, in the shape of the leaf."""
        return noise

    @abstractmethod
    def sample(
        self,
        x1: Tensor,
        t: Tensor,
        generator: Generator | None,
        x0: Tensor | None = None,
        layout: Layout | None = None,
    ) -> PathSample:
        """Corrupt data: draw the state at time t given where it ends.

        Args:
            x1: Data, ``[B, ...]`` or ragged ``[rows, ...]``. Fixed rows of the layout stay at it.
            t: ``[B]``.
            generator: Random source; may be None when nothing is left to draw.
            x0: Noise to start from; drawn from the prior if None.
            layout: How the rows are grouped in samples.
        """

    @abstractmethod
    def predict(
        self, raw: Tensor, x_t: Tensor, t: Tensor, layout: Layout | None = None
    ) -> Prediction:
        """Interpret the raw output of a network. It is cast to the type of ``x_t``."""

    @abstractmethod
    def loss(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """Unreduced loss of each row, ``[B, ...]`` or ragged ``[rows, ...]``."""

    @abstractmethod
    def transition(
        self,
        x_t: Tensor,
        prediction: Prediction,
        t: Tensor,
        s: Tensor,
        eta: float,
        generator: Generator | None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Draw the state at a later time.

        Args:
            x_t: State at t.
            prediction: What the network said about it.
            t: Present times, ``[B]``.
            s: Later times, ``[B]``.
            eta: Share of fresh noise: 0 is deterministic, 1 forgets all that can be forgotten.
            generator: Random source; may be None if ``eta`` is 0.
            layout: How the rows are grouped in samples.
        """

    @abstractmethod
    def log_prior(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Log-density in nats of the state at t = 0, ``[B]``; compact: w.r.t. the uniform law."""

    def net_input(self, x_t: Tensor, t: Tensor, layout: Layout | None = None) -> Tensor:
        """What the network should see of the state; the state itself unless a path scales it."""
        return x_t

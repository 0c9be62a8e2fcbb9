"""What every prediction about a leaf can be asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from functools import cached_property
from typing import ClassVar, Self, final, overload

from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["Prediction", "Predictions"]


class Prediction(ABC):
    """What is believed about one leaf at one time.

    A subclass says what `data` are expected. What else the core asks of a prediction follows from
    that, or is refused by name: guidance adds up `coordinates`, likelihoods need a `velocity`.

    Args:
        x_t: State the network saw, ``[B, ...]`` or ragged ``[rows, ...]``.
        t: Time of each sample, ``[B]``, or one number for all.
        layout: How the rows are grouped in samples; None: dense.

    Attributes:
        per_row: Names of attributes that are tensors with an entry for each row of the leaf.
    """

    per_row: ClassVar[tuple[str, ...]] = ("value",)

    def __init__(self, x_t: Tensor, t: LeafTime, layout: Layout | None = None) -> None:
        self.x_t = x_t
        self.t = t
        self.layout = layout

    @property
    @abstractmethod
    def data(self) -> Tensor:
        """The data expected at the end of the path, in the shape of the leaf."""

    def with_data(self, data: Tensor) -> Prediction:
        """The prediction for the same state and time that says ``data`` instead.

        Raises:
            InputError: Predictions of this kind cannot be changed.
        """
        raise self._lacks("cannot be changed; leave the leaf unguided")

    @property
    def coordinates(self) -> Tensor:
        """What adds up when predictions for one state are combined.

        The data on a flat leaf; a tangent vector at the state on a curved one; log-probabilities
        of tokens. A combination with weights of sum 1 must be a prediction again.
        """
        return self.data

    def with_coordinates(self, value: Tensor, x_t: Tensor | None = None) -> Prediction:
        """The prediction with other `coordinates`, and no memory of how they were computed.

        Args:
            value: The new coordinates.
            x_t: The state it is about, if that was differentiated; default: the same.
        """
        return self.with_data(value)

    @property
    def velocity(self) -> Tensor:
        """Time derivative of the state along the probability flow.

        Raises:
            InputError: The leaf does not flow; it jumps.
        """
        raise self._lacks("has no velocity, so the leaf has no density by a flow")

    @property
    def score(self) -> Tensor:
        """Gradient of the log-density of the state.

        Raises:
            InputError: The leaf has none.
        """
        raise self._lacks("has no score")

    def symbol_log_probs(self) -> Tensor:
        """Log-probability of every symbol at every row, ``[B, N, V]``.

        Raises:
            InputError: The leaf is not made of tokens.
        """
        raise self._lacks("has no log-probabilities; only tokens have them")

    def draw(self, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Data drawn row by row, in the shape of the leaf.

        Args:
            u: Uniform numbers in [0, 1), one for each row, float64.
            temperature: Exponent of the probabilities is its inverse; 0 takes the most probable.

        Raises:
            InputError: The leaf is not made of tokens.
        """
        raise self._lacks("cannot be drawn from; only tokens can")

    def realised(self, generator: Generator | None, layout: Layout | None = None) -> Tensor:
        """Data that the prediction could mean, in the shape of the leaf: the data expected, or
        symbols drawn by their law.

        Args:
            generator: Random source; predictions of expected data need none.
            layout: How the rows are grouped in samples; ties of tokens are kept.
        """
        return self.data

    def select(self, indices: Tensor) -> Self:
        """The predictions for some samples.

        A subclass that keeps other tensors with an entry for each row than `per_row` says, or
        functions of them, has its own.

        Args:
            indices: int64 ``[K]``.
        """
        layout, rows = (self.layout or Layout(self.x_t.shape[0])).select(indices)
        chosen = copy(self)
        for name in vars(self):  # what was computed of all samples is computed anew
            if isinstance(getattr(type(self), name, None), cached_property):
                delattr(chosen, name)
        for name in ("x_t", *self.per_row):
            setattr(chosen, name, getattr(self, name)[rows])
        if isinstance(self.t, Tensor) and self.t.ndim:
            chosen.t = self.t[indices]
        chosen.layout = None if self.layout is None else layout
        return chosen

    @overload
    def spread(self, values: float, like: Tensor | None = None) -> float: ...
    @overload
    def spread(self, values: Tensor, like: Tensor | None = None) -> Tensor: ...
    def spread(self, values: LeafTime, like: Tensor | None = None) -> LeafTime:
        """``values [B]`` broadcast to the rows of the leaf, in its type; numbers stay numbers."""
        if not isinstance(values, Tensor):
            return values
        like = self.x_t if like is None else like
        layout = self.layout or Layout(self.x_t.shape[0])
        return layout.spread(values.to(like.dtype), like)

    def _lacks(self, what: str) -> InputError:
        return InputError(f"{type(self).__name__}: {what}")


@final
class Predictions(dict[str, Prediction]):
    """One prediction per leaf, with what else the network gave.

    Attributes:
        extras: Raw outputs that belong to no leaf (auxiliary heads), by name.
    """

    def __init__(
        self, predictions: Mapping[str, Prediction], extras: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__(predictions)
        self.extras: dict[str, Tensor] = dict(extras or {})

    @classmethod
    def beside(
        cls, said: Mapping[str, Prediction], changed: Mapping[str, Prediction]
    ) -> Predictions:
        """Changed predictions, with what else the network gave when it ``said`` others."""
        return cls(changed, getattr(said, "extras", None))

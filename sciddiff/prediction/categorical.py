r"""Predictions about tokens: the posterior, and the cavity.

The *posterior* of a row is the law of its data given the whole state,
:math:`p(x_{1,i} \mid x_t)`. The *cavity* is its law given all other rows,
:math:`p(x_{1,i} \mid x_{t,\setminus i})`. With the law :math:`q(x_{t,i} \mid k)` by which the path
corrupts a symbol k they follow from each other,

.. math:: p(k \mid x_t) \propto p(k \mid x_{t,\setminus i})\; q(x_{t,i} \mid k) .

On a mask path they agree wherever a row is hidden. On a uniform path they do not: a reverse rate
and a bound need the cavity, a draw of the data needs the posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.prediction.base import Prediction
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["CategoricalPrediction"]


@final
class CategoricalPrediction(Prediction):
    """A prediction about a leaf of tokens; see the module.

    Args:
        kind: What ``value`` is.
        value: Logits over the symbols, ``[B, N, V]``; kept as normalised log-probabilities.
        x_t: State the network saw, int64 ``[B, N]``.
        t: Time of each sample, ``[B]``, or one number for all.
        log_likelihood: ``log q(x_t | k)`` for every symbol k, ``[B, N, V]``, computed when asked.
        layout: How the rows are grouped in samples; None: dense.

    Raises:
        InputError: ``kind`` is unknown.
    """

    def __init__(
        self,
        kind: Literal["posterior", "cavity"],
        value: Tensor,
        x_t: Tensor,
        t: LeafTime,
        log_likelihood: Callable[[], Tensor],
        layout: Layout | None = None,
    ) -> None:
        super().__init__(x_t, t, layout)
        if kind not in ("posterior", "cavity"):
            raise InputError(
                f"parametrization: {kind!r} is unknown; choose posterior or cavity"
            )
        self.kind: Literal["posterior", "cavity"] = kind
        self.value = value.log_softmax(-1)
        self._log_likelihood = log_likelihood

    @cached_property
    def posterior(self) -> Tensor:
        """Log-probabilities of the data of each row given the state, ``[B, N, V]``."""
        if self.kind == "posterior":
            return self.value
        return (self.value + self._log_likelihood().to(self.value)).log_softmax(-1)

    @cached_property
    def cavity(self) -> Tensor:
        """Log-probabilities of the data of each row given all other rows, ``[B, N, V]``.

        From a posterior it is not finite where the path leaves no noise (t = 1).
        """
        if self.kind == "cavity":
            return self.value
        return (self.value - self._log_likelihood().to(self.value)).log_softmax(-1)

    def symbol_log_probs(self) -> Tensor:
        """See `Prediction.symbol_log_probs`: the posterior."""
        return self.posterior

    @cached_property
    def data(self) -> Tensor:
        """The most probable symbols, int64 ``[B, N]``."""
        return self.posterior.argmax(-1)

    @cached_property
    def entropy(self) -> Tensor:
        """Entropy of the posterior of each row, nats ``[B, N]``."""
        return torch.special.entr(self.posterior.exp()).sum(-1)

    def log_prob_of(self, data: Tensor) -> Tensor:
        """Log-probability of symbols ``data [B, N]`` by the posterior, nats ``[B, N]``."""
        # A hidden symbol or padding is no symbol of the data; what it gets is not used.
        symbols = data.clamp(0, self.posterior.shape[-1] - 1)
        return self.posterior.gather(-1, symbols[..., None])[..., 0]

    def draw(self, u: Tensor, temperature: float = 1.0) -> Tensor:
        """See `Prediction.draw`: by the inverse of the cumulative law, in float64.

        Raises:
            InputError: The temperature is negative.
        """
        if temperature < 0.0:
            raise InputError(f"temperature: {temperature} is negative; give 0 or more")
        if temperature == 0.0:
            return self.data
        law = (self.posterior.double() / temperature).softmax(-1)
        cumulative = law.cumsum(-1)
        # Rounding may leave the last sum below 1, and a number beyond it has no symbol.
        found = torch.searchsorted(cumulative, u.double()[..., None] * cumulative[..., -1:])
        return self._possible(found[..., 0], law)

    def realised(self, generator: Generator | None, layout: Layout | None = None) -> Tensor:
        """See `Prediction.realised`: every row is drawn by its own law."""
        u = streams.uniform(self.x_t.double(), generator, layout)
        return self.draw(u if layout is None or layout.ties is None else layout.ties.lead(u))

    def select(self, indices: Tensor) -> CategoricalPrediction:
        """See `Prediction.select`."""
        chosen = super().select(indices)
        _, rows = (self.layout or Layout(self.x_t.shape[0])).select(indices)
        chosen._log_likelihood = lambda: self._log_likelihood()[rows]
        return chosen

    @staticmethod
    def _possible(found: Tensor, law: Tensor) -> Tensor:
        """The symbols found, none of which has probability 0."""
        # u = 0 finds the first symbol, whether or not it is possible.
        first = (law > 0.0).int().argmax(-1)
        return torch.maximum(found, first).clamp(max=law.shape[-1] - 1)

    @property
    def coordinates(self) -> Tensor:
        """See `Prediction.coordinates`: log-probabilities of the kind that the network gave."""
        return self.value

    def with_coordinates(
        self, value: Tensor, x_t: Tensor | None = None
    ) -> CategoricalPrediction:
        """See `Prediction.with_coordinates`; normalised again."""
        return CategoricalPrediction(
            self.kind, value, self.x_t if x_t is None else x_t, self.t, self._log_likelihood,
            self.layout,
        )  # fmt: skip

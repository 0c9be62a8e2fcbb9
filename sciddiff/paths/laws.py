r"""The law of one step of a leaf: what is drawn in it, with which probability.

A sampler's walk is a Markov chain, and where the law of each step is known, so is that of the
whole trajectory: the ratio of two denoisers' probabilities of it, and the divergence of one from
the other. Both are sums over steps and rows, since the rows of a step are drawn independently.

- Hidden rows that a step reveals are drawn from the predicted law; which rows these are does not
  depend on the prediction. With a share :math:`\dot\alpha/(1-\alpha)\,dt` of them revealed in
  every step the divergences add up to
  :math:`\int \dot\alpha/(1-\alpha)\; \mathbb E \sum_{\text{hidden}} \mathrm{KL}(p \| q)\, dt`.
- Rows of flat leaves gain normal noise about a mean that is linear in the predicted data (Black et
  al., *Training diffusion models with reinforcement learning*, 2024, for DDIM with eta above 0).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.paths.move import Move
from sciddiff.prediction import Prediction
from sciddiff.state import Layout

__all__ = ["Drawn", "Kept", "Lawful", "Normal", "StepLaw"]

_LEAST = -1e4  # nats in the place of minus infinity


class StepLaw(ABC):
    """The law of where a step ends; fixed rows and padding do not count."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability of an end in nats ``[B]``, but for what no prediction changes.

        Args:
            x: Where the step ended, in the shape of the leaf.
        """

    @abstractmethod
    def divergence(self, other: Prediction, x: Tensor) -> Tensor:
        """Divergence of the step from the one that another prediction makes, nats ``[B]``.

        Args:
            other: What else could have been said about the state where the step starts.
            x: Where the step ended: it says which rows were drawn.
        """


class Lawful:
    """What a `Path` says of the law of its steps."""

    def step_law(self, move: Move, layout: Layout | None = None) -> StepLaw | None:
        """The law of the end of a step; None where nothing is drawn in it.

        Args:
            move: The step, of one stage.
            layout: How the rows are grouped in samples.

        Raises:
            InputError: It is not known in closed form.
        """
        raise InputError(
            f"{type(self).__name__}: the law of its steps is not known in closed form, so that "
            "trajectories have no probabilities; RewardWeighted tunes without them"
        )


@final
class Normal(StepLaw):
    """Normal noise about a mean, on a flat leaf.

    Args:
        move: The step.
        whiten: Noise of the path to white noise of unit variance.
        layout: How the rows are grouped in samples.
    """

    def __init__(
        self,
        move: Move,
        whiten: Callable[[Tensor, Layout | None], Tensor],
        layout: Layout | None = None,
    ) -> None:
        self._move, self._whiten = move, whiten
        self._layout = layout or Layout(move.x.shape[0])

    def log_prob(self, x: Tensor) -> Tensor:
        mean = self._move.keep * self._move.x + self._move.gain * self._move.prediction.data
        return -0.5 * self._square(x - mean)

    def divergence(self, other: Prediction, x: Tensor) -> Tensor:
        apart = self._move.gain * (self._move.prediction.data - other.data)
        return 0.5 * self._square(apart)

    def _square(self, apart: Tensor) -> Tensor:
        """Squared length of a difference in units of the noise, ``[B]``."""
        free = self._layout.free(apart)
        apart = apart if free is None else torch.where(free, apart, torch.zeros_like(apart))
        white = self._whiten(apart, self._layout) / self._move.added
        return self._layout.sum_per_sample(white**2)


@final
class Drawn(StepLaw):
    """Rows that were hidden and are no longer are drawn from the predicted law.

    Args:
        prediction: What the network said.
        was: Rows that were hidden where the step started and may be drawn ``[B, N]``; of tied
            ones the first.
        hidden: Which rows of a state are hidden.
        layout: How the rows are grouped in samples.
    """

    def __init__(
        self,
        prediction: Prediction,
        was: Tensor,
        hidden: Callable[[Tensor], Tensor],
        layout: Layout | None = None,
    ) -> None:
        self._said, self._was, self._hidden = prediction, was, hidden
        self._layout = layout or Layout(was.shape[0])

    def log_prob(self, x: Tensor) -> Tensor:
        log_probs, shown = self._said.symbol_log_probs(), self._shown(x)
        nats = log_probs.gather(-1, torch.where(shown, x, 0)[..., None])[..., 0]
        return self._sum(nats, shown)

    def divergence(self, other: Prediction, x: Tensor) -> Tensor:
        log_p, log_q = self._said.symbol_log_probs(), other.symbol_log_probs()
        return self._sum(_divergence(log_p, log_q), self._shown(x))

    def _shown(self, x: Tensor) -> Tensor:
        return self._was & ~self._hidden(x)

    def _sum(self, nats: Tensor, shown: Tensor) -> Tensor:
        return self._layout.sum_per_sample(torch.where(shown, nats, torch.zeros_like(nats)))


@final
class Kept(StepLaw):
    """Every row is drawn anew from the predicted law with one probability, and else is kept.

    Args:
        move: The step, without further noise.
        share: Probability that a row is drawn.
        counted: Rows that may be drawn ``[B, N]``; of tied ones the first.
        layout: How the rows are grouped in samples.
    """

    def __init__(
        self, move: Move, share: float, counted: Tensor, layout: Layout | None = None
    ) -> None:
        self._move, self._share, self._counted = move, share, counted
        self._layout = layout or Layout(counted.shape[0])

    def log_prob(self, x: Tensor) -> Tensor:
        nats = self._log_law(self._move.prediction).gather(-1, x[..., None])[..., 0]
        return self._sum(nats)

    def divergence(self, other: Prediction, x: Tensor) -> Tensor:
        log_p, log_q = self._log_law(self._move.prediction), self._log_law(other)
        return self._sum(_divergence(log_p, log_q))

    def _log_law(self, said: Prediction) -> Tensor:
        """Log-probability of every symbol at the end of the step, ``[B, N, V]``."""
        law = self._share * said.symbol_log_probs().exp()
        here = self._move.x[..., None] == torch.arange(law.shape[-1], device=law.device)
        return torch.log(law + (1.0 - self._share) * here.to(law.dtype))

    def _sum(self, nats: Tensor) -> Tensor:
        counted = torch.where(self._counted, nats, torch.zeros_like(nats))
        return self._layout.sum_per_sample(counted)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Divergence of laws of symbols, ``[..., V]`` to ``[...]``; impossible ones do not count."""
    return (log_p.exp() * (log_p.clamp_min(_LEAST) - log_q.clamp_min(_LEAST))).sum(-1)

r"""Paths of tokens: leaves of symbols 0 to V - 1, int64 ``[B, N]`` or ragged ``[rows]``.

Both paths are described by one increasing function :math:`\alpha(t)` from 0 to 1, the share of
rows that are still at their data value at time t. A row that is not has been replaced by the mask
symbol (`MaskPath`; Austin et al., *D3PM*, 2021; Sahoo et al., *MDLM*, 2024; Shi et al., *MD4*,
2024) or by a symbol drawn evenly (`UniformDiscretePath`; Lou et al., *SEDD*, 2024; Campbell et
al., *MultiFlow*, 2024).

A step from t to s draws data from the posterior of each row, independently, and uses them in a
share :math:`r = (\alpha_s - \alpha_t)/(1 - \alpha_t)` of the rows that are not at their data. So
a step is exact for each row alone, and for all together in the limit of small steps. ``eta`` adds
corrections at a rate that is proportional to the progress of the step, so that the same limit
holds for any value of it.

Every draw uses one uniform number for each row, whatever V is, and rows that are tied use that of
the first row of their group.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, final

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.leaf_times import LeafTime
from sciddiff.paths.base import Path, PathSample
from sciddiff.paths.laws import Drawn, Kept
from sciddiff.paths.move import Move
from sciddiff.prediction import CategoricalPrediction, Prediction
from sciddiff.schedules import CosineKappa, Kappa, LinearKappa
from sciddiff.state import Layout
from sciddiff.streams import Generator

__all__ = ["MaskPath", "TokenPath", "UniformDiscretePath"]


@dataclass(frozen=True)
class TokenPath(Path):
    """What paths of tokens share.

    Attributes:
        size: Number of symbols, V.
        schedule: The share of rows at their data, as a function of time.
    """

    size: int = 20
    schedule: Kappa = field(default_factory=LinearKappa)
    numeric_times = True

    def __post_init__(self) -> None:
        if self.size < 2:
            raise InputError(f"{type(self).__name__}.size: {self.size}; give at least 2 symbols")

    def sample(
        self,
        x1: Tensor,
        t: Tensor,
        generator: Generator | None,
        x0: Tensor | None = None,
        layout: Layout | None = None,
    ) -> PathSample:
        """See `Path.sample`.

        Raises:
            InputError: The data are not integers.
        """
        if x1.dtype.is_floating_point:
            raise InputError(
                f"{type(self).__name__}: a leaf of type {x1.dtype}; tokens are int64 symbols"
            )
        x0 = self.prior(x1, generator, layout) if x0 is None else x0
        u = uniform_rows(x1, generator, layout)
        share = self._share(t, x1, layout)
        x_t = torch.where(u < share, x1, x0)
        return PathSample(x_t if layout is None else layout.hold(x_t, x1), x0, x1, t)

    def _share(self, t: LeafTime, like: Tensor, layout: Layout | None) -> Any:  # noqa: ANN401
        """Alpha: a number, or float64 broadcast to the rows of ``like``."""
        if not isinstance(t, Tensor):
            return self.schedule.at(t)[0]
        layout = layout or Layout(like.shape[0])
        return layout.spread(self.schedule(t), like)

    def predict(
        self, raw: Tensor, x_t: Tensor, t: Any, layout: Layout | None = None
    ) -> CategoricalPrediction:
        """See `Path.predict`. ``raw`` are logits ``[B, N, V]``; those of tied rows are pooled.

        Raises:
            InputError: The network returned another number of columns than there are symbols.
        """
        if raw.shape[-1] != self.size or raw.shape[:-1] != x_t.shape:
            raise InputError(
                f"{type(self).__name__}: the network returned shape {tuple(raw.shape)}; "
                f"expected logits {(*x_t.shape, self.size)}"
            )
        if not raw.dtype.is_floating_point or raw.dtype in (torch.float16, torch.bfloat16):
            raw = raw.float()
        return self.say(self._kind, raw, x_t, t, layout)

    def say(
        self,
        kind: Literal["posterior", "cavity"],
        logits: Tensor,
        x_t: Tensor,
        t: LeafTime,
        layout: Layout | None = None,
    ) -> CategoricalPrediction:
        """The prediction of a given kind; logits ``[B, N, V]`` of tied rows are pooled."""
        if layout is not None and layout.ties is not None:
            logits = layout.ties.pool(logits.log_softmax(-1))
        likelihood = partial(self.log_likelihood, x_t, t, layout)
        return CategoricalPrediction(kind, logits, x_t, t, likelihood, layout)

    def match(
        self, prediction: Prediction, target: Prediction, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.match`: the divergence of the law of each row from the target's, nats."""
        said, wanted = _categorical(prediction), _categorical(target)
        # The kind that the network says is finite at every row; the other may not be.
        log_p, log_q = getattr(wanted, self._kind), getattr(said, self._kind)
        nats = (log_p.exp() * (log_p - log_q)).sum(-1)
        unknown = self.hidden(target.x_t)
        rows = torch.ones_like(nats, dtype=torch.bool) if unknown is None else unknown
        return torch.where(_counted(rows, layout), nats, torch.zeros_like(nats))

    @property
    @abstractmethod
    def _kind(self) -> Literal["posterior", "cavity"]:
        """What the network's logits are."""

    @abstractmethod
    def log_likelihood(
        self, x_t: Tensor, t: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """``log q(x_t | k)`` for every symbol k of the data, up to a constant of the row.

        Args:
            x_t: The state, ``[B, N]``.
            t: Its time, a number or ``[B]``.
            layout: How the rows are grouped in samples.

        Returns:
            ``[B, N, V]``.
        """

    def _progress(self, move: Move) -> float:
        """The share of the rows not at their data that a step brings there."""
        now, then = self.schedule.at(move.t)[0], self.schedule.at(move.s)[0]
        return (then - now) / (1.0 - now) if now < 1.0 else 1.0


@final
@dataclass(frozen=True)
class MaskPath(TokenPath):
    """Rows are hidden by a mask symbol, V, and revealed one by one.

    The network sees symbols 0 to V and returns logits over the V symbols of the data. Time is
    nothing that it needs to know: the number of hidden rows says it.

    With ``eta`` a step hides revealed rows again, on average up to ``eta`` for each row that it
    gains, and reveals as many more, which keeps the marginals.

    >>> path = MaskPath(4)
    >>> x1 = torch.tensor([[0, 1, 2, 3]])
    >>> path.sample(x1, torch.tensor([0.0]), torch.Generator().manual_seed(0)).x_t
    tensor([[4, 4, 4, 4]])
    """

    @property
    def _kind(self) -> Literal["posterior", "cavity"]:
        return "cavity"

    def prior(
        self, like: Tensor, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.prior`: all rows are hidden."""
        return torch.full_like(like, self.size)

    def hidden(self, x: Tensor) -> Tensor:
        """See `Path.hidden`."""
        return x == self.size

    def hide(self, x1: Tensor, rows: Tensor) -> Tensor:
        """See `Path.hide`."""
        return torch.where(rows, torch.full_like(x1, self.size), x1)

    def log_likelihood(
        self, x_t: Tensor, t: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """See `TokenPath.log_likelihood`: a revealed row is certain, a hidden one says nothing."""
        symbols = torch.arange(self.size, device=x_t.device)
        apart = (x_t[..., None] != symbols) & ~self.hidden(x_t)[..., None]
        return torch.zeros(apart.shape, device=x_t.device).masked_fill(apart, -torch.inf)

    def loss(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """Cross-entropy of the hidden rows in nats, 0 elsewhere, ``[B, N]``."""
        counted = _counted(self.hidden(path_sample.x_t), layout)
        nats = -_categorical(prediction).log_prob_of(path_sample.x1)
        return torch.where(counted, nats, torch.zeros_like(nats))

    def bound_weight(self, t: Tensor) -> Tensor:
        """See `Path.bound_weight`: the rate at which a hidden row is revealed."""
        alpha, rate = self.schedule.rate(t)
        return (rate / (1.0 - alpha)).to(t.dtype)

    def log_prob_bound(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.log_prob_bound` (Sahoo et al., 2024, eq. 10)."""
        rows = layout or Layout(path_sample.x1.shape[0])
        nats = rows.sum_per_sample(self.loss(prediction, path_sample, layout))
        return -nats * self.bound_weight(path_sample.t).to(nats.dtype)

    def step(
        self, move: Move, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.step`. Two uniform numbers for each row, whatever ``eta`` is."""
        chance, which = (uniform_rows(move.x, generator, layout) for _ in range(2))
        progress = self._progress(move)
        now, then = self.schedule.at(move.t)[0], self.schedule.at(move.s)[0]
        again = move.eta * progress * (min(1.0, (1.0 - then) / now) if now > 0.0 else 0.0)
        reveal = progress + again * now / (1.0 - now) if now < 1.0 else 1.0
        hidden = self.hidden(move.x)
        drawn = _categorical(move.prediction).draw(which)
        lost = self.hide(move.x, chance < again) if again > 0.0 else move.x
        return torch.where(hidden, torch.where(chance < reveal, drawn, move.x), lost)

    def step_law(self, move: Move, layout: Layout | None = None) -> Drawn:
        """See `Path.step_law`: of rows that are revealed, whatever decides which these are."""
        return Drawn(move.prediction, _counted(self.hidden(move.x), layout), self.hidden, layout)


@final
@dataclass(frozen=True)
class UniformDiscretePath(TokenPath):
    """Rows are replaced by symbols drawn evenly, so that every row may be corrected at any time.

    The network sees symbols 0 to V - 1 and the time, and returns logits over the V symbols.

    With ``eta`` a step draws up to a share of rows anew from the law of the state given the
    predicted data, which keeps the marginals.

    Attributes:
        parametrization: Whether the logits are the posterior or the cavity of each row.

    >>> path = UniformDiscretePath(4)
    >>> said = path.predict(torch.zeros(1, 2, 4), torch.tensor([[0, 3]]), 0.5)
    >>> said.posterior.exp()[0, 0].tolist()  # of a posterior, as the network says it
    [0.25, 0.25, 0.25, 0.25]
    """

    schedule: Kappa = field(default_factory=CosineKappa)
    parametrization: Literal["posterior", "cavity"] = "posterior"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parametrization not in ("posterior", "cavity"):
            raise InputError(
                f"UniformDiscretePath.parametrization: {self.parametrization!r} is unknown; "
                "choose posterior or cavity"
            )

    @property
    def _kind(self) -> Literal["posterior", "cavity"]:
        return self.parametrization

    def prior(
        self, like: Tensor, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.prior`: symbols drawn evenly."""
        return self._even(uniform_rows(like, generator, layout))

    def _even(self, u: Tensor) -> Tensor:
        """Symbols of equal probability from uniform numbers."""
        return (u * self.size).long().clamp(max=self.size - 1)

    def log_likelihood(
        self, x_t: Tensor, t: LeafTime, layout: Layout | None = None
    ) -> Tensor:
        """See `TokenPath.log_likelihood`."""
        alpha = self._share(t, x_t[..., None], layout)
        same = x_t[..., None] == torch.arange(self.size, device=x_t.device)
        return torch.log(alpha * same + (1.0 - alpha) / self.size)

    def loss(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        """Cross-entropy of the posterior at every row, nats ``[B, N]``."""
        nats = -_categorical(prediction).log_prob_of(path_sample.x1)
        if layout is None or layout.ties is None:
            return nats
        return torch.where(layout.ties.leading, nats, torch.zeros_like(nats))

    def log_prob_bound(
        self, prediction: Prediction, path_sample: PathSample, layout: Layout | None = None
    ) -> Tensor:
        r"""See `Path.log_prob_bound` (Lou et al., 2024, eq. 5, for this corruption).

        With :math:`m = \alpha c + (1-\alpha)/V` of the cavity c, and :math:`m^*` of the true
        symbol, the reverse rates from the present symbol z to y are
        :math:`R = \dot\alpha/(\alpha V)\, m(y)/m(z)` and :math:`R^*`; a row contributes
        :math:`-\sum_{y \ne z} (R - R^* + R^* \log(R^*/R))`. The posterior in the place of the
        cavity gives a much larger bound.
        """
        x1, x_t, t = path_sample.x1, path_sample.x_t, path_sample.t
        rows = layout or Layout(x1.shape[0])
        alpha, rate = (rows.spread(a, x1[..., None]) for a in self.schedule.rate(t))
        even = (1.0 - alpha) / self.size
        symbols = torch.arange(self.size, device=x1.device)
        here = (x_t[..., None] == symbols).double()
        truth = alpha * (x1[..., None] == symbols).double() + even
        said = alpha * _categorical(prediction).cavity.double().exp() + even
        scale = rate / (alpha * self.size)
        ratio, true_ratio = (m / (m * here).sum(-1, keepdim=True) for m in (said, truth))
        # R* log(R*/R) - (R* - R) is small next to its terms where alpha is small.
        excess = true_ratio * (true_ratio / ratio).log() - (true_ratio - ratio)
        nats = (scale * excess * (1.0 - here)).sum(-1)
        counted = _counted(torch.ones_like(nats, dtype=torch.bool), layout)
        return -rows.sum_per_sample(torch.where(counted, nats, torch.zeros_like(nats)))

    def step(
        self, move: Move, generator: Generator | None, layout: Layout | None = None
    ) -> Tensor:
        """See `Path.step`. Two uniform numbers for each row, four with ``eta``."""
        chance, which = (uniform_rows(move.x, generator, layout) for _ in range(2))
        progress = self._progress(move)
        drawn = _categorical(move.prediction).draw(which)
        x = torch.where(chance < progress, drawn, move.x)
        if move.eta <= 0.0:
            return x
        renewed, even = (uniform_rows(move.x, generator, layout) for _ in range(2))
        then = self.schedule.at(move.s)[0]
        fresh = torch.where(chance < then, drawn, self._even(even))
        return torch.where(renewed < move.eta * progress, fresh, x)

    def step_law(self, move: Move, layout: Layout | None = None) -> Kept:
        """See `Path.step_law`."""
        if move.eta > 0.0:
            raise InputError("UniformDiscretePath: the law of a step with eta above 0 is unknown")
        counted = _counted(torch.ones_like(move.x, dtype=torch.bool), layout)
        return Kept(move, self._progress(move), counted, layout)


def uniform_rows(
    like: Tensor, generator: Generator | None, layout: Layout | None = None
) -> Tensor:
    """One uniform number in [0, 1) for each row, float64; tied rows share theirs.

    Args:
        like: A leaf of tokens, ``[B, N]`` or ragged ``[rows]``.
        generator: Random source.
        layout: How the rows are grouped in samples.
    """
    u = streams.uniform(like.double(), generator, layout)
    return u if layout is None or layout.ties is None else layout.ties.lead(u)


def _counted(rows: Tensor, layout: Layout | None) -> Tensor:
    """``rows [B, N]`` without fixed and padded ones, and one alone of each tied group."""
    if layout is None:
        return rows
    free = layout.free(rows)
    rows = rows if free is None else rows & free
    return rows if layout.ties is None else rows & layout.ties.leading


def _categorical(prediction: Prediction) -> CategoricalPrediction:
    """The prediction, as one of tokens.

    Raises:
        InputError: It is of another kind.
    """
    if not isinstance(prediction, CategoricalPrediction):
        raise InputError(
            f"a path of tokens cannot use {type(prediction).__name__}; its predictions are "
            "CategoricalPrediction"
        )
    return prediction

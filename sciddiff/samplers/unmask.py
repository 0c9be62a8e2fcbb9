r"""Sampling of tokens by revealing hidden rows, a number of them with each call of the network.

Rows that one call reveals are drawn independently of each other, so fewer calls mean that more
dependence between rows is lost. Which rows are revealed together decides how much:

- ``"random"`` and ``"sequence"`` order follow the model: with one row a call the draw is exact;
- ``"colour"`` reveals classes of rows that do not touch each other, as given by the condition
  ``colours`` (for proteins, a colouring of the contact graph), in random order: few calls in which
  no two neighbours are drawn at once. The order does not depend on what is drawn, so that the
  probability of the trajectory stays exact;
- ``"confidence"``, ``"entropy"`` and ``"margin"`` reveal first what the network is sure of (Nie et
  al., *LLaDA*, 2025; Kim et al., *Train for the Worst*, 2025). These draws do not follow the model
  and tend to repeat themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import Tensor

from sciddiff import streams
from sciddiff.errors import InputError
from sciddiff.paths.move import Move
from sciddiff.paths.tokens import uniform_rows
from sciddiff.prediction import Prediction
from sciddiff.samplers.base import Grid, Sampler, Walk, first_order
from sciddiff.samplers.leaves import Leaf, Stage
from sciddiff.state import Batch, Layout, State

__all__ = ["ConfidenceUnmask", "FirstHitting", "Order", "Part", "reveal_order"]

Order = Literal["random", "sequence", "colour", "confidence", "entropy", "margin"]

BLIND: tuple[Order, ...] = ("random", "sequence", "colour")
"""Orders that do not depend on what is drawn."""


@final
@dataclass(frozen=True)
class Part:
    """Which rows a series of calls reveals, and which of its calls is at hand.

    Attributes:
        call: Number of the call, from 0.
        calls: Calls of the series.
        first: First row.
        end: One past the last row; None for all.
    """

    call: int
    calls: int
    first: int = 0
    end: int | None = None

    def of(self, rows: Tensor) -> Tensor:
        """``rows [B, N]`` without those of other parts."""
        if self.first == 0 and self.end is None:
            return rows
        place = torch.arange(rows.shape[1], device=rows.device)
        end = rows.shape[1] if self.end is None else self.end
        return rows & (place >= self.first) & (place < end)


@final
@dataclass(frozen=True)
class ConfidenceUnmask(Sampler):
    """Reveal a share of the hidden rows with each step of the grid; other leaves follow the grid.

    Attributes:
        order: Which rows come first; see the module.
        temperature: Of the draw of each row; 0 takes the most probable symbol. The confidence is
            always that of the law before tempering.
        give_up: Share of the rows revealed so far, the least confident when they were drawn, that
            are hidden again at the end of every step but the last (Wang et al., *ReMDM*, 2025).
        schedule: ``"linear"`` reveals equally many rows a step, ``"cosine"`` few at first.
    """

    order: Order = "random"
    temperature: float = 1.0
    give_up: float = 0.0
    schedule: Literal["linear", "cosine"] = "linear"

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            known = ", ".join(get_args(Order))
            raise InputError(f"ConfidenceUnmask.order: {self.order!r} is unknown; choose {known}")
        if self.schedule not in ("linear", "cosine"):
            raise InputError(
                f"ConfidenceUnmask.schedule: {self.schedule!r} is unknown; linear or cosine"
            )
        if not 0.0 <= self.give_up < 1.0:
            raise InputError(f"ConfidenceUnmask.give_up: {self.give_up} is not in [0, 1)")
        if self.temperature < 0.0:
            raise InputError(f"ConfidenceUnmask.temperature: {self.temperature} is negative")
        if self.give_up > 0.0 and self.order == "colour":
            raise InputError("ConfidenceUnmask.give_up: colour order reveals each class once")

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        stage = walk.predict(x, walk.times[k])
        return self.reveal(walk, k, stage, Part(k, walk.steps)), stage

    def reveal(self, walk: Walk, k: int, stage: Stage, part: Part) -> State:
        """The state at the end of step ``k``: some hidden rows are drawn, other leaves move on.

        Args:
            walk: The run.
            k: Number of the step.
            stage: What the network said where the step starts.
            part: Which rows, in how many calls.
        """
        moved = {}
        for name, leaf in walk.leaves.items():
            x, said = stage.x[name], stage.predictions[name]
            hidden = leaf.path.hidden(x)
            if hidden is None or leaf.rests:
                moved[name] = leaf.move((stage,), walk.times[k + 1], first_order(1), None)
            else:
                moved[name] = self._reveal(walk, leaf, x, hidden, said, part)
        return moved

    def moves(self, walk: Walk, k: int, stage: Stage) -> dict[str, Move]:
        """See `Sampler.moves`.

        Raises:
            InputError: Which rows are revealed depends on what the network says, or the likeliest
                symbols are taken.
        """
        if self.order not in BLIND or self.give_up > 0.0 or self.temperature == 0.0:
            raise InputError(
                "ConfidenceUnmask: the law of its steps is not known where certainty decides; "
                f"use the order {', '.join(BLIND)}, no give_up and a temperature above 0"
            )
        said = stage.predictions
        for name, leaf in walk.leaves.items():
            if self.temperature != 1.0 and leaf.path.hidden(stage.x[name]) is not None:
                tempered = said[name].symbol_log_probs() / self.temperature
                said = {**said, name: said[name].with_coordinates(tempered)}
        return walk.plan(Stage(stage.x, said, stage.t), walk.times[k + 1], 0.0)

    def _reveal(
        self, walk: Walk, leaf: Leaf, x: Tensor, hidden: Tensor, said: Prediction, part: Part
    ) -> Tensor:
        """The leaf with the rows of one call drawn."""
        layout, last = leaf.layout, part.call == part.calls - 1
        if layout.ragged:
            raise InputError(f"leaf {leaf.name!r}: rows are revealed in dense leaves only")
        hidden = part.of(_free(hidden, layout))
        lead = _leading(hidden, layout)
        total = walk.kept.setdefault(f"{leaf.name}/rows {part.first}", lead.sum(-1))
        drawn = said.draw(uniform_rows(x, leaf.generator, layout), self.temperature)
        if self.order == "colour":
            chosen = hidden & (self._turns(walk, leaf, x, lead) == part.call)
        else:
            done = self._share((part.call + 1) / part.calls)
            count = torch.floor(total * done + 1e-9).long() - (total - lead.sum(-1))
            chosen = _first(self._score(leaf, x, said, drawn), lead, count)
            chosen = chosen if layout.ties is None else layout.ties.lead(chosen) & hidden
        x = torch.where(chosen, drawn, x)
        if self.give_up <= 0.0 or last:
            return x
        return self._hide_again(walk, leaf, x, said, chosen, part)

    def _share(self, done: float) -> float:
        """The share of rows that should be revealed when a share of the steps is done."""
        if self.schedule == "linear" or done >= 1.0:
            return done
        return 1.0 - float(torch.cos(torch.tensor(0.5 * torch.pi * done, dtype=torch.float64)))

    def _score(self, leaf: Leaf, x: Tensor, said: Prediction, drawn: Tensor) -> Tensor:
        """Rows of high score come first, ``[B, N]``."""
        if self.order == "random":
            return uniform_rows(x, leaf.generator, leaf.layout)
        if self.order == "sequence":
            return -torch.arange(x.shape[1], device=x.device).expand_as(x).double()
        return _certainty(said, drawn, self.order)

    def _turns(self, walk: Walk, leaf: Leaf, x: Tensor, lead: Tensor) -> Tensor:
        """The step in which each row is revealed, by the colours of the batch, ``[B, N]``."""
        key = f"{leaf.name}/turns"
        if key not in walk.kept:
            if "colours" not in walk.cond:
                raise InputError(
                    "ConfidenceUnmask.order: colour needs the condition 'colours', one class for "
                    "each row; choose random order where there is no graph"
                )
            walk.kept[key] = _class_turns(
                x, walk.cond["colours"], lead, walk.steps, leaf.generator, leaf.layout
            )
        return walk.kept[key]

    def _hide_again(
        self, walk: Walk, leaf: Leaf, x: Tensor, said: Prediction, chosen: Tensor, part: Part
    ) -> Tensor:
        """Hide the least certain of the revealed rows again."""
        key = f"{leaf.name}/certainty"
        order = self.order if self.order in ("entropy", "margin") else "confidence"
        now, before = _certainty(said, x, order), walk.kept.get(key)
        certainty = now if before is None else torch.where(chosen, now, before)
        walk.kept[key] = certainty
        hidden = leaf.path.hidden(x)
        shown = torch.ones_like(x, dtype=torch.bool) if hidden is None else ~hidden
        lead = _leading(part.of(_free(shown, leaf.layout)), leaf.layout)
        lost = _first(-certainty, lead, (lead.sum(-1) * self.give_up).long())
        lost = lost if leaf.layout.ties is None else leaf.layout.ties.lead(lost)
        return leaf.path.hide(x, lost)


@final
@dataclass(frozen=True)
class FirstHitting(Sampler):
    """Reveal one row with each call, in random order: exact for a mask path.

    The order in which rows of a mask path are revealed does not depend on what they hold, so that
    a walk may jump from one to the next (Zheng et al., *Masked Diffusion Models are Secretly
    Time-Agnostic*, 2025). The number of calls is that of the free rows, whatever the grid.

    Attributes:
        temperature: Of the draw of each row.
    """

    temperature: float = 1.0

    def times(self, grid: Grid, like: Batch) -> Grid:
        """See `Sampler.times`: as many steps as the largest sample has free rows."""
        counts = [_free_rows(x, like.layouts[name]) for name, x in like.x.items()]
        return torch.linspace(0.0, 1.0, max(1, *counts) + 1, dtype=torch.float64)

    def step(self, walk: Walk, k: int, x: State, previous: Stage | None) -> tuple[State, Stage]:
        """See `Sampler.step`."""
        return ConfidenceUnmask("random", self.temperature).step(walk, k, x, previous)

    def moves(self, walk: Walk, k: int, stage: Stage) -> dict[str, Move]:
        """See `Sampler.moves`."""
        return ConfidenceUnmask("random", self.temperature).moves(walk, k, stage)


def reveal_order(
    like: Batch,
    leaf: str,
    order: Order,
    steps: int,
    seed: int | streams.Generator = 0,
    indices: Tensor | None = None,
) -> Tensor:
    """The step in which each row is revealed, for orders that do not depend on what is drawn.

    This is what `sciddiff.order_log_prob` needs to score given data by the same order.

    Args:
        like: Template: shape, layout and, for colour order, the condition ``colours``.
        leaf: The leaf of tokens.
        order: ``"random"``, ``"sequence"`` or ``"colour"``.
        steps: Calls of the network.
        seed: Of the order.
        indices: Global number of each sample.

    Returns:
        Steps from 0, int64 ``[B, N]``; -1 for rows that are not drawn.

    Raises:
        InputError: The order depends on what is drawn, or colours are missing.
    """
    if order not in BLIND:
        raise InputError(f"order: {order!r} depends on what is drawn; choose random or colour")
    x, layout = like.x[leaf], like.layouts[leaf]
    source = streams.streams_of(seed, like.size, indices, like.device)
    source = source.purpose("order") if isinstance(source, streams.Streams) else source
    rows = _free(torch.ones_like(x, dtype=torch.bool), layout)
    lead = _leading(rows, layout)
    if order == "colour":
        if "colours" not in like.cond:
            raise InputError("order: colour needs the condition 'colours', a class for each row")
        turns = _class_turns(x, like.cond["colours"], lead, steps, source, layout)
    else:
        score = -torch.arange(x.shape[1], device=x.device).expand_as(x).double()
        if order == "random":
            score = uniform_rows(x, source, layout)
        rank = _rank(score, lead)
        total = lead.sum(-1, keepdim=True).clamp(min=1)
        turns = (rank * steps) // total if steps < x.shape[1] else rank
    turns = turns if layout.ties is None else layout.ties.lead(turns)
    return torch.where(rows, turns, -1)


def _class_turns(
    x: Tensor,
    colours: Tensor,
    lead: Tensor,
    steps: int,
    generator: streams.Generator | None,
    layout: Layout,
) -> Tensor:
    """The step of each row: classes in random order, each in steps of its own if these suffice.

    Args:
        x: The leaf.
        colours: Class of each row, from 0, int64 ``[B, N]``.
        lead: The rows that count, bool ``[B, N]``.
        steps: Steps of the walk.
        generator: Random source.
        layout: How the rows are grouped in samples.
    """
    within, among = (uniform_rows(x, generator, layout) for _ in range(2))
    classes = int(colours.max()) + 1
    member = torch.where(lead, colours, classes)
    # A class comes at the time of the first of its rows, a random number each.
    time = among.new_full((*x.shape[:1], classes + 1), torch.inf)
    time = time.scatter_reduce(1, member, among, "amin")[:, :classes]
    count = time.isfinite().sum(1, keepdim=True).clamp(min=1)
    rank = time.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    rank = rank.gather(1, member.clamp(max=classes - 1))
    first, end = (rank * steps) // count, ((rank + 1) * steps) // count
    # With more steps than classes a class has several, and its rows are divided at random.
    turns = first + (within * (end - first)).long()
    return turns if layout.ties is None else layout.ties.lead(turns)


def _free(rows: Tensor, layout: Layout) -> Tensor:
    """``rows`` without fixed ones and padding."""
    free = layout.free(rows)
    return rows if free is None else rows & free


def _leading(rows: Tensor, layout: Layout) -> Tensor:
    """``rows`` with one of each tied group alone."""
    return rows if layout.ties is None else rows & layout.ties.leading


def _rank(score: Tensor, rows: Tensor) -> Tensor:
    """Place of each row among those that count, highest score first, int64 ``[B, N]``."""
    score = torch.where(rows, score.double(), -torch.inf)
    return score.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)


def _first(score: Tensor, rows: Tensor, count: Tensor) -> Tensor:
    """The ``count [B]`` rows of highest score among ``rows``, bool ``[B, N]``."""
    return (_rank(score, rows) < count[:, None]) & rows


def _certainty(said: Prediction, symbols: Tensor, order: str) -> Tensor:
    """How sure the network is of each row, ``[B, N]``."""
    log_probs = said.symbol_log_probs().double()
    if order == "entropy":
        return -torch.special.entr(log_probs.exp()).sum(-1)
    if order == "margin":
        best = log_probs.exp().topk(2, -1).values
        return best[..., 0] - best[..., 1]
    found = symbols.clamp(0, log_probs.shape[-1] - 1)
    return log_probs.gather(-1, found[..., None])[..., 0]


def _free_rows(x: Tensor, layout: Layout) -> int:
    """The largest number of free rows of a sample."""
    if x.ndim < 2:
        return 1
    rows = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return int(_leading(_free(rows, layout), layout).sum(1).max())

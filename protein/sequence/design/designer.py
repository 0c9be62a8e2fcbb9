"""Draws and scores sequences of one structure with a network of inverse folding.

The structure is encoded once. Sequences of a structure are scored in the same random orders
whatever the seed, so that one sequence has one score. Orders come in pairs, one the opposite of
the other: a residue that comes early in one comes late in the other, so that the mean of a pair
varies a seventh as much as single orders do. What orders have in common is asked once: with no
residue shown all sequences are alike, and with one class hidden all orders that end with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protein.sequence.alphabet import LETTERS, MASK
from protein.sequence.design.balance import MOST, composition_bias
from protein.sequence.design.colouring import colour_classes, contact_pairs
from protein.sequence.design.plan import Plan
from protein.sequence.design.settings import DrawSettings
from protein.sequence.network import ASKED, ENCODED
from protein.sequence.samples import SEQUENCE, collate, sample_of
from sciddiff import streams
from sciddiff.grids import uniform
from sciddiff.guidance.base import DenoiserLike, ask
from sciddiff.guidance.bias import FORBIDDEN, Bias
from sciddiff.likelihood.order import order_log_prob
from sciddiff.samplers import ConfidenceUnmask, FirstHitting, Sampler, reveal_order
from sciddiff.sampling import sample
from sciddiff.state import Batch, Layout
from sciddiff.steering import steer
from sciddiff.ties import Ties

if TYPE_CHECKING:
    from sciddiff.denoiser import Denoiser

__all__ = ["Designer", "Scores"]

ROWS = 800
"""Residues that the network sees at once: more no longer fit into the caches of a processor."""

LESS = 0.9
"""What the largest share of an amino acid is multiplied by each time a sequence is drawn again."""


@final
@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n sequences of L residues, in nats a residue; lower is better.

    Attributes:
        rows: log-probability of every residue that was scored, in every order `[K, n, L]`, of
            which the second is the opposite of the first and so on; 0 for others.
        laws: log-probabilities of all amino acids at every designed residue, as `conditional`
            gives them `[n, L, 20]`.
        counted: residues that were scored `[n, L]`.
        fixed: nats of all fixed residues, and how many.
    """

    rows: NDArray[np.float64]
    laws: NDArray[np.float64]
    counted: NDArray[np.bool_]
    fixed: tuple[float, int]

    @property
    def score(self) -> NDArray[np.float64]:
        """Mean over the designed residues `[n]`."""
        return -self.rows.sum(-1).mean(0) / np.maximum(self.counted.sum(-1), 1)

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard error of `score` over the pairs of orders `[n]`; NaN for less than two."""
        if len(self.rows) < 4:
            return np.full(len(self.counted), np.nan)
        each = self.rows.sum(-1) / np.maximum(self.counted.sum(-1), 1)
        pairs = (each[::2] + each[1::2]) / 2.0
        return pairs.std(0, ddof=1) / np.sqrt(len(pairs))

    @property
    def total(self) -> NDArray[np.float64]:
        """Mean over all residues `[n]`: fixed ones given each other, designed ones given these."""
        nats, count = self.fixed
        return (nats - self.rows.sum(-1).mean(0)) / np.maximum(count + self.counted.sum(-1), 1)


@final
class Designer:
    """One structure, encoded.

    Args:
        denoiser: the network under its path.
        plan: what is designed.
        settings: how.
        device: where the network is.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        plan: Plan,
        settings: DrawSettings,
        device: torch.device | str = "cpu",
    ) -> None:
        self.plan, self.settings = plan, settings
        self._denoiser = denoiser
        given = sample_of(plan.template.chains, ~plan.designed, plan.noise, plan.name)
        given = replace(given, tokens=plan.tokens, unknown=~plan.designed & ~plan.held)
        batch = collate([given]).to(device)
        network: Any = denoiser.net
        with torch.no_grad():
            encoded = network.eval().encode(batch)
        self._pairs = contact_pairs(
            given.atoms, encoded.neighbours[0].cpu().numpy(), encoded.linked[0].cpu().numpy()
        )
        tied = bool((plan.group >= 0).any())
        colours = colour_classes(self._pairs, plan.designed, plan.group if tied else None)
        self._plain = batch.with_cond(
            **{ENCODED: encoded},
            colours=torch.from_numpy(colour_classes(self._pairs, plan.designed))[None].to(device),
        )
        drawn = {"colours": torch.from_numpy(colours)[None].to(device)}
        layout = batch.layouts[SEQUENCE]
        if tied:
            layout = replace(layout, ties=self._ties())
        self._drawn = replace(self._plain.with_cond(**drawn), layouts={SEQUENCE: layout})

    def _ties(self) -> Ties:
        group = torch.from_numpy(self.plan.group)[None].to(self.device)
        size = Ties(group).add(torch.ones(group.shape, device=self.device))
        return Ties(group, torch.from_numpy(self.plan.weight)[None].to(self.device) / size)

    def _bias(self, temperature: float, most: float) -> Tensor:
        """Nats `[1, L, 20]`; those of tied rows, which are added up, are divided among them."""
        plan, group = self.plan, torch.from_numpy(self.plan.group)[None]
        size = Ties(group).add(torch.ones(group.shape))
        nats = plan.bias
        if plan.balanced and temperature < 1.0:
            laws = np.where(plan.omitted, FORBIDDEN, self.alone() + plan.bias)
            more = composition_bias(laws[plan.designed], temperature, most)
            nats = nats + more.astype(np.float32)
        bias = torch.from_numpy(nats)[None] / size[..., None]
        omitted = torch.from_numpy(plan.omitted)[None]
        return bias.masked_fill(omitted, FORBIDDEN).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self._denoiser.parameters()).device

    @property
    def calls(self) -> int:
        """Calls of the network that one draw takes."""
        if self.settings.order == "random":
            lead = self.plan.designed.copy()
            group = self.plan.group[self.plan.designed]
            tied = group[group >= 0]
            return int(lead.sum()) - len(tied) + len(np.unique(tied))
        return max(_classes(self._drawn), self.settings.calls)

    def draw(
        self, indices: Sequence[int], temperature: float, again: int = 0
    ) -> NDArray[np.int64]:
        """Sequences by their numbers; each depends on the seed and its number alone.

        Args:
            indices: their numbers, from 0.
            temperature: below 1, likely amino acids are more likely still; 0 takes the likeliest.
            again: how often these have been drawn before; each time the draws are others, and
                where the composition is balanced, the share of one amino acid is limited more.

        Returns:
            Tokens `[n, L]`.
        """
        guided = Bias({SEQUENCE: "bias"})(self._denoiser)
        parts = (self.plan.name, repr(float(temperature)), *([again] if again else []))
        seed = streams.seed_of(self.settings.seed, *parts)
        if self.settings.order == "random":
            sampler = FirstHitting(temperature)
        else:
            sampler = ConfidenceUnmask("colour", temperature)
        found, template = [], self._drawn
        template = template.with_cond(bias=self._bias(temperature, MOST * LESS**again))
        for some in self._blocks(len(indices), self.settings.together):
            like = template.select(torch.zeros(len(some), dtype=torch.int64))
            numbers = torch.tensor([indices[k] for k in some])
            x = self._draw(guided, like, sampler, seed, numbers)
            found.append(x.cpu().numpy())
        return np.concatenate(found)

    def _draw(
        self, guided: DenoiserLike, like: Batch, sampler: Sampler, seed: int, numbers: Tensor
    ) -> Tensor:
        """Sequences of a batch of templates, steered where a reward is wanted, tokens `[n, L]`."""
        times = uniform(self.calls)
        steered = self.settings.steered(sampler, self.calls)
        if steered is None:
            return sample(guided, like, sampler, times, seed, indices=numbers).x[SEQUENCE]
        return steer(guided, like, steered, times, seed, indices=numbers).x[SEQUENCE]

    def rewards(self, sequences: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """What sequences `[n, L]` were steered towards `[n]`; None where they were not."""
        reward = self.settings.reward
        if reward is None:
            return None
        batch = self._given(sequences, np.ones(sequences.shape, dtype=bool))
        return reward(batch.x, batch).numpy()

    def score(
        self, sequences: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> Scores:
        """Log-probabilities of given sequences, without bias, ties or temperature.

        Args:
            sequences: tokens `[n, L]`; fixed rows must hold what is fixed.
            known: residues that are known `[n, L]`; others are not scored. All by default.
        """
        known = np.ones(sequences.shape, dtype=bool) if known is None else known
        order, laws = self._orders(self._plain), self.conditional(sequences, known)
        rows = []
        for some in self._blocks(len(sequences)):
            batch = self._given(sequences[some], known[some])
            if self.settings.order == "random":
                rows.append(self._ordered(batch, order))
            else:
                rows.append(self._by_class(batch, order[:, 0], laws[some]))
        counted = known & self.plan.designed
        return Scores(np.concatenate(rows, axis=1), laws, counted, self._fixed)

    def _by_class(
        self, batch: Batch, orders: Tensor, laws: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Log-probabilities of the rows of a batch in orders of one class a call `[K, n, L]`.

        The first call of every order is `alone`, and the last is one of `conditional`.

        Args:
            batch: the sequences.
            orders: the step of every row, -1 where it is not designed `[K, L]`.
            laws: what `conditional` said of the sequences `[n, L, 20]`.
        """
        free = batch.layouts[SEQUENCE].free(batch.x[SEQUENCE])
        assert free is not None
        last = torch.from_numpy(laws)
        first = torch.from_numpy(self.alone()).expand_as(last)
        tokens, found = batch.x[SEQUENCE].cpu()[..., None], []
        for order in orders:
            total = torch.zeros(free.shape, dtype=torch.float64)
            for step in range(int(order.max()) + 1):
                now = (order == step) & free
                if step == 0:
                    said = first
                elif step == int(order.max()):
                    said = last
                else:
                    said = self._asked(batch, (order >= step) & free, now)
                total = torch.where(now.cpu(), said.gather(-1, tokens)[..., 0], total)
            found.append(total.numpy())
        return np.stack(found)

    @cached_property
    def _fixed(self) -> tuple[float, int]:
        """Nats of the fixed residues given each other, and how many."""
        held = self.plan.held
        if not held.any():
            return 0.0, 0
        rows = torch.from_numpy(held)[None].to(self.device)
        colours = torch.from_numpy(colour_classes(self._pairs, held))[None].to(self.device)
        batch = self._plain.with_cond(colours=colours, unknown=~rows)
        batch = replace(
            batch, layouts={SEQUENCE: Layout(1, batch.layouts[SEQUENCE].mask, fixed=~rows)}
        )
        scored = self._ordered(batch, self._orders(batch))
        return -float(scored.sum(-1).mean()), int(held.sum())

    def _orders(self, batch: Batch) -> Tensor:
        """The step of every row in each order `[K, 1, L]`; always the same for a structure."""
        orders, order = self.settings.orders, self.settings.order
        many = batch.select(torch.zeros((orders + 1) // 2, dtype=torch.int64))
        steps = len(self.plan) if order == "random" else _classes(batch)
        ahead = reveal_order(many, SEQUENCE, order, steps)
        back = torch.where(ahead < 0, ahead, ahead.amax(1, keepdim=True) - ahead)
        return torch.stack([ahead, back], dim=1).flatten(0, 1)[:orders, None]

    def _ordered(self, batch: Batch, order: Tensor) -> NDArray[np.float64]:
        """Log-probabilities of the rows of a batch `[K, n, L]`."""
        wide = order.expand(-1, batch.size, -1)
        chunk = max(1, ROWS // max(batch.size * wide.shape[-1], 1))
        return order_log_prob(self._denoiser, batch, order=wide, chunk=chunk).rows.cpu().numpy()

    def conditional(
        self, sequences: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Log-probabilities of all amino acids at every designed residue `[n, L, 20]`.

        Each is given the structure and the residues of all other classes, those that it touches
        among them. Rows that are not designed are 0.
        """
        known = np.ones(sequences.shape, dtype=bool) if known is None else known
        colours = self._plain.cond["colours"][0]
        designed = torch.from_numpy(self.plan.designed).to(self.device)
        found = np.zeros((*sequences.shape, len(LETTERS)))
        for some in self._blocks(len(sequences)):
            batch = self._given(sequences[some], known[some])
            total = torch.zeros(*batch.x[SEQUENCE].shape, len(LETTERS), dtype=torch.float64)
            for number in range(_classes(self._plain)):
                hidden = ((colours == number) & designed)[None]
                said = self._asked(batch, hidden, hidden)
                total = torch.where(hidden[..., None].cpu(), said, total)
            found[some] = total.numpy()
        return found

    def alone(self) -> NDArray[np.float64]:
        """Log-probabilities of all amino acids given the structure and the fixed residues alone
        `[L, 20]`; rows that are not designed are 0.
        """
        return self._alone

    @cached_property
    def _alone(self) -> NDArray[np.float64]:
        designed = torch.from_numpy(self.plan.designed)[None].to(self.device)
        said = self._asked(self._plain, designed)
        return torch.where(designed[..., None].cpu(), said, 0.0)[0].numpy()

    def mutants(
        self, sequence: NDArray[np.int64], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Log-probabilities of all amino acids at every designed residue given all others
        `[L, 20]`, one residue hidden at a time; rows that are not designed are 0.
        """
        rows = np.flatnonzero(self.plan.designed)
        known = np.ones(sequence.shape, dtype=bool) if known is None else known
        found = np.zeros((len(sequence), len(LETTERS)))
        for some in self._blocks(len(rows)):
            n, places = len(some), torch.from_numpy(rows[some])
            batch = self._given(np.tile(sequence, (n, 1)), np.tile(known, (n, 1)))
            hidden = torch.zeros(n, len(sequence), dtype=torch.bool)
            hidden[torch.arange(n), places] = True
            said = self._asked(batch, hidden.to(self.device))
            found[rows[some]] = said[torch.arange(n), places].numpy()
        return found

    def _asked(self, batch: Batch, hidden: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Log-probabilities with some rows hidden `[n, L, 20]`, float64, on the processor.

        With `wanted` `[n or 1, L]`, those of other rows mean nothing.
        """
        x = torch.where(hidden, MASK, batch.x[SEQUENCE])
        if wanted is not None:
            batch = batch.with_cond(**{ASKED: wanted.expand_as(x)})
        t = torch.zeros(batch.size, device=self.device)
        with torch.no_grad():
            said = ask(self._denoiser, {SEQUENCE: x}, t, batch)
        return said[SEQUENCE].symbol_log_probs().double().cpu()

    def _given(self, sequences: NDArray[np.int64], known: NDArray[np.bool_]) -> Batch:
        """A batch of given sequences; unknown residues are hidden and held."""
        many = self._plain.select(torch.zeros(len(sequences), dtype=torch.int64))
        there = torch.from_numpy(known).to(self.device)
        layout = many.layouts[SEQUENCE]
        held = many.cond["unknown"] | ~there
        fixed = held if layout.fixed is None else layout.fixed | held
        return replace(
            many.with_cond(unknown=held),
            x={SEQUENCE: torch.from_numpy(sequences).to(self.device)},
            layouts={SEQUENCE: Layout(len(sequences), mask=layout.mask, fixed=fixed)},
        )

    def _blocks(self, n: int, each: int = 1) -> Iterator[list[int]]:
        """Numbers below n, as many at a time as the network sees together, several of each."""
        size = max(1, ROWS // max(len(self.plan) * each, 1))
        return (list(range(first, min(first + size, n))) for first in range(0, n, size))


def _classes(batch: Batch) -> int:
    return int(batch.cond["colours"].max()) + 1

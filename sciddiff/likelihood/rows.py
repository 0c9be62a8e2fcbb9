"""One leaf of masked tokens, whose rows are hidden by choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.guidance.base import DenoiserLike, ask
from sciddiff.paths.product import ProductPath
from sciddiff.paths.tokens import uniform_rows
from sciddiff.state import Batch, Layout
from sciddiff.streams import Generator

__all__ = ["RowsLeaf", "rows_leaf"]


@final
@dataclass(frozen=True, eq=False)
class RowsLeaf:
    """The leaf of a batch whose rows are hidden and revealed.

    Attributes:
        name: Its key in the state.
        x: The data, int64 ``[B, N]``.
        layout: How its rows are grouped in samples.
        free: The rows that are not known from the start, bool ``[B, N]``.
        lead: These, and one alone of each tied group.
    """

    name: str
    x: Tensor
    layout: Layout
    free: Tensor
    lead: Tensor

    @property
    def total(self) -> Tensor:
        """Number of leading rows of each sample, float64 ``[B]``."""
        return self.lead.sum(1).double()

    @property
    def samples(self) -> Tensor:
        """Numbers of the samples in the batch, int64 ``[B]``."""
        return torch.arange(len(self.x), device=self.x.device)

    def ranks(self, generator: Generator) -> Tensor:
        """Places of the leading rows in a random order, int64 ``[B, N]``; others come last."""
        score = uniform_rows(self.x, generator, self.layout)
        score = torch.where(self.lead, score, torch.inf)
        return score.argsort(dim=1, stable=True).argsort(dim=1, stable=True)

    def ask(
        self, denoiser: DenoiserLike, batch: Batch, rows: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Log-probabilities of the data at every row, with some rows hidden.

        Args:
            denoiser: The denoiser.
            batch: The batch, of B samples.
            rows: The leading rows to hide, bool ``[D * B, N]``: D choices for each sample.
            dtype: Type of the times.

        Returns:
            Nats, ``[D * B, N]``, float64.
        """
        repeats = len(rows) // len(self.x)
        # Conditions may be large, such as what a network keeps of a structure.
        wide = batch if repeats == 1 else batch.select(self.samples.repeat(repeats))
        layout, x = wide.layouts[self.name], wide.x[self.name]
        hide = rows if layout.ties is None else layout.ties.lead(rows)
        hide = hide & self.free.repeat(repeats, 1)
        x_t = {**wide.x, self.name: denoiser.path[self.name].hide(x, hide)}
        shown = 1.0 - rows.sum(1) / self.total.clamp(min=1.0).repeat(repeats)
        t = {name: torch.ones_like(shown) for name in denoiser.path.paths}
        t[self.name] = shown
        times = {name: own.to(dtype) for name, own in t.items()}
        said = ask(denoiser, x_t, times if len(times) > 1 else times[self.name], wide)
        log_probs = said[self.name].symbol_log_probs().double()
        symbols = x.clamp(0, log_probs.shape[-1] - 1)
        return log_probs.gather(-1, symbols[..., None])[..., 0]


def rows_leaf(path: ProductPath, batch: Batch) -> RowsLeaf:
    """The one leaf of a batch that has rows to reveal.

    Other leaves must be held: known in all rows, as conditions are.

    Raises:
        InputError: There is none, there are several, or another leaf is not held.
    """
    found: list[str] = []
    for name, one in path.paths.items():
        layout, x = batch.layouts[name], batch.x[name]
        rows = torch.ones(x.shape[: layout.row_ndim], dtype=torch.bool, device=x.device)
        free = layout.free(rows)
        moves = bool((rows if free is None else free).any())
        if moves and one.hidden(x) is None:
            raise InputError(
                f"leaf {name!r}: {type(one).__name__} reveals no rows; use estimator 'time', or "
                "hold this leaf at its data"
            )
        if moves:
            found.append(name)
    if len(found) != 1:
        raise InputError(
            f"leaves {', '.join(found) or 'none'} are free; exactly one leaf of masked tokens can "
            "be scored row by row"
        )
    name = found[0]
    x, layout = batch.x[name], batch.layouts[name]
    if layout.ragged:
        raise InputError(f"leaf {name!r}: is ragged; rows are hidden in dense leaves only")
    rows = torch.ones_like(x, dtype=torch.bool)
    free = layout.free(rows)
    free = rows if free is None else free
    lead = free if layout.ties is None else free & layout.ties.leading
    return RowsLeaf(name, x, layout, free, lead)

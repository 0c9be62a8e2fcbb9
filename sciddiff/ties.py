"""Ties: rows of a leaf that share one value, such as equal chains of a symmetric assembly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from sciddiff.errors import InputError

__all__ = ["Ties"]


@final
@dataclass(frozen=True, eq=False)
class Ties:
    """Groups of rows of a dense leaf that share one value.

    Rows of a group are corrupted together, drawn together, and counted once in losses and bounds.
    What a network says about them is pooled: log-probabilities are added with the weights of the
    rows, which by default are equal and of sum 1 (the geometric mean, as ProteinMPNN pools tied
    residues). With a weight of 1 for every row the pooled law is exactly the law of independent
    rows, given that they are equal.

    Attributes:
        group: Number of the group of each row, int64 ``[B, N]``; -1 for rows that are alone.
        weight: Weight of each row in its group, ``[B, N]``; None: one over the size of the group.

    Raises:
        InputError: The shapes are not those of rows.

    >>> ties = Ties(torch.tensor([[0, -1, 0]]))
    >>> ties.lead(torch.tensor([[0.1, 0.2, 0.3]]))
    tensor([[0.1000, 0.2000, 0.1000]])
    >>> ties.pool(torch.tensor([[[1.0], [5.0], [3.0]]])).flatten()
    tensor([2., 5., 2.])
    """

    group: Tensor
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        if self.group.ndim != 2:
            raise InputError(
                f"Ties.group: shape {tuple(self.group.shape)}; only rows of a dense leaf [B, N] "
                "can be tied"
            )
        if self.weight is not None and self.weight.shape != self.group.shape:
            raise InputError(
                f"Ties.weight: shape {tuple(self.weight.shape)}; "
                f"expected {tuple(self.group.shape)}"
            )

    @cached_property
    def _members(self) -> Tensor:
        """Number of the group of each row, counted over the whole batch, int64 ``[B * N]``."""
        size, rows = self.group.shape
        place = torch.arange(size * rows, device=self.group.device).view(size, rows)
        span = rows + int(self.group.max()) + 1 if self.group.numel() else 1
        sample = torch.arange(size, device=self.group.device)[:, None] * span
        alone = size * span + place
        key = torch.where(self.group >= 0, sample + self.group, alone)
        return torch.unique(key.flatten(), return_inverse=True)[1]

    @cached_property
    def _leader(self) -> Tensor:
        """Place of the first row of each row's group in the flattened rows, ``[B * N]``."""
        members = self._members
        place = torch.arange(len(members), device=members.device)
        first = torch.full_like(place, len(members))
        return first.scatter_reduce(0, members, place, "amin")[members]

    @cached_property
    def leading(self) -> Tensor:
        """True for the first row of every group and for rows that are alone, bool ``[B, N]``."""
        place = torch.arange(len(self._leader), device=self._leader.device)
        return (self._leader == place).view(self.group.shape)

    def lead(self, values: Tensor) -> Tensor:
        """``values [B, N, ...]`` with those of each row replaced by those of its first row."""
        return values.flatten(0, 1)[self._leader].view(values.shape)

    def add(self, values: Tensor) -> Tensor:
        """The sum of ``values [B, N, ...]`` over each group, given to each of its rows."""
        flat = values.flatten(0, 1)
        total = flat.new_zeros(flat.shape).index_add(0, self._members, flat)
        return total[self._members].view(values.shape)

    def pool(self, values: Tensor) -> Tensor:
        """The weighted sum of ``values [B, N, ...]`` over each group, given to each row."""
        weight = self.weight
        if weight is None:
            ones = torch.ones_like(self.group, dtype=values.dtype)
            weight = 1.0 / self.add(ones)
        shape = (*weight.shape, *(1,) * (values.ndim - 2))
        return self.add(values * weight.to(values.dtype).view(shape))

    def select(self, indices: Tensor) -> Ties:
        """Keep some samples, in the given order, int64 ``[K]``."""
        weight = None if self.weight is None else self.weight[indices]
        return Ties(self.group[indices], weight)

    def to(self, device: torch.device | str) -> Ties:
        """The same ties on another device."""
        weight = None if self.weight is None else self.weight.to(device)
        return Ties(self.group.to(device), weight)

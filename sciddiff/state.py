"""State: a dict of tensors, and how the rows of each leaf are grouped in samples.

A leaf is *dense*, ``[B, ...]``, one entry of dimension 0 per sample, dimension 1 its rows
(``mask [B, N]`` tells real rows from padding); or *ragged*, ``[sum N, ...]``, with
``index [sum N]`` naming the sample of each row. `Layout` holds that grouping, so that nothing else
needs to know which it is: broadcasting a time to rows, averaging within samples, and summing to
one number per sample.

Rows may be *fixed*: held at their data value while the others travel from noise to data
(inpainting, scaffolding, assimilation). A `Batch` is a state with its layouts and conditions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, final

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.ties import Ties

__all__ = ["Batch", "Layout", "State"]

State = dict[str, Tensor]


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """How the rows of one leaf are grouped in samples.

    Attributes:
        size: Number of samples, B.
        mask: Dense leaves: True for real rows, bool ``[B, N]``. None: all rows are real.
        index: Ragged leaves: the sample of each row, int64 ``[rows]``. None: the leaf is dense.
        fixed: True for rows held at their data value, bool ``[B, N]`` or ragged ``[rows]``.
        ties: Rows of a dense leaf of tokens that share one value; None: all are free of others.

    Raises:
        InputError: A field has the wrong shape, or both ``mask`` and ``index`` are given.

    >>> ragged = Layout(2, index=torch.tensor([0, 0, 1]))
    >>> ragged.sum_per_sample(torch.tensor([1.0, 2.0, 5.0]))
    tensor([3., 5.])
    >>> ragged.spread(torch.tensor([10.0, 20.0]), torch.zeros(3))
    tensor([10., 10., 20.])
    """

    size: int
    mask: Tensor | None = None
    index: Tensor | None = None
    fixed: Tensor | None = None
    ties: Ties | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and self.index is not None:
            raise InputError("Layout: a leaf is dense or ragged; give mask or index, not both")
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.shape[0] != self.size):
            raise InputError(
                f"Layout.mask: shape {tuple(self.mask.shape)}; expected [{self.size}, rows]"
            )
        if self.index is not None and self.index.ndim != 1:
            raise InputError(f"Layout.index: shape {tuple(self.index.shape)}; expected [rows]")
        rows = self.mask if self.mask is not None else self.index
        if self.fixed is not None and rows is not None and self.fixed.shape != rows.shape:
            raise InputError(
                f"Layout.fixed: shape {tuple(self.fixed.shape)}; expected {tuple(rows.shape)}"
            )
        rows = self.fixed if rows is None else rows
        if self.ties is not None and rows is not None and self.ties.group.shape != rows.shape:
            raise InputError(
                f"Layout.ties: groups of shape {tuple(self.ties.group.shape)}; "
                f"expected {tuple(rows.shape)}"
            )

    @property
    def ragged(self) -> bool:
        """Whether the rows of all samples are concatenated."""
        return self.index is not None

    @property
    def row_ndim(self) -> int:
        """Leading dimensions that number the rows: 1 if ragged, 2 if dense."""
        return 1 if self.ragged else 2

    @cached_property
    def positions(self) -> Tensor:
        """Position of each ragged row within its sample, int64 ``[rows]``.

        Raises:
            InputError: The leaf is dense.
        """
        if self.index is None:
            raise InputError(
                "Layout.positions: only ragged leaves have it; dense rows are aranged"
            )
        order = torch.argsort(self.index, stable=True)
        counts = torch.bincount(self.index, minlength=self.size)
        starts = counts.cumsum(0) - counts
        ranks = torch.arange(len(order), device=order.device) - starts[self.index[order]]
        return torch.empty_like(ranks).scatter_(0, order, ranks)

    def spread(self, t: Tensor, like: Tensor) -> Tensor:
        """Broadcast one number per sample to the rows of a leaf.

        Args:
            t: ``[B]``.
            like: The leaf, ``[B, ...]`` or ragged ``[rows, ...]``.

        Returns:
            ``[B, 1, ...]`` or ``[rows, 1, ...]``, with as many dimensions as ``like``.
        """
        if t.ndim == 0:
            return t
        values = t if self.index is None else t[self.index]
        return values.reshape(-1, *(1,) * (like.ndim - 1))

    def valid(self, like: Tensor) -> Tensor | None:
        """True for real rows, broadcastable against ``like``; None if all rows are."""
        return None if self.mask is None else _trail(self.mask, like)

    def free(self, like: Tensor) -> Tensor | None:
        """True for real rows that are not fixed, broadcastable against ``like``; None if all."""
        if self.fixed is None:
            return self.valid(like)
        free = ~self.fixed if self.mask is None else ~self.fixed & self.mask
        return _trail(free, like)

    @cached_property
    def _padded(self) -> bool:
        """Whether some rows may be padding; on a device, where asking would wait, as masks may."""
        if self.mask is None:
            return False
        return not (self.mask.is_cpu and bool(self.mask.all()))

    def zero_padding(self, x: Tensor) -> Tensor:
        """``x`` with zeros in the rows that do not exist."""
        if self.mask is None or not self._padded:
            return x
        return torch.where(_trail(self.mask, x), x, torch.zeros_like(x))

    def hold(self, x: Tensor, data: Tensor) -> Tensor:
        """``x`` with the fixed rows replaced by ``data``, a leaf of the same shape."""
        return x if self.fixed is None else torch.where(_trail(self.fixed, x), data, x)

    @cached_property
    def any_fixed(self) -> Tensor | None:
        """Which samples have a fixed row, bool ``[B]``; None if none has."""
        if self.fixed is None:
            return None
        if self.index is None:
            return self.fixed.any(dim=1)
        hits = self.fixed.new_zeros(self.size, dtype=torch.int64)
        return hits.index_add(0, self.index, self.fixed.long()) > 0

    def rows_of(self, x: Tensor, sample: int) -> Tensor:
        """The real rows of one sample of a leaf: ``[rows, ...]``, or ``[...]`` without rows."""
        if self.index is not None:
            return x[self.index == sample]
        return x[sample] if self.mask is None else x[sample][self.mask[sample]]

    def sum_per_sample(self, x: Tensor) -> Tensor:
        """Sum the real rows, and all their entries, of each sample: ``[B]``."""
        x = self.zero_padding(x)
        rows = x.sum(dim=tuple(range(1, x.ndim))) if x.ndim > 1 else x
        if self.index is None:
            return rows
        return rows.new_zeros(self.size).index_add(0, self.index, rows)

    def count(self, like: Tensor) -> Tensor:
        """Number of entries in the real rows of each sample, float ``[B]``."""
        return self.sum_per_sample(torch.ones_like(like))

    def free_mean_per_sample(self, x: Tensor) -> Tensor:
        """Mean over the entries of the real, free rows of each sample, ``[B]``; 0 if none."""
        free = self.free(x)
        if free is None and self.index is None:
            return self.sum_per_sample(x) / max(math.prod(x.shape[1:]), 1)
        if free is None:
            return self.sum_per_sample(x) / self.count(x).clamp(min=1.0)
        weight = free.to(x.dtype).expand_as(x)
        kept = torch.where(free, x, torch.zeros_like(x))
        return self.sum_per_sample(kept) / self.sum_per_sample(weight).clamp(min=1.0)

    def rows_per_sample(self, like: Tensor) -> Tensor:
        """Number of real rows of each sample, float ``[B]``, in the type of ``like``."""
        if self.index is not None:
            return torch.bincount(self.index, minlength=self.size).to(like.dtype)
        if self.mask is not None:
            return self.mask.sum(dim=1).to(like.dtype)
        return like.new_full((self.size,), like.shape[1])

    def mean(self, x: Tensor) -> Tensor:
        """Mean over the real rows of each sample, spread back to rows.

        Rows are added one after the other in float64, so that padding and other samples change
        no bit of it on the processor.

        Args:
            x: Floating-point, ``[B, N, ...]`` or ragged ``[rows, ...]``.

        Returns:
            ``[B, 1, ...]`` or ragged ``[rows, ...]``: broadcastable against ``x``.
        """
        wide = self.zero_padding(x).double()
        if self.index is None:
            # `sum` adds in an order that depends on the number of rows; a running sum does not.
            sums = wide.cumsum(dim=1)[:, -1:]
            if not self._padded:
                return (sums / max(x.shape[1], 1)).to(x.dtype)
        else:
            totals = wide.new_zeros(self.size, *x.shape[1:]).index_add(0, self.index, wide)
            sums = totals[self.index]
        count = self.rows_per_sample(wide).clamp(min=1.0)
        return (sums / self.spread(count, x)).to(x.dtype)

    def select(self, indices: Tensor) -> tuple[Layout, Tensor]:
        """Keep some samples, in the given order.

        Args:
            indices: int64 ``[K]``.

        Returns:
            The new layout, and the rows (dimension 0 of the leaf) to keep, int64.
        """
        if self.index is None:
            mask = None if self.mask is None else self.mask[indices]
            fixed = None if self.fixed is None else self.fixed[indices]
            ties = None if self.ties is None else self.ties.select(indices)
            return Layout(len(indices), mask=mask, fixed=fixed, ties=ties), indices
        owner, rows = (self.index[None, :] == indices[:, None]).nonzero(as_tuple=True)
        fixed = None if self.fixed is None else self.fixed[rows]
        return Layout(len(indices), index=owner, fixed=fixed), rows

    def to(self, device: torch.device | str) -> Layout:
        """The same layout on another device."""
        moved = {
            name: value.to(device)
            for name in ("mask", "index", "fixed", "ties")
            if (value := getattr(self, name)) is not None
        }
        return Layout(self.size, **moved)


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one kind, with what is known about them.

    Attributes:
        x: The data, one tensor per leaf. When sampling, only the fixed rows carry meaning, and the
            shapes and types say what to draw.
        cond: Conditions: tensors with one entry of dimension 0 per sample, or whatever the network
            reads; nested dicts of these are allowed. An object with the methods ``to(device)`` and
            ``select(indices)`` moves and is selected with the batch.
        layouts: One per leaf of ``x``; a dense layout is assumed for leaves left out.
        size: Number of samples, B.
        ids: Names of the samples, for messages and file names.
        shared: Names of conditions that belong to all samples alike (a grid, a table): `select`
            leaves them as they are, whatever their size.

    >>> batch = Batch({"x": torch.zeros(2, 3)}, ids=("first", "second"))
    >>> batch.size, batch.select(torch.tensor([1])).ids
    (2, ('second',))
    """

    x: State
    cond: dict[str, Any] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    size: int = -1
    ids: tuple[str, ...] = ()
    shared: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.size < 0:
            object.__setattr__(self, "size", self._infer_size())
        complete = {name: self.layouts.get(name, Layout(self.size)) for name in self.x}
        object.__setattr__(self, "layouts", {**self.layouts, **complete})
        for name, layout in self.layouts.items():
            _check_leaf(name, self.x.get(name), layout, self.size)
        if self.ids and len(self.ids) != self.size:
            raise InputError(f"Batch.ids: {len(self.ids)} names for {self.size} samples")

    def _infer_size(self) -> int:
        if self.layouts:
            return next(iter(self.layouts.values())).size
        if not self.x:
            raise InputError("Batch.x: no leaves; give at least one tensor")
        return next(iter(self.x.values())).shape[0]

    @property
    def device(self) -> torch.device:
        """Where the leaves are."""
        return next(iter(self.x.values())).device

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device; all of ``cond`` that has a device moves too."""
        return replace(
            self,
            x={name: leaf.to(device) for name, leaf in self.x.items()},
            cond=_map(self.cond, "to", lambda value: value.to(device)),
            layouts={name: layout.to(device) for name, layout in self.layouts.items()},
        )

    def select(self, indices: Tensor) -> Batch:
        """Keep some samples, in the given order.

        Args:
            indices: int64 ``[K]``.

        Raises:
            InputError: A tensor of ``cond`` has another number of entries than there are samples,
                and is not named in ``shared``.
        """
        x, layouts = dict(self.x), dict(self.layouts)
        for name, layout in self.layouts.items():
            layouts[name], rows = layout.select(indices)
            if name in x:
                x[name] = x[name][rows]

        cond = {}
        for name, value in self.cond.items():
            if name not in self.shared:
                value = _map(value, "select", partial(self._pick, name, indices))
            cond[name] = value
        ids = tuple(self.ids[i] for i in indices.tolist()) if self.ids else ()
        return Batch(x, cond, layouts, len(indices), ids, self.shared)

    def _pick(self, name: str, indices: Tensor, value: Any) -> Any:  # noqa: ANN401 - see `_map`
        """The entries of some samples of the condition ``name``."""
        if not isinstance(value, Tensor):
            return value.select(indices)
        if value.ndim == 0:
            return value
        if value.shape[0] != self.size:
            raise InputError(
                f"Batch.cond[{name!r}]: {value.shape[0]} entries for {self.size} samples; give "
                "one for each, or name the condition in Batch.shared"
            )
        return value[indices.to(value.device)]

    def with_cond(self, **cond: Any) -> Batch:  # noqa: ANN401 - conditions are the network's own
        """A copy with conditions added or replaced."""
        return replace(self, cond={**self.cond, **cond})


def _trail(rows: Tensor, like: Tensor) -> Tensor:
    """Append dimensions of size 1 until ``rows`` broadcasts against ``like``."""
    return rows.reshape(*rows.shape, *(1,) * (like.ndim - rows.ndim))


def _check_leaf(name: str, leaf: Tensor | None, layout: Layout, size: int) -> None:
    if layout.size != size:
        raise InputError(f"Batch.layouts[{name!r}]: {layout.size} samples; the batch has {size}")
    if leaf is None:
        return
    if layout.index is not None:
        if leaf.shape[0] != len(layout.index):
            raise InputError(
                f"Batch.x[{name!r}]: {leaf.shape[0]} rows; its index has {len(layout.index)}"
            )
    elif leaf.shape[0] != size or (
        layout.mask is not None and leaf.shape[:2] != layout.mask.shape
    ):
        expected = (size,) if layout.mask is None else tuple(layout.mask.shape)
        raise InputError(
            f"Batch.x[{name!r}]: shape {tuple(leaf.shape)}; expected it to begin with {expected}"
        )


def _map(value: Any, method: str, function: Any) -> Any:  # noqa: ANN401 - any nesting
    """Apply a function to the tensors of nested dicts, and to the objects that have a method."""
    if isinstance(value, Mapping):
        return {key: _map(item, method, function) for key, item in value.items()}
    if isinstance(value, Tensor) or callable(getattr(value, method, None)):
        return function(value)
    return value

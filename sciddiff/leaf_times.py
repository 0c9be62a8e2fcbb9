"""Times of a state: one number, ``[B]`` numbers for its samples, or one of these per leaf.

Leaves keep their own time where one of them is known while another is drawn, or where they become
clear one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sciddiff.errors import InputError
from sciddiff.state import State

__all__ = ["LeafTime", "Time", "per_sample", "time_dtype", "time_of", "time_tensors"]

LeafTime = float | Tensor
"""The time of one leaf: a number, or one per sample ``[B]``."""

Time = LeafTime | Mapping[str, LeafTime]
"""One time for all leaves, or one per leaf."""


def time_of(t: Time, name: str) -> LeafTime:
    """The time of one leaf.

    Raises:
        InputError: Leaves have their own times, and this one has none.

    >>> time_of(0.5, "x"), time_of({"x": 0.25, "y": 1.0}, "y")
    (0.5, 1.0)
    """
    if not isinstance(t, Mapping):
        return t
    if name not in t:
        raise InputError(f"time: no time for leaf {name!r}; it has {', '.join(t) or 'none'}")
    return t[name]


def time_dtype(x: State) -> torch.dtype:
    """The type of times for a state: float64 if any leaf is, else float32.

    It does not follow leaves of integers, which would round every time to 0 or 1, nor leaves of
    half precision, which would round times to two digits.
    """
    double = any(leaf.dtype == torch.float64 for leaf in x.values())
    return torch.float64 if double else torch.float32


def time_tensors(t: Time, x: State, size: int) -> Tensor | dict[str, Tensor]:
    """Times as networks get them: ``[B]``, on the device of the state, or one such per leaf.

    Args:
        t: The time. Tensors are passed on as they are; numbers are repeated for every sample.
        x: The state.
        size: Number of samples, B.
    """
    if isinstance(t, Mapping):
        return {name: per_sample(value, x, size) for name, value in t.items()}
    return per_sample(t, x, size)


def per_sample(t: LeafTime, x: State, size: int) -> Tensor:
    """The time of one leaf, or of all, as ``[B]`` on the device of the state."""
    if isinstance(t, Tensor):
        return t.expand(size) if t.ndim == 0 else t
    device = next(iter(x.values())).device
    return torch.full((size,), float(t), dtype=time_dtype(x), device=device)

"""Embedding of time, for networks that serve all noise levels."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from sciddiff.errors import InputError

__all__ = ["TimeEmbedding"]


@final
class TimeEmbedding(nn.Module):
    """Sines and cosines of time at geometrically spaced frequencies.

    Frequencies run from a quarter turn over [0, 1], which tells all times apart, to
    ``max_frequency`` turns.

    Args:
        dim: Number of features, even.
        max_frequency: Turns over [0, 1] of the fastest feature.
    """

    frequencies: Tensor

    def __init__(self, dim: int, max_frequency: float = 64.0) -> None:
        super().__init__()
        if dim < 4 or dim % 2:
            raise InputError(f"TimeEmbedding.dim: {dim}; an even number from 4 on is needed")
        turns = torch.logspace(math.log10(0.25), math.log10(max_frequency), dim // 2)
        self.register_buffer("frequencies", 2.0 * math.pi * turns, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Features of ``t [...]``, ``[..., dim]``."""
        angle = t.unsqueeze(-1).to(self.frequencies.dtype) * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=-1)

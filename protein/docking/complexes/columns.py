"""Embedding of atoms and pairs that are described by several small integers."""

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional


@final
class Columns(nn.Module):
    """Sum of embeddings of several small integers.

    Args:
        sizes: number of values of each column.
        width: width of the embedding.
    """

    def __init__(self, sizes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.table.weight, std=1.0 / math.sqrt(len(sizes)))
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.register_buffer("starts", torch.tensor(starts), persistent=False)

    def forward(self, columns: Tensor) -> Tensor:
        """Args: columns `[E, C]`, integers; returns `[E, width]`."""
        starts: Any = self.starts
        return functional.embedding_bag(columns.long() + starts, self.table.weight, mode="sum")

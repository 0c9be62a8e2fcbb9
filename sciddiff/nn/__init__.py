"""Domain-neutral layers."""

from sciddiff.nn.embedding import TimeEmbedding
from sciddiff.nn.mlp import MLP

__all__ = ["MLP", "TimeEmbedding"]

"""Domain-neutral layers."""

from sciddiff.nn.embedding import TimeEmbedding
from sciddiff.nn.mlp import MLP
from sciddiff.nn.span import SpanEmbedding, span_features
from sciddiff.nn.transformer import KeyCache, TokenTransformer

__all__ = [
    "MLP",
    "KeyCache",
    "SpanEmbedding",
    "TimeEmbedding",
    "TokenTransformer",
    "span_features",
]

"""Embedding of how far a flow map jumps, which a denoiser becomes a flow map by."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from sciddiff.errors import InputError
from sciddiff.nn.embedding import TimeEmbedding

__all__ = ["SpanEmbedding", "span_features"]

_FREQUENCIES = 32


@final
class SpanEmbedding(nn.Module):
    """Features of the time from t to the end of a jump, to be added to those of t.

    The last layer begins at zero: a network with it says at first of every jump what it said
    without, so that it can start from the weights of a denoiser.

    Args:
        dim: Number of features.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            TimeEmbedding(_FREQUENCIES, max_frequency=16.0),
            nn.Linear(_FREQUENCIES, dim),
            nn.SiLU(),
            nn.Linear(dim, dim),
        )
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]

    def forward(self, t: Tensor, until: Tensor) -> Tensor:
        """Features of ``until - t``, times ``[...]`` both, ``[..., dim]``."""
        return self.layers(until - t)


def span_features(
    embedding: SpanEmbedding | None, t: Tensor, until: Tensor | None
) -> Tensor | float:
    """What to add to the features of time: of a jump to ``until``, or of one of no length.

    Args:
        embedding: That of the network; None for networks that are no flow maps.
        t: Times, ``[...]``.
        until: Ends of the jumps, ``[...]``; None for none.

    Raises:
        InputError: There is an end, and the network is no flow map.
    """
    if embedding is None:
        if until is not None:
            raise InputError(
                "until: the network is no flow map, so that it cannot jump; make one with: "
                "sciddiff distill MODEL --shortcut"
            )
        return 0.0
    return embedding(t, t if until is None else until)

"""Denoiser: a network and the path it was made for.

The network ("backbone" in the literature) is any module called as ``net(x_t, t, batch)``, with a
state, times ``[B]`` and the `Batch` (conditions, masks), that returns one tensor per leaf. It
knows nothing of schedules, preconditioning or what its output means: its path does.

Where leaves keep their own times, ``t`` is a dict of times by leaf. A network of a flow map, which
predicts the mean velocity up to a later time, is called as ``net(x_t, t, batch, until=s)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import nn

from sciddiff.leaf_times import Time, time_tensors
from sciddiff.paths.base import Path
from sciddiff.paths.product import ProductPath
from sciddiff.prediction import Predictions
from sciddiff.state import Batch, State

__all__ = ["Denoiser"]


@final
class Denoiser(nn.Module):
    """A network that predicts, for every leaf, where it is going.

    Args:
        net: ``net(x_t, t, batch) -> dict[str, Tensor]``, raw outputs of every leaf; further
            entries are passed on as `Predictions.extras`.
        path: One path per leaf.

    >>> import torch
    >>> from sciddiff import GaussianPath
    >>> class Halve(nn.Module):
    ...     def forward(self, x_t, t, batch):
    ...         return {"x": 0.5 * x_t["x"]}
    >>> denoiser, x = Denoiser(Halve(), {"x": GaussianPath()}), torch.ones(2, 1)
    >>> denoiser({"x": x}, torch.tensor([0.5, 0.5]), Batch({"x": x}))["x"].data.flatten()
    tensor([0.5000, 0.5000])
    """

    def __init__(self, net: nn.Module, path: ProductPath | Mapping[str, Path]) -> None:
        super().__init__()
        self.net = net
        self.path = path if isinstance(path, ProductPath) else ProductPath(path)

    def forward(
        self, x_t: State, t: Time, batch: Batch, until: Time | None = None
    ) -> Predictions:
        """Predict from a state.

        Args:
            x_t: One tensor per leaf.
            t: Times in [0, 1]: ``[B]``, a number for all samples, or either by leaf.
            batch: Conditions and layouts; its ``x`` matters to networks only in fixed rows.
            until: The later time up to which a flow map predicts, in the same forms; None for
                networks that know of none.
        """
        times = time_tensors(t, x_t, batch.size)
        seen = self.path.net_input(x_t, t, batch.layouts)
        if until is None:
            raw = self.net(seen, times, batch)
        else:
            raw = self.net(seen, times, batch, until=time_tensors(until, x_t, batch.size))
        return self.path.predict(raw, x_t, t, batch.layouts)

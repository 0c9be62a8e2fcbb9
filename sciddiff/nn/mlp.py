"""Multilayer perceptron."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

__all__ = ["MLP"]


@final
class MLP(nn.Module):
    """Linear layers with SiLU between them.

    Args:
        in_dim: Features in.
        hidden_dim: Features of each hidden layer.
        out_dim: Features out.
        hidden_layers: Number of hidden layers.
        zero_init: Start with an output of zero, so that a residual branch starts as the identity.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        hidden_layers: int = 1,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_dim, *[hidden_dim] * hidden_layers]
        layers: list[nn.Module] = []
        for width, following in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(width, following), nn.SiLU()]
        last = nn.Linear(widths[-1], out_dim)
        if zero_init:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_dim] -> [..., out_dim]``."""
        return self.layers(x)

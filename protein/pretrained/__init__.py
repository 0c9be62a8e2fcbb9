"""Weights that ship with the package, one folder each: configuration, weights, facts and a
model card. `sciddiff.shipped` finds them by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from sciddiff.checkpoint import Model

__all__ = ["find_model"]


def find_model(name: str, device: torch.device | str = "cpu") -> Model:
    """Load weights that ship, by name, or a model directory, by path.

    Args:
        name: As `sciddiff models` lists it, or a folder with `config.yaml` and weights.
        device: Where to put the network.

    Raises:
        InputError: There is no such model, or its folder is damaged.
    """
    from sciddiff import shipped
    from sciddiff.checkpoint import load

    return load(shipped.find_model(name), device)

"""Weights that ship with the package, one folder each: configuration, weights, facts and a
model card.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sciddiff.errors import InputError

if TYPE_CHECKING:
    import torch

    from sciddiff.checkpoint import Model


def directory() -> Path:
    """The folder that holds the shipped weights."""
    return Path(__file__).parent


def names() -> list[str]:
    """Names of the shipped weights."""
    return sorted(path.parent.name for path in directory().glob("*/meta.json"))


def find_model(name: str, device: torch.device | str = "cpu") -> Model:
    """Load shipped weights by name, or a checkpoint folder by path.

    Args:
        name: one of `names()`, or a folder with `config.yaml` and weights.
        device: where to put the network.

    Raises:
        InputError: there is no such model, or its folder is damaged.
    """
    from sciddiff.checkpoint import load

    shipped = directory() / name
    if (shipped / "meta.json").exists():
        return load(shipped, device)
    if Path(name).is_dir():
        return load(Path(name), device)
    raise InputError(
        f"model {name}: neither shipped ({', '.join(names())}) nor a checkpoint folder"
    )
